//! What the primitives of `bifilar::sync` promise, one file per behaviour. The promises about
//! memory orderings and lost wake-ups are checked by the loom models in `src/sync/loom_models`.

mod cancellation;
mod close;
mod fairness;
mod lag;
mod panics;
mod stress;
mod support;
mod tokens;
mod traits;
mod wakers;
