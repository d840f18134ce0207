//! The leaders of client-go's own election are lost. It switches no Service, so the lock is all
//! there is to see.

use std::{process::Stdio, time::Duration};

use anyhow::{Context as _, Result, bail};
use futures::future::try_join_all;
use rustix::process::{Pid, Signal, kill_process};
use testcluster::{Cluster, Kind, Recorder, Tool};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

use super::{Times, cause::Cause};

/// The same number of candidates as ours.
const CANDIDATES: usize = 3;
const LEASE: &str = "peer";
const PATIENCE: Duration = Duration::from_mins(2);

/// All rounds wait at the same time: what is waited for is a clock, and not the machine.
pub(super) async fn measure(
    cluster: &Cluster,
    cause: Cause,
    rounds: usize,
    timings: [u32; 3],
) -> Result<Vec<Times>> {
    let all = (0..rounds).map(|_| run(cluster, cause, timings));
    try_join_all(all).await
}

async fn run(cluster: &Cluster, cause: Cause, timings: [u32; 3]) -> Result<Times> {
    let namespace = cluster.namespace("peer").await?;
    let record = cluster.record(&namespace).await?;
    let program = Tool::Elector.path().await?;
    let [duration, deadline, retry] = timings.map(|seconds| format!("{seconds}s"));
    let mut candidates: Vec<(String, Child)> = Vec::new();
    for number in 0..CANDIDATES {
        let id = format!("candidate-{number}");
        let child = Command::new(&program)
            .args(["--kubeconfig", &cluster.kubeconfig().display().to_string()])
            .args(["--namespace", &namespace, "--lease", LEASE, "--id", &id])
            .args(["--lease-duration", &duration, "--renew-deadline", &deadline])
            .args(["--retry-period", &retry])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        candidates.push((id, child));
    }
    let (leader, _) = holder(&record, None).await?;
    // Somewhere between two renewals, and after every candidate has seen the Lease.
    sleep(Duration::from_secs(5)).await;
    let child = candidates.iter().find(|(id, _)| *id == leader);
    let pid = child.and_then(|(_, child)| child.id());
    let pid = pid.and_then(|pid| Pid::from_raw(pid.cast_signed()));
    let pid = pid.context("the leader has ended by itself")?;
    let begun = Instant::now();
    match cause {
        Cause::Killed => kill_process(pid, Signal::KILL)?,
        Cause::Terminated => kill_process(pid, Signal::TERM)?,
        Cause::Deleted => {
            // It knows nothing of its pod: the signal is all it hears.
            sleep(Cause::LATE).await;
            kill_process(pid, Signal::TERM)?;
        }
        Cause::NodeLost => kill_process(pid, Signal::STOP)?,
    }
    let (_, taken) = holder(&record, Some(&leader)).await?;
    Ok(Times {
        lock: taken.duration_since(begun),
        switch: None,
        answer: None,
    })
}

/// Who holds the Lease, other than this one, and when that was first seen.
async fn holder(record: &Recorder, other_than: Option<&str>) -> Result<(String, Instant)> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let changes = record.changes().await?;
        let found = changes.iter().find_map(|change| {
            let holder = change.object.as_ref()?.pointer("/spec/holderIdentity")?;
            let holder = holder.as_str()?;
            let another = !holder.is_empty() && Some(holder) != other_than;
            (change.kind == Kind::Lease && another).then(|| (holder.to_owned(), change.seen))
        });
        if let Some(found) = found {
            return Ok(found);
        }
        sleep(Duration::from_millis(200)).await;
    }
    bail!("no candidate of the peer took the Lease within {PATIENCE:?}")
}
