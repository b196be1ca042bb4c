use std::rc::Rc;

fn main() {
    let local = Rc::new(1);
    let _ = bifilar::fiber::spawn(move || *local);
}
