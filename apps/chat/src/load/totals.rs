//! What all clients count together while a load runs: enough for the progress bar, for seeing that
//! nothing moves any more, and for saying what went wrong.

use std::{
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use serde::Serialize;

use super::report::thousands;

/// How many different complaints are kept.
const MAX_COMPLAINTS: usize = 5;

/// Shared counters. They only inform, so no ordering is needed; the verdict comes from the books.
#[derive(Debug, Default)]
pub struct Totals {
    delivered: AtomicU64,
    disconnected: AtomicU64,
    ending: AtomicBool,
    complaints: Mutex<Complaints>,
}

/// What the server said that it should not have had to say.
#[derive(Clone, Debug, Default)]
pub struct Complaints {
    /// How many there were.
    pub count: u64,
    /// The first few that differ.
    pub first: Vec<Complaint>,
}

/// Something that the server said, and how often.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Complaint {
    /// What it said.
    pub text: String,
    /// How often.
    pub count: u64,
}

impl Complaints {
    fn add(&mut self, text: String) {
        self.count += 1;
        if let Some(same) = self.first.iter_mut().find(|complaint| complaint.text == text) {
            same.count += 1;
        } else if self.first.len() < MAX_COMPLAINTS {
            self.first.push(Complaint { text, count: 1 });
        }
    }
}

impl Totals {
    /// So many more messages reached a member for the first time.
    pub fn delivered(&self, count: u64) {
        self.delivered.fetch_add(count, Relaxed);
    }

    /// How many messages reached a member for the first time.
    pub fn deliveries(&self) -> u64 {
        self.delivered.load(Relaxed)
    }

    /// From now on the end of a connection is as it should be.
    pub fn end(&self) {
        self.ending.store(true, Relaxed);
    }

    /// A connection ended, perhaps for a reason.
    pub fn disconnected(&self, reason: Option<String>) {
        if !self.ending.load(Relaxed) {
            self.disconnected.fetch_add(1, Relaxed);
            self.complaint(&reason.as_deref().unwrap_or("the server closed a connection"));
        }
    }

    /// How many connections ended too early.
    pub fn disconnects(&self) -> u64 {
        self.disconnected.load(Relaxed)
    }

    /// The server complained.
    pub fn complaint(&self, text: &impl fmt::Display) {
        let mut complaints = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        complaints.add(text.to_string());
    }

    /// The complaints so far.
    pub fn complaints(&self) -> Complaints {
        self.complaints.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            1 => f.write_str(&self.text),
            count => write!(f, "{} ({} times)", self.text, thousands(count)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_complaint_is_kept_once_with_its_count() {
        let mut complaints = Complaints::default();
        (0..1_000).for_each(|_| complaints.add("closed".into()));
        (0..10).for_each(|n| complaints.add(format!("lost {n}")));
        let kept: Vec<_> = complaints.first.iter().map(Complaint::to_string).collect();
        assert_eq!(kept, ["closed (1,000 times)", "lost 0", "lost 1", "lost 2", "lost 3"]);
        assert_eq!(complaints.count, 1_010);
    }
}
