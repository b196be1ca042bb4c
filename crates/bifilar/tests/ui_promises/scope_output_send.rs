// What children give, and what they fail with, crosses threads, too.
use std::rc::Rc;

fn main() {
    bifilar::scope(|s| {
        s.spawn(|| Rc::new(1));
        s.spawn_future(async { Rc::new(1) });
    });
    let _: Result<(), Rc<u8>> = bifilar::try_scope(|s| {
        s.spawn(|| Ok(()));
        Ok(())
    });
}
