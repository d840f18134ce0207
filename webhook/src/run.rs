//! Starts the parts, waits for the first to end, and stops the others within a bound.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use certs::Rotating;
use contract::inject::Settings;
use futures::{FutureExt, TryFutureExt};
use kube::{Client, Config};
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{
    admission::{self, Admission},
    certificates::{Certificates, Place},
    cluster::{Cluster, SILENCE},
    controller::{self, Controller},
    health::{self, Readiness},
    known::Known,
    listener,
    metrics::Metrics,
};

/// What is to be run.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) listen: SocketAddr,
    pub(crate) metrics_listen: SocketAddr,
    pub(crate) settings: Settings,
    pub(crate) cluster_role: String,
    pub(crate) place: Place,
    pub(crate) drain: Duration,
}

/// How long the API server may take to take a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// How long the API server may take to say which version it has.
const VERSION: Duration = Duration::from_secs(10);

/// A client by kubeconfig, or by the pod's own account. Its own retries are off: an admission has
/// no time for them, and the controller comes back by itself.
pub(crate) async fn client() -> anyhow::Result<Client> {
    let mut config = Config::infer().await?;
    config.connect_timeout = Some(CONNECT);
    // By default there is none, and a list with which a watch begins has no other.
    config.read_timeout = Some(SILENCE);
    // What a connection was idle before a request does not count.
    config.reset_reader_on_write = true;
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}

/// Whether the cluster runs init containers with `restartPolicy: Always` (1.29 and newer).
pub(crate) async fn has_native_sidecars(client: &Client) -> anyhow::Result<bool> {
    let version = tokio::time::timeout(VERSION, client.apiserver_version()).await??;
    let number = |text: &str| {
        let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
        digits
            .parse::<u32>()
            .with_context(|| format!("{text:?} is no version number"))
    };
    Ok((number(&version.major)?, number(&version.minor)?) >= (1, 29))
}

/// Runs until a signal asks it to stop.
pub(crate) async fn run(client: Client, plan: Plan) -> anyhow::Result<()> {
    let Plan {
        listen,
        metrics_listen,
        settings,
        cluster_role,
        place,
        drain,
    } = plan;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let metrics = Arc::new(Metrics::new());
    let readiness = Readiness::default();
    let cluster = Cluster::new(client);
    let tls_port = listener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}"))?;
    let plain_port = listener::bind(metrics_listen)
        .await
        .with_context(|| format!("cannot listen on {metrics_listen}"))?;

    let stop = CancellationToken::new();
    let identity = Arc::new(Rotating::default());
    let tls = Arc::new(certs::server_config(Arc::clone(&identity))?);
    let certificates = Certificates::new(cluster.clone(), place, identity, readiness.clone());
    let (reminder, reminders) = controller::reminders();
    let known = Arc::new(Known::default());
    let controller = Controller::new(
        cluster.clone(),
        Arc::clone(&known),
        cluster_role.clone(),
        Arc::clone(&metrics),
    );
    let router = admission::router(Admission {
        cluster,
        known,
        settings,
        cluster_role,
        reminder,
        metrics: Arc::clone(&metrics),
    });
    let health = health::serve(
        plain_port,
        readiness.clone(),
        Arc::clone(&metrics),
        stop.clone(),
    );
    let mut parts = JoinSet::new();
    parts.spawn(part("plain port", health.map_err(Into::into)));
    parts.spawn(part("admission", {
        listener::serve(tls_port, tls, router, metrics, stop.clone()).map(Ok)
    }));
    parts.spawn(part("certificates", certificates.run(stop.clone()).map(Ok)));
    parts.spawn(part(
        "controller",
        controller.run(reminders, stop.clone()).map(Ok),
    ));

    let early = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        Some(ended) = parts.join_next() => Some(ended),
    };
    readiness.set(false);
    let stopped = async {
        if early.is_none() {
            tracing::info!(seconds = drain.as_secs(), "stopping");
            tokio::time::sleep(drain).await;
        }
        stop.cancel();
        let mut result = Ok(());
        while let Some(ended) = parts.join_next().await {
            result = result.and(ended?.1);
        }
        result
    };
    let result = tokio::select! {
        result = stopped => result,
        _ = terminate.recv() => Err(anyhow::anyhow!("a second signal cut the stop short")),
        _ = interrupt.recv() => Err(anyhow::anyhow!("a second signal cut the stop short")),
    };
    match early {
        None => result,
        Some(ended) => {
            let (name, outcome) = ended?;
            outcome.with_context(|| format!("the part {name:?} failed"))?;
            anyhow::bail!("the part {name:?} ended by itself")
        }
    }
}

async fn part(
    name: &'static str,
    running: impl Future<Output = anyhow::Result<()>>,
) -> (&'static str, anyhow::Result<()>) {
    (name, running.await)
}
