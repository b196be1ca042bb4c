//! SIGQUIT: a dump on stderr, for whoever sits at the terminal (Ctrl-\\) or knows the process number.

use super::Handle;
use crate::{on_signal::on_signal, scheduler::Shared, wait::Wait};
use std::{
    io::{self, Write},
    sync::Arc,
};

/// Has `shared` dumped whenever SIGQUIT comes.
pub(super) fn dump(shared: &Arc<Shared>) -> io::Result<()> {
    let shared = Arc::downgrade(shared);
    on_signal(libc::SIGQUIT, move || {
        let Some(shared) = shared.upgrade() else { return false };
        let dump = Handle::new(shared).dump().wait();
        // Nobody can be told that stderr is closed.
        let _ = writeln!(io::stderr(), "{dump}");
        true
    })
}
