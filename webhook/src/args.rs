//! The flags, each with its environment variable. Without a subcommand the webhook is run.

mod offline;

use std::{net::SocketAddr, process::ExitCode, str::FromStr, time::Duration};

use anyhow::Context;
use contract::{
    inject::{PullPolicy, Settings},
    names,
};

use crate::{
    certificates::Place,
    log::{self, Format},
    run::{self, Plan},
};

/// Whether the sidecar is a native one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Native {
    /// As the API server's version allows.
    Auto,
    /// An init container with `restartPolicy: Always`.
    #[value(alias = "true")]
    Always,
    /// A plain container.
    #[value(alias = "false")]
    Never,
}

/// Injects the leader election sidecar into annotated workloads, grants it its rights, and gives
/// Services back when their workloads go.
#[derive(Debug, clap::Parser)]
#[command(
    name = "service-leader-election-webhook",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub struct Args {
    #[command(subcommand)]
    command: Option<offline::Command>,

    /// Without what it demands beside a subcommand, which has flags of its own. Its variables may be
    /// set there all the same.
    #[command(flatten)]
    serve: Serve,

    #[command(flatten)]
    sidecar: Sidecar,
}

/// How any sidecar is injected, by the webhook or without it.
#[derive(Debug, clap::Args)]
struct Sidecar {
    /// When the sidecar's image is pulled: Always, IfNotPresent or Never
    #[arg(
        long = "sidecar-pull-policy",
        visible_alias = "pull-policy",
        env = "SERVICE_LEADER_ELECTION_WEBHOOK_SIDECAR_PULL_POLICY",
        default_value = "IfNotPresent"
    )]
    pull_policy: PullPolicy,

    /// Whether the sidecar is an init container that restarts (1.29 and newer) or a plain one
    #[arg(
        long = "sidecar-native",
        visible_alias = "native",
        env = "SERVICE_LEADER_ELECTION_WEBHOOK_SIDECAR_NATIVE",
        value_enum,
        default_value_t = Native::Auto
    )]
    native: Native,

    /// The numeric user of the sidecar, where the image's own does not do
    #[arg(
        long = "sidecar-user",
        visible_alias = "run-as-user",
        env = "SERVICE_LEADER_ELECTION_WEBHOOK_SIDECAR_USER",
        value_parser = user
    )]
    run_as_user: Option<u32>,
}

/// The sidecar does not run as root, and kubelet would not start it.
fn user(text: &str) -> Result<u32, &'static str> {
    match text.parse() {
        Ok(user) if user > 0 => Ok(user),
        _ => Err("write a user's number, from 1 on: the sidecar does not run as root"),
    }
}

/// Whether it exists, its registry knows.
fn image(text: &str) -> Result<String, &'static str> {
    if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("write an image's name, without blanks, as registry.example.org/sidecar:1");
    }
    Ok(text.to_owned())
}

impl Sidecar {
    fn settings(self, image: String, native_if_auto: bool) -> Settings {
        let Self {
            pull_policy,
            native,
            run_as_user,
        } = self;
        Settings {
            image,
            pull_policy,
            native: match native {
                Native::Always => true,
                Native::Never => false,
                Native::Auto => native_if_auto,
            },
            run_as_user,
        }
    }
}

#[derive(Debug, clap::Args)]
#[expect(clippy::doc_markdown, reason = "the comments are the help text")]
struct Serve {
    /// Where the API server's admission requests are answered, over TLS
    #[arg(
        long,
        env = "SERVICE_LEADER_ELECTION_WEBHOOK_LISTEN",
        default_value = "[::]:8443"
    )]
    listen: SocketAddr,

    /// Where /healthz, /readyz and /metrics are answered, over plain HTTP
    #[arg(
        long,
        env = "SERVICE_LEADER_ELECTION_WEBHOOK_METRICS_LISTEN",
        default_value = "[::]:8080"
    )]
    metrics_listen: SocketAddr,

    /// The image of the sidecar that is injected
    #[arg(
        long,
        env = "SERVICE_LEADER_ELECTION_WEBHOOK_SIDECAR_IMAGE",
        required = true,
        value_parser = image
    )]
    sidecar_image: Option<String>,

    /// The ClusterRole that every sidecar is bound to in its namespace
    #[arg(
        long,
        env = "SERVICE_LEADER_ELECTION_WEBHOOK_SIDECAR_CLUSTER_ROLE",
        default_value = "service-leader-election-sidecar"
    )]
    sidecar_cluster_role: String,

    /// The namespace that this program is installed in
    #[arg(
        long,
        env = "SERVICE_LEADER_ELECTION_WEBHOOK_NAMESPACE",
        required = true
    )]
    namespace: Option<String>,

    /// The Service by which the API server reaches this program
    #[arg(
        long,
        env = "SERVICE_LEADER_ELECTION_WEBHOOK_SERVICE",
        default_value = "service-leader-election-webhook"
    )]
    service: String,

    /// The Secret that holds the certificates; it must exist
    #[arg(
        long,
        env = "SERVICE_LEADER_ELECTION_WEBHOOK_SECRET",
        default_value = "service-leader-election-webhook"
    )]
    secret: String,

    /// The MutatingWebhookConfiguration that names this program
    #[arg(
        long,
        env = "SERVICE_LEADER_ELECTION_WEBHOOK_CONFIGURATION",
        default_value = "service-leader-election-webhook"
    )]
    configuration: String,

    /// The host in the configuration's URL, where it has one in place of a Service
    #[arg(long, env = "SERVICE_LEADER_ELECTION_WEBHOOK_HOST")]
    host: Option<String>,

    /// For how many seconds requests are still accepted after a request to stop, while the API
    /// server learns of it
    #[arg(
        long,
        env = "SERVICE_LEADER_ELECTION_WEBHOOK_DRAIN_SECONDS",
        default_value_t = 5
    )]
    drain_seconds: u16,

    /// error, warn, info, debug or trace, or directives such as info,webhook=debug
    #[arg(
        long,
        env = "SERVICE_LEADER_ELECTION_WEBHOOK_LOG_LEVEL",
        default_value = "info",
        value_parser = log::Filter::from_str
    )]
    log_level: log::Filter,

    /// How a line of the log looks
    #[arg(
        long,
        env = "SERVICE_LEADER_ELECTION_WEBHOOK_LOG_FORMAT",
        value_enum,
        default_value_t = Format::Auto
    )]
    log_format: Format,
}

impl Args {
    /// Runs until it is done, or until a signal or a failure ends it.
    pub async fn run(self) -> ExitCode {
        let Self {
            command,
            serve,
            sidecar,
        } = self;
        match command {
            Some(command) => command.run().await,
            None => serve.run(sidecar).await,
        }
    }
}

impl Serve {
    async fn run(self, sidecar: Sidecar) -> ExitCode {
        match self.try_run(sidecar).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "stopped");
                ExitCode::FAILURE
            }
        }
    }

    async fn try_run(self, sidecar: Sidecar) -> anyhow::Result<()> {
        let Self {
            listen,
            metrics_listen,
            sidecar_image,
            sidecar_cluster_role,
            namespace,
            service,
            secret,
            configuration,
            host,
            drain_seconds,
            log_level,
            log_format,
        } = self;
        log::start(log_level, log_format)?;
        // The parser has asked for both where no subcommand is given.
        let sidecar_image = sidecar_image.context("no --sidecar-image is given")?;
        let namespace = namespace.context("no --namespace is given")?;
        let client = run::client().await.context("no API server is configured")?;
        let has_native = sidecar.native == Native::Auto
            && run::has_native_sidecars(&client)
                .await
                .context("the API server's version cannot be read")?;
        let settings = sidecar.settings(sidecar_image, has_native);
        let mut hosts = vec![
            format!("{service}.{namespace}.svc"),
            format!("{service}.{namespace}.svc.cluster.local"),
        ];
        hosts.extend(host);
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            product = names::PRODUCT,
            native = settings.native,
            "starting"
        );
        let plan = Plan {
            listen,
            metrics_listen,
            settings,
            cluster_role: sidecar_cluster_role,
            place: Place {
                namespace,
                secret,
                configuration,
                hosts,
            },
            drain: Duration::from_secs(drain_seconds.into()),
        };
        run::run(client, plan).await
    }
}
