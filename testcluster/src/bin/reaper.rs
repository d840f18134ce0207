//! Clears up after a rig, in whatever way that rig ended.
//!
//! Usage: `testcluster-reaper FOLDER`, with a pipe on standard input. When the pipe closes, every
//! process whose environment has `TESTCLUSTER_RIG=FOLDER` is killed and FOLDER is removed. Must
//! not know: what a cluster is.

use std::{
    ffi::OsString,
    fs,
    io::{self, Read as _},
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> Result<()> {
    let folder = PathBuf::from(std::env::args_os().nth(1).context("which folder?")?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let _entered = runtime.enter();
    // A handler, even one that nobody reads, keeps the signal from ending this process.
    let _deaf = [
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
        signal(SignalKind::hangup())?,
    ];
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    let mut mark = OsString::from(format!("{}=", testcluster::MARK));
    mark.push(&folder);
    for _ in 0..1000 {
        if !kill_all(mark.as_bytes()) {
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Kills every process that carries the mark. False: there was none.
fn kill_all(mark: &[u8]) -> bool {
    let Ok(processes) = fs::read_dir("/proc") else {
        return false;
    };
    let mut any = false;
    for pid in processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(Pid::from_raw)
    {
        // The descriptor comes first: it cannot pass to a later process of the same number.
        if let Some(process) = marked(pid, mark) {
            any |= pidfd_send_signal(process, Signal::KILL).is_ok();
        }
    }
    any
}

fn marked(pid: Pid, mark: &[u8]) -> Option<OwnedFd> {
    let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    let mut environment = Vec::new();
    let path = Path::new("/proc").join(pid.to_string()).join("environ");
    fs::File::open(path)
        .ok()?
        .read_to_end(&mut environment)
        .ok()?;
    environment
        .split(|byte| *byte == 0)
        .any(|variable| variable == mark)
        .then_some(process)
}
