//! The flows of an election: what happens to a leader.

use k8s_openapi::api::core::v1::{Pod, Service};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use testcluster::Signal;

use crate::support::{KEY, Leader, Scene};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// Nobody leads yet.
    First,
    /// The leader's pod is deleted.
    Deleted,
    /// The leader's sidecar gets SIGTERM.
    Stopped,
    /// The leader's application is unready.
    Unready,
    /// The leader's pod stands still for longer than a lease.
    Frozen,
    /// The leader's pod is gone without a word.
    Gone,
    /// The leader's sidecar is killed, and starts again.
    Killed,
    /// Somebody takes the Service's pin away.
    Drift,
    /// Somebody deletes the Lease.
    LeaseDeleted,
}

impl Flow {
    pub(crate) const ALL: [Self; 9] = [
        Self::First,
        Self::Deleted,
        Self::Stopped,
        Self::Unready,
        Self::Frozen,
        Self::Gone,
        Self::Killed,
        Self::Drift,
        Self::LeaseDeleted,
    ];

    /// What the workload is annotated with: where a lease has to run out it is short, and where
    /// none has to, so long that nobody can have waited for it.
    pub(crate) fn annotations(self, crashes: bool) -> Value {
        // Who loses its sidecar on the way may be waited for.
        let seconds = if self == Self::Frozen || crashes {
            "5"
        } else {
            "300"
        };
        json!({"service-leader-election/lease-duration": seconds})
    }

    /// Whether another pod must lead in the end.
    pub(crate) fn moves(self) -> bool {
        match self {
            Self::Deleted | Self::Unready | Self::Frozen | Self::Gone => true,
            // A sidecar that stops starts again: with a crash on the way it may go on leading.
            Self::First | Self::Stopped | Self::Killed | Self::Drift | Self::LeaseDeleted => false,
        }
    }

    /// Makes it happen to the leader.
    pub(crate) async fn begin(self, scene: &Scene, leader: &Leader) {
        let node = scene.cluster.node();
        let (namespace, pod) = (scene.namespace.as_str(), leader.pod.as_str());
        let pods: Api<Pod> = Api::namespaced(scene.client.clone(), namespace);
        match self {
            Self::First => {}
            Self::Deleted => {
                pods.delete(pod, &DeleteParams::default()).await.unwrap();
            }
            Self::Stopped => scene.signal(pod, Signal::TERM),
            Self::Killed => scene.signal(pod, Signal::KILL),
            Self::Unready => scene.set_ready(pod, false).await,
            Self::Frozen => node.freeze(namespace, pod).unwrap(),
            Self::Gone => {
                node.vanish(namespace, pod).unwrap();
                let force = DeleteParams::default().grace_period(0);
                pods.delete(pod, &force).await.unwrap();
            }
            Self::Drift => {
                let services: Api<Service> = Api::namespaced(scene.client.clone(), namespace);
                let before = scene.record.sync().await.unwrap();
                let drift = Patch::Merge(json!({"spec": {"selector": {KEY: null}}}));
                let params = PatchParams::default();
                services.patch("web", &params, &drift).await.unwrap();
                // The gap ends with the first repair, which is checked in the end.
                scene.record.allow(before + 1..=before + 100_000);
            }
            Self::LeaseDeleted => {
                let lease = format!("{KEY}-web");
                scene.kubectl(&["delete", "lease", &lease]).await;
            }
        }
    }

    /// Sets right what would keep the pod from taking part.
    pub(crate) async fn end(self, scene: &Scene, leader: &Leader) {
        match self {
            Self::Unready => scene.set_ready(&leader.pod, true).await,
            Self::Frozen => {
                let node = scene.cluster.node();
                node.thaw(&scene.namespace, &leader.pod).unwrap();
            }
            _ => {}
        }
    }
}
