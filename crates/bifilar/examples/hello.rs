//! A fiber and a task, and each waits for the other.
//!
//!     cargo run -p bifilar --example hello

use bifilar::{Wait, fiber, sync::oneshot, task, time::sleep};
use std::time::Duration;

fn main() {
    bifilar::run(|| {
        let (sender, receiver) = oneshot::channel();

        // A closure in blocking style …
        let fiber = fiber::spawn(move || {
            let name: &str = receiver.wait().expect("a name");
            format!("hello, {name}")
        });

        // … and a future.
        let task = task::spawn(async move {
            sleep(Duration::from_millis(100)).await;
            sender.send("world").expect("the fiber listens");
            fiber.await
        });

        let greeting = task.join().expect("no panic in the task").expect("no panic in the fiber");
        println!("{greeting}");
    });
}
