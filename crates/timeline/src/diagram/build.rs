//! From events to boxes: follows the story and keeps, for each lane, the boxes that are open.
//!
//! ```text
//!  track (a thread)                      task
//!   current task ──────────────────────►  lane: open boxes, row 0 at the bottom
//!   lane: open boxes                      pause that is going on, if it is suspended
//! ```
//!
//! | event | its thread's lane | its task's lane |
//! |---|---|---|
//! | poll begins, stack resumes | a box with the name of the task | the pause ends |
//! | poll ends, stack is suspended | that box ends | a pause begins over all open boxes |
//! | the task ends | that box ends | all boxes end |
//! | span, system call | a box, if no task is concerned | a box atop the open ones |
//! | call on the blocking pool, park | a box | |
//!
//! What contradicts the story so far is fitted in or ignored, never trusted: a poll that begins
//! while another is under way ends that one, an end that fits nothing does nothing.

use super::crop::leave_out_empty_lanes;
use super::orphans::{Opening, Step, began_ns, story};
use super::{Arrow, ArrowKind, BoxKind, Diagram, Lane, LaneKind, Mark, Pause, PauseKind, TimeBox};
use crate::event::{Event, NO_TASK, Name, Outcome, StackId, TaskId};
use crate::recording::{Recording, Track};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

pub(super) fn build(recording: &Recording) -> Diagram {
    let records = || recording.threads.iter().flat_map(|track| &track.events);
    let mut builder =
        Builder { start_ns: records().map(began_ns).min().unwrap_or(0), ..Builder::new(recording) };
    for (time_ns, track, step) in story(recording) {
        match step {
            Step::Open(opening) => builder.open(time_ns, track, opening),
            Step::Event(event) => builder.event(time_ns, track, event),
        }
    }
    builder.finish(records().map(|record| record.time_ns).max().unwrap_or(0))
}

struct Builder<'a> {
    recording: &'a Recording,
    start_ns: u64,
    lanes: Vec<Lane>,
    /// For each lane, what is open.
    stacks: Vec<Stack>,
    boxes: Vec<TimeBox>,
    pauses: Vec<Pause>,
    arrows: Vec<Arrow>,
    marks: Vec<Mark>,
    tracks: Vec<TrackState>,
    tasks: HashMap<TaskId, TaskState>,
    /// Tasks that run on the blocking pool, and so have no lane of their own.
    pooled: HashSet<TaskId>,
    /// The open boxes of each span number.
    open_spans: HashMap<u64, Vec<usize>>,
    span_names: HashMap<u64, Name>,
}

/// The boxes of a lane that are open, as indices.
#[derive(Default)]
struct Stack {
    /// By row. A box that ends under others leaves a hole.
    open: Vec<Option<usize>>,
    /// By row: the end of the newest box that is closed.
    ended_ns: Vec<u64>,
    /// The end of the newest pause.
    resumed_ns: u64,
}

/// What a thread is doing. Its lane has its own number.
#[derive(Clone, Default)]
struct TrackState {
    current: Option<TaskId>,
    run: Option<usize>,
    parked: Option<usize>,
    blocking: Vec<usize>,
}

#[derive(Default)]
struct TaskState {
    name: Option<Arc<str>>,
    lane: Option<usize>,
    /// The lane of the pool thread that runs it.
    pool_lane: Option<usize>,
    running_on: Option<usize>,
    pause: Option<usize>,
    /// The newest pause that has ended.
    paused: Option<usize>,
    /// It was woken while it was running.
    woken: bool,
    /// Spans that were left in this poll, and in the one before: `(span, row)` to box.
    left: HashMap<(u64, usize), usize>,
    left_before: HashMap<(u64, usize), usize>,
}

impl<'a> Builder<'a> {
    fn new(recording: &'a Recording) -> Self {
        let lanes: Vec<Lane> = recording.threads.iter().map(lane_of_thread).collect();
        let mut pooled = HashSet::new();
        let mut polled = HashSet::new();
        let mut span_names = HashMap::new();
        for record in recording.threads.iter().flat_map(|track| &track.events) {
            match record.event {
                Event::BlockingBegin { task, .. } | Event::BlockingEnd { task, .. } => {
                    pooled.insert(task);
                }
                Event::PollBegin { task, .. }
                | Event::PollEnd { task, .. }
                | Event::StackSuspend { task, .. }
                | Event::StackResume { task, .. } => {
                    polled.insert(task);
                }
                Event::SpanBegin { span, name, .. } => {
                    span_names.insert(span, name);
                }
                _ => {}
            }
        }
        Self {
            recording,
            start_ns: 0,
            stacks: lanes.iter().map(|_| Stack::default()).collect(),
            tracks: vec![TrackState::default(); lanes.len()],
            lanes,
            boxes: Vec::new(),
            pauses: Vec::new(),
            arrows: Vec::new(),
            marks: Vec::new(),
            tasks: HashMap::new(),
            pooled: pooled.difference(&polled).copied().collect(),
            open_spans: HashMap::new(),
            span_names,
        }
    }

    // ── the story ───────────────────────────────────────────────────────────────────────────

    fn open(&mut self, now: u64, track: usize, opening: Opening) {
        let first_box = self.boxes.len();
        match opening {
            Opening::Poll { task } => self.arrive(now, track, task, None),
            Opening::Span { task, span } => {
                let name = self.span_names.get(&span).copied().unwrap_or(Name::NONE);
                self.span_begin(now, track, task, span, name);
            }
            Opening::Blocking { task, name } => self.blocking_begin(now, track, task, name),
            Opening::Parked { worker } => self.park(now, track, worker),
        }
        for opened in &mut self.boxes[first_box..] {
            opened.cut_start = true;
        }
    }

    fn event(&mut self, now: u64, track: usize, event: Event) {
        match event {
            Event::Spawn { task, parent, name } => self.spawn(now, track, (task, parent), name),
            Event::PollBegin { task, stack } => self.arrive(now, track, task, Some(stack)),
            Event::PollEnd { task, outcome: Outcome::Pending } => {
                self.pause(now, track, task, PauseKind::StackPutAway, Name::NONE);
            }
            Event::PollEnd { task, outcome } => self.complete(now, track, task, outcome),
            Event::StackSuspend { task, waits_for, .. } => {
                self.pause(now, track, task, PauseKind::StackKept, waits_for);
            }
            Event::StackResume { task, stack } => {
                if self.task_lane(task).is_some_and(|lane| self.stacks[lane].open.is_empty()) {
                    self.suspended_from_the_start(task);
                }
                self.arrive(now, track, task, Some(stack));
            }
            Event::Wake { from, to } => self.wake(now, track, from, to),
            Event::WorkerPark { worker } => self.park(now, track, worker),
            Event::WorkerUnpark { .. } => self.unpark(now, track),
            Event::IoReady { token, readable, writable, closed } => {
                let mut label = format!("source {token} is");
                for (is, word) in
                    [(readable, " readable"), (writable, " writable"), (closed, " closed")]
                {
                    label += if is { word } else { "" };
                }
                self.marks.push(Mark { lane: track, time_ns: now, label: label.into() });
            }
            Event::TimerFired { .. } => {
                self.marks.push(Mark { lane: track, time_ns: now, label: "timer fired".into() });
            }
            Event::BlockingBegin { task, name } => self.blocking_begin(now, track, task, name),
            Event::BlockingEnd { .. } => {
                if let Some(call) = self.tracks[track].blocking.pop() {
                    self.close_from(call, now);
                }
            }
            Event::SystemCall { name, fd, bytes, result, took_ns } => {
                let kind = BoxKind::SystemCall { fd, bytes, result, took_ns };
                self.system_call(now, track, name, kind);
            }
            Event::SpanBegin { task, span, name } => self.span_begin(now, track, task, span, name),
            Event::SpanEnd { task, span } => self.span_end(now, track, task, span),
        }
    }

    fn spawn(&mut self, now: u64, track: usize, (task, parent): (TaskId, TaskId), name: Name) {
        self.task(task).name = Some(self.text(name)).filter(|name| !name.is_empty());
        if self.pooled.contains(&task) {
            return; // its lane is known when it begins
        }
        let Some(to) = self.task_lane(task) else { return };
        self.lanes[to].name = self.task_name(task).to_string();
        let from = self.home(parent).unwrap_or(track);
        self.arrow(now, ArrowKind::Spawn, from, to);
        if self.stacks[to].open.is_empty() {
            self.push_task(to, task, now);
            self.begin_pause(now, task, PauseKind::StackPutAway, Name::NONE);
            self.woken(now, task);
        }
    }

    /// A task goes on, or begins, on a thread.
    fn arrive(&mut self, now: u64, track: usize, task: TaskId, stack: Option<StackId>) {
        let Some(lane) = self.task_lane(task) else { return };
        if let Some(other) = self.tracks[track].current {
            self.pause(now, track, other, PauseKind::StackPutAway, Name::NONE);
        }
        if let Some(elsewhere) = self.task(task).running_on {
            self.pause(now, elsewhere, task, PauseKind::StackPutAway, Name::NONE);
        }
        self.unpark(now, track);
        if self.stacks[lane].open.is_empty() {
            self.push_task(lane, task, now);
        }
        self.end_pause(now, task);
        let label = self.task_name(task);
        let run = self.push(track, now, label, BoxKind::Run { task, stack });
        self.tracks[track].run = Some(run);
        self.tracks[track].current = Some(task);
        let state = self.task(task);
        state.running_on = Some(track);
        state.woken = false;
    }

    /// A task stops running on a thread. Whether it did run there.
    fn leave(&mut self, now: u64, track: usize, task: TaskId) -> bool {
        if self.tracks[track].current != Some(task) {
            return false;
        }
        self.tracks[track].current = None;
        if let Some(run) = self.tracks[track].run.take() {
            self.close(run, now);
        }
        self.task(task).running_on = None;
        true
    }

    fn pause(&mut self, now: u64, track: usize, task: TaskId, kind: PauseKind, waits_for: Name) {
        if self.leave(now, track, task) {
            self.begin_pause(now, task, kind, waits_for);
            if self.task(task).woken {
                self.woken(now, task);
            }
            if kind == PauseKind::StackPutAway {
                let state = self.task(task);
                state.left_before = std::mem::take(&mut state.left);
            }
        }
    }

    fn complete(&mut self, now: u64, track: usize, task: TaskId, outcome: Outcome) {
        if !self.leave(now, track, task) && self.task(task).pause.is_none() {
            return;
        }
        self.end_pause(now, task);
        let Some(lane) = self.task_lane(task) else { return };
        let life = self.stacks[lane].open.first().copied().flatten();
        if let Some(BoxKind::Task { outcome: end, .. }) =
            life.map(|life| &mut self.boxes[life].kind)
        {
            *end = Some(outcome);
        }
        while let Some(top) = self.stacks[lane].open.iter().rev().find_map(|open| *open) {
            self.close(top, now);
        }
        let state = self.task(task);
        state.left.clear();
        state.left_before.clear();
    }

    fn wake(&mut self, now: u64, track: usize, from: TaskId, to: TaskId) {
        if let Some(lane) = self.home(to) {
            let from = self.home(from).unwrap_or(track);
            self.arrow(now, ArrowKind::Wake, from, lane);
            self.woken(now, to);
        }
    }

    fn woken(&mut self, now: u64, task: TaskId) {
        let state = self.task(task);
        match state.pause {
            Some(pause) => {
                self.pauses[pause].woken_ns.get_or_insert(now);
            }
            None => state.woken = true,
        }
    }

    fn park(&mut self, now: u64, track: usize, worker: u32) {
        self.unpark(now, track);
        let parked = self.push(track, now, "parked".into(), BoxKind::Parked { worker });
        self.tracks[track].parked = Some(parked);
    }

    fn unpark(&mut self, now: u64, track: usize) {
        if let Some(parked) = self.tracks[track].parked.take() {
            self.close(parked, now);
        }
    }

    fn blocking_begin(&mut self, now: u64, track: usize, task: TaskId, name: Name) {
        self.task(task).pool_lane = Some(track);
        let label = match self.text(name) {
            none if none.is_empty() => "blocking call".into(),
            text => text,
        };
        let call = self.push(track, now, label, BoxKind::Blocking { task });
        self.tracks[track].blocking.push(call);
    }

    fn system_call(&mut self, now: u64, track: usize, name: Name, kind: BoxKind) {
        let BoxKind::SystemCall { took_ns, .. } = kind else { return };
        let task = self.tracks[track].current.unwrap_or(NO_TASK);
        let lane = self.lane_of_call(track, task);
        let label = match self.text(name) {
            none if none.is_empty() => "system call".into(),
            text => text,
        };
        // It is recorded when it returns, so it may have begun before what it stands on is known
        // to have begun; there it is cut.
        let stack = &self.stacks[lane];
        let row = stack.open.len();
        let below =
            stack.open.last().copied().flatten().map_or(0, |caller| self.boxes[caller].start_ns);
        let free = stack.ended_ns.get(row).copied().unwrap_or(0);
        let earliest = below.max(free).max(stack.resumed_ns).max(self.start_ns).min(now);
        let start = now.saturating_sub(took_ns.into()).max(earliest);
        let call = self.push(lane, start, label, kind);
        self.boxes[call].cut_start = took_ns == u32::MAX;
        self.close(call, now);
    }

    fn span_begin(&mut self, now: u64, track: usize, task: TaskId, span: u64, name: Name) {
        let lane = self.lane_of_call(track, task);
        if let LaneKind::Task(task) = self.lanes[lane].kind
            && self.stacks[lane].open.is_empty()
        {
            self.push_task(lane, task, now); // its poll isn't in the recording
        }
        let label = match self.text(name) {
            none if none.is_empty() => format!("span {span}").into(),
            text => text,
        };
        let again = self.entered_again(lane, task, span, &label);
        let opened = match again {
            Some(left) => {
                self.reopen(now, task, left);
                left
            }
            None => self.push(lane, now, label, BoxKind::Span { span }),
        };
        self.open_spans.entry(span).or_default().push(opened);
    }

    /// The box of a span that was left at the end of the task's last poll and is entered again in
    /// this one, as those who instrument futures do: it is the same call, suspended meanwhile.
    fn entered_again(
        &mut self,
        lane: usize,
        task: TaskId,
        span: u64,
        label: &str,
    ) -> Option<usize> {
        if self.lanes[lane].kind != LaneKind::Task(task) {
            return None;
        }
        let row = self.stacks[lane].open.len();
        let left = self.task(task).left_before.remove(&(span, row))?;
        let was = &self.boxes[left];
        let row_is_free = self.stacks[lane].ended_ns.get(row) == Some(&was.end_ns);
        (*was.label == *label && row_is_free).then_some(left)
    }

    fn reopen(&mut self, now: u64, task: TaskId, left: usize) {
        let TimeBox { lane, row, end_ns, .. } = self.boxes[left];
        let woken_ns = self.task(task).paused.and_then(|paused| self.pauses[paused].woken_ns);
        self.stacks[lane].open.push(Some(left));
        self.pauses.push(Pause {
            lane,
            row,
            rows: 1,
            start_ns: end_ns,
            end_ns: now,
            woken_ns: woken_ns.map(|woken_ns| woken_ns.clamp(end_ns, now)),
            kind: PauseKind::StackPutAway,
            waits_for: "".into(),
            cut_end: false,
        });
    }

    fn span_end(&mut self, now: u64, track: usize, task: TaskId, span: u64) {
        let lane = self.lane_of_call(track, task);
        let Some(open) = self.open_spans.get(&span) else { return };
        let here = open.iter().rev().find(|opened| self.boxes[**opened].lane == lane);
        // One that was entered elsewhere may be left here.
        let Some(opened) = here.or(open.last()).copied() else { return };
        let row = self.boxes[opened].row as usize;
        self.close(opened, now);
        if let Some(state) = self.tasks.get_mut(&task) {
            state.left.insert((span, row), opened);
        }
    }

    // ── lanes ───────────────────────────────────────────────────────────────────────────────

    fn task(&mut self, task: TaskId) -> &mut TaskState {
        self.tasks.entry(task).or_default()
    }

    fn text(&self, name: Name) -> Arc<str> {
        self.recording.names.get(name.0 as usize).cloned().unwrap_or_default()
    }

    fn task_name(&mut self, task: TaskId) -> Arc<str> {
        let unnamed = || format!("task {task}").into();
        self.task(task).name.get_or_insert_with(unnamed).clone()
    }

    /// The lane of a task, made when it is first asked for; none for no task.
    fn task_lane(&mut self, task: TaskId) -> Option<usize> {
        if task == NO_TASK {
            return None;
        }
        if let Some(lane) = self.task(task).lane {
            return Some(lane);
        }
        let name = self.task_name(task).to_string();
        let lane = self.lanes.len();
        self.lanes.push(Lane { name, kind: LaneKind::Task(task), rows: 0, lost: 0 });
        self.stacks.push(Stack::default());
        self.task(task).lane = Some(lane);
        Some(lane)
    }

    /// Where a task is to be found: in its lane, or on its thread of the blocking pool.
    fn home(&mut self, task: TaskId) -> Option<usize> {
        match self.pooled.contains(&task) {
            true => self.task(task).pool_lane,
            false => self.task_lane(task),
        }
    }

    /// Where a call made on a thread, for a task, is drawn.
    fn lane_of_call(&mut self, track: usize, task: TaskId) -> usize {
        match self.tracks[track].blocking.is_empty() {
            true => self.home(task).unwrap_or(track),
            false => track,
        }
    }

    // ── boxes ───────────────────────────────────────────────────────────────────────────────

    fn push(&mut self, lane: usize, start_ns: u64, label: Arc<str>, kind: BoxKind) -> usize {
        let stack = &mut self.stacks[lane];
        let (index, row) = (self.boxes.len(), stack.open.len());
        stack.open.push(Some(index));
        if stack.ended_ns.len() <= row {
            stack.ended_ns.push(0);
        }
        let row = row as u32;
        self.lanes[lane].rows = self.lanes[lane].rows.max(row + 1);
        let (cut_start, cut_end) = (false, false);
        let end_ns = start_ns;
        self.boxes.push(TimeBox { lane, row, start_ns, end_ns, label, kind, cut_start, cut_end });
        index
    }

    fn push_task(&mut self, lane: usize, task: TaskId, start_ns: u64) -> usize {
        let label = self.task_name(task);
        self.push(lane, start_ns, label, BoxKind::Task { task, outcome: None })
    }

    fn close(&mut self, index: usize, now: u64) {
        let closed = &mut self.boxes[index];
        let stack = &mut self.stacks[closed.lane];
        let row = closed.row as usize;
        if stack.open.get(row) != Some(&Some(index)) {
            return;
        }
        closed.end_ns = now;
        stack.open[row] = None;
        stack.ended_ns[row] = now;
        while stack.open.last() == Some(&None) {
            stack.open.pop();
        }
        if let BoxKind::Span { span } = closed.kind
            && let Some(open) = self.open_spans.get_mut(&span)
            && let Some(at) = open.iter().rposition(|opened| *opened == index)
        {
            open.remove(at);
        }
    }

    /// Closes a box and all that stand on it.
    fn close_from(&mut self, index: usize, now: u64) {
        let TimeBox { lane, row, .. } = self.boxes[index];
        if self.stacks[lane].open.get(row as usize) == Some(&Some(index)) {
            while let Some(top) = self.stacks[lane].open.last().copied().flatten() {
                self.close(top, now);
                if top == index {
                    break;
                }
            }
        }
    }

    // ── pauses and arrows ───────────────────────────────────────────────────────────────────

    fn begin_pause(&mut self, now: u64, task: TaskId, kind: PauseKind, waits_for: Name) {
        let Some(lane) = self.task_lane(task) else { return };
        let rows = self.stacks[lane].open.len() as u32;
        let pause = Pause {
            lane,
            row: 0,
            rows,
            start_ns: now,
            end_ns: now,
            woken_ns: None,
            kind,
            waits_for: self.text(waits_for),
            cut_end: false,
        };
        self.task(task).pause = Some(self.pauses.len());
        self.pauses.push(pause);
    }

    fn end_pause(&mut self, now: u64, task: TaskId) {
        if let Some(pause) = self.task(task).pause.take() {
            self.task(task).paused = Some(pause);
            self.pauses[pause].end_ns = now;
            self.stacks[self.pauses[pause].lane].resumed_ns = now;
        }
    }

    /// The first that is heard of a task is that it goes on.
    fn suspended_from_the_start(&mut self, task: TaskId) {
        let Some(lane) = self.task_lane(task) else { return };
        // Unless it is a number that is used again.
        let earliest = self.stacks[lane].ended_ns.first().copied().unwrap_or(0).max(self.start_ns);
        let life = self.push_task(lane, task, earliest);
        self.boxes[life].cut_start = true;
        self.begin_pause(earliest, task, PauseKind::StackKept, Name::NONE);
    }

    fn arrow(&mut self, time_ns: u64, kind: ArrowKind, from: usize, to: usize) {
        let top = |lane: usize| self.stacks[lane].open.len().saturating_sub(1) as u32;
        let (from_row, to_row) = (top(from), top(to));
        self.arrows.push(Arrow { time_ns, kind, from, from_row, to, to_row });
    }

    fn finish(mut self, end_ns: u64) -> Diagram {
        for stack in &self.stacks {
            for open in stack.open.iter().flatten() {
                let open = &mut self.boxes[*open];
                (open.end_ns, open.cut_end) = (end_ns, true);
            }
        }
        for pause in self.tasks.values().filter_map(|task| task.pause) {
            let pause = &mut self.pauses[pause];
            (pause.end_ns, pause.cut_end) = (end_ns, true);
        }
        let mut diagram = Diagram {
            title: String::new(),
            start_ns: self.start_ns,
            end_ns: end_ns.max(self.start_ns),
            lanes: self.lanes,
            boxes: self.boxes,
            pauses: self.pauses,
            arrows: self.arrows,
            marks: self.marks,
        };
        // A thread that has recorded nothing, and from which nothing was lost, needs no lane.
        leave_out_empty_lanes(&mut diagram, |lane| {
            lane.lost > 0 || matches!(lane.kind, LaneKind::Task(_))
        });
        // Stable: of two boxes at one time, the one that takes none comes first.
        diagram.boxes.sort_by_key(|drawn| (drawn.lane, drawn.row, drawn.start_ns));
        diagram.pauses.sort_by_key(|pause| (pause.lane, pause.start_ns, pause.row));
        diagram
    }
}

fn lane_of_thread(track: &Track) -> Lane {
    let kinds = track.events.iter().filter_map(|record| match record.event {
        Event::PollBegin { .. }
        | Event::PollEnd { .. }
        | Event::StackSuspend { .. }
        | Event::StackResume { .. }
        | Event::WorkerPark { .. }
        | Event::WorkerUnpark { .. } => Some(LaneKind::Worker),
        Event::BlockingBegin { .. } | Event::BlockingEnd { .. } => Some(LaneKind::Pool),
        _ => None,
    });
    let kind = kinds.into_iter().next().unwrap_or(LaneKind::Thread);
    Lane { name: track.name.clone(), kind, rows: 0, lost: track.lost }
}
