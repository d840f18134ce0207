//! The cluster's own programs, built once per version from pinned Go modules into the user's
//! cache directory.
//!
//! Must not know: how they are run.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use tokio::time::Instant;

use crate::surroundings;

/// The Kubernetes version that the rig runs.
pub const KUBERNETES: &str = "v1.35.4";

/// The Helm version that the rig runs.
pub const HELM: &str = "v4.3.1";

/// A program of somebody else's that the rig runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// The API server's store.
    Etcd,
    /// The API server.
    ApiServer,
    /// The controllers of Deployments, EndpointSlices, service accounts, ...
    ControllerManager,
    /// The command line client.
    Kubectl,
    /// The chart installer.
    Helm,
    /// client-go's leader election and nothing else: the peer of the benchmarks.
    Elector,
}

impl Tool {
    /// The program's file name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Kubectl => "kubectl",
            Self::Helm => "helm",
            Self::Elector => "elector",
        }
    }

    fn package(self) -> &'static str {
        match self {
            Self::Etcd => "go.etcd.io/etcd/server/v3",
            Self::ApiServer => "k8s.io/kubernetes/cmd/kube-apiserver",
            Self::ControllerManager => "k8s.io/kubernetes/cmd/kube-controller-manager",
            Self::Kubectl => "k8s.io/kubernetes/cmd/kubectl",
            Self::Helm => "helm.sh/helm/v4/cmd/helm",
            Self::Elector => "./elector",
        }
    }

    /// How long a first build takes on two cores.
    fn usual_seconds(self) -> u32 {
        match self {
            Self::Etcd => 43,
            Self::ApiServer => 174,
            Self::ControllerManager => 55,
            Self::Kubectl => 23,
            Self::Helm => 131,
            Self::Elector => 30,
        }
    }

    fn linker_flags(self) -> String {
        if self == Self::Helm {
            return format!("-s -w -X helm.sh/helm/v4/internal/version.version={HELM}");
        }
        let version = "k8s.io/component-base/version";
        format!(
            "-s -w -X {version}.gitVersion={KUBERNETES} -X {version}.gitMajor=1 \
             -X {version}.gitMinor=35 -X {version}.gitTreeState=clean"
        )
    }

    /// The folder of the Go module that pins it.
    fn module(self) -> PathBuf {
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools");
        if self == Self::Helm {
            tools.join("helm")
        } else {
            tools
        }
    }

    /// Where the program stands: in `$KUBEBUILDER_ASSETS` if that has it, else in the user's cache
    /// directory, where it is built first if need be. Parallel callers build it once.
    pub async fn path(self) -> Result<PathBuf> {
        tokio::task::spawn_blocking(move || self.find_or_build()).await?
    }

    fn find_or_build(self) -> Result<PathBuf> {
        if let Some(assets) = surroundings::variable("KUBEBUILDER_ASSETS") {
            let program = Path::new(&assets).join(self.name());
            if program.is_file() {
                return Ok(program);
            }
        }
        let folder = cache_directory()?.join(match self {
            Self::Helm => format!("helm-{HELM}"),
            _ => format!("kubernetes-{KUBERNETES}"),
        });
        let program = folder.join(self.name());
        if program.is_file() {
            return Ok(program);
        }
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let lock = File::create(folder.join(format!(".{}.lock", self.name())))?;
        lock.lock()?;
        if !program.is_file() {
            self.build(&program)?;
        }
        Ok(program)
    }

    fn build(self, program: &Path) -> Result<()> {
        let name = self.name();
        say(&format!(
            "building {name} (once; a first build takes about {} s on two cores) ...",
            self.usual_seconds()
        ));
        let begun = Instant::now();
        let unfinished = program.with_extension("unfinished");
        let built = Command::new("go")
            .args(["build", "-trimpath", "-buildvcs=false", "-ldflags"])
            .arg(self.linker_flags())
            .arg("-o")
            .arg(&unfinished)
            .arg(self.package())
            .current_dir(self.module())
            .env("CGO_ENABLED", "0")
            .env("GOWORK", "off")
            .output();
        let output = match built {
            Err(error) if error.kind() == io::ErrorKind::NotFound => bail!(
                "{name} has to be built first, and there is no Go: install Go 1.26 or newer, or \
                 let KUBEBUILDER_ASSETS name a folder that holds {name}"
            ),
            built => built.context("cannot run go")?,
        };
        if !output.status.success() {
            bail!(
                "go cannot build {name}: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        fs::rename(&unfinished, program)?;
        say(&format!("built {name} in {} s", begun.elapsed().as_secs()));
        Ok(())
    }
}

fn cache_directory() -> Result<PathBuf> {
    let cache = match surroundings::variable("XDG_CACHE_HOME") {
        Some(cache) => PathBuf::from(cache),
        None => surroundings::variable("HOME")
            .map(|home| Path::new(&home).join(".cache"))
            .context("neither XDG_CACHE_HOME nor HOME is set: where is the cache directory?")?,
    };
    Ok(cache.join("service-leader-election"))
}

/// To the terminal itself: a test's captured output would hide a wait of minutes.
fn say(line: &str) {
    writeln!(io::stderr(), "testcluster: {line}").ok();
}
