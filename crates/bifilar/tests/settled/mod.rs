//! Waits until a runtime has come to where a test wants it.

use bifilar::{Dump, Handle, Wait};
use std::{
    thread,
    time::{Duration, Instant},
};

/// Dumps until `settled` says that all is as it should be; how long tasks take to get there is nobody's
/// business.
pub fn dump_when(handle: &Handle, settled: impl Fn(&Dump) -> bool) -> Dump {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let dump = handle.dump().wait();
        if settled(&dump) {
            return dump;
        }
        assert!(Instant::now() < end, "this never settles:\n{dump}");
        thread::yield_now();
    }
}
