//! Where things are, and how cargo is called.

use std::{ffi::OsString, path::Path};

use anyhow::{Result, bail};
use cargo_metadata::{Metadata, MetadataCommand};
use tokio::process::Command;

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// What cargo knows of the workspace and all it depends on.
pub(crate) fn metadata() -> Result<Metadata> {
    let mut command = MetadataCommand::new();
    command
        .current_dir(root())
        .other_options(["--locked".to_owned()]);
    Ok(command.exec()?)
}

/// A command in the repository's root. Dropped, it is killed.
pub(crate) fn command(program: impl Into<OsString>) -> Command {
    let mut command = Command::new(program.into());
    command.current_dir(root()).kill_on_drop(true);
    command
}

/// The cargo that runs this.
pub(crate) fn cargo() -> Command {
    let mut command = command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What cargo has told this process of its own package would have build scripts run again.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs a command to its end. It writes where this process writes.
pub(crate) async fn run(command: &mut Command) -> Result<()> {
    let status = command.status().await?;
    if !status.success() {
        let line = command.as_std();
        let words: Vec<_> = std::iter::once(line.get_program())
            .chain(line.get_args())
            .map(|word| word.to_string_lossy())
            .collect();
        bail!("{}: {status}", words.join(" "));
    }
    Ok(())
}

/// Whether a program can be run on this machine.
pub(crate) async fn has(program: &str, arguments: &[&str]) -> bool {
    let output = command(program).args(arguments).output().await;
    output.is_ok_and(|output| output.status.success())
}
