//! What the operating system is asked for: cores, CPU time, and what machine this is.

use std::{
    fs, io,
    process::Command,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::{
    process::{Signal, set_parent_process_death_signal},
    thread::{CpuSet, sched_setaffinity},
    time::{ClockId, clock_gettime},
};
use serde_json::{Value, json};

/// A tick of the times in `/proc/PID/stat`; Linux shows them in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

/// Ties this process, and the threads that it will start, to one core.
pub fn pin(core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(None, &set)?)
}

/// Ends this process when the one that started it ends.
pub fn die_with_parent() -> io::Result<()> {
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// CPU time of a process so far: in user space, and in the kernel for it.
pub fn cpu_time(process: u32) -> io::Result<(Duration, Duration)> {
    let text = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The second field is the program's name in parentheses, which may contain anything.
    let fields: Vec<&str> = text[text.rfind(')').unwrap_or(0)..].split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<u32>().ok());
    match (ticks(12), ticks(13)) {
        (Some(user), Some(system)) => Ok((TICK * user, TICK * system)),
        _ => Err(io::Error::other("unexpected format of /proc/PID/stat")),
    }
}

/// CPU time of this process so far, all threads, user space and kernel.
pub fn own_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// What a reader of the figures needs to know about this machine and this build.
pub fn describe() -> Value {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let says = |program: &str, arguments: &[&str]| {
        let output =
            Command::new(program).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
        output.map_or_else(
            |_| "unknown".to_string(),
            |output| String::from_utf8_lossy(&output.stdout).trim().to_string(),
        )
    };
    json!({
        "cpu": cpu.trim_start_matches([' ', '\t', ':']),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "kernel": kernel.trim(),
        "rustc": says("rustc", &["--version"]),
        "commit": says("git", &["describe", "--always", "--dirty"]),
        "load_at_start": load.split_whitespace().next().unwrap_or_default(),
        "versions": versions(),
    })
}

/// The versions of what is compared, from the lock file that this was built with.
fn versions() -> Value {
    let mut found = serde_json::Map::new();
    let mut name = "";
    for line in include_str!("../Cargo.lock").lines() {
        if let Some(text) = line.strip_prefix("name = ") {
            name = text.trim_matches('"');
        } else if let Some(text) = line.strip_prefix("version = ")
            && ["bifilar", "may", "smol", "tokio"].contains(&name)
        {
            found.insert(name.to_string(), text.trim_matches('"').into());
        }
    }
    found.into()
}

/// Seconds since 1970, for names of files and for seeds.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
