//! Every annotation and label that people write or meet, each once: the parser knows these keys
//! alone, refuses a value in these words, and `docs/annotations.md` is made of them.
//!
//! Must not know: what follows from a value, how a page is written.

use crate::{
    inject::sidecar,
    names::{self, annotation, lease_annotation, service_annotation},
    values::{
        AccountName, ContainerName, LeaseName, LogLevel, Port, Quantity, ServiceName, Start, Timing,
    },
};

/// An annotation that people write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// The whole key.
    pub name: &'static str,
    /// What may be written. A refusal says it after the word "write".
    pub form: &'static str,
    /// What holds where it is absent.
    pub absent: Absent,
    /// A value of the form, other than what holds where it is absent.
    pub example: &'static str,
    /// What it means, in sentences.
    pub meaning: &'static str,
}

/// What holds where an annotation is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// The same as with this value.
    Value(&'static str),
    /// This, in words.
    Words(&'static str),
}

/// An annotation or a label that the product writes, and people meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The whole key.
    pub name: &'static str,
    /// The kind of object that bears it.
    pub on: &'static str,
    /// Who writes it.
    pub by: &'static str,
    /// A value.
    pub example: &'static str,
    /// What it means, in sentences.
    pub meaning: &'static str,
}

/// The annotations of a workload, one by one.
pub(crate) mod key {
    use super::{
        Absent, AccountName, ContainerName, Key, LeaseName, LogLevel, Port, Quantity, ServiceName,
        Start, Timing, annotation, sidecar,
    };

    pub(crate) const SERVICE: Key = Key {
        name: annotation::SERVICE,
        form: ServiceName::FORM,
        absent: Absent::Words("nothing is injected"),
        example: "web",
        meaning: "The Service whose traffic must reach one pod only. Or several, separated by commas: \
                  one election switches them all, and Lease, service account and rights are named \
                  after the first.",
    };
    pub(crate) const LEASE: Key = Key {
        name: annotation::LEASE,
        form: LeaseName::FORM,
        absent: Absent::Words("service-leader-election-<first Service>"),
        example: "web-leader",
        meaning: "The Lease that holds the election. Workloads with the same Lease elect one leader \
                  of all their pods. While a workload has pods, its Lease stays.",
    };
    pub(crate) const CONTAINER: Key = Key {
        name: annotation::CONTAINER,
        form: ContainerName::FORM,
        absent: Absent::Words("the whole pod's readiness"),
        example: "app",
        meaning: "The container whose readiness counts: only a pod in which it is ready may lead. One \
                  of the template's.",
    };
    pub(crate) const PORT: Key = Key {
        name: annotation::PORT,
        form: Port::FORM,
        absent: Absent::Value("28086"),
        example: "9000",
        meaning: "The sidecar's port, which answers who leads. Choose another where a container has \
                  this one, or with hostNetwork. Beside Istio or Linkerd it is added to the ports that \
                  the template's own annotation tells the mesh to leave alone, or the namespace's.",
    };
    pub(crate) const NOTIFY_PORT: Key = Key {
        name: annotation::NOTIFY_PORT,
        form: Port::FORM,
        absent: Absent::Words("nobody is told"),
        example: "8080",
        meaning: "The application's own port on 127.0.0.1, which is told by `POST /promote` that its \
                  pod leads, and by `POST /demote` that it leads no longer.",
    };
    pub(crate) const LEASE_DURATION: Key = Key {
        name: annotation::LEASE_DURATION,
        form: Timing::FORM,
        absent: Absent::Value("12"),
        example: "30",
        meaning: "How many seconds a leader is waited for of whom nobody can tell whether it lives, as \
                  on a lost node. It renews its Lease every third of that, and answers `isLeader: \
                  false` once it could not for two thirds.",
    };
    pub(crate) const SERVICE_ACCOUNT: Key = Key {
        name: annotation::SERVICE_ACCOUNT,
        form: AccountName::FORM,
        absent: Absent::Words(
            "the template's serviceAccountName, else service-leader-election-<first Service>, which \
             is made for it",
        ),
        example: "shop",
        meaning: "The service account of the pods, which gets the sidecar's rights. The template must \
                  not name another.",
    };
    pub(crate) const START: Key = Key {
        name: annotation::START,
        form: Start::FORM,
        absent: Absent::Value("closed"),
        example: "open",
        meaning: "What the Service does before its first leader: `closed` selects nobody, `open` whom \
                  your own selector selects. It is not obeyed yet: every Service begins open.",
    };
    pub(crate) const LOG_LEVEL: Key = Key {
        name: annotation::LOG_LEVEL,
        form: LogLevel::FORM,
        absent: Absent::Words("info"),
        example: "debug",
        meaning: "How much the sidecar logs.",
    };
    pub(crate) const CPU_REQUEST: Key = Key {
        name: annotation::CPU_REQUEST,
        form: Quantity::FORM,
        absent: Absent::Value(sidecar::CPU_REQUEST),
        example: "50m",
        meaning: "The CPU that the sidecar requests. A lower limit lowers the default.",
    };
    pub(crate) const MEMORY_REQUEST: Key = Key {
        name: annotation::MEMORY_REQUEST,
        form: Quantity::FORM,
        absent: Absent::Value(sidecar::MEMORY_REQUEST),
        example: "32Mi",
        meaning: "The memory that the sidecar requests. A lower limit lowers the default.",
    };
    pub(crate) const CPU_LIMIT: Key = Key {
        name: annotation::CPU_LIMIT,
        form: Quantity::FORM,
        absent: Absent::Words("none, for a renewal that is throttled is a lease that is lost"),
        example: "500m",
        meaning: "The most CPU that the sidecar may use. At least what it requests.",
    };
    pub(crate) const MEMORY_LIMIT: Key = Key {
        name: annotation::MEMORY_LIMIT,
        form: Quantity::FORM,
        absent: Absent::Value(sidecar::MEMORY_LIMIT),
        example: "128Mi",
        meaning: "The most memory that the sidecar may use, 8Mi or more. At least what it requests; a \
                  higher request raises the default.",
    };
    pub(crate) const INJECT: Key = Key {
        name: annotation::INJECT,
        form: "\"true\" or \"false\"",
        absent: Absent::Value("true"),
        example: "false",
        meaning: "With `false` nothing is injected, and what was injected is taken out, whatever the \
                  other annotations say.",
    };
}

/// The annotations of a workload.
pub const KEYS: [Key; 14] = [
    key::SERVICE,
    key::LEASE,
    key::CONTAINER,
    key::PORT,
    key::NOTIFY_PORT,
    key::LEASE_DURATION,
    key::SERVICE_ACCOUNT,
    key::START,
    key::LOG_LEVEL,
    key::CPU_REQUEST,
    key::MEMORY_REQUEST,
    key::CPU_LIMIT,
    key::MEMORY_LIMIT,
    key::INJECT,
];

/// The annotations of a Lease by which an operator asks for something.
pub const REQUESTS: [Key; 2] = [
    Key {
        name: lease_annotation::SWITCHOVER_TO,
        form: "any, or the name of a ready pod of the election",
        absent: Absent::Words("nothing is asked for"),
        example: "web-7d4f9-x2k1p",
        meaning: "The leader hands over to that pod, or with `any` to the next in rank. The write that \
                  answers takes the annotation away; where no such pod is ready, an Event on the \
                  Lease says so.",
    },
    Key {
        name: lease_annotation::PAUSED,
        form: "\"true\"; anything else means nothing",
        absent: Absent::Value("false"),
        example: "true",
        meaning: "The leader stays: nobody takes over or hands over, save by `switchover-to`, however \
                  long the leader is silent.",
    },
];

/// What the product writes.
pub const MARKS: [Mark; 14] = [
    Mark {
        name: lease_annotation::HOLDER,
        on: "Lease",
        by: "the leader",
        example: "web-7d4f9-x2k1p/5c0f2a34-…",
        meaning: "The pod that holds the Lease, and its UID. A Lease without it is another program's.",
    },
    Mark {
        name: lease_annotation::GIVEN_UP_BY,
        on: "Lease",
        by: "the leader",
        example: "web-7d4f9-b8s2w/91ab77c0-…",
        meaning: "Who led before and is known to be out, until its successor has the Service.",
    },
    Mark {
        name: lease_annotation::TERM,
        on: "Lease",
        by: "the leader",
        example: "7",
        meaning: "How many terms there were, this one included.",
    },
    Mark {
        name: lease_annotation::ACQUIRED_AT,
        on: "Lease",
        by: "the leader",
        example: "2026-01-01T00:00:00.000000Z",
        meaning: "When this term began.",
    },
    Mark {
        name: lease_annotation::REASON,
        on: "Lease",
        by: "the leader",
        example: "pod web-7d4f9-b8s2w is gone",
        meaning: "Why the Lease last changed hands.",
    },
    Mark {
        name: lease_annotation::TERMS,
        on: "Lease",
        by: "the leader",
        example: r#"[{"term":7,"leader":"web-7d4f9-x2k1p",…}]"#,
        meaning: "The last ten terms: who led, since when, why, for how many seconds, why no longer.",
    },
    Mark {
        name: service_annotation::LEADER,
        on: "Service",
        by: "the leader",
        example: "web-7d4f9-x2k1p",
        meaning: "The pod that the selector names.",
    },
    Mark {
        name: service_annotation::EPOCH,
        on: "Service",
        by: "the leader",
        example: "1657",
        meaning: "The revision of the Lease write that began the leader's term. It only goes up, and \
                  stays when the Service is given back.",
    },
    Mark {
        name: service_annotation::CLAIMED,
        on: "Service",
        by: "the webhook's controller",
        example: "Deployment/web",
        meaning: "The workloads that name this Service, and the bare pods. When the last of them lets \
                  go of it, your own selector stands again.",
    },
    Mark {
        name: names::LABEL,
        on: "Pod (a label)",
        by: "its sidecar",
        example: "web-7d4f9-x2k1p",
        meaning: "The pod's own name, so that a selector can name one pod.",
    },
    Mark {
        name: names::LABEL,
        on: "Service (a key of its selector)",
        by: "the leader",
        example: "web-7d4f9-x2k1p",
        meaning: "The pod that gets the traffic, beside your own selector.",
    },
    Mark {
        name: names::DELETION_COST,
        on: "Pod",
        by: "the leader",
        example: names::LEADERS_COST,
        meaning: "A rollout or a scale-down deletes the leader last. A value of your own stays.",
    },
    Mark {
        name: annotation::INJECTED,
        on: "pod template, Pod",
        by: "the webhook",
        example: r#"{"created":["volumes"],…}"#,
        meaning: "What was put into it, so that it can be taken out again exactly.",
    },
    Mark {
        name: names::POD_LABEL,
        on: "Pod (a label)",
        by: "the webhook",
        example: names::POD_LABEL_VALUE,
        meaning: "The sidecar was put into this pod, and not into the template of its workload.",
    },
];
