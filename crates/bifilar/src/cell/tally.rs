//! How many tasks there were, and what became of them: counted under the lock of the registry, which
//! every task passes twice in any case.

use super::TaskKind;
use bifilar_timeline::Outcome;

const KINDS: usize = 3;
/// `Outcome` has as many; no task ends pending.
const OUTCOMES: usize = 4;

/// See the module's head.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    born: [u64; KINDS],
    ended: [[u64; OUTCOMES]; KINDS],
}

impl Tally {
    pub fn born(&mut self, kind: TaskKind) {
        self.born[kind as usize] += 1;
    }

    pub fn ended(&mut self, kind: TaskKind, outcome: Outcome) {
        self.ended[kind as usize][outcome as usize] += 1;
    }

    pub fn count_born(&self, kind: TaskKind) -> u64 {
        self.born[kind as usize]
    }

    pub fn count_ended(&self, kind: TaskKind, outcome: Outcome) -> u64 {
        self.ended[kind as usize][outcome as usize]
    }

    /// Counts what another registry has counted as well.
    pub fn add(&mut self, other: &Tally) {
        for kind in 0..KINDS {
            self.born[kind] += other.born[kind];
            for outcome in 0..OUTCOMES {
                self.ended[kind][outcome] += other.ended[kind][outcome];
            }
        }
    }
}
