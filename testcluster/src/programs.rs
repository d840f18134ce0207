//! Our own programs, as a nested `cargo build` makes them for the running test or command.
//!
//! Must not know: what the programs do, how they are run.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result, bail};
use tokio::{process::Command, sync::OnceCell};

use crate::surroundings;

/// Paths of the programs of this workspace.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The sidecar, which the image `service-leader-election/sidecar` stands for.
    pub sidecar: PathBuf,
    /// The webhook, which the image `service-leader-election/webhook` stands for.
    pub webhook: PathBuf,
    pub(crate) app: PathBuf,
    pub(crate) reaper: PathBuf,
}

/// Builds the programs with the profile and into the target folder of the running executable,
/// once per process.
pub async fn programs() -> Result<&'static Programs> {
    static PROGRAMS: OnceCell<Programs> = OnceCell::const_new();
    PROGRAMS.get_or_try_init(build).await
}

pub(crate) fn workspace() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

async fn build() -> Result<Programs> {
    let cargo = surroundings::variable("CARGO").unwrap_or_else(|| "cargo".to_owned());
    let mut command = Command::new(&cargo);
    command
        .args([
            "build",
            "--bins",
            "--message-format=json-render-diagnostics",
        ])
        .args(["-p", "sidecar", "-p", "webhook", "-p", "testcluster"])
        .current_dir(workspace())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    // What cargo has told this process of its own package would have build scripts run again.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    if let Some((target, profile)) = running_from(&std::env::current_exe()?) {
        let profile = if profile == "debug" { "dev" } else { &profile };
        command.arg("--target-dir").arg(target);
        command.args(["--profile", profile]);
    }
    let output = command
        .output()
        .await
        .with_context(|| format!("cannot run {cargo}"))?;
    if !output.status.success() {
        bail!("cargo cannot build the programs: {}", output.status);
    }
    let mut found = executables(&String::from_utf8_lossy(&output.stdout));
    let mut take = |name: &str| {
        found
            .remove(name)
            .with_context(|| format!("cargo built no program {name}"))
    };
    Ok(Programs {
        sidecar: take("service-leader-election-sidecar")?,
        webhook: take("service-leader-election-webhook")?,
        app: take("testcluster-app")?,
        reaper: take("testcluster-reaper")?,
    })
}

/// The target folder and the profile's folder that an executable stands in.
fn running_from(executable: &Path) -> Option<(PathBuf, String)> {
    let target = executable
        .ancestors()
        .find(|folder| folder.join("CACHEDIR.TAG").is_file())?;
    let profile = executable
        .parent()?
        .ancestors()
        .find(|folder| !folder.ends_with("deps") && !folder.ends_with("examples"))?;
    Some((target.to_owned(), profile.file_name()?.to_str()?.to_owned()))
}

/// Program names and paths out of cargo's messages, one JSON object per line.
fn executables(messages: &str) -> BTreeMap<String, PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| {
            let name = message.pointer("/target/name")?.as_str()?.to_owned();
            let path = message.get("executable")?.as_str()?;
            Some((name, PathBuf::from(path)))
        })
        .collect()
}
