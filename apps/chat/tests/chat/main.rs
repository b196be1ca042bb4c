//! The program as its users meet it: the real binary, over loopback, in each of the four styles.
//!
//! Every test waits for something to happen, never for time to pass, and everything that may
//! not happen has a bound ([`PATIENCE`]).

mod client;
mod command_line;
mod delivery;
mod files;
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
    ($($test:ident),+ $(,)?) => { $crate::in_each_style! { @ $($test)+ } };
    (@ $($test:ident)+) => {
        mod threads { $( #[test] fn $test() { super::$test("threads") } )+ }
        mod callbacks { $( #[test] fn $test() { super::$test("callbacks") } )+ }
        mod fibers { $( #[test] fn $test() { super::$test("fibers") } )+ }
        mod tasks { $( #[test] fn $test() { super::$test("tasks") } )+ }
    };
}
use in_each_style;
