//! Security contexts, of pods and of containers.

use serde_json::json;

use crate::shape::{Values, just, list, map, may, must, one_of};

/// What Pod Security is to make of a workload, and where the workload says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// It says what it likes.
    Free,
    /// It passes `restricted`, and says once for the pod what can be said there.
    RestrictedByPod,
    /// It passes `restricted`, and says it in each container.
    RestrictedByContainers,
}

impl Security {
    /// Whether `restricted` is passed.
    pub fn is_restricted(self) -> bool {
        self != Self::Free
    }
}

/// `spec.securityContext`.
pub(crate) fn of_pod(security: Security) -> Values {
    let groups = || one_of([0, 1000, 65534]);
    let mut fields = vec![
        may("fsGroup", 0.3, groups()),
        may(
            "fsGroupChangePolicy",
            0.1,
            one_of(["Always", "OnRootMismatch"]),
        ),
        may("runAsGroup", 0.2, groups()),
        may("supplementalGroups", 0.1, list(groups(), 0..3)),
        may("runAsUser", 0.2, one_of([1, 1000, 65534])),
        may(
            "sysctls",
            0.1,
            just(json!([{ "name": "net.ipv4.ip_local_port_range", "value": "1024 65535" }])),
        ),
    ];
    match security {
        Security::Free => fields.extend([
            may("runAsNonRoot", 0.3, one_of([true, false])),
            may(
                "seccompProfile",
                0.3,
                seccomp(["RuntimeDefault", "Unconfined"]),
            ),
        ]),
        Security::RestrictedByPod => fields.extend([
            must("runAsNonRoot", just(true)),
            must("seccompProfile", seccomp(["RuntimeDefault"])),
        ]),
        Security::RestrictedByContainers => {}
    }
    map(fields)
}

/// `securityContext` of a container.
pub(crate) fn of_container(security: Security) -> Values {
    let mut fields = vec![
        may("readOnlyRootFilesystem", 0.3, one_of([true, false])),
        may("runAsGroup", 0.1, one_of([1, 1000])),
        may("runAsUser", 0.2, one_of([1, 1000, 65534])),
    ];
    if security.is_restricted() {
        fields.extend([
            must("allowPrivilegeEscalation", just(false)),
            must("capabilities", capabilities()),
        ]);
    }
    match security {
        Security::Free => fields.extend([
            may("privileged", 0.1, just(true)),
            may("allowPrivilegeEscalation", 0.1, just(true)),
            may("capabilities", 0.2, just(json!({ "add": ["SYS_ADMIN"] }))),
            may("procMount", 0.1, just("Default")),
        ]),
        Security::RestrictedByPod => fields.extend([
            may("runAsNonRoot", 0.1, just(true)),
            may("seccompProfile", 0.1, seccomp(["RuntimeDefault"])),
        ]),
        Security::RestrictedByContainers => fields.extend([
            must("runAsNonRoot", just(true)),
            must("seccompProfile", seccomp(["RuntimeDefault"])),
        ]),
    }
    map(fields)
}

fn capabilities() -> Values {
    one_of([
        json!({ "drop": ["ALL"] }),
        json!({ "drop": ["ALL"], "add": ["NET_BIND_SERVICE"] }),
        json!({ "drop": ["ALL"], "add": [] }),
    ])
}

fn seccomp<const N: usize>(types: [&'static str; N]) -> Values {
    one_of(types.map(|kind| json!({ "type": kind })))
}
