fn send<T: Send>(_: T) {}

fn main() {
    send(bifilar::task::spawn_local(async { std::rc::Rc::new(1) }));
}
