//! `#[bifilar::main]` and `#[bifilar::test]`: what they make of a function, and what they say of a
//! wrong one.
//!
//! After a wanted change of a message, `TRYBUILD=overwrite cargo test -p bifilar --test macros`
//! writes the new ones.

use bifilar::{JoinError, Wait, fiber, task};
use std::io;

#[test]
fn messages() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui_macros/pass/*.rs");
    cases.compile_fail("tests/ui_macros/fail/*.rs");
}

#[bifilar::test]
fn a_fiber_may_wait() {
    assert_eq!(task::spawn(async { 1 }).wait().unwrap(), 1);
}

#[bifilar::test]
async fn a_task_may_await_and_wait() {
    assert_eq!(fiber::spawn(|| 1).await.unwrap(), 1);
    assert_eq!(fiber::spawn(|| 2).wait().unwrap(), 2);
}

#[bifilar::test]
fn a_test_has_one_worker_by_default() {
    let here = std::thread::current().id();
    let threads: Vec<_> = (0..100).map(|_| fiber::spawn(|| std::thread::current().id())).collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), here);
    }
}

#[bifilar::test(workers = 2, stack_size = 65536, name = "named")]
fn arguments_reach_the_runtime() {
    // Both are busy at once, so one of them is on the worker that the runtime started.
    let barrier = std::sync::Arc::new(std::sync::Barrier::new(2));
    let name = {
        let barrier = barrier.clone();
        fiber::spawn(move || {
            barrier.wait();
            std::thread::current().name().map(String::from)
        })
    };
    barrier.wait();
    let name = name.join().unwrap().unwrap();
    assert!(name.starts_with("named"), "{name}");
}

#[bifilar::test]
fn a_result_is_a_verdict() -> Result<(), JoinError> {
    fiber::spawn(|| ()).join()
}

#[bifilar::test]
async fn question_marks_work() -> io::Result<()> {
    let listener = bifilar::net::TcpListener::bind("127.0.0.1:0").await?;
    listener.local_addr()?;
    Ok(())
}

#[bifilar::test]
#[should_panic(expected = "as it should")]
fn a_panic_of_the_main_fiber_reaches_the_test() {
    panic!("as it should");
}

#[bifilar::test(workers = 2)]
#[should_panic(expected = "as it should")]
async fn a_panic_of_the_main_task_reaches_the_test() {
    panic!("as it should");
}

#[bifilar::test]
#[ignore = "to see that ignored tests are not run"]
fn an_ignored_test_is_not_run() {
    panic!("this test is ignored");
}
