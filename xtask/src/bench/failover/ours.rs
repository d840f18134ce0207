//! The leaders of this product are lost.

use std::time::Duration;

use anyhow::{Context as _, Result};
use contract::names;
use futures::future::try_join_all;
use kube::api::DeleteParams;
use serde_json::Value;
use testcluster::{Change, Cluster, Forwarder, Kind, Recorder, Signal};
use tokio::time::{Instant, sleep};

use super::{Times, cause::Cause};
use crate::election::{Election, MANIFEST, NAME};

/// As many rounds in one election: each asks a container to end, and one that did so often is
/// started again only after minutes.
const ROUNDS: usize = 5;

/// Lost nodes are waited for together, in as many elections as there are; else each round has the
/// machine alone.
pub(super) async fn measure(cluster: &Cluster, cause: Cause, rounds: usize) -> Result<Vec<Times>> {
    let elections = rounds.div_ceil(ROUNDS);
    let mut all = (0..elections).map(|_| run(cluster, cause, ROUNDS));
    let times = if cause == Cause::NodeLost {
        try_join_all(all).await?
    } else {
        let mut times = Vec::new();
        for election in &mut all {
            times.push(election.await?);
        }
        times
    };
    Ok(times.into_iter().flatten().take(rounds).collect())
}

async fn run(cluster: &Cluster, cause: Cause, rounds: usize) -> Result<Vec<Times>> {
    let namespace = cluster.namespace("failover").await?;
    let record = cluster.record(&namespace).await?;
    let apply = ["-n", &namespace, "apply", "-f", "-"];
    cluster.kubectl_stdin(&apply, &manifest(cause)).await?;
    let election = Election::new(cluster, &namespace)?;
    let forwarder = cluster.forward(&namespace, NAME, 80).await?;
    let mut times = Vec::new();
    // The first round warms caches, and does not count.
    for round in 0..=rounds {
        election.wait_for_replicas().await?;
        let leader = election.leader_other_than(None).await?.pod;
        sleep(Duration::from_secs(1)).await;
        let seen = lose(cluster, &election, &record, &forwarder, cause, &leader).await?;
        if round > 0 {
            times.push(seen);
        }
    }
    cluster
        .kubectl(&["delete", "namespace", &namespace, "--wait=false"])
        .await?;
    Ok(times)
}

/// The demo's election; an application that takes its time to end, where that is the cause.
fn manifest(cause: Cause) -> String {
    if cause != Cause::Deleted {
        return MANIFEST.to_owned();
    }
    let delay = Cause::LATE.as_millis();
    let image = "          image: example.org/web:1\n";
    let slow = format!("{image}          env: [{{name: TERM_DELAY_MS, value: \"{delay}\"}}]\n");
    MANIFEST.replace(image, &slow)
}

async fn lose(
    cluster: &Cluster,
    election: &Election,
    record: &Recorder,
    forwarder: &Forwarder,
    cause: Cause,
    leader: &str,
) -> Result<Times> {
    let (node, namespace) = (cluster.node(), election.namespace.as_str());
    let force = DeleteParams::default().grace_period(0);
    let before = record.sync().await?;
    let begun = Instant::now();
    match cause {
        Cause::Killed => {
            node.vanish(namespace, leader)?;
            election.pods.delete(leader, &force).await?;
        }
        Cause::Terminated => node.signal(namespace, leader, names::CONTAINER, Signal::TERM)?,
        Cause::Deleted => {
            let params = DeleteParams::default();
            election.pods.delete(leader, &params).await?;
        }
        Cause::NodeLost => node.freeze(namespace, leader)?,
    }
    // Who stands still answers nobody, so that each request has a bound of its own.
    let answered = election
        .until("another pod answers", async || {
            let answer = tokio::time::timeout(Duration::from_millis(200), forwarder.get("/"));
            let pod = answer.await.ok().and_then(Result::ok);
            Ok(pod.filter(|pod| pod != leader).map(|_| begun.elapsed()))
        })
        .await?;
    let next = election.leader_other_than(Some(leader)).await?.pod;
    if cause == Cause::NodeLost {
        node.thaw(namespace, leader)?;
    }
    let changes = record.changes().await?;
    let since = |holds: &dyn Fn(&Change, &Value) -> bool| {
        let mut later = changes.iter().filter(|change| change.revision > before);
        let found = later.find(|change| change.object.as_ref().is_some_and(|o| holds(change, o)));
        found.map(|change| change.seen.duration_since(begun))
    };
    let lock = since(&|change, object| {
        let of = |field| object.pointer("/spec").and_then(|spec| spec.get(field));
        let holder = of("holderIdentity").and_then(Value::as_str);
        // A successor that was named, for 2 s, has yet to take it.
        let named = of("leaseDurationSeconds").and_then(Value::as_u64) == Some(2);
        change.kind == Kind::Lease && holder == Some(next.as_str()) && !named
    });
    let switch = since(&|change, object| {
        let selector = object.pointer("/spec/selector");
        let pod = selector.and_then(|selector| selector.get(names::LABEL)?.as_str());
        change.kind == Kind::Service && pod == Some(next.as_str())
    });
    Ok(Times {
        lock: lock.context("nobody took the Lease")?,
        switch: Some(switch.context("nobody switched the Service")?),
        answer: Some(answered),
    })
}
