//! A record as four words, the form in which a ring keeps it.
//!
//! ```text
//!  word 0   time in nanoseconds
//!  word 1   kind: 8 bits │ detail: 8 bits │ unused: 16 bits │ short: 32 bits
//!  word 2   first long field  (mostly the task)
//!  word 3   second long field
//! ```
//!
//! Packing and unpacking stand side by side below; the round trip of every variant is tested.
//! The numbers of the kinds never leave the process, so they may change.

use crate::event::{Event, Name, Outcome};
use crate::recording::Record;

/// Words in a record.
pub(crate) const WORDS: usize = 4;

/// What a record consists of, whatever its event.
struct Fields {
    kind: u8,
    detail: u8,
    short: u32,
    first: u64,
    second: u64,
}

/// The four words of a record.
#[inline(always)]
pub(crate) fn pack(record: Record) -> [u64; WORDS] {
    let Fields { kind, detail, short, first, second } = fields(record.event);
    let kinds = u64::from(kind) | u64::from(detail) << 8 | u64::from(short) << 32;
    [record.time_ns, kinds, first, second]
}

/// The record of four words; `None` if `pack` has never made such words.
pub(crate) fn unpack([time_ns, kinds, first, second]: [u64; WORDS]) -> Option<Record> {
    let fields =
        Fields { kind: kinds as u8, detail: (kinds >> 8) as u8, short: high(kinds), first, second };
    event(fields).map(|event| Record { time_ns, event })
}

fn low(word: u64) -> u32 {
    word as u32
}

fn high(word: u64) -> u32 {
    (word >> 32) as u32
}

fn join(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

#[inline(always)]
fn fields(event: Event) -> Fields {
    let new = |kind, first, second, short| Fields { kind, detail: 0, short, first, second };
    match event {
        Event::Spawn { task, parent, name } => new(1, task, parent, name.0),
        Event::PollBegin { task, stack } => new(2, task, 0, stack),
        Event::PollEnd { task, outcome } => {
            Fields { detail: outcome_number(outcome), ..new(3, task, 0, 0) }
        }
        Event::StackSuspend { task, stack, waits_for } => new(4, task, stack.into(), waits_for.0),
        Event::StackResume { task, stack } => new(5, task, stack.into(), 0),
        Event::Wake { from, to } => new(6, from, to, 0),
        Event::WorkerPark { worker } => new(7, 0, 0, worker),
        Event::WorkerUnpark { worker } => new(8, 0, 0, worker),
        Event::IoReady { token, readable, writable, closed } => {
            let detail = u8::from(readable) | u8::from(writable) << 1 | u8::from(closed) << 2;
            Fields { detail, ..new(9, token, 0, 0) }
        }
        Event::TimerFired { deadline_ns } => new(10, deadline_ns, 0, 0),
        Event::BlockingBegin { task, name } => new(11, task, 0, name.0),
        Event::BlockingEnd { task, name } => new(12, task, 0, name.0),
        Event::SystemCall { name, fd, bytes, result, took_ns } => {
            new(13, join(fd.cast_unsigned(), bytes), join(result.cast_unsigned(), took_ns), name.0)
        }
        Event::SpanBegin { task, span, name } => new(14, task, span, name.0),
        Event::SpanEnd { task, span } => new(15, task, span, 0),
    }
}

fn event(Fields { kind, detail, short, first, second }: Fields) -> Option<Event> {
    Some(match kind {
        1 => Event::Spawn { task: first, parent: second, name: Name(short) },
        2 => Event::PollBegin { task: first, stack: short },
        3 => Event::PollEnd { task: first, outcome: outcome(detail)? },
        4 => Event::StackSuspend { task: first, stack: low(second), waits_for: Name(short) },
        5 => Event::StackResume { task: first, stack: low(second) },
        6 => Event::Wake { from: first, to: second },
        7 => Event::WorkerPark { worker: short },
        8 => Event::WorkerUnpark { worker: short },
        9 => Event::IoReady {
            token: first,
            readable: detail & 1 != 0,
            writable: detail & 2 != 0,
            closed: detail & 4 != 0,
        },
        10 => Event::TimerFired { deadline_ns: first },
        11 => Event::BlockingBegin { task: first, name: Name(short) },
        12 => Event::BlockingEnd { task: first, name: Name(short) },
        13 => Event::SystemCall {
            name: Name(short),
            fd: low(first).cast_signed(),
            bytes: high(first),
            result: low(second).cast_signed(),
            took_ns: high(second),
        },
        14 => Event::SpanBegin { task: first, span: second, name: Name(short) },
        15 => Event::SpanEnd { task: first, span: second },
        _ => return None,
    })
}

fn outcome_number(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Pending => 0,
        Outcome::Ready => 1,
        Outcome::Panicked => 2,
        Outcome::Cancelled => 3,
    }
}

fn outcome(number: u8) -> Option<Outcome> {
    let outcomes = [Outcome::Pending, Outcome::Ready, Outcome::Panicked, Outcome::Cancelled];
    outcomes.get(usize::from(number)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every variant with fields taken from `number`, in which all bits differ.
    fn every_event(number: u64) -> Vec<Event> {
        let (task, other) = (number, !number);
        let (short, signed) = (high(number), low(number).cast_signed());
        let name = Name(low(other));
        let flag = number & 1 != 0;
        let mut events = vec![
            Event::Spawn { task, parent: other, name },
            Event::PollBegin { task, stack: short },
            Event::StackSuspend { task, stack: short, waits_for: name },
            Event::StackResume { task, stack: short },
            Event::Wake { from: task, to: other },
            Event::WorkerPark { worker: short },
            Event::WorkerUnpark { worker: short },
            Event::TimerFired { deadline_ns: task },
            Event::BlockingBegin { task, name },
            Event::BlockingEnd { task, name },
            Event::SystemCall { name, fd: signed, bytes: short, result: !signed, took_ns: !short },
            Event::SpanBegin { task, span: other, name },
            Event::SpanEnd { task, span: other },
            Event::IoReady { token: task, readable: flag, writable: !flag, closed: false },
            Event::IoReady { token: task, readable: !flag, writable: flag, closed: true },
        ];
        for outcome in [Outcome::Pending, Outcome::Ready, Outcome::Panicked, Outcome::Cancelled] {
            events.push(Event::PollEnd { task, outcome });
        }
        events
    }

    #[test]
    fn every_variant_comes_back_as_it_was() {
        let mut kinds = std::collections::BTreeSet::new();
        for number in [0, 1, u64::MAX, 0x0123_4567_89AB_CDEF, 1 << 63, u64::from(u32::MAX)] {
            for event in every_event(number) {
                let record = Record { time_ns: number.rotate_left(7), event };
                let words = pack(record);
                assert_eq!(unpack(words), Some(record));
                kinds.insert(words[1] as u8);
            }
        }
        assert!(kinds.into_iter().eq(1..=15), "a variant is missing in `every_event`");
    }

    #[test]
    fn a_record_takes_32_bytes() {
        assert_eq!(WORDS * size_of::<u64>(), 32);
    }

    #[test]
    fn words_of_no_record_are_none() {
        for kinds in [0, 16, 255, 3 | 4 << 8] {
            assert_eq!(unpack([0, kinds, 0, 0]), None);
        }
    }
}
