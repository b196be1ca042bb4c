//! What programs add to a recording of their runtime: spans, threads and system calls of their own.
//!
//! [`Builder::record`](crate::Builder::record) has the runtime recorded with a
//! [recorder](crate::timeline::Recorder). What the code does inside of its tasks only the code can
//! say: [`span!`](crate::span!) puts a box into the diagram, from where it is called to the end of the
//! block. A thread that the runtime knows nothing of takes part with [`thread`], and
//! [`system_call`] records a call as the runtime records its own.
//!
//! # A flight recorder
//!
//! The recorder keeps the newest events and forgets the others, so it can stay switched on; and a
//! snapshot is a call that anybody may make at any time. A [`FlightRecorder`] makes it when something
//! happens that is worth a look: a task panics, a poll takes long, a signal comes, or the program asks for
//! it. It writes the last seconds to a file, or hands them to a callback:
//!
//! ```
//! use bifilar::{Builder, fiber, recording::FlightRecorder, timeline::Recorder};
//! use std::time::Duration;
//!
//! # let directory = std::env::temp_dir().join(format!("bifilar-landing-{}", std::process::id()));
//! # std::fs::create_dir_all(&directory)?;
//! let flight = FlightRecorder::builder(&Recorder::new(16 * 1024)) // half a megabyte for each thread
//!     .on_panic()
//!     .on_slow_poll(Duration::from_millis(200))
//!     .last(Duration::from_secs(10))
//!     .write_to(directory.join("server.html"))?; // server-20261122T043739Z-panic.html, and so on
//! Builder::new().flight_recorder(&flight).run(|| {
//!     assert!(fiber::spawn(|| panic!("expected")).join().is_err());
//! });
//! # assert_eq!(std::fs::read_dir(&directory)?.count(), 1);
//! # std::fs::remove_dir_all(directory)?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Spans of one's own
//!
//! Programs that use the crate `tracing` have its spans recorded with `TracingLayer`, behind the
//! feature `tracing-layer`.
//!
//! ```
//! use bifilar::{recording, span, timeline::{Diagram, Recorder}};
//! use std::io::Read;
//!
//! fn read_answer(mut stream: impl Read) -> std::io::Result<String> {
//!     let _span = span!("read_answer"); // a box in the lane of the task or thread that calls
//!     let mut answer = String::new();
//!     stream.read_to_string(&mut answer)?;
//!     Ok(answer)
//! }
//!
//! let recorder = Recorder::new(10_000);
//! let _taking_part = recording::thread(&recorder, "main");
//! read_answer(&b"42"[..])?;
//! assert!(Diagram::from(&recorder.snapshot()).text(80).contains("read_answer"));
//! # Ok::<(), std::io::Error>(())
//! ```

#[cfg(feature = "tracing-layer")]
mod layer;

#[cfg(feature = "tracing-layer")]
pub use layer::TracingLayer;

use crate::{cell::next_in_block, context::waiting, record};
use bifilar_timeline::{Event, Recorder};
use std::{
    cell::Cell,
    fmt, io,
    marker::PhantomData,
    os::fd::{AsRawFd, BorrowedFd},
    sync::atomic::AtomicU64,
};

/// Records that something goes on, from here to the drop of what this gives: mostly, a function.
///
/// The name is a string literal. The span belongs to the task in which it begins: it stays open while
/// that is suspended, by `.wait()` or `.await`, and the diagram shows it as suspended; it goes along
/// when the task moves to another worker.
///
/// While recording is off it costs a branch here and another one at its end.
///
/// ```
/// use bifilar::{span, time::sleep, timeline::Recorder};
/// use std::time::Duration;
///
/// let recorder = Recorder::new(10_000);
/// bifilar::Builder::new().record(&recorder).block_on(async {
///     let _span = span!("nap");
///     sleep(Duration::from_millis(1)).await;
/// });
/// assert!(recorder.snapshot().to_string().contains("name=nap"));
/// ```
#[macro_export]
macro_rules! span {
    ($name:literal) => {
        $crate::recording::Span::begin($name)
    };
}

/// A [`span!`](crate::span!), which ends when this is dropped.
#[derive(Debug)]
#[must_use = "a span ends when it is dropped: `let _span = span!(…)`"]
pub struct Span {
    /// 0 if it is not recorded.
    number: u64,
}

impl Span {
    /// What [`span!`](crate::span!) calls.
    #[doc(hidden)]
    #[inline]
    pub fn begin(name: &'static str) -> Self {
        let mut number = 0;
        record::event(|log| {
            number = next_number();
            Event::SpanBegin { task: waiting::task_number(), span: number, name: log.word(name) }
        });
        Span { number }
    }
}

impl Drop for Span {
    #[inline]
    fn drop(&mut self) {
        if self.number != 0 {
            record::event(|_| Event::SpanEnd { task: waiting::task_number(), span: self.number });
        }
    }
}

/// A number that no other span has.
fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    thread_local! {
        static MINE: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
    }
    next_in_block(&NEXT, &MINE)
}

/// Makes the calling thread take part in a recording, under a name of its own, until what this gives
/// is dropped: for spans, system calls and wake-ups on threads that no runtime knows. Switches
/// recording on.
///
/// Threads of a runtime with a recorder take part without it, and so do threads that enter one.
///
/// See the example of the [module](self).
pub fn thread(recorder: &Recorder, name: &str) -> ThreadGuard {
    let source = record::Source::new(recorder.clone(), None, None);
    let entered = record::enter(Some(&source), || name.to_owned());
    ThreadGuard { _entered: entered, not_send: PhantomData }
}

/// Ends what [`thread`] began when it is dropped.
#[must_use = "the thread takes part until this is dropped"]
pub struct ThreadGuard {
    _entered: record::Entered,
    not_send: PhantomData<*const ()>,
}

impl fmt::Debug for ThreadGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ThreadGuard")
    }
}

/// Makes a system call and records its name, descriptor, the number of bytes asked for, its result
/// and how long it took, if this thread takes part in a recording. The result is one that counts
/// bytes, or says nothing.
///
/// # Errors
/// Those of `call`.
///
/// ```
/// use bifilar::recording;
/// use std::{io::Read, os::fd::AsFd};
///
/// let mut file = std::fs::File::open("/proc/self/comm")?;
/// let fd = file.try_clone()?;
/// let mut buffer = [0; 100];
/// let count = recording::system_call("read", Some(fd.as_fd()), 100, || file.read(&mut buffer))?;
/// assert!(count > 0);
/// # Ok::<(), std::io::Error>(())
/// ```
#[inline]
pub fn system_call<T: Returned>(
    name: &'static str,
    fd: Option<BorrowedFd<'_>>,
    bytes: usize,
    call: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    record::system_call(name, fd.map_or(-1, |fd| fd.as_raw_fd()), bytes, call)
}

pub use crate::flight::{FlightRecorder, FlightRecorderBuilder, Trigger};
pub use record::Returned;
