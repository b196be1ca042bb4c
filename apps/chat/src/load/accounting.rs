//! The books of one group under load: who saw which message when, and what is wrong with that.
//!
//! ```text
//!   sent:       0 1 2 3 4 5 …          numbers in the order of posting, each with its poster and time
//!   reference:  0 2 1 3 4              the order in which the group took them, as seen so far
//!   member 0:   ─────────►             following: saw the first 5 of the reference
//!   member 1:   ─────►                 following: saw the first 3
//!   member 2:   0 2 3 3                diverged:  keeps its own record
//! ```
//!
//! Members that see the same messages in the same order share one record, which whoever is first
//! writes. A member that sees anything else keeps its own from there on. So the check is exact and
//! yet needs, while all is well, four bytes for each message instead of four for each delivery.
//!
//! [`Ledger::judge`] then takes the fullest record (and of several the commonest) for the truth and counts, for each member, what
//! it lacks, has twice, or has after something that should have come later. Nothing here knows
//! where messages come from.

use std::collections::{HashMap, HashSet};

/// Nanoseconds since the load began.
pub type Nanos = u64;

/// The books of one group.
#[derive(Debug)]
pub struct Ledger {
    sent: Vec<Sent>,
    /// Message numbers in the order in which members saw them, none twice.
    reference: Vec<u32>,
    /// By message number: whether it is in the reference.
    referenced: Vec<bool>,
    accounts: Vec<Account>,
}

#[derive(Debug)]
struct Sent {
    poster: u32,
    at: Nanos,
    /// How many members have not seen it yet.
    missing: u32,
}

#[derive(Debug)]
enum Account {
    /// Saw exactly the first so many of the reference.
    Following(usize),
    /// Saw this, repetitions included.
    Diverged { record: Vec<u32>, seen: HashSet<u32> },
}

/// What became of a message that arrived.
#[derive(Debug, PartialEq)]
pub enum Arrival {
    /// The member sees it for the first time.
    New {
        /// When it was sent.
        sent_at: Nanos,
        /// Whether every member has seen it now.
        complete: bool,
    },
    /// The member had seen it.
    Duplicate,
    /// No such message was sent.
    Unknown,
}

/// How a group fared. All but `sent` count deliveries: one message to one member.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Verdict {
    /// Messages sent.
    pub sent: u64,
    /// Deliveries that there should have been.
    pub expected: u64,
    /// Deliveries that there were, repetitions not counted.
    pub delivered: u64,
    /// Expected and not delivered.
    pub lost: u64,
    /// Delivered again.
    pub duplicated: u64,
    /// Delivered after a message that follows in the group's order, or against the order in which
    /// their poster sent them.
    pub out_of_order: u64,
}

impl Ledger {
    /// Books for a group of so many members.
    pub fn new(members: usize) -> Self {
        let accounts = (0..members).map(|_| Account::Following(0)).collect();
        Self { sent: Vec::new(), reference: Vec::new(), referenced: Vec::new(), accounts }
    }

    /// Member `poster` is about to send a message; returns its number.
    pub fn send(&mut self, poster: usize, at: Nanos) -> u32 {
        let number = u32::try_from(self.sent.len()).expect("a group takes fewer than 2³² messages");
        let missing = self.accounts.len() as u32;
        self.sent.push(Sent { poster: poster as u32, at, missing });
        self.referenced.push(false);
        number
    }

    /// A message arrived at a member.
    pub fn arrive(&mut self, member: usize, number: u32) -> Arrival {
        let index = number as usize;
        if index >= self.sent.len() {
            return Arrival::Unknown;
        }
        let account = &mut self.accounts[member];
        if let Account::Following(count) = account {
            if *count == self.reference.len() && !self.referenced[index] {
                self.reference.push(number);
                self.referenced[index] = true;
            }
            if self.reference.get(*count) == Some(&number) {
                *count += 1;
                return self.first_sight(index);
            }
            let record = self.reference[..*count].to_vec();
            let seen = record.iter().copied().collect();
            *account = Account::Diverged { record, seen };
        }
        let Account::Diverged { record, seen } = account else { unreachable!("made so above") };
        record.push(number);
        if seen.insert(number) { self.first_sight(index) } else { Arrival::Duplicate }
    }

    fn first_sight(&mut self, index: usize) -> Arrival {
        let sent = &mut self.sent[index];
        sent.missing -= 1;
        Arrival::New { sent_at: sent.at, complete: sent.missing == 0 }
    }

    /// How the group fared, up to now.
    pub fn judge(&self) -> Verdict {
        let truth = self.fullest_record();
        let mut rank = vec![None; self.sent.len()];
        for (place, &number) in truth.iter().enumerate() {
            rank[number as usize] = Some(place);
        }
        let mut verdict = Verdict { sent: self.sent.len() as u64, ..Verdict::default() };
        verdict.expected = verdict.sent * self.accounts.len() as u64;
        verdict.out_of_order = self.posters_out_of_order(&truth);
        for account in &self.accounts {
            let (record, distinct) = match account {
                Account::Following(count) => (&self.reference[..*count], *count),
                Account::Diverged { record, seen } => (&record[..], seen.len()),
            };
            verdict.delivered += distinct as u64;
            verdict.duplicated += (record.len() - distinct) as u64;
            if record.len() != distinct || !truth.starts_with(record) {
                verdict.out_of_order += out_of_order(record, &rank);
            }
        }
        verdict.lost = verdict.expected - verdict.delivered;
        verdict
    }

    /// The record with the most different messages, without its repetitions; among several, the
    /// one that most members have.
    fn fullest_record(&self) -> Vec<u32> {
        let distinct = |account: &Account| match account {
            Account::Following(count) => *count,
            Account::Diverged { seen, .. } => seen.len(),
        };
        let most = self.accounts.iter().map(distinct).max().unwrap_or(0);
        let mut votes: HashMap<Vec<u32>, usize> = HashMap::new();
        let mut followers = 0;
        for account in self.accounts.iter().filter(|account| distinct(account) == most) {
            match account {
                Account::Following(_) => followers += 1,
                Account::Diverged { record, .. } => {
                    let mut seen = HashSet::new();
                    let once = record.iter().copied().filter(|&number| seen.insert(number));
                    *votes.entry(once.collect()).or_default() += 1;
                }
            }
        }
        if followers > 0 {
            *votes.entry(self.reference[..most].to_vec()).or_default() += followers;
        }
        votes.into_iter().max_by_key(|(_, votes)| *votes).map_or(Vec::new(), |(record, _)| record)
    }

    /// One connection's posts keep their order, so a poster's numbers ascend.
    fn posters_out_of_order(&self, truth: &[u32]) -> u64 {
        let mut latest = HashMap::new();
        let mut count = 0;
        for &number in truth {
            let latest = latest.entry(self.sent[number as usize].poster).or_insert(number);
            count += u64::from(number < *latest);
            *latest = number.max(*latest);
        }
        count
    }
}

/// How many messages of a record come, at first sight, after one that follows them in the truth.
fn out_of_order(record: &[u32], rank: &[Option<usize>]) -> u64 {
    let mut seen = HashSet::new();
    let mut furthest = 0;
    let mut count = 0;
    for &number in record {
        if let Some(rank) = rank[number as usize]
            && seen.insert(number)
        {
            count += u64::from(rank < furthest);
            furthest = furthest.max(rank);
        }
    }
    count
}

impl std::ops::AddAssign for Verdict {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.expected += other.expected;
        self.delivered += other.delivered;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.out_of_order += other.out_of_order;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends as many messages as the records name, by posters in turn, and lets each member see
    /// its record; the members take turns, so that any of them may lead.
    fn judge(posters: &[usize], records: &[&[u32]]) -> Verdict {
        let mut ledger = Ledger::new(records.len());
        for (number, &poster) in posters.iter().enumerate() {
            assert_eq!(ledger.send(poster, number as Nanos * 10), number as u32);
        }
        let longest = records.iter().map(|record| record.len()).max().unwrap_or(0);
        for place in 0..longest {
            for (member, record) in records.iter().enumerate() {
                if let Some(&number) = record.get(place) {
                    assert_ne!(ledger.arrive(member, number), Arrival::Unknown);
                }
            }
        }
        ledger.judge()
    }

    /// Lost, duplicated, out of order.
    type Faults = (u64, u64, u64);

    fn faults(posters: &[usize], records: &[&[u32]]) -> Faults {
        let verdict = judge(posters, records);
        assert_eq!(verdict.expected, (posters.len() * records.len()) as u64);
        assert_eq!(verdict.delivered + verdict.lost, verdict.expected);
        (verdict.lost, verdict.duplicated, verdict.out_of_order)
    }

    const POSTERS: [usize; 5] = [0, 1, 2, 0, 1];

    #[test]
    fn all_is_well() {
        let orders: [&[u32]; 3] = [&[0, 1, 2, 3, 4], &[2, 1, 0, 4, 3], &[1, 0, 3, 2, 4]];
        for order in orders {
            assert_eq!(faults(&POSTERS, &[order, order, order]), (0, 0, 0), "{order:?}");
        }
        let nobody: &[u32] = &[];
        assert_eq!(faults(&[], &[nobody, nobody]), (0, 0, 0));
    }

    #[test]
    fn planted_faults_are_found_whoever_has_them() {
        let good: &[u32] = &[0, 1, 2, 3, 4];
        let cases: [(&str, &[u32], Faults); 8] = [
            ("one lost", &[0, 1, 3, 4], (1, 0, 0)),
            ("the first lost", &[1, 2, 3, 4], (1, 0, 0)),
            ("the last lost", &[0, 1, 2, 3], (1, 0, 0)),
            ("all lost", &[], (5, 0, 0)),
            ("one twice at once", &[0, 1, 1, 2, 3, 4], (0, 1, 0)),
            ("one twice, later", &[0, 1, 2, 3, 4, 0], (0, 1, 0)),
            ("two swapped", &[0, 2, 1, 3, 4], (0, 0, 1)),
            ("one lost, one twice, two swapped", &[0, 0, 1, 4, 3], (1, 1, 1)),
        ];
        for (what, bad, expected) in cases {
            for at in 0..3 {
                let mut records = [good; 3];
                records[at] = bad;
                assert_eq!(faults(&POSTERS, &records), expected, "{what}, at member {at}");
            }
        }
    }

    #[test]
    fn a_posters_own_order_counts_even_if_all_members_agree() {
        let swapped: &[u32] = &[3, 1, 2, 0, 4]; // 0 and 3 are by the same poster
        assert_eq!(faults(&POSTERS, &[swapped, swapped]), (0, 0, 1));
    }

    #[test]
    fn what_arrive_says() {
        let mut ledger = Ledger::new(2);
        assert_eq!(ledger.arrive(0, 0), Arrival::Unknown);
        ledger.send(0, 7);
        assert_eq!(ledger.arrive(0, 0), Arrival::New { sent_at: 7, complete: false });
        assert_eq!(ledger.arrive(0, 0), Arrival::Duplicate);
        assert_eq!(ledger.arrive(1, 0), Arrival::New { sent_at: 7, complete: true });
        assert_eq!(ledger.arrive(1, 1), Arrival::Unknown);
    }

    #[test]
    fn followers_share_one_record() {
        let mut ledger = Ledger::new(100);
        for number in 0..50 {
            ledger.send(0, 0);
            for member in 0..100 {
                assert!(matches!(ledger.arrive(member, number), Arrival::New { .. }));
            }
        }
        assert_eq!(ledger.reference.len(), 50);
        assert!(ledger.accounts.iter().all(|account| matches!(account, Account::Following(50))));
    }
}
