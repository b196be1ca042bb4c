//! Races: the first of several futures.
//!
//! ```text
//!   race((a, b, c)) ── polls from a branch drawn by lot, in turn ──► Of3::B(output of b)
//!                      drops the others, then gives the output
//! ```
//!
//! [`select!`](crate::select) and [`select_wait!`](crate::select_wait) are races with a piece of code
//! for each branch.
//!
//! What it deliberately does not do: run branches in parallel. They are polled by one task, in turn; a
//! branch that stands in a [`wait`](crate::Wait::wait) holds up the others. Spawn for that.

use crate::context::{self, waiting};
use std::{
    future::{Future, IntoFuture},
    pin::Pin,
    task::{Context, Poll},
};

/// The first of up to eight futures to be ready; the others are dropped.
///
/// Takes a tuple, and gives an [`Of2`] … [`Of8`] that says which branch it was. At each poll the
/// branch to begin with is drawn by lot, and the others follow in turn; so none of them starves in a
/// loop. With [`biased`](Race::biased) they are polled in the order in which they are written.
///
/// `.await` it in async code, `.wait()` for it anywhere. It is the same for all branches whether one
/// of them is a lock, a timer or a socket; a closure in blocking style can race against a future by
/// [`until`](crate::until).
///
/// # Cancellation
/// The branches that lose are dropped before the output is given. What that may lose is what each
/// future says of being dropped; those of this crate lose nothing. To go on with a future later, race
/// a `&mut` of it.
///
/// ```
/// use bifilar::{Wait, race, race::Of2, sync::channel, time::sleep};
/// use std::time::Duration;
///
/// bifilar::run(|| {
///     let (sender, receiver) = channel::unbounded();
///     sender.try_send("news").unwrap();
///     match race((receiver.recv(), sleep(Duration::from_secs(3600)))).wait() {
///         Of2::A(message) => assert_eq!(message, Ok("news")),
///         Of2::B(()) => panic!("too late"),
///     }
/// });
/// ```
pub fn race<T: Branches>(branches: T) -> Race<T::Futures> {
    Race { futures: branches.into_futures(), biased: false }
}

/// The future of [`race`].
#[derive(Debug)]
#[must_use = "futures do nothing unless you .await or .wait() for them"]
pub struct Race<F> {
    futures: F,
    biased: bool,
}

impl<F> Race<F> {
    /// Polls the branches in the order in which they are written, each time: one that is always ready
    /// keeps those behind it from ever being looked at.
    ///
    /// ```
    /// use bifilar::{Wait, race, race::Of2};
    /// use std::future::ready;
    ///
    /// for _ in 0..10 {
    ///     assert_eq!(race((ready(1), ready(2))).biased().wait(), Of2::A(1));
    /// }
    /// ```
    pub fn biased(mut self) -> Self {
        self.biased = true;
        self
    }
}

impl<F: Lanes> Future for Race<F> {
    type Output = F::First;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::First> {
        let first = if self.biased { 0 } else { context::draw_lot(F::COUNT) };
        // SAFETY: `futures` is pinned with the whole: it is never moved out, `Race` has no destructor
        // of its own and is `Unpin` only if they are (derived from its fields).
        let futures = unsafe { self.map_unchecked_mut(|this| &mut this.futures) };
        futures.poll_from(first, cx)
    }
}

/// What can be raced: a tuple of up to eight futures.
pub trait Branches: sealed::Sealed {
    /// As many futures.
    type Futures: Lanes;
    #[doc(hidden)]
    fn into_futures(self) -> Self::Futures;
}

/// The futures of a race.
pub trait Lanes: sealed::Sealed {
    /// What the first to be ready gives.
    type First;
    #[doc(hidden)]
    const COUNT: usize;
    #[doc(hidden)]
    fn poll_from(self: Pin<&mut Self>, first: usize, cx: &mut Context<'_>) -> Poll<Self::First>;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! races {
    ($($of:ident $count:literal: $($branch:ident $place:tt),+;)+) => {$(
        #[doc = concat!("Which of ", stringify!($count), " branches of a [`race`] was first, and its output.")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $of<$($branch),+> {
            $(
                #[doc = concat!("Branch ", stringify!($branch), ".")]
                $branch($branch),
            )+
        }

        impl<$($branch),+> sealed::Sealed for ($($branch,)+) {}

        impl<$($branch: IntoFuture),+> Branches for ($($branch,)+) {
            type Futures = ($($branch::IntoFuture,)+);

            fn into_futures(self) -> Self::Futures {
                ($(self.$place.into_future(),)+)
            }
        }

        impl<$($branch: Future),+> Lanes for ($($branch,)+) {
            type First = $of<$($branch::Output),+>;
            const COUNT: usize = $count;

            #[allow(clippy::modulo_one, reason = "a race of one")]
            fn poll_from(
                self: Pin<&mut Self>,
                first: usize,
                cx: &mut Context<'_>,
            ) -> Poll<Self::First> {
                // SAFETY: the futures are pinned with the tuple, and none is moved here.
                let futures = unsafe { self.get_unchecked_mut() };
                let mut what_the_first_says = None;
                for turn in first..first + $count {
                    match turn % Self::COUNT {
                        $($place => {
                            // SAFETY: as above.
                            let future = unsafe { Pin::new_unchecked(&mut futures.$place) };
                            if let Poll::Ready(output) = future.poll(cx) {
                                return Poll::Ready($of::$branch(output));
                            }
                            if $place == 0 {
                                what_the_first_says = Some(waiting::noted_last());
                            }
                        })+
                        _ => unreachable!("a remainder is below {}", $count),
                    }
                }
                // Reports have room for one: the first as written is likely what it is all about.
                if let Some(what) = what_the_first_says {
                    waiting::restore(what);
                }
                Poll::Pending
            }
        }
    )+};
}

races! {
    Of1 1: A 0;
    Of2 2: A 0, B 1;
    Of3 3: A 0, B 1, C 2;
    Of4 4: A 0, B 1, C 2, D 3;
    Of5 5: A 0, B 1, C 2, D 3, E 4;
    Of6 6: A 0, B 1, C 2, D 3, E 4, F 5;
    Of7 7: A 0, B 1, C 2, D 3, E 4, F 5, G 6;
    Of8 8: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7;
}
