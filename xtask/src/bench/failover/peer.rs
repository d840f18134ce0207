//! The leaders of client-go's own election are lost. It switches no Service, so the lock is all
//! there is to see.

use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::future::try_join_all;
use rustix::process::{Pid, Signal, kill_process};
use testcluster::Cluster;
use tokio::time::{Instant, sleep};

use super::{Times, cause::Cause};
use crate::bench::candidates::{Candidates, holder};

/// The same number of candidates as ours.
const CANDIDATES: usize = 3;

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
    let candidates = Candidates::start(cluster, &namespace, CANDIDATES, timings).await?;
    let (leader, _) = holder(&record, None).await?;
    // Somewhere between two renewals, and after every candidate has seen the Lease.
    sleep(Duration::from_secs(5)).await;
    let pid = candidates.pids().find(|(id, _)| *id == leader);
    let pid = pid.and_then(|(_, pid)| Pid::from_raw(pid.cast_signed()));
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
