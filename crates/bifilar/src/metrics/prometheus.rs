//! The text that Prometheus reads: its exposition format, version 0.0.4.
//!
//! Every name begins with `bifilar_` and every sample bears the runtime's name. Counters end in `_total`;
//! times are in seconds, whatever they were counted in.

use super::{GuardKind, Histogram, Metrics, TaskMetrics, WorkerMetrics};
use std::fmt::{self, Display, Formatter};

impl Display for Metrics {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let runtime = format!("runtime=\"{}\"", Escaped(&self.runtime));
        let mut page = Page { f, runtime: &runtime };
        self.tasks(&mut page)?;
        self.workers(&mut page)?;
        self.histograms(&mut page)?;
        self.others(&mut page)
    }
}

impl Metrics {
    fn tasks(&self, page: &mut Page<'_, '_>) -> fmt::Result {
        let kinds = [
            ("async", self.async_tasks),
            ("fiber", self.fibers),
            ("blocking", self.blocking_calls),
        ];
        page.head("tasks", GAUGE, "Tasks that have not ended.")?;
        for (kind, tasks) in &kinds {
            page.sample("tasks", &[("kind", kind)], tasks.alive())?;
        }
        page.head("tasks_spawned_total", COUNTER, "Tasks that were spawned.")?;
        for (kind, tasks) in &kinds {
            page.sample("tasks_spawned_total", &[("kind", kind)], tasks.spawned)?;
        }
        page.head("tasks_finished_total", COUNTER, "Tasks that have ended, by how they did.")?;
        for (kind, TaskMetrics { returned, panicked, cancelled, .. }) in &kinds {
            let outcomes =
                [("returned", returned), ("panicked", panicked), ("cancelled", cancelled)];
            for (outcome, count) in outcomes {
                let labels = [("kind", *kind), ("outcome", outcome)];
                page.sample("tasks_finished_total", &labels, count)?;
            }
        }
        Ok(())
    }

    fn workers(&self, page: &mut Page<'_, '_>) -> fmt::Result {
        type Number = fn(&WorkerMetrics) -> f64;
        let families: [(&str, &str, &str, Number); 13] = [
            ("polls_total", COUNTER, "Polls of tasks.", |worker| worker.polls as f64),
            ("suspensions_total", COUNTER, "Stacks that were suspended.", |worker| {
                worker.suspensions as f64
            }),
            ("steals_total", COUNTER, "Takings of tasks from another worker.", |worker| {
                worker.steals as f64
            }),
            ("stolen_tasks_total", COUNTER, "Tasks taken from another worker.", |worker| {
                worker.stolen_tasks as f64
            }),
            ("parks_total", COUNTER, "Times the worker went to sleep.", |worker| {
                worker.parks as f64
            }),
            ("busy_seconds_total", COUNTER, "Time the worker was at work.", |worker| {
                worker.busy.as_secs_f64()
            }),
            ("stalls_total", COUNTER, "Times the watchdog found it held up.", |worker| {
                worker.stalls as f64
            }),
            ("events_total", COUNTER, "Events from the operating system.", |worker| {
                worker.events as f64
            }),
            ("parked", GAUGE, "1 while the worker sleeps.", |worker| {
                f64::from(u8::from(worker.is_parked))
            }),
            ("queued", GAUGE, "Tasks in its queue that others may steal.", |worker| {
                worker.queued as f64
            }),
            ("queued_local", GAUGE, "Tasks and stacks that only it may run.", |worker| {
                worker.queued_local as f64
            }),
            ("spare_stacks", GAUGE, "Warm stacks that it keeps for itself.", |worker| {
                worker.spare_stacks as f64
            }),
            ("event_waits_total", COUNTER, "Looks at the event queue.", |worker| {
                worker.events_per_wait.count() as f64
            }),
        ];
        for (name, kind, help, number) in families {
            let name = format!("worker_{name}");
            page.head(&name, kind, help)?;
            for (index, worker) in self.workers.iter().enumerate() {
                page.sample(&name, &[("worker", &index.to_string())], number(worker))?;
            }
        }
        Ok(())
    }

    fn histograms(&self, page: &mut Page<'_, '_>) -> fmt::Result {
        type Place = fn(&WorkerMetrics) -> Option<&Histogram>;
        let families: [(&str, f64, &str, Place); 3] = [
            ("worker_events_per_wait", 1.0, "Events that a look at the event queue found.", |w| {
                Some(&w.events_per_wait)
            }),
            ("worker_latency_seconds", 1e9, "From being queued to being run.", |w| {
                w.latency.as_ref()
            }),
            ("worker_run_seconds", 1e9, "From being run to giving way.", |w| w.runs.as_ref()),
        ];
        for (name, per_unit, help, place) in families {
            let mut histograms = self.workers.iter().filter_map(place).enumerate().peekable();
            if histograms.peek().is_some() {
                page.head(name, "histogram", help)?;
            }
            for (index, histogram) in histograms {
                page.histogram(name, &index.to_string(), per_unit, histogram)?;
            }
        }
        Ok(())
    }

    fn others(&self, page: &mut Page<'_, '_>) -> fmt::Result {
        let (stacks, pool) = (&self.stacks, &self.blocking_pool);
        let gauges = [
            ("workers", "Threads that run tasks.", self.workers.len()),
            ("injected", "Tasks in the queue that all workers share.", self.injected),
            ("stacks_in_use", "Stacks that workers hold.", stacks.in_use),
            ("stacks_peak", "The most stacks that workers ever held.", stacks.peak),
            ("stacks_cached", "Stacks that are warm, and nobody's.", stacks.cached),
            ("stacks_reserved_bytes", "Address space of stacks.", stacks.reserved_bytes),
            ("blocking_threads", "Threads for calls that block for real.", pool.threads),
            ("blocking_threads_idle", "Those that have nothing to do.", pool.idle),
            ("blocking_queued", "Calls that block and have not begun.", pool.queued),
        ];
        for (name, help, value) in gauges {
            page.head(name, GAUGE, help)?;
            page.sample(name, &[], value)?;
        }
        page.head("uptime_seconds", GAUGE, "How long ago the runtime was made.")?;
        page.sample("uptime_seconds", &[], self.uptime.as_secs_f64())?;
        page.head("stack_guards_info", GAUGE, "How stacks are guarded; always 1.")?;
        let kind = match stacks.guards {
            GuardKind::Madvise => "madvise",
            GuardKind::Mprotect => "mprotect",
        };
        page.sample("stack_guards_info", &[("kind", kind)], 1)
    }
}

const COUNTER: &str = "counter";
const GAUGE: &str = "gauge";

struct Page<'p, 'f> {
    f: &'p mut Formatter<'f>,
    /// The label that every sample has.
    runtime: &'p str,
}

impl Page<'_, '_> {
    fn head(&mut self, name: &str, kind: &str, help: &str) -> fmt::Result {
        writeln!(self.f, "# HELP bifilar_{name} {help}\n# TYPE bifilar_{name} {kind}")
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) -> fmt::Result {
        write!(self.f, "bifilar_{name}{{{}", self.runtime)?;
        for (label, value) in labels {
            write!(self.f, ",{label}=\"{value}\"")?;
        }
        writeln!(self.f, "}} {value}")
    }

    fn histogram(
        &mut self,
        name: &str,
        worker: &str,
        per_unit: f64,
        histogram: &Histogram,
    ) -> fmt::Result {
        let (bucket, mut seen) = (format!("{name}_bucket"), 0);
        for (bound, count) in histogram.buckets() {
            seen += count;
            let bound = bound.map_or("+Inf".into(), |bound| (bound as f64 / per_unit).to_string());
            self.sample(&bucket, &[("worker", worker), ("le", &bound)], seen)?;
        }
        let sum = histogram.sum() as f64 / per_unit;
        self.sample(&format!("{name}_sum"), &[("worker", worker)], sum)?;
        self.sample(&format!("{name}_count"), &[("worker", worker)], seen)
    }
}

/// The value of a label, as it stands between quotes.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for part in self.0.split_inclusive(['\\', '"', '\n']) {
            match part.as_bytes().last() {
                Some(b'\\') => write!(f, "{part}\\")?,
                Some(b'"') => write!(f, "{}\\\"", &part[..part.len() - 1])?,
                Some(b'\n') => write!(f, "{}\\n", &part[..part.len() - 1])?,
                _ => f.write_str(part)?,
            }
        }
        Ok(())
    }
}
