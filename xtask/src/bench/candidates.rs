//! The peer of the figures: candidates of client-go's own leader election, as processes.
//!
//! Must not know: what is measured.

use std::{process::Stdio, time::Duration};

use anyhow::{Result, bail};
use testcluster::{Cluster, Kind, Recorder, Tool};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

/// Its usual timings, and those that take over as late as ours: lease, deadline, and the pause between
/// two tries, in seconds.
pub(super) const PEERS: [(&str, [u32; 3]); 2] = [
    ("client-go 15/10/2", [15, 10, 2]),
    ("client-go 12/8/2", [12, 8, 2]),
];

const LEASE: &str = "peer";
const PATIENCE: Duration = Duration::from_mins(2);

/// The candidates of one Lease. They are killed when this is dropped.
pub(super) struct Candidates {
    all: Vec<(String, Child)>,
}

impl Candidates {
    pub(super) async fn start(
        cluster: &Cluster,
        namespace: &str,
        count: usize,
        timings: [u32; 3],
    ) -> Result<Self> {
        let program = Tool::Elector.path().await?;
        let [duration, deadline, retry] = timings.map(|seconds| format!("{seconds}s"));
        let mut all = Vec::new();
        for number in 0..count {
            let id = format!("candidate-{number}");
            let child = Command::new(&program)
                .args(["--kubeconfig", &cluster.kubeconfig().display().to_string()])
                .args(["--namespace", namespace, "--lease", LEASE, "--id", &id])
                .args(["--lease-duration", &duration, "--renew-deadline", &deadline])
                .args(["--retry-period", &retry])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .kill_on_drop(true)
                .spawn()?;
            all.push((id, child));
        }
        Ok(Self { all })
    }

    /// Every candidate that runs, and its process.
    pub(super) fn pids(&self) -> impl Iterator<Item = (&str, u32)> {
        let each = self.all.iter();
        each.filter_map(|(id, child)| Some((id.as_str(), child.id()?)))
    }
}

/// Who holds the Lease, other than this one, and when that was first seen.
pub(super) async fn holder(
    record: &Recorder,
    other_than: Option<&str>,
) -> Result<(String, Instant)> {
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
