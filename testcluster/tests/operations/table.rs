//! What people do to a workload with kubectl, and what is to become of it.

/// One thing to do. In the arguments `WEB` stands for a workload, `LEFT` for another of its kind.
#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    /// The kinds for which kubectl knows it.
    pub(crate) kinds: &'static [&'static str],
    pub(crate) kubectl: &'static [&'static [&'static str]],
    pub(crate) input: Input,
    pub(crate) effect: Effect,
}

impl Operation {
    /// Whether it is about an annotation of ours.
    pub(crate) fn is_ours(&self) -> bool {
        let mut words = self.kubectl.iter().copied().flatten();
        words.any(|word| word.starts_with("service-leader-election/"))
    }
}

/// What kubectl reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    Nothing,
    /// The manifest of WEB as it is.
    Same,
    /// The manifest of one more workload.
    New,
}

/// What becomes of a workload that is annotated. One that is not never meets the webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// The webhook is not asked, and the template stays: nothing is rolled out.
    Untouched,
    /// The webhook is asked, and the template has its sidecar of today.
    Injected,
    /// The webhook is asked, and the template has no sidecar any more.
    TakenOut,
    /// The webhook is not asked, and the workload goes.
    Gone,
}

const ALL: &[&str] = &["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"];
const ROLLED_OUT: &[&str] = &["Deployment", "StatefulSet", "DaemonSet"];
const SCALED: &[&str] = &["Deployment", "StatefulSet", "ReplicaSet"];
const PAUSED: &[&str] = &["Deployment"];

const fn operation(
    name: &'static str,
    kinds: &'static [&'static str],
    kubectl: &'static [&'static [&'static str]],
    effect: Effect,
) -> Operation {
    Operation {
        name,
        kinds,
        kubectl,
        input: Input::Nothing,
        effect,
    }
}

/// In this order, each on what those before it have left.
pub(crate) const OPERATIONS: [Operation; 15] = [
    operation(
        "label",
        ALL,
        &[&["label", "WEB", "color=red"]],
        Effect::Untouched,
    ),
    operation(
        "another's annotation",
        ALL,
        &[&["annotate", "WEB", "example.org/note=red"]],
        Effect::Untouched,
    ),
    Operation {
        input: Input::Same,
        ..operation(
            "unchanged apply",
            ALL,
            &[&["apply", "-f", "-"]],
            Effect::Untouched,
        )
    },
    Operation {
        input: Input::Same,
        ..operation(
            "unchanged server-side apply",
            ALL,
            &[&["apply", "--server-side", "--force-conflicts", "-f", "-"]],
            Effect::Untouched,
        )
    },
    operation(
        "pause",
        PAUSED,
        &[&["rollout", "pause", "WEB"]],
        Effect::Untouched,
    ),
    operation(
        "resume",
        PAUSED,
        &[&["rollout", "resume", "WEB"]],
        Effect::Untouched,
    ),
    operation(
        "scale",
        SCALED,
        &[
            &["scale", "WEB", "--replicas=1"],
            // Its pods start whether there is a webhook or not.
            &[
                "wait",
                "WEB",
                "--for=jsonpath={.status.readyReplicas}=1",
                "--timeout=60s",
            ],
        ],
        Effect::Untouched,
    ),
    operation(
        "set image",
        ALL,
        &[&["set", "image", "WEB", "app=example.org/app:3"]],
        Effect::Injected,
    ),
    operation(
        "restart",
        ROLLED_OUT,
        &[&["rollout", "restart", "WEB"]],
        Effect::Injected,
    ),
    operation(
        "undo",
        ROLLED_OUT,
        &[&["rollout", "undo", "WEB"]],
        Effect::Injected,
    ),
    operation(
        "another lease duration",
        ALL,
        &[&[
            "annotate",
            "WEB",
            "service-leader-election/lease-duration=20",
        ]],
        Effect::Injected,
    ),
    operation(
        "our annotation taken off",
        ALL,
        &[&["annotate", "LEFT", "service-leader-election/service-"]],
        Effect::TakenOut,
    ),
    Operation {
        input: Input::New,
        ..operation("create", ALL, &[&["create", "-f", "-"]], Effect::Injected)
    },
    operation(
        "foreground deletion",
        ALL,
        &[&["delete", "WEB", "--cascade=foreground", "--timeout=60s"]],
        Effect::Gone,
    ),
    operation(
        "deletion",
        ALL,
        &[&["delete", "LEFT", "--timeout=60s"]],
        Effect::Gone,
    ),
];
