//! The objects that bear a pod template, and where in them it stands.
//!
//! Must not know: what is injected.

use serde_json::Value;

/// A kind of workload with a pod template at `/spec/template`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `apps/v1` Deployment.
    Deployment,
    /// `apps/v1` StatefulSet.
    StatefulSet,
    /// `apps/v1` DaemonSet.
    DaemonSet,
    /// `apps/v1` ReplicaSet.
    ReplicaSet,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Deployment,
        Self::StatefulSet,
        Self::DaemonSet,
        Self::ReplicaSet,
    ];

    /// The API group and version of each.
    pub const API_VERSION: &'static str = "apps/v1";

    /// The kind of an object, by its `apiVersion` and `kind`.
    pub fn of(object: &Value) -> Option<Self> {
        let text = |key| object.get(key).and_then(Value::as_str);
        if text("apiVersion") != Some(Self::API_VERSION) {
            return None;
        }
        Self::ALL
            .into_iter()
            .find(|kind| text("kind") == Some(kind.as_str()))
    }

    /// The name, as the API has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::ReplicaSet => "ReplicaSet",
        }
    }

    /// Whether an object of this kind is none of our business, for its controller is: a ReplicaSet that
    /// a Deployment has made.
    pub fn is_left_to_its_controller(self, metadata: Option<&Value>) -> bool {
        self == Self::ReplicaSet && metadata.is_some_and(is_controlled)
    }

    /// How many pods the object asks for; None where a kind has no such number.
    pub fn replicas(self, object: &Value) -> Option<u64> {
        match self {
            Self::DaemonSet => None,
            _ => Some(
                object
                    .pointer("/spec/replicas")
                    .and_then(Value::as_u64)
                    .unwrap_or(1),
            ),
        }
    }
}

/// A kind of workload whose pods end when their work is done, so that nothing could take over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// `batch/v1` Job.
    Job,
    /// `batch/v1` CronJob.
    CronJob,
}

impl Ending {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Job, Self::CronJob];

    /// The API group and version of both.
    pub const API_VERSION: &'static str = "batch/v1";

    /// The kind of an object, by its `apiVersion` and `kind`.
    pub fn of(api_version: &str, kind: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|ending| api_version == Self::API_VERSION && kind == ending.as_str())
    }

    /// The name, as the API has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Job => "Job",
            Self::CronJob => "CronJob",
        }
    }
}

/// Whether another object controls this one.
fn is_controlled(metadata: &Value) -> bool {
    let owners = metadata.get("ownerReferences").and_then(Value::as_array);
    owners
        .into_iter()
        .flatten()
        .any(|owner| owner.get("controller").and_then(Value::as_bool) == Some(true))
}

/// The pod template.
pub(crate) fn template(object: &Value) -> Option<&Value> {
    object.pointer("/spec/template")
}

/// The service account that a template names, in the field of today or its forerunner.
pub(crate) fn account(template: &Value) -> Option<&str> {
    ["/spec/serviceAccountName", "/spec/serviceAccount"]
        .into_iter()
        .filter_map(|path| template.pointer(path)?.as_str())
        .find(|name| !name.is_empty())
}
