//! The objects that bear a pod template, or are pods, and where in them the pod's part stands.
//!
//! Must not know: what is injected.

use serde_json::Value;

/// Kubernetes' own annotation on the mirror of a static pod.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// A kind of object that is injected.
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
    /// `v1` Pod, bare or of a template that bears the annotation.
    Pod,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Deployment,
        Self::StatefulSet,
        Self::DaemonSet,
        Self::ReplicaSet,
        Self::Pod,
    ];

    /// The kind of an object, by its `apiVersion` and `kind`.
    pub fn of(object: &Value) -> Option<Self> {
        let text = |key| object.get(key)?.as_str();
        Self::named(text("apiVersion")?, text("kind")?)
    }

    /// The kind of this API version and name.
    pub fn named(api_version: &str, kind: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|it| it.api_version() == api_version && it.as_str() == kind)
    }

    /// The API group and version.
    pub fn api_version(self) -> &'static str {
        match self {
            Self::Pod => "v1",
            _ => "apps/v1",
        }
    }

    /// The name, as the API has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::ReplicaSet => "ReplicaSet",
            Self::Pod => "Pod",
        }
    }

    /// What its users call the part that is injected.
    pub(crate) fn part(self) -> &'static str {
        match self {
            Self::Pod => "pod",
            _ => "template",
        }
    }

    /// Where in the object that part stands.
    pub(crate) fn place(self) -> &'static str {
        match self {
            Self::Pod => "",
            _ => "/spec/template",
        }
    }

    /// Whether an object of this kind is none of our business, for its controller is: a ReplicaSet that
    /// a Deployment has made, or the mirror of a static pod, which kubelet has by a file.
    pub fn is_left_to_its_controller(self, metadata: Option<&Value>) -> bool {
        match self {
            Self::ReplicaSet => controller(metadata).is_some(),
            Self::Pod => metadata
                .and_then(|metadata| metadata.get("annotations")?.get(MIRROR))
                .is_some(),
            _ => false,
        }
    }

    /// The labels that its controller puts on each pod, beside the template's.
    pub(crate) fn labels_of_its_controller(self) -> &'static [&'static str] {
        match self {
            Self::Deployment => &["pod-template-hash"],
            Self::StatefulSet => &[
                "apps.kubernetes.io/pod-index",
                "controller-revision-hash",
                "statefulset.kubernetes.io/pod-name",
            ],
            Self::DaemonSet => &["controller-revision-hash", "pod-template-generation"],
            Self::ReplicaSet | Self::Pod => &[],
        }
    }

    /// How many pods the object asks for; None where a kind has no such number.
    pub fn replicas(self, object: &Value) -> Option<u64> {
        match self {
            Self::DaemonSet | Self::Pod => None,
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

    /// Where in the object its pod template stands.
    pub(crate) fn template(self) -> &'static str {
        match self {
            Self::Job => "/spec/template",
            Self::CronJob => "/spec/jobTemplate/spec/template",
        }
    }
}

/// The entry of `metadata.ownerReferences` of the object that controls this one.
pub(crate) fn controller(metadata: Option<&Value>) -> Option<&Value> {
    let owners = metadata?.get("ownerReferences")?.as_array()?;
    owners
        .iter()
        .find(|owner| owner.get("controller").and_then(Value::as_bool) == Some(true))
}

/// The pod template; a pod is its own.
pub(crate) fn template(kind: Kind, object: &Value) -> Option<&Value> {
    object.pointer(kind.place())
}

/// The service account that a template names, in the field of today or its forerunner.
pub(crate) fn account(template: &Value) -> Option<&str> {
    ["/spec/serviceAccountName", "/spec/serviceAccount"]
        .into_iter()
        .filter_map(|path| template.pointer(path)?.as_str())
        .find(|name| !name.is_empty())
}

/// The service account that a user has written. On a pod the API server writes `default` where nobody
/// wrote one, before anybody else is asked: there it counts as none.
pub(crate) fn written_account(kind: Kind, template: &Value) -> Option<&str> {
    account(template).filter(|name| kind != Kind::Pod || *name != "default")
}
