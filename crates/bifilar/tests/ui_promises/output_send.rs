fn main() {
    let _ = bifilar::fiber::spawn(|| std::rc::Rc::new(1));
}
