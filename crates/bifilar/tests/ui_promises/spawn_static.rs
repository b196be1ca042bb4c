fn main() {
    bifilar::run(|| {
        let text = String::from("borrowed");
        let _ = bifilar::fiber::spawn(|| text.len());
        let _ = bifilar::task::spawn(async { text.len() });
        let _ = bifilar::fiber::spawn_local(|| text.len());
        let _ = bifilar::task::spawn_local(async { text.len() });
        let _ = bifilar::unblock(|| text.len());
    });
}
