//! What has become of a pod's containers, and the status that tells the API server. Pure.

use std::{collections::BTreeMap, net::Ipv4Addr, os::unix::process::ExitStatusExt as _};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{
        ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
        ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodStatus,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};

use crate::loopback::NODE_IP;

/// The reason that a pod shows which the node cannot play.
pub const UNSUPPORTED: &str = "UnsupportedByProcessNode";

/// A pod's containers by name, and what else its status depends on.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct PodState {
    pub(super) containers: BTreeMap<String, Seen>,
    /// What the pod asks that the node cannot do.
    pub(super) refused: Option<String>,
    /// The pod's processes are frozen: no probes, no reports.
    pub(super) frozen: bool,
    /// All processes have ended for good.
    pub(super) ended: bool,
}

impl PodState {
    pub(super) fn started(&self, container: &str) -> bool {
        self.containers
            .get(container)
            .is_some_and(|seen| seen.started)
    }
}

/// One container.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seen {
    pub(super) stage: Stage,
    /// Its startup probe has succeeded.
    pub(super) started: bool,
    pub(super) ready: bool,
    pub(super) restarts: i32,
    pub(super) last: Option<End>,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            stage: Stage::waiting("ContainerCreating", ""),
            started: false,
            ready: false,
            restarts: 0,
            last: None,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Stage {
    Waiting { reason: String, message: String },
    Running { since: Timestamp, pid: u32 },
    Ended(End),
}

impl Stage {
    pub(super) fn waiting(reason: &str, message: &str) -> Self {
        Self::Waiting {
            reason: reason.to_owned(),
            message: message.to_owned(),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct End {
    since: Timestamp,
    until: Timestamp,
    code: i32,
}

impl End {
    pub(super) fn new(since: Timestamp, status: std::process::ExitStatus) -> Self {
        Self {
            since,
            until: Timestamp::now(),
            code: status
                .code()
                .unwrap_or_else(|| 128 + status.signal().unwrap_or_default()),
        }
    }

    fn render(&self) -> ContainerState {
        let reason = if self.code == 0 { "Completed" } else { "Error" };
        ContainerState {
            terminated: Some(ContainerStateTerminated {
                exit_code: self.code,
                reason: Some(reason.to_owned()),
                started_at: Some(Time(self.since)),
                finished_at: Some(Time(self.until)),
                ..ContainerStateTerminated::default()
            }),
            ..ContainerState::default()
        }
    }
}

impl Seen {
    fn render(&self, name: &str, image: &str) -> ContainerStatus {
        let state = match &self.stage {
            Stage::Waiting { reason, message } => ContainerState {
                waiting: Some(ContainerStateWaiting {
                    reason: Some(reason.clone()),
                    message: Some(message.clone()).filter(|message| !message.is_empty()),
                }),
                ..ContainerState::default()
            },
            Stage::Running { since, .. } => ContainerState {
                running: Some(ContainerStateRunning {
                    started_at: Some(Time(*since)),
                }),
                ..ContainerState::default()
            },
            Stage::Ended(end) => end.render(),
        };
        ContainerStatus {
            name: name.to_owned(),
            image: image.to_owned(),
            ready: self.ready,
            started: Some(self.started),
            restart_count: self.restarts,
            state: Some(state),
            last_state: self.last.as_ref().map(End::render),
            container_id: match self.stage {
                Stage::Running { pid, .. } => Some(format!("process://{pid}")),
                _ => None,
            },
            ..ContainerStatus::default()
        }
    }
}

/// The status of a pod. `previous` lends the times of conditions that have not changed.
pub(super) fn render(
    pod: &Pod,
    state: &PodState,
    pod_ip: Ipv4Addr,
    start: Timestamp,
    previous: Option<&PodStatus>,
) -> PodStatus {
    let spec = pod.spec.clone().unwrap_or_default();
    let unsupported = Seen {
        stage: Stage::waiting(UNSUPPORTED, state.refused.as_deref().unwrap_or_default()),
        ..Seen::default()
    };
    let absent = match &state.refused {
        Some(_) => unsupported,
        None => Seen::default(),
    };
    let seen = |name: &str| state.containers.get(name).unwrap_or(&absent);
    let render = |container: &k8s_openapi::api::core::v1::Container| {
        seen(&container.name).render(
            &container.name,
            container.image.as_deref().unwrap_or_default(),
        )
    };
    let sidecars = spec.init_containers.unwrap_or_default();
    let initialized = sidecars.iter().all(|container| {
        let seen = seen(&container.name);
        seen.started || seen.restarts > 0
    });
    let unready: Vec<&str> = sidecars
        .iter()
        .chain(&spec.containers)
        .map(|container| container.name.as_str())
        .filter(|name| !seen(name).ready)
        .collect();
    let ends = spec
        .containers
        .iter()
        .map(|container| &seen(&container.name).stage);
    let phase = if state.ended {
        let clean = |stage: &Stage| matches!(stage, Stage::Ended(end) if end.code == 0);
        if ends.into_iter().all(clean) {
            "Succeeded"
        } else {
            "Failed"
        }
    } else if initialized
        && ends
            .into_iter()
            .zip(&spec.containers)
            .all(|(stage, container)| {
                !matches!(stage, Stage::Waiting { .. }) || seen(&container.name).last.is_some()
            })
    {
        "Running"
    } else {
        "Pending"
    };
    let why = Some(match phase {
        "Succeeded" | "Failed" => ("PodCompleted", String::new()),
        _ => (
            "ContainersNotReady",
            format!("containers with unready status: {unready:?}"),
        ),
    })
    .filter(|_| !unready.is_empty());
    let condition = |name: &str, holds: bool| {
        let because = why.as_ref().filter(|_| !holds);
        let new = PodCondition {
            type_: name.to_owned(),
            status: if holds { "True" } else { "False" }.to_owned(),
            reason: because.map(|(reason, _)| (*reason).to_owned()),
            message: because.map(|(_, message)| message.clone()),
            ..PodCondition::default()
        };
        let old = previous
            .and_then(|status| status.conditions.as_ref())
            .and_then(|all| all.iter().find(|old| old.type_ == name))
            .filter(|old| old.status == new.status)
            .and_then(|old| old.last_transition_time.clone());
        PodCondition {
            last_transition_time: old.or_else(|| Some(Time(Timestamp::now()))),
            ..new
        }
    };
    let ip = pod_ip.to_string();
    PodStatus {
        phase: Some(phase.to_owned()),
        reason: state.refused.as_ref().map(|_| UNSUPPORTED.to_owned()),
        message: state.refused.clone(),
        conditions: Some(vec![
            condition("Initialized", initialized),
            condition("ContainersReady", unready.is_empty()),
            condition("Ready", unready.is_empty()),
        ]),
        init_container_statuses: Some(sidecars.iter().map(render).collect()),
        container_statuses: Some(spec.containers.iter().map(render).collect()),
        host_ip: Some(NODE_IP.to_string()),
        host_ips: Some(vec![HostIP {
            ip: NODE_IP.to_string(),
        }]),
        pod_ips: Some(vec![PodIP { ip: ip.clone() }]),
        pod_ip: Some(ip),
        start_time: Some(Time(start)),
        ..PodStatus::default()
    }
}
