//! `select!` and `select_wait!`: races with a piece of code for each branch.

/// Runs the code of the branch whose future is ready first; for async code.
///
/// ```text
/// select! {
///     pattern = future => expression,
///     …                                   up to eight branches
/// }
/// ```
///
/// Patterns must always match. The expressions stand where the macro stands: they may `.await`,
/// `return`, `break`, and use `?`. When one of them runs, all futures have been dropped. Which branch
/// comes first when several are ready is drawn by lot, so none starves in a loop; `biased;` at the
/// beginning makes it the first as written. It is [`race`](crate::race()) with code for each branch: what
/// is said there of cancellation holds here. In blocking style there is
/// [`select_wait!`](crate::select_wait).
///
/// ```
/// use bifilar::{select, sync::channel, time::sleep};
/// use std::time::Duration;
///
/// bifilar::block_on(async {
///     let (numbers, receiver) = channel::unbounded();
///     let (stop, stopped) = channel::unbounded::<()>();
///     (1..=3).for_each(|n| numbers.try_send(n).unwrap());
///     let mut sum = 0;
///     loop {
///         select! {
///             biased;
///             n = receiver.recv() => sum += n.unwrap(),
///             _ = stopped.recv() => break,
///             () = sleep(Duration::from_millis(1)) => {
///                 stop.try_send(()).unwrap();
///             }
///         }
///     }
///     assert_eq!(sum, 6);
/// });
/// ```
#[macro_export]
macro_rules! select {
    (biased; $($branches:tt)+) => { $crate::__select!(@take [biased await] [] $($branches)+) };
    ($($branches:tt)+) => { $crate::__select!(@take [fair await] [] $($branches)+) };
}

/// Runs the code of the branch whose future is ready first; in blocking style.
///
/// As [`select!`], with [`.wait()`](crate::Wait::wait) for `.await`: legal anywhere.
///
/// ```
/// use bifilar::{fiber, select_wait, sync::oneshot, time::sleep};
/// use std::time::Duration;
///
/// bifilar::run(|| {
///     let (sender, receiver) = oneshot::channel();
///     fiber::spawn(move || sender.send("done"));
///     let text = select_wait! {
///         text = receiver => text.unwrap(),
///         () = sleep(Duration::from_secs(3600)) => "too late",
///     };
///     assert_eq!(text, "done");
/// });
/// ```
#[macro_export]
macro_rules! select_wait {
    (biased; $($branches:tt)+) => { $crate::__select!(@take [biased wait] [] $($branches)+) };
    ($($branches:tt)+) => { $crate::__select!(@take [fair wait] [] $($branches)+) };
}

/// Takes the branches one by one, then makes a race and a `match` of them.
#[doc(hidden)]
#[macro_export]
macro_rules! __select {
    (@take $how:tt [$($done:tt)*] $p:pat = $f:expr => $code:block, $($rest:tt)*) => {
        $crate::__select!(@take $how [$($done)* ($p, $f, $code)] $($rest)*)
    };
    (@take $how:tt [$($done:tt)*] $p:pat = $f:expr => $code:block $($rest:tt)*) => {
        $crate::__select!(@take $how [$($done)* ($p, $f, $code)] $($rest)*)
    };
    (@take $how:tt [$($done:tt)*] $p:pat = $f:expr => $code:expr, $($rest:tt)*) => {
        $crate::__select!(@take $how [$($done)* ($p, $f, $code)] $($rest)*)
    };
    (@take $how:tt [$($done:tt)*] $p:pat = $f:expr => $code:expr) => {
        $crate::__select!(@take $how [$($done)* ($p, $f, $code)])
    };
    (@take $how:tt [$a:tt]) => { $crate::__select!(@match $how Of1 [A $a]) };
    (@take $how:tt [$a:tt $b:tt]) => { $crate::__select!(@match $how Of2 [A $a] [B $b]) };
    (@take $how:tt [$a:tt $b:tt $c:tt]) => {
        $crate::__select!(@match $how Of3 [A $a] [B $b] [C $c])
    };
    (@take $how:tt [$a:tt $b:tt $c:tt $d:tt]) => {
        $crate::__select!(@match $how Of4 [A $a] [B $b] [C $c] [D $d])
    };
    (@take $how:tt [$a:tt $b:tt $c:tt $d:tt $e:tt]) => {
        $crate::__select!(@match $how Of5 [A $a] [B $b] [C $c] [D $d] [E $e])
    };
    (@take $how:tt [$a:tt $b:tt $c:tt $d:tt $e:tt $f:tt]) => {
        $crate::__select!(@match $how Of6 [A $a] [B $b] [C $c] [D $d] [E $e] [F $f])
    };
    (@take $how:tt [$a:tt $b:tt $c:tt $d:tt $e:tt $f:tt $g:tt]) => {
        $crate::__select!(@match $how Of7 [A $a] [B $b] [C $c] [D $d] [E $e] [F $f] [G $g])
    };
    (@take $how:tt [$a:tt $b:tt $c:tt $d:tt $e:tt $f:tt $g:tt $h:tt]) => {
        $crate::__select!(@match $how Of8 [A $a] [B $b] [C $c] [D $d] [E $e] [F $f] [G $g] [H $h])
    };
    (@take $how:tt [$($more:tt)+]) => {
        ::std::compile_error!("select! takes up to eight branches: put some into a race of their own")
    };
    (@match $how:tt $of:ident $([$branch:ident ($p:pat, $f:expr, $code:expr)])+) => {{
        let first = $crate::__select!(@finish $how $crate::race(($($f,)+)));
        match first {
            $($crate::race::$of::$branch($p) => $code,)+
        }
    }};
    (@finish [fair await] $race:expr) => { $race.await };
    (@finish [biased await] $race:expr) => { $race.biased().await };
    (@finish [fair wait] $race:expr) => { $crate::Wait::wait($race) };
    (@finish [biased wait] $race:expr) => { $crate::Wait::wait($race.biased()) };
}
