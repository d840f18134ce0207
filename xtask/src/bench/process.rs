//! What a process holds, and has used, as the kernel says.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};
use rustix::param::clock_ticks_per_second;

/// In kB of 1024 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) resident: u32,
    /// What of it is the process's alone, and not pages of its file.
    pub(super) anonymous: u32,
}

impl Memory {
    pub(super) fn of(pid: u32) -> Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))
            .with_context(|| format!("process {pid} has ended"))?;
        Self::read(&status).context("/proc/PID/status has no VmRSS or RssAnon")
    }

    /// In MB of 1,000,000 bytes.
    pub(super) fn resident_megabytes(self) -> f64 {
        megabytes(self.resident)
    }

    /// In MB of 1,000,000 bytes.
    pub(super) fn anonymous_megabytes(self) -> f64 {
        megabytes(self.anonymous)
    }

    fn read(status: &str) -> Option<Self> {
        let field = |name| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().strip_suffix("kB")?.trim().parse().ok()
        };
        Some(Self {
            resident: field("VmRSS:")?,
            anonymous: field("RssAnon:")?,
        })
    }
}

fn megabytes(kilobytes: u32) -> f64 {
    f64::from(kilobytes) * 1024.0 / 1e6
}

/// How long ago the process was started, to a tick of the kernel's clock (10 ms).
pub(super) fn age(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("process {pid} has ended"))?;
    // The 22nd field; the second one, in brackets, may hold anything.
    let started = stat
        .rsplit_once(')')
        .and_then(|(_, fields)| fields.split_whitespace().nth(19)?.parse::<u32>().ok());
    let ticks = started.context("/proc/PID/stat has no start time")?;
    let per_second = u32::try_from(clock_ticks_per_second())?;
    let uptime = fs::read_to_string("/proc/uptime")?;
    let uptime = uptime.split_whitespace().next();
    let uptime = uptime.and_then(|uptime| uptime.parse().ok());
    let uptime = Duration::from_secs_f64(uptime.context("/proc/uptime has no number")?);
    Ok(uptime.saturating_sub(Duration::from_secs(ticks.into()) / per_second))
}

/// For how long the process's threads have run on a processor.
pub(super) fn time_used(pid: u32) -> Result<Duration> {
    let ended = || format!("process {pid} has ended");
    let mut all = Duration::ZERO;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).with_context(ended)? {
        // A thread may have ended between the two.
        let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else {
            continue;
        };
        // The first of its numbers, in nanoseconds.
        let used = text.split_whitespace().next();
        let used = used.and_then(|used| used.parse().ok());
        all += Duration::from_nanos(used.context("/proc/PID/task/*/schedstat has no number")?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_figures_are_read() {
        let status = "Name:\tx\nVmRSS:\t    6120 kB\nRssAnon:\t     980 kB\n";
        let expected = Memory {
            resident: 6120,
            anonymous: 980,
        };
        assert_eq!(Memory::read(status), Some(expected));
    }

    #[test]
    fn a_process_is_younger_than_the_machine() {
        let uptime = fs::read_to_string("/proc/uptime").unwrap();
        let uptime: f64 = uptime.split_whitespace().next().unwrap().parse().unwrap();
        let age = age(std::process::id()).unwrap();
        assert!(age < Duration::from_secs_f64(uptime), "{age:?}");
    }
}
