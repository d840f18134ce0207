//! One election in which nothing happens, from when it is watched until what was seen is said.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use contract::names;
use jiff::Timestamp;
use testcluster::Cluster;
use tokio::time::Instant;

use super::row::{OURS, Row};
use crate::{
    bench::{
        audit,
        candidates::{Candidates, holder},
        process::{Memory, time_used},
    },
    election::{Election, Leader, MANIFEST, NAME},
};

/// The peer's user agent begins so.
const PEER: &str = "elector/";

pub(super) struct Watched {
    who: &'static str,
    candidates: usize,
    namespace: String,
    /// A user, or how a user agent begins.
    asker: String,
    processes: Vec<u32>,
    kind: Kind,
    since: Timestamp,
    begun: Instant,
    used: Duration,
}

enum Kind {
    Ours(Box<Election>, Leader),
    /// They end when this is dropped.
    Peer {
        _candidates: Candidates,
    },
}

impl Watched {
    pub(super) async fn ours(cluster: &Cluster, pods: usize) -> Result<Self> {
        let namespace = cluster.namespace("idle").await?;
        let manifest = MANIFEST.replace("replicas: 3", &format!("replicas: {pods}"));
        // The probes of the applications are not what is measured.
        let manifest = manifest.replace("periodSeconds: 1", "periodSeconds: 10");
        let apply = ["-n", &namespace, "apply", "-f", "-"];
        cluster.kubectl_stdin(&apply, &manifest).await?;
        let election = Election::new(cluster, &namespace)?;
        election.wait_for_replicas().await?;
        let leader = election.leader_other_than(None).await?;
        let mut processes = Vec::new();
        for pod in election.pods().await? {
            let pid = cluster.node().pid(&namespace, &pod, names::CONTAINER);
            processes.push(pid.with_context(|| format!("no sidecar runs in pod {pod}"))?);
        }
        ensure!(processes.len() == pods, "there are not {pods} pods");
        let account = names::default_name(NAME);
        let asker = format!("system:serviceaccount:{namespace}:{account}");
        let kind = Kind::Ours(Box::new(election), leader);
        Ok(Self::new(OURS, pods, namespace, asker, processes, kind))
    }

    pub(super) async fn peer(
        cluster: &Cluster,
        who: &'static str,
        count: usize,
        timings: [u32; 3],
    ) -> Result<Self> {
        let namespace = cluster.namespace("idle-peer").await?;
        let record = cluster.record(&namespace).await?;
        let candidates = Candidates::start(cluster, &namespace, count, timings).await?;
        holder(&record, None).await?;
        let processes: Vec<_> = candidates.pids().map(|(_, pid)| pid).collect();
        let kind = Kind::Peer {
            _candidates: candidates,
        };
        let asker = PEER.to_owned();
        Ok(Self::new(who, count, namespace, asker, processes, kind))
    }

    fn new(
        who: &'static str,
        candidates: usize,
        namespace: String,
        asker: String,
        processes: Vec<u32>,
        kind: Kind,
    ) -> Self {
        Self {
            who,
            candidates,
            namespace,
            asker,
            processes,
            kind,
            since: Timestamp::now(),
            begun: Instant::now(),
            used: Duration::ZERO,
        }
    }

    /// From now on it counts.
    pub(super) fn begin(&mut self) -> Result<()> {
        self.used = self.used_so_far()?;
        self.since = Timestamp::now();
        self.begun = Instant::now();
        Ok(())
    }

    fn used_so_far(&self) -> Result<Duration> {
        self.processes.iter().map(|pid| time_used(*pid)).sum()
    }

    pub(super) async fn end(self, cluster: &Cluster) -> Result<Row> {
        let (span, until) = (self.begun.elapsed(), Timestamp::now());
        let used = self.used_so_far()?.saturating_sub(self.used);
        let memory: Vec<_> = self
            .processes
            .iter()
            .map(|pid| Memory::of(*pid))
            .collect::<Result<_>>()?;
        let largest = |part: fn(&Memory) -> u32| memory.iter().map(part).max().unwrap_or(0);
        let memory = Memory {
            resident: largest(|memory| memory.resident),
            anonymous: largest(|memory| memory.anonymous),
        };
        if let Kind::Ours(election, leader) = &self.kind {
            let after = election.leader_other_than(None).await?;
            ensure!(
                *leader == after,
                "the leader changed while nothing happened: {leader} {after}"
            );
        }
        // The log is written when a request has ended.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let log = fs::read_to_string(cluster.audit_log())?;
        let requests = audit::count(&log, &self.namespace, &self.asker, self.since, until);
        ensure!(!requests.is_empty(), "{} asked for nothing", self.who);
        Ok(Row {
            who: self.who,
            candidates: self.candidates,
            span,
            requests,
            memory,
            used,
        })
    }
}
