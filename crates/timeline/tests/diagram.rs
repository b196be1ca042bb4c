//! From events to lanes, boxes, pauses and arrows: tables of cases.

mod common;

use bifilar_timeline::Diagram;
use common::{describe, parse};

/// Each case: what it shows, a recording, and the diagram. Lines are compared without indentation.
fn check(cases: &[(&str, &str, &str)]) {
    for (about, recording, expected) in cases {
        let found = describe(&Diagram::from(&parse(recording)));
        let lines = |text: &str| -> Vec<String> {
            text.lines().map(|line| line.trim().to_owned()).filter(|l| !l.is_empty()).collect()
        };
        assert_eq!(lines(&found), lines(expected), "{about}; found:\n{found}");
    }
}

#[test]
fn calls_stand_on_their_callers() {
    check(&[
        ("nothing", "", ""),
        ("a thread without records has no lane", "thread main", ""),
        (
            "spans and system calls of a thread",
            "thread main
             0 span-begin task=0 span=1 name=main
             10 span-begin task=0 span=2 name=fetch
             30 system-call fd=5 bytes=0 result=0 took=15 name=connect
             50 span-end task=0 span=2
             60 system-call fd=1 bytes=9 result=9 took=5 name=write
             70 span-end task=0 span=1",
            "main (thread)
             0 [0 70] main (span)
             1 [10 50] fetch (span)
             1 [55 60] write (call)
             2 [15 30] connect (call)",
        ),
        (
            "each thread has a lane",
            "thread one
             0 span-begin task=0 span=1 name=a
             5 span-end task=0 span=1
             thread two
             3 span-begin task=0 span=2 name=b
             9 span-end task=0 span=2",
            "one (thread)
             0 [0 5] a (span)
             two (thread)
             0 [3 9] b (span)",
        ),
        (
            "what has no name is called by its kind",
            "thread main
             0 span-begin task=0 span=7 name=
             4 system-call fd=5 bytes=0 result=0 took=2 name=
             5 span-end task=0 span=7",
            "main (thread)
             0 [0 5] span 7 (span)
             1 [2 4] system call (call)",
        ),
        (
            "what takes no time is a box all the same",
            "thread main
             5 span-begin task=0 span=1 name=a
             5 system-call fd=5 bytes=0 result=0 took=0 name=getpid
             5 span-end task=0 span=1",
            "main (thread)
             0 [5 5] a (span)
             1 [5 5] getpid (call)",
        ),
        (
            "the same span may be entered within itself",
            "thread main
             0 span-begin task=0 span=1 name=a
             1 span-begin task=0 span=1 name=a
             2 span-end task=0 span=1
             3 span-end task=0 span=1",
            "main (thread)
             0 [0 3] a (span)
             1 [1 2] a (span)",
        ),
        (
            "a span that is left late stays where it was, and others go on top of it",
            "thread main
             0 span-begin task=0 span=1 name=a
             1 span-begin task=0 span=2 name=b
             2 span-end task=0 span=1
             3 span-begin task=0 span=3 name=c
             4 span-end task=0 span=3
             5 span-end task=0 span=2
             6 span-begin task=0 span=4 name=d
             7 span-end task=0 span=4",
            "main (thread)
             0 [0 2] a (span)
             0 [6 7] d (span)
             1 [1 5] b (span)
             2 [3 4] c (span)",
        ),
        (
            "a system call doesn't reach back over its caller or the call before it",
            "thread main
             10 span-begin task=0 span=1 name=a
             20 system-call fd=5 bytes=0 result=0 took=500 name=read
             30 system-call fd=5 bytes=0 result=0 took=500 name=read
             40 span-end task=0 span=1",
            "main (thread)
             0 [10 40] a (span)
             1 [10 20] read (call)
             1 [20 30] read (call)",
        ),
    ]);
}

#[test]
fn a_task_has_a_lane_and_pauses() {
    check(&[
        (
            "a fiber keeps its stack while it waits",
            "thread worker 0
             0 poll-begin task=7 stack=3
             5 span-begin task=7 span=1 name=fetch
             9 stack-suspend task=7 stack=3 name=readable
             30 wake from=0 to=7
             35 stack-resume task=7 stack=3
             40 span-end task=7 span=1
             45 poll-end task=7 outcome=ready",
            "worker 0 (worker)
             0 [0 9] task 7 (runs)
             0 [35 45] task 7 (runs)
             task 7 (task 7)
             0 [0 45] task 7 (task, ready)
             1 [5 40] fetch (span)
             0+2 [9 35] kept woken 30 readable
             30 worker 0 wakes task 7",
        ),
        (
            "a span begins in one poll and ends in another",
            "thread worker 0
             0 poll-begin task=7 stack=0
             5 span-begin task=7 span=1 name=fetch
             9 poll-end task=7 outcome=pending
             20 poll-begin task=7 stack=0
             25 span-end task=7 span=1
             30 poll-end task=7 outcome=ready",
            "worker 0 (worker)
             0 [0 9] task 7 (runs)
             0 [20 30] task 7 (runs)
             task 7 (task 7)
             0 [0 30] task 7 (task, ready)
             1 [5 25] fetch (span)
             0+2 [9 20] put away",
        ),
        (
            "a span that is left and entered again by each poll is one call",
            "thread worker 0
             0 poll-begin task=7 stack=0
             1 span-begin task=7 span=1 name=fetch
             2 span-begin task=7 span=2 name=connect
             3 span-end task=7 span=2
             4 span-end task=7 span=1
             5 poll-end task=7 outcome=pending
             17 wake from=0 to=7
             20 poll-begin task=7 stack=0
             21 span-begin task=7 span=1 name=fetch
             22 span-begin task=7 span=3 name=write
             23 span-end task=7 span=3
             24 span-end task=7 span=1
             25 poll-end task=7 outcome=ready",
            "worker 0 (worker)
             0 [0 5] task 7 (runs)
             0 [20 25] task 7 (runs)
             task 7 (task 7)
             0 [0 25] task 7 (task, ready)
             1 [1 24] fetch (span)
             2 [2 3] connect (span)
             2 [22 23] write (span)
             1+1 [4 21] put away woken 17
             0+1 [5 20] put away woken 17
             17 worker 0 wakes task 7",
        ),
        (
            "entered twice in one poll, it is two",
            "thread worker 0
             0 poll-begin task=7 stack=0
             1 span-begin task=7 span=1 name=a
             2 span-end task=7 span=1
             3 span-begin task=7 span=1 name=a
             4 span-end task=7 span=1
             5 poll-end task=7 outcome=ready",
            "worker 0 (worker)
             0 [0 5] task 7 (runs)
             task 7 (task 7)
             0 [0 5] task 7 (task, ready)
             1 [1 2] a (span)
             1 [3 4] a (span)",
        ),
        (
            "from its spawn to its first poll a task is ready",
            "thread worker 0
             0 poll-begin task=1 stack=0
             2 spawn task=2 parent=1 name=child
             4 poll-end task=1 outcome=ready
             9 poll-begin task=2 stack=0
             10 poll-end task=2 outcome=ready",
            "worker 0 (worker)
             0 [0 4] task 1 (runs)
             0 [9 10] child (runs)
             task 1 (task 1)
             0 [0 4] task 1 (task, ready)
             child (task 2)
             0 [2 10] child (task, ready)
             0+1 [2 9] put away woken 2
             2 task 1 spawns child",
        ),
        (
            "a task that is woken while it runs is ready at once",
            "thread worker 0
             0 poll-begin task=7 stack=0
             2 wake from=7 to=7
             4 poll-end task=7 outcome=pending
             6 poll-begin task=7 stack=0
             8 poll-end task=7 outcome=pending",
            "worker 0 (worker)
             0 [0 4] task 7 (runs)
             0 [6 8] task 7 (runs)
             task 7 (task 7)
             0 [0 8» task 7 (task)
             0+1 [4 6] put away woken 4
             0+1 [8 8» put away
             2 task 7 wakes task 7",
        ),
        (
            "a task moves to another worker",
            "thread worker 0
             0 poll-begin task=7 stack=0
             5 poll-end task=7 outcome=pending
             thread worker 1
             6 wake from=0 to=7
             9 poll-begin task=7 stack=4
             12 system-call fd=5 bytes=1 result=1 took=2 name=read
             15 poll-end task=7 outcome=ready",
            "worker 0 (worker)
             0 [0 5] task 7 (runs)
             worker 1 (worker)
             0 [9 15] task 7 (runs)
             task 7 (task 7)
             0 [0 15] task 7 (task, ready)
             1 [10 12] read (call)
             0+1 [5 9] put away woken 6
             6 worker 1 wakes task 7",
        ),
        (
            "all that a task had open ends with it, and its number may be used again",
            "thread worker 0
             0 poll-begin task=7 stack=0
             1 span-begin task=7 span=1 name=a
             2 poll-end task=7 outcome=panicked
             5 poll-begin task=7 stack=0
             6 poll-end task=7 outcome=cancelled",
            "worker 0 (worker)
             0 [0 2] task 7 (runs)
             0 [5 6] task 7 (runs)
             task 7 (task 7)
             0 [0 2] task 7 (task, panicked)
             0 [5 6] task 7 (task, cancelled)
             1 [1 2] a (span)",
        ),
        (
            "a suspended task is cancelled without running",
            "thread worker 0
             0 poll-begin task=7 stack=0
             2 poll-end task=7 outcome=pending
             8 poll-end task=7 outcome=cancelled",
            "worker 0 (worker)
             0 [0 2] task 7 (runs)
             task 7 (task 7)
             0 [0 8] task 7 (task, cancelled)
             0+1 [2 8] put away",
        ),
    ]);
}

#[test]
fn threads_of_the_runtime_say_what_they_do() {
    check(&[
        (
            "a worker sleeps, and is told of sources and timers",
            "thread worker 0
             0 worker-park worker=0
             20 system-call fd=3 bytes=0 result=1 took=18 name=epoll_wait
             22 worker-unpark worker=0
             23 io-ready token=4 readable=true writable=false closed=true
             24 timer-fired deadline=23",
            "worker 0 (worker)
             0 [0 22] parked (sleeps)
             1 [2 20] epoll_wait (call)
             @23 source 4 is readable closed
             @24 timer fired",
        ),
        (
            "a call on the blocking pool is in the lane of its thread, and so is what it calls",
            "thread worker 0
             0 poll-begin task=1 stack=0
             1 spawn task=2 parent=1 name=unblock
             3 poll-end task=1 outcome=pending
             thread pool 0
             5 blocking-begin task=2 name=read_to_string
             6 span-begin task=2 span=1 name=inside
             9 system-call fd=3 bytes=9 result=9 took=2 name=read
             10 span-end task=2 span=1
             11 wake from=2 to=1
             12 blocking-end task=2 name=read_to_string",
            "worker 0 (worker)
             0 [0 3] task 1 (runs)
             pool 0 (pool)
             0 [5 12] read_to_string (blocking)
             1 [6 10] inside (span)
             2 [7 9] read (call)
             task 1 (task 1)
             0 [0 12» task 1 (task)
             0+1 [3 12» put away woken 11
             11 pool 0 wakes task 1",
        ),
        (
            "a span of the loop's stands in the worker's lane",
            "thread worker 0
             0 poll-begin task=1 stack=0
             2 span-begin task=0 span=1 name=hook
             3 span-end task=0 span=1
             5 poll-end task=1 outcome=ready",
            "worker 0 (worker)
             0 [0 5] task 1 (runs)
             1 [2 3] hook (span)
             task 1 (task 1)
             0 [0 5] task 1 (task, ready)",
        ),
        (
            "a wake-up of nobody that is known has no arrow",
            "thread worker 0
             0 wake from=0 to=0
             1 worker-park worker=0",
            "worker 0 (worker)
             0 [1 1» parked (sleeps)",
        ),
        (
            "a task that is only woken has a lane, for the arrow to end in",
            "thread worker 0
             0 wake from=3 to=4",
            "task 4 (task 4)
             task 3 (task 3)
             0 task 3 wakes task 4",
        ),
    ]);
}

#[test]
fn recordings_are_cut_at_both_ends() {
    check(&[
        (
            "what ends without having begun was open from the start of its track",
            "thread worker 0
             lost 9
             100 system-call fd=5 bytes=0 result=0 took=10 name=read
             110 span-end task=7 span=2
             120 span-end task=7 span=1
             130 poll-end task=7 outcome=ready",
            "worker 0 (worker, lost 9)
             0 «90 130] task 7 (runs)
             task 7 (task 7)
             0 «90 130] task 7 (task, ready)
             1 «90 120] span 1 (span)
             2 «90 110] span 2 (span)
             3 [90 100] read (call)",
        ),
        (
            "what hasn't ended is open to the end of the recording",
            "thread worker 0
             0 poll-begin task=7 stack=0
             5 span-begin task=7 span=1 name=a
             thread main
             90 span-begin task=0 span=2 name=b",
            "worker 0 (worker)
             0 [0 90» task 7 (runs)
             main (thread)
             0 [90 90» b (span)
             task 7 (task 7)
             0 [0 90» task 7 (task)
             1 [5 90» a (span)",
        ),
        (
            "a stack that resumes was suspended from the start",
            "thread main
             0 span-begin task=0 span=1 name=main
             thread worker 0
             lost 3
             50 stack-resume task=7 stack=1
             60 poll-end task=7 outcome=ready",
            "main (thread)
             0 [0 60» main (span)
             worker 0 (worker, lost 3)
             0 [50 60] task 7 (runs)
             task 7 (task 7)
             0 «0 60] task 7 (task, ready)
             0+1 [0 50] kept",
        ),
        (
            "a worker was asleep, and a call of the pool under way",
            "thread worker 0
             lost 1
             10 worker-unpark worker=0
             20 worker-park worker=0
             thread pool 0
             lost 1
             5 wake from=0 to=0
             15 blocking-end task=2 name=stat",
            "worker 0 (worker, lost 1)
             0 «10 10] parked (sleeps)
             0 [20 20» parked (sleeps)
             pool 0 (pool, lost 1)
             0 «5 15] stat (blocking)",
        ),
        (
            "a poll began on one worker, whose ring forgot it, after one that another still knows",
            "thread worker 0
             0 poll-begin task=7 stack=0
             10 poll-end task=7 outcome=pending
             thread worker 1
             lost 5
             30 system-call fd=5 bytes=0 result=0 took=4 name=read
             40 poll-end task=7 outcome=ready",
            "worker 0 (worker)
             0 [0 10] task 7 (runs)
             worker 1 (worker, lost 5)
             0 «26 40] task 7 (runs)
             task 7 (task 7)
             0 [0 40] task 7 (task, ready)
             1 [26 30] read (call)
             0+1 [10 26] put away",
        ),
        (
            "a span's name is known from another time it was entered",
            "thread main
             lost 1
             10 span-end task=0 span=5
             20 span-begin task=0 span=5 name=tick
             30 span-end task=0 span=5",
            "main (thread, lost 1)
             0 «10 10] tick (span)
             0 [20 30] tick (span)",
        ),
    ]);
}

#[test]
fn what_contradicts_itself_is_fitted_in() {
    check(&[
        (
            "a poll begins while another is under way",
            "thread worker 0
             0 poll-begin task=1 stack=0
             5 poll-begin task=2 stack=0
             9 poll-end task=1 outcome=ready
             10 poll-end task=2 outcome=ready",
            "worker 0 (worker)
             0 [0 5] task 1 (runs)
             0 [5 10] task 2 (runs)
             task 1 (task 1)
             0 [0 9] task 1 (task, ready)
             0+1 [5 9] put away
             task 2 (task 2)
             0 [5 10] task 2 (task, ready)",
        ),
        (
            "at one time a task ends a poll here and begins one there",
            "thread worker 1
             10 poll-begin task=7 stack=0
             20 poll-end task=7 outcome=ready
             thread worker 0
             0 poll-begin task=7 stack=0
             10 poll-end task=7 outcome=pending",
            "worker 1 (worker)
             0 [10 20] task 7 (runs)
             worker 0 (worker)
             0 [0 10] task 7 (runs)
             task 7 (task 7)
             0 [0 20] task 7 (task, ready)
             0+1 [10 10] put away",
        ),
        (
            "ends that fit nothing",
            "thread worker 0
             0 worker-park worker=0
             5 worker-unpark worker=0
             6 poll-end task=7 outcome=pending
             7 stack-suspend task=8 stack=0 name=x",
            "worker 0 (worker)
             0 [0 5] parked (sleeps)",
        ),
        (
            "a span of a task that was never polled",
            "thread main
             0 span-begin task=7 span=1 name=a
             5 span-end task=7 span=1",
            "task 7 (task 7)
             0 [0 5» task 7 (task)
             1 [0 5] a (span)",
        ),
        (
            "a span is entered in a task and left outside",
            "thread worker 0
             0 poll-begin task=7 stack=0
             1 span-begin task=7 span=1 name=a
             2 span-end task=0 span=1
             3 poll-end task=7 outcome=ready",
            "worker 0 (worker)
             0 [0 3] task 7 (runs)
             task 7 (task 7)
             0 [0 3] task 7 (task, ready)
             1 [1 2] a (span)",
        ),
    ]);
}

#[test]
fn a_part_of_a_diagram_is_cut_at_its_edges() {
    let whole = Diagram::from(&parse(
        "thread worker 0
         0 poll-begin task=1 stack=0
         5 span-begin task=1 span=1 name=a
         6 span-end task=1 span=1
         10 stack-suspend task=1 stack=0 name=readable
         20 io-ready token=1 readable=true writable=false closed=false
         21 wake from=0 to=1
         30 stack-resume task=1 stack=0
         40 poll-end task=1 outcome=ready
         thread late
         35 span-begin task=0 span=2 name=b
         40 span-end task=0 span=2",
    ));
    for (start, end, expected) in [
        (
            8,
            25,
            "worker 0 (worker)
               0 «8 10] task 1 (runs)
               @20 source 1 is readable
             task 1 (task 1)
               0 «8 25» task 1 (task, ready)
               0+1 [10 25» kept woken 21 readable
             21 worker 0 wakes task 1",
        ),
        (
            22,
            26,
            "task 1 (task 1)
               0 «22 26» task 1 (task, ready)
               0+1 [22 26» kept woken 22 readable",
        ),
        (
            12,
            19,
            "task 1 (task 1)
               0 «12 19» task 1 (task, ready)
               0+1 [12 19» kept readable",
        ),
        (90, 80, ""),
    ] {
        let part = whole.clone().between(start, end);
        let lines = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join("\n");
        assert_eq!(lines(&describe(&part)), lines(expected), "{start} {end}");
        assert_eq!((part.start_ns, part.end_ns), (start, end.max(start)));
    }
    let more = whole.clone().between(0, 100);
    assert_eq!((&more.boxes, &more.pauses), (&whole.boxes, &whole.pauses));
}
