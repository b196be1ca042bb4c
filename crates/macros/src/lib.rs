//! The attributes `#[bifilar::main]` and `#[bifilar::test]`.
//!
//! Use them through the crate `bifilar`, which exports both. This crate only rewrites functions:
//!
//! ```text
//! #[bifilar::main(workers = 2)]         fn main() -> R {
//! async fn main() -> R { body }   ─►        async fn main() -> R { body }
//!                                           bifilar::Builder::new().workers(2).block_on(main())
//!                                       }
//! ```
//!
//! A plain `fn` becomes the main fiber, through `Builder::run`; an `async fn` becomes the main
//! task, through `Builder::block_on`. What the arguments may be stands in `arguments.rs`, the
//! rewriting in `expand.rs`. Nothing here knows how a runtime works.

mod arguments;
mod expand;

use expand::{Kind, expand};
use proc_macro::TokenStream;

/// Runs a function, usually `main`, in a runtime of its own.
///
/// On a plain `fn`, the body is the main fiber; on an `async fn`, it is the main task. Either way
/// it may `.wait()` for anything, and `.await` needs an `async fn` as everywhere.
///
/// ```
/// use bifilar::{Wait, time::sleep};
/// use std::time::Duration;
///
/// #[bifilar::main]
/// fn main() -> std::io::Result<()> {
///     sleep(Duration::from_millis(1)).wait();
///     Ok(())
/// }
/// ```
///
/// ```
/// use bifilar::{task, time::sleep};
/// use std::time::Duration;
///
/// #[bifilar::main(workers = 2, name = "counter")]
/// async fn main() {
///     let answer = task::spawn(async { 6 * 7 });
///     sleep(Duration::from_millis(1)).await;
///     assert_eq!(answer.await.unwrap(), 42);
/// }
/// ```
///
/// # Arguments
///
/// | argument | meaning | default |
/// |---|---|---|
/// | `workers = N` | threads that run tasks; the calling thread is one of them | one per core |
/// | `stack_size = N` | bytes of stack for each fiber | the runtime's |
/// | `name = "…"` | what the runtime's threads are called | the runtime's |
/// | `crate = "…"` | path of the crate `bifilar`, if it goes by another name | `"::bifilar"` |
///
/// The function keeps its name, its visibility, its attributes and its return type. It takes no
/// parameters.
///
/// # Panics
///
/// The generated function panics if the runtime cannot be started (no memory or no more threads),
/// and when the body panics.
#[proc_macro_attribute]
pub fn main(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand(Kind::Main, arguments.into(), item.into()).into()
}

/// Makes a function a test that runs in a runtime of its own.
///
/// Takes what [`main`](macro@main) takes, with one worker unless `workers` says otherwise, so that
/// a test's order of events is the same each time. It adds `#[test]`; `#[should_panic]`,
/// `#[ignore]` and `Result` work as in any test.
///
/// ```
/// use bifilar::{Wait, task};
///
/// #[bifilar::test]
/// fn tasks_run_while_a_fiber_waits() {
///     let task = task::spawn(async { 1 });
///     assert_eq!(task.wait().unwrap(), 1);
/// }
///
/// #[bifilar::test(workers = 2)]
/// #[should_panic(expected = "of no use")]
/// async fn panics_reach_the_test() {
///     task::spawn(async { panic!("of no use") }).await.unwrap();
/// }
/// ```
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand(Kind::Test, arguments.into(), item.into()).into()
}
