//! What a process holds, and has used, as the kernel says.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};

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
}
