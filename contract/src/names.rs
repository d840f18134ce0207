//! Every name that a user can meet: labels, annotations, resources, ports, environment, reasons.

/// What every annotation of ours starts with, and the label key without the slash.
pub const PREFIX: &str = "service-leader-election/";

/// The product's name: container, field manager, prefix of generated resources.
pub const PRODUCT: &str = "service-leader-election";

/// The label on a pod (value: the pod's own name) and the key in a Service's selector.
pub const LABEL: &str = "service-leader-election";

/// The label on a pod that was injected by itself, and not by its workload's template: by this the
/// controller finds it.
pub const POD_LABEL: &str = "service-leader-election/injected-at";

/// The value of [`POD_LABEL`].
pub const POD_LABEL_VALUE: &str = "pod";

/// The selector value of a Service that is closed until its first leader. No pod can bear it:
/// an underscore is in no pod's name.
pub const NO_LEADER: &str = "no_leader";

/// Kubernetes' own annotation on a pod: a ReplicaSet deletes the pod of the lowest value first.
pub const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// The value of [`DELETION_COST`] on the leader, the highest there is: it goes last.
pub const LEADERS_COST: &str = "2147483647";

/// Annotations that users write on a workload.
pub mod annotation {
    /// The Service (or several, separated by commas) whose traffic must reach one pod only.
    pub const SERVICE: &str = "service-leader-election/service";
    /// The Lease's name.
    pub const LEASE: &str = "service-leader-election/lease";
    /// The container whose readiness counts, where it is not the whole pod's.
    pub const CONTAINER: &str = "service-leader-election/container";
    /// The sidecar's port.
    pub const PORT: &str = "service-leader-election/port";
    /// The application's own port, on which it wants to be told that it leads, or no longer.
    pub const NOTIFY_PORT: &str = "service-leader-election/notify-port";
    /// The lease's length in seconds.
    pub const LEASE_DURATION: &str = "service-leader-election/lease-duration";
    /// The service account to use.
    pub const SERVICE_ACCOUNT: &str = "service-leader-election/service-account";
    /// `open` for a Service that is not closed before its first leader.
    pub const START: &str = "service-leader-election/start";
    /// The sidecar's log level.
    pub const LOG_LEVEL: &str = "service-leader-election/log-level";
    /// The sidecar's CPU request.
    pub const CPU_REQUEST: &str = "service-leader-election/cpu-request";
    /// The sidecar's memory request.
    pub const MEMORY_REQUEST: &str = "service-leader-election/memory-request";
    /// The sidecar's CPU limit.
    pub const CPU_LIMIT: &str = "service-leader-election/cpu-limit";
    /// The sidecar's memory limit.
    pub const MEMORY_LIMIT: &str = "service-leader-election/memory-limit";
    /// `"false"` keeps an annotated object un-injected.
    pub const INJECT: &str = "service-leader-election/inject";
    /// On a template or a pod: what was put in, so that it can be taken out again exactly.
    pub const INJECTED: &str = "service-leader-election/injected";
}

/// Annotations that the product writes on a Service.
pub mod service_annotation {
    /// The pod that the Service's selector names.
    pub const LEADER: &str = "service-leader-election/leader";
    /// The epoch of the term that wrote the selector: the resourceVersion of a Lease write.
    pub const EPOCH: &str = "service-leader-election/epoch";
    /// Set by the controller on a Service that it may un-pin: the workloads that claim it, as
    /// `Kind/name`, separated by commas.
    pub const CLAIMED: &str = "service-leader-election/claimed";
}

/// Annotations on a Lease: what the sidecars write, and two that an operator may write.
pub mod lease_annotation {
    /// `<pod name>/<pod UID>` of the holder.
    pub const HOLDER: &str = "service-leader-election/holder";
    /// `<pod name>/<pod UID>` of who led before and is known to be out, until the holder has switched
    /// and renews.
    pub const GIVEN_UP_BY: &str = "service-leader-election/given-up-by";
    /// Counts the terms, so that the write which begins one is never a no-op.
    pub const TERM: &str = "service-leader-election/term";
    /// When the term began.
    pub const ACQUIRED_AT: &str = "service-leader-election/acquired-at";
    /// Why the Lease last changed hands, in words.
    pub const REASON: &str = "service-leader-election/reason";
    /// The last ten terms as JSON: who, since when, why, for how long.
    pub const TERMS: &str = "service-leader-election/terms";
    /// An operator's request: the name of a pod, or `any`. Taken away by the write that answers it.
    pub const SWITCHOVER_TO: &str = "service-leader-election/switchover-to";
    /// The value of [`SWITCHOVER_TO`] that leaves the choice to the leader.
    pub const ANY: &str = "any";
    /// An operator's wish, `"true"`: nobody takes over or hands over, save by request.
    pub const PAUSED: &str = "service-leader-election/paused";
}

/// Environment variables of the sidecar. Each has a flag of the same meaning.
pub mod env {
    /// The pod's name (fieldRef `metadata.name`), as the Go original has it.
    pub const POD_NAME: &str = "POD_NAME";
    /// The pod's namespace (fieldRef `metadata.namespace`), as the Go original has it.
    pub const POD_NAMESPACE: &str = "POD_NAMESPACE";
    /// The pod's UID (fieldRef `metadata.uid`).
    pub const POD_UID: &str = "POD_UID";
    /// The Service names, separated by commas.
    pub const SERVICE: &str = "SERVICE_LEADER_ELECTION_SERVICE";
    /// The Lease's name.
    pub const LEASE: &str = "SERVICE_LEADER_ELECTION_LEASE";
    /// The lease's length in seconds.
    pub const LEASE_DURATION: &str = "SERVICE_LEADER_ELECTION_LEASE_DURATION";
    /// The container whose readiness counts.
    pub const CONTAINER: &str = "SERVICE_LEADER_ELECTION_CONTAINER";
    /// The application's own port, to tell it that it leads, or no longer.
    pub const NOTIFY_PORT: &str = "SERVICE_LEADER_ELECTION_NOTIFY_PORT";
    /// The socket address of the status endpoint.
    pub const LISTEN: &str = "SERVICE_LEADER_ELECTION_LISTEN";
    /// The log level: error, warn, info, debug or trace.
    pub const LOG_LEVEL: &str = "SERVICE_LEADER_ELECTION_LOG_LEVEL";
    /// The log format: json or text.
    pub const LOG_FORMAT: &str = "SERVICE_LEADER_ELECTION_LOG_FORMAT";
}

/// The injected container's name.
pub const CONTAINER: &str = "service-leader-election";

/// The injected volume's name.
pub const TOKEN_VOLUME: &str = "service-leader-election-token";

/// Where a service account's token, CA and namespace stand in a container.
pub const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The sidecar's port, as the Go original has it.
pub const PORT: u16 = 28086;

/// The name of the sidecar's port in its container.
pub const PORT_NAME: &str = "election";

/// Reasons of Kubernetes Events.
pub mod reason {
    /// A pod began to lead.
    pub const LEADER_ELECTED: &str = "LeaderElected";
    /// A pod no longer leads.
    pub const LEADER_LOST: &str = "LeaderLost";
    /// The Service's selector names another pod now.
    pub const SERVICE_SWITCHED: &str = "ServiceSwitched";
    /// Somebody changed the selector or our annotations, and they stand again.
    pub const SELECTOR_RESTORED: &str = "SelectorRestored";
    /// A Service of the election does not exist.
    pub const SERVICE_MISSING: &str = "ServiceMissing";
    /// A Service without a selector cannot be switched.
    pub const SERVICE_WITHOUT_SELECTOR: &str = "ServiceWithoutSelector";
    /// The Service carries a higher epoch than this leader's term.
    pub const FENCED: &str = "Fenced";
    /// A pod of another election, by another Lease, leads the Service.
    pub const CONTENDED: &str = "Contended";
    /// The leader's pod has a deletion cost of the user's, so it may be deleted first.
    pub const DELETION_COST_KEPT: &str = "DeletionCostKept";
    /// An operator's request to hand over could not be obeyed.
    pub const SWITCHOVER_REFUSED: &str = "SwitchoverRefused";
    /// Another program holds the Lease.
    pub const FOREIGN_LEASE: &str = "ForeignLease";
    /// The API server refused a request for want of rights.
    pub const FORBIDDEN: &str = "Forbidden";
    /// The Service is the user's again.
    pub const UNPINNED: &str = "Unpinned";
    /// Nobody claims the Service any longer, but a pod is left that may still write it.
    pub const UNPIN_WAITS: &str = "UnpinWaits";
    /// An object has the name of one that the controller would make.
    pub const NAME_TAKEN: &str = "NameTaken";
}

/// The Lease's, the service account's, the Role's and the binding's default name for a Service.
pub fn default_name(service: &str) -> String {
    format!("{PRODUCT}-{service}")
}

/// The Service of a default name.
pub fn service_of(default_name: &str) -> Option<&str> {
    default_name.strip_prefix(PRODUCT)?.strip_prefix('-')
}

/// What follows the default name in the name of the binding to the chart's ClusterRole. A point is
/// in no Service's name, so no other Service's objects can have it.
pub const SIDECAR_BINDING_SUFFIX: &str = ".sidecar";
