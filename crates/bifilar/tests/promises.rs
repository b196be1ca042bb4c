//! What must not compile: the promises of `Send` and `'static`. And what must.
//!
//! After a wanted change of a message, `TRYBUILD=overwrite cargo test -p bifilar --test promises`
//! writes the new ones.

use bifilar::{
    EnterGuard, Handle, Id, JoinError, JoinHandle, Runtime,
    net::{TcpListener, TcpStream},
    task::Task,
    time::{Interval, Sleep, Timeout},
};
use std::panic::{RefUnwindSafe, UnwindSafe};

#[test]
fn what_must_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/ui_promises/*.rs");
}

#[test]
fn what_crosses_threads() {
    fn send<T: Send>() {}
    fn sync<T: Sync>() {}
    fn unpin<T: Unpin>() {}
    fn unwind_safe<T: UnwindSafe + RefUnwindSafe>() {}

    send::<JoinHandle<Vec<u8>>>();
    sync::<JoinHandle<std::cell::Cell<u8>>>();
    unpin::<JoinHandle<std::marker::PhantomPinned>>();
    unwind_safe::<JoinHandle<&mut u8>>();
    send::<JoinError>();
    sync::<JoinError>();
    send::<Handle>();
    sync::<Handle>();
    send::<Runtime>();
    sync::<Runtime>();
    send::<Task>();
    sync::<Task>();
    send::<Id>();
    send::<Sleep>();
    sync::<Sleep>();
    unpin::<Sleep>();
    send::<Interval>();
    send::<Timeout<u8>>();
    send::<TcpStream>();
    sync::<TcpStream>();
    send::<TcpListener>();
    sync::<TcpListener>();
    unpin::<EnterGuard<'_>>();
}
