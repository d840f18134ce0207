//! The rig's end of the reaper: a process that outlives the rig and clears up after it, in
//! whatever way the rig ends.
//!
//! Every process of a rig carries the rig's folder in its environment ([`MARK`]). The reaper holds
//! the reading end of a pipe; when the rig closes it, or dies, the reaper kills what carries the
//! mark, removes the folder and ends. So a clean drop and a kill take the same path.

use std::{
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result};

/// The environment variable that every process of a rig carries: the rig's folder.
pub const MARK: &str = "TESTCLUSTER_RIG";

/// A running reaper. Dropped, it has killed and removed everything before the drop returns.
#[derive(Debug)]
pub(crate) struct Reaper {
    child: Child,
}

impl Reaper {
    /// Starts it for a folder, which should not exist yet: what is made first, is guarded last.
    pub(crate) fn start(program: &Path, folder: &Path) -> Result<Self> {
        let child = Command::new(program)
            .arg(folder)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self { child })
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        if let Err(error) = self.child.wait() {
            tracing::warn!(%error, "cannot wait for the reaper");
        }
    }
}

/// A command that carries the rig's mark, in a process group of its own, so that Ctrl-C in a
/// terminal reaches the rig only. Its environment is empty but for the mark and `PATH`.
pub(crate) fn command(program: &Path, rig: &Path) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(program);
    command
        .env_clear()
        .env(MARK, rig)
        .env(
            "PATH",
            crate::surroundings::variable("PATH").unwrap_or_default(),
        )
        .process_group(0)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// A name for a rig's folder that no other rig has.
pub(crate) fn folder() -> PathBuf {
    let age = crate::surroundings::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    std::env::temp_dir().join(format!(
        "testcluster-{}-{:x}",
        std::process::id(),
        age.as_nanos()
    ))
}
