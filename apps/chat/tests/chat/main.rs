//! The program as its users meet it: the real binary, over loopback, in each of the four styles.
//!
//! Every test waits for something to happen, never for time to pass, and everything that may
//! not happen has a bound ([`PATIENCE`]).

mod client;
mod command_line;
mod delivery;
mod dump;
mod files;
mod flight;
mod goodbye;
mod join;
mod lagging;
mod leaving;
mod load;
mod metrics;
mod mistakes;
mod server;
mod vanishing;

use std::time::Duration;

/// How long anything is waited for. Much longer than it takes, for machines that are busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes a test of each function for each style; the function takes the style's name.
macro_rules! in_each_style {
    ($($test:ident),+ $(,)?) => {
        $crate::in_styles! { [threads callbacks fibers tasks] [$($test)+] }
    };
}
use in_each_style;

/// The same for some of the styles.
macro_rules! in_styles {
    ([$($style:ident)+] $tests:tt) => { $( $crate::in_styles! { @ $style $tests } )+ };
    (@ $style:ident [$($test:ident)+]) => {
        mod $style { $( #[test] fn $test() { super::$test(stringify!($style)) } )+ }
    };
}
use in_styles;
