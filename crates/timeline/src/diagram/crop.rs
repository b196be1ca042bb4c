//! A part of a diagram, as a diagram.

use super::{Diagram, Lane};

impl Diagram {
    /// What happened from one time to another, in nanoseconds on the clock of the recorder: a part
    /// of it, or also more than all of it, so that several pictures have the same scale.
    ///
    /// Boxes that reach out of it are cut there; lanes in which nothing is left are left out. If
    /// the end is before the start, it is taken to be the start.
    ///
    /// ```
    /// # use bifilar_timeline::{Diagram, Recording};
    /// let recording: Recording = "\
    /// thread main
    /// 0 span-begin task=0 span=1 name=fetch
    /// 90 span-end task=0 span=1
    /// thread other
    /// 50 span-begin task=0 span=2 name=other
    /// 60 span-end task=0 span=2
    /// ".parse()?;
    /// let first = Diagram::from(&recording).between(0, 30);
    /// assert_eq!((first.lanes.len(), first.boxes.len()), (1, 1));
    /// assert_eq!((first.boxes[0].end_ns, first.boxes[0].cut_end), (30, true));
    /// # Ok::<(), bifilar_timeline::ParseError>(())
    /// ```
    pub fn between(mut self, start_ns: u64, end_ns: u64) -> Self {
        let end_ns = end_ns.max(start_ns);
        let meets = |from: u64, to: u64| match from == to {
            true => (start_ns..=end_ns).contains(&from),
            false => from < end_ns && to > start_ns,
        };
        let within = |time_ns: u64| (start_ns..=end_ns).contains(&time_ns);
        self.boxes.retain(|drawn| meets(drawn.start_ns, drawn.end_ns));
        for drawn in &mut self.boxes {
            drawn.cut_start |= drawn.start_ns < start_ns;
            drawn.cut_end |= drawn.end_ns > end_ns;
            drawn.start_ns = drawn.start_ns.clamp(start_ns, end_ns);
            drawn.end_ns = drawn.end_ns.clamp(start_ns, end_ns);
        }
        self.pauses.retain(|pause| meets(pause.start_ns, pause.end_ns));
        for pause in &mut self.pauses {
            pause.cut_end |= pause.end_ns > end_ns;
            pause.woken_ns = pause.woken_ns.filter(|woken| *woken <= end_ns);
            pause.woken_ns = pause.woken_ns.map(|woken| woken.max(start_ns));
            pause.start_ns = pause.start_ns.clamp(start_ns, end_ns);
            pause.end_ns = pause.end_ns.clamp(start_ns, end_ns);
        }
        self.arrows.retain(|arrow| within(arrow.time_ns));
        self.marks.retain(|mark| within(mark.time_ns));
        (self.start_ns, self.end_ns) = (start_ns, end_ns);

        for lane in &mut self.lanes {
            lane.rows = 0;
        }
        for drawn in &self.boxes {
            let lane = &mut self.lanes[drawn.lane];
            lane.rows = lane.rows.max(drawn.row + 1);
        }
        leave_out_empty_lanes(&mut self, |_| false);
        self
    }
}

/// Leaves out the lanes in which nothing is drawn, unless `keep` says otherwise.
pub(super) fn leave_out_empty_lanes(diagram: &mut Diagram, keep: impl Fn(&Lane) -> bool) {
    let mut used: Vec<bool> =
        diagram.lanes.iter().map(|lane| lane.rows > 0 || keep(lane)).collect();
    for lane in diagram.arrows.iter().flat_map(|arrow| [arrow.from, arrow.to]) {
        used[lane] = true;
    }
    for mark in &diagram.marks {
        used[mark.lane] = true;
    }
    let numbers: Vec<usize> = used
        .iter()
        .scan(0, |next, used| {
            let number = *next;
            *next += usize::from(*used);
            Some(number)
        })
        .collect();
    let mut used = used.into_iter();
    diagram.lanes.retain(|_| used.next().unwrap_or(true));
    for drawn in &mut diagram.boxes {
        drawn.lane = numbers[drawn.lane];
    }
    for pause in &mut diagram.pauses {
        pause.lane = numbers[pause.lane];
    }
    for arrow in &mut diagram.arrows {
        (arrow.from, arrow.to) = (numbers[arrow.from], numbers[arrow.to]);
    }
    for mark in &mut diagram.marks {
        mark.lane = numbers[mark.lane];
    }
}
