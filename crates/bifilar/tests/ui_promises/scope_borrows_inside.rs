// What stands in the closure ends before the children do.
fn main() {
    bifilar::scope(|s| {
        let inside = String::from("in the closure");
        s.spawn(|| inside.len());
        s.spawn_future(async { inside.len() });
    });
    let _: Result<(), ()> = bifilar::try_scope(|s| {
        let inside = String::from("in the closure");
        s.spawn(|| Ok(drop(&inside)));
        s.spawn_future(async { Ok(drop(&inside)) });
        Ok(())
    });
}
