//! One container: its process, started again as kubelet would when it ends, until it is stopped.

use std::{
    fs::File,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use anyhow::Result;
use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::{
    process::Child,
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    plan::ContainerPlan,
    probe,
    status::{End, PodState, Seen, Stage},
};
use crate::reaper;

/// A native sidecar gets at least this long after its SIGTERM, as kubelet gives it.
const LEAST_GRACE: Duration = Duration::from_secs(2);

/// A container that ran this long starts with a clean slate.
const FORGIVEN_AFTER: Duration = Duration::from_mins(10);

/// That a pod must end: when its processes are killed at the latest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ending {
    pub(super) kill_at: Instant,
    /// The object is gone already.
    pub(super) gone: bool,
}

/// What the containers of a pod share.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) rig: PathBuf,
    pub(super) address: Ipv4Addr,
    pub(super) state: watch::Sender<PodState>,
    pub(super) ending: watch::Receiver<Option<Ending>>,
    /// `terminationGracePeriodSeconds`, for a container that its probes condemn.
    pub(super) grace: Duration,
    pub(super) first_restart: Duration,
}

#[derive(Debug)]
pub(super) struct Container {
    pub(super) plan: ContainerPlan,
    pub(super) program: PathBuf,
    /// What the node adds to the container's own variables.
    pub(super) env: Vec<(String, String)>,
    pub(super) log: PathBuf,
    pub(super) place: Place,
    pub(super) stop: CancellationToken,
}

impl Container {
    /// Runs until stopped. When this returns, there is no process.
    pub(super) async fn run(self) {
        let mut crashes = 0;
        while !self.stop.is_cancelled() {
            let begun = Instant::now();
            if let Err(error) = self.run_once().await {
                let message = format!("{error:#}");
                self.note(|seen| seen.stage = Stage::waiting("RunContainerError", &message));
            }
            if begun.elapsed() > FORGIVEN_AFTER {
                crashes = 0;
            }
            if self.stop.is_cancelled() {
                break;
            }
            let delay = back_off(crashes, self.place.first_restart);
            crashes += 1;
            self.note(|seen| {
                if let Stage::Ended(end) = &seen.stage {
                    seen.last = Some(end.clone());
                }
                if delay > self.place.first_restart {
                    let message = format!("restarts after {} s", delay.as_secs());
                    seen.stage = Stage::waiting("CrashLoopBackOff", &message);
                }
            });
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = sleep(delay) => self.note(|seen| seen.restarts += 1),
            }
        }
        // A container that waits for its restart has ended all the same.
        self.note(|seen| {
            if let (Stage::Waiting { .. }, Some(end)) = (&seen.stage, &seen.last) {
                seen.stage = Stage::Ended(end.clone());
            }
        });
    }

    async fn run_once(&self) -> Result<()> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut child = reaper::command(&self.program, &self.place.rig)
            .args(&self.plan.args)
            .envs(self.plan.env.iter().map(|(name, value)| (name, value)))
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let since = Timestamp::now();
        let pid = child.id().unwrap_or_default();
        self.note(|seen| seen.stage = Stage::Running { since, pid });
        let status = tokio::select! {
            biased;
            status = child.wait() => status?,
            () = self.stop.cancelled() => self.stop_within(&mut child, None).await?,
            probe = probe::run(&self.plan, &self.place) => {
                let name = &self.plan.name;
                tracing::info!(container = name, probe, "container fails its probe");
                self.stop_within(&mut child, Some(self.place.grace)).await?
            }
        };
        self.note(|seen| {
            seen.stage = Stage::Ended(End::new(since, status));
            seen.started = false;
            seen.ready = false;
        });
        Ok(())
    }

    /// SIGTERM, and SIGKILL when the time is over: `grace`, or that of the pod's ending.
    async fn stop_within(
        &self,
        child: &mut Child,
        grace: Option<Duration>,
    ) -> std::io::Result<ExitStatus> {
        let mut ending = self.place.ending.clone();
        let Some(pid) = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())) else {
            return child.wait().await;
        };
        kill_process(pid, Signal::TERM).ok();
        let begun = Instant::now();
        loop {
            let pods = ending.borrow_and_update().map(|ending| ending.kill_at);
            let own = grace.map(|grace| begun + grace);
            let least = begun + LEAST_GRACE;
            let kill_at = match (own, pods) {
                (Some(own), Some(pods)) => own.min(pods.max(least)),
                (Some(own), None) => own,
                (None, pods) => pods.map_or(least, |pods| pods.max(least)),
            };
            tokio::select! {
                status = child.wait() => return status,
                () = sleep_until(kill_at) => {
                    kill_process_group(pid, Signal::KILL).ok();
                    return child.wait().await;
                }
                Ok(()) = ending.changed() => {}
            }
        }
    }

    fn note(&self, change: impl FnOnce(&mut Seen)) {
        self.place.state.send_modify(|state| {
            change(state.containers.entry(self.plan.name.clone()).or_default());
        });
    }
}

/// How long kubelet waits before the restart after `crashes` earlier ones: the first comes at
/// once, then 10 s, 20 s, ... up to 5 minutes.
fn back_off(crashes: u32, first: Duration) -> Duration {
    match crashes.checked_sub(1) {
        None => first,
        Some(doublings) => Duration::from_secs((10 << doublings.min(5)).min(300)),
    }
}

/// Where a container's output goes. Kubernetes names have no underscore.
pub(super) fn log_path(logs: &Path, namespace: &str, pod: &str, uid: &str, name: &str) -> PathBuf {
    logs.join(format!("{namespace}_{pod}_{name}_{uid}.log"))
}
