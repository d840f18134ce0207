//! The flags of the subcommands, which work on manifests without the webhook.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, ensure};
use contract::inject::Settings;

use super::{Native, Sidecar};
use crate::{
    cluster::Cluster,
    offline::{self, Output, Target},
    run,
};

/// The image that the chart of this version injects by default.
const IMAGE: &str = concat!(
    "service-leader-election/sidecar:",
    env!("CARGO_PKG_VERSION")
);

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    Inject(Inject),
    Uninject(Uninject),
    Explain(Explain),
}

/// Inject the sidecar into manifests, as the webhook would
///
/// Documents that need no change come out byte for byte. Nothing is written if a value cannot be
/// obeyed. Exit code: 0 if all went well, else 1.
#[derive(Debug, clap::Args)]
pub(super) struct Inject {
    /// Files, folders (all *.yaml, *.yml and *.json in them), or - for standard input, the default
    paths: Vec<PathBuf>,

    /// Write nothing; exit with 1 and say what, if something would be changed or cannot be obeyed
    #[arg(long)]
    check: bool,

    /// Add a Role, a RoleBinding and a ServiceAccount for each election, for a cluster without the
    /// webhook
    #[arg(long)]
    rbac: bool,

    /// What is written: all documents as YAML, or the JSON Patch of each changed object in a line
    #[arg(long, short, value_enum, default_value_t = Output::Yaml)]
    output: Output,

    #[command(flatten)]
    sidecar: Offline,
}

/// Take the sidecar out of manifests again, and nothing else; the annotations stay
#[derive(Debug, clap::Args)]
pub(super) struct Uninject {
    /// Files, folders (all *.yaml, *.yml and *.json in them), or - for standard input, the default
    paths: Vec<PathBuf>,

    /// What is written: all documents as YAML, or the JSON Patch of each changed object in a line
    #[arg(long, short, value_enum, default_value_t = Output::Yaml)]
    output: Output,
}

/// Say step by step what would be decided of manifests, or of workloads of a cluster
///
/// Of a workload of a cluster also: what its pods' account may do, and which policies are on.
#[derive(Debug, clap::Args)]
pub(super) struct Explain {
    /// Files, folders, - for standard input (the default), or workloads such as deployment/web, where
    /// no file has that path
    what: Vec<String>,

    /// The namespace of the workloads; the kubeconfig's if none is given
    #[arg(long, short)]
    namespace: Option<String>,

    #[command(flatten)]
    sidecar: Offline,
}

#[derive(Debug, clap::Args)]
struct Offline {
    /// The image of the sidecar that is injected
    #[arg(
        long = "image",
        alias = "sidecar-image",
        env = "SERVICE_LEADER_ELECTION_WEBHOOK_SIDECAR_IMAGE",
        default_value = IMAGE,
        value_parser = super::image
    )]
    image: String,

    #[command(flatten)]
    sidecar: Sidecar,
}

impl Offline {
    fn settings(self, native_if_auto: bool) -> Settings {
        let Self { image, sidecar } = self;
        sidecar.settings(image, native_if_auto)
    }
}

impl Command {
    pub(super) async fn run(self) -> ExitCode {
        let done = match self {
            Self::Inject(inject) => inject.run(),
            Self::Uninject(Uninject { paths, output }) => Ok(offline::uninject(&paths, output)),
            Self::Explain(explain) => explain.run().await,
        };
        match done {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                offline::fail(error.as_ref());
                ExitCode::FAILURE
            }
        }
    }
}

impl Inject {
    fn run(self) -> anyhow::Result<bool> {
        let Self {
            paths,
            check,
            rbac,
            output,
            sidecar,
        } = self;
        ensure!(
            !rbac || output == Output::Yaml,
            "--rbac adds objects, which no patch can: leave it out, or --output patch"
        );
        Ok(offline::inject(offline::Inject {
            paths,
            // Which version the cluster has, nobody says.
            settings: sidecar.settings(true),
            rbac,
            check,
            output,
        }))
    }
}

impl Explain {
    async fn run(self) -> anyhow::Result<bool> {
        let Self {
            what,
            namespace,
            sidecar,
        } = self;
        let mut paths = Vec::new();
        let mut targets = Vec::new();
        for word in what {
            let path = PathBuf::from(&word);
            match word.parse::<Target>() {
                Ok(target) if !path.exists() => targets.push(target),
                _ => paths.push(path),
            }
        }
        let mut has_native = true;
        let mut cluster = None;
        if !targets.is_empty() {
            let client = run::client().await.context("no API server is configured")?;
            if sidecar.sidecar.native == Native::Auto {
                has_native = run::has_native_sidecars(&client)
                    .await
                    .context("the API server's version cannot be read")?;
            }
            let namespace = namespace.unwrap_or_else(|| client.default_namespace().to_owned());
            cluster = Some((Cluster::new(client), namespace));
        }
        let explain = offline::Explain {
            paths,
            targets,
            settings: sidecar.settings(has_native),
        };
        Ok(offline::explain(explain, cluster).await)
    }
}
