//! The pods of the election, best-ranked first.
//!
//! Must not know: who leads.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use contract::names::{self, env};
use election::{Identity, Peer, PodName, PodUid};

use crate::pod::{Container, Object};
use crate::watch::Change;

/// What is kept of each pod that carries the label.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    lease: String,
    container: Option<String>,
    pods: BTreeMap<String, Ranked>,
}

/// One pod of the election.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ranked {
    peer: Peer,
    leaving: bool,
    ready_since: Option<String>,
}

impl Peers {
    /// None are known yet. `container`: whose readiness counts, where it is not the whole pod's.
    pub(crate) fn new(lease: &str, container: Option<&str>) -> Self {
        Self {
            lease: lease.to_owned(),
            container: container.map(str::to_owned),
            pods: BTreeMap::new(),
        }
    }

    /// Takes a change of the watch; the new list, if it is another one.
    pub(crate) fn take(&mut self, change: Change<Object>) -> Option<Vec<Peer>> {
        let before = self.ranking();
        match change {
            Change::All(pods) => {
                self.pods.clear();
                for pod in pods {
                    self.put(&pod);
                }
                return Some(self.ranking());
            }
            Change::Put(pod) => self.put(&pod),
            Change::Gone(pod) => {
                self.pods.remove(&pod.metadata.name);
            }
            Change::Unavailable => {
                self.pods.clear();
            }
        }
        Some(self.ranking()).filter(|after| *after != before)
    }

    fn put(&mut self, pod: &Object) {
        match self.rank(pod) {
            Some(ranked) => self.pods.insert(pod.metadata.name.clone(), ranked),
            None => self.pods.remove(&pod.metadata.name),
        };
    }

    fn rank(&self, pod: &Object) -> Option<Ranked> {
        if !runs_sidecar_of(&self.lease, pod) {
            return None;
        }
        let identity = Identity {
            pod: PodName::parse(&pod.metadata.name).ok()?,
            uid: PodUid::new(&pod.metadata.uid),
        };
        let (leaving, finished) = (pod.is_leaving(), pod.is_finished());
        let ready = pod.is_ready(self.container.as_deref());
        let candidate = ready && pod.is_labelled() && !leaving && !finished;
        let ready_since = pod.ready_since().filter(|_| ready).map(str::to_owned);
        Some(Ranked {
            peer: Peer {
                identity,
                candidate,
                finished,
            },
            leaving,
            ready_since,
        })
    }

    /// Not terminating, then ready, then ready for longest, then by name.
    fn ranking(&self) -> Vec<Peer> {
        let mut pods: Vec<&Ranked> = self.pods.values().collect();
        pods.sort_by_key(|pod| {
            (
                pod.leaving,
                Reverse(pod.peer.candidate),
                &pod.ready_since,
                &pod.peer.identity,
            )
        });
        pods.into_iter().map(|pod| pod.peer.clone()).collect()
    }
}

/// Whether a container of the pod is a sidecar of the election of this Lease.
fn runs_sidecar_of(lease: &str, pod: &Object) -> bool {
    pod.containers().any(|container| match lease_of(container) {
        Some(named) => named == lease,
        None => container.name == names::CONTAINER,
    })
}

/// The Lease that a sidecar's env or arguments name, by itself or by its first Service.
fn lease_of(container: &Container) -> Option<String> {
    let setting = |flag: &str, variable: &str| {
        let words: Vec<&str> = container
            .command
            .iter()
            .chain(&container.args)
            .map(String::as_str)
            .collect();
        let env = container.env.iter().find(|env| env.name == variable);
        let env = env.and_then(|env| env.value.as_deref());
        argument(&words, flag)
            .or(env)
            .filter(|value| !value.is_empty())
            .map(str::to_owned)
    };
    setting("lease-name", env::LEASE).or_else(|| {
        let services = setting("service-name", env::SERVICE)?;
        let first = services
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .min()?;
        Some(names::default_name(first))
    })
}

/// The value of a flag, in either spelling: `--flag=x`, `--flag x`, `-flag=x`, `-flag x`.
fn argument<'a>(words: &[&'a str], flag: &str) -> Option<&'a str> {
    words.iter().enumerate().find_map(|(i, word)| {
        let word = word.strip_prefix("--").or_else(|| word.strip_prefix('-'))?;
        match word.strip_prefix(flag)? {
            "" => words.get(i + 1).copied(),
            rest => rest.strip_prefix('='),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::names::LABEL;
    use serde_json::{Value, json};

    fn pod(name: &str, since: &str, sidecar: &Value) -> Value {
        json!({
            "metadata": { "name": name, "uid": format!("u-{name}"), "labels": { LABEL: name } },
            "spec": { "containers": [{ "name": "app" }], "initContainers": [sidecar] },
            "status": {
                "phase": "Running",
                "conditions": [
                    { "type": "Ready", "status": "True", "lastTransitionTime": since },
                ],
            },
        })
    }

    fn injected() -> Value {
        json!({ "name": names::CONTAINER, "env": [{ "name": env::SERVICE, "value": "web" }] })
    }

    fn object(raw: Value) -> Object {
        serde_json::from_value(raw).unwrap()
    }

    fn names_of(peers: &[Peer]) -> Vec<&str> {
        peers
            .iter()
            .map(|peer| peer.identity.pod.as_str())
            .collect()
    }

    fn election() -> Peers {
        Peers::new("service-leader-election-web", None)
    }

    #[test]
    fn who_is_ready_for_longest_ranks_first_and_who_goes_ranks_last() {
        let mut going = pod("a", "2026-01-01T00:00:00Z", &injected());
        going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:09Z");
        let mut unready = pod("b", "2026-01-01T00:00:00Z", &injected());
        unready["status"]["conditions"][0]["status"] = json!("False");
        let young = pod("c", "2026-01-01T00:00:05Z", &injected());
        let old = pod("d", "2026-01-01T00:00:04Z", &injected());
        let all = [going, unready, young, old].map(object).to_vec();
        let ranking = election().take(Change::All(all)).unwrap();
        assert_eq!(names_of(&ranking), ["d", "c", "b", "a"]);
        let candidates: Vec<bool> = ranking.iter().map(|peer| peer.candidate).collect();
        assert_eq!(candidates, [true, true, false, false]);
    }

    #[test]
    fn a_copied_label_makes_no_candidate() {
        let mut copy = pod("a", "2026-01-01T00:00:00Z", &injected());
        copy["metadata"]["labels"][LABEL] = json!("b");
        let ranking = election().take(Change::All(vec![object(copy)])).unwrap();
        assert!(!ranking[0].candidate);
    }

    #[test]
    fn only_a_change_of_the_ranking_is_news() {
        let mut peers = election();
        let one = || object(pod("a", "2026-01-01T00:00:00Z", &injected()));
        assert!(peers.take(Change::All(vec![one()])).is_some());
        assert!(peers.take(Change::Put(one())).is_none());
        let gone = peers.take(Change::Gone(one())).unwrap();
        assert!(gone.is_empty());
    }

    #[test]
    fn a_sidecar_is_known_by_the_lease_that_it_names() {
        let lease = "service-leader-election-web";
        for (sidecar, runs) in [
            (injected(), true),
            (json!({ "name": names::CONTAINER }), true),
            (
                json!({ "name": "x", "args": ["-lease-name=service-leader-election-web"] }),
                true,
            ),
            (
                json!({ "name": "x", "args": ["--lease-name", "service-leader-election-web"] }),
                true,
            ),
            (
                json!({ "name": "x", "command": ["s", "-service-name", "web-admin,web"] }),
                true,
            ),
            (
                json!({ "name": "x", "args": ["--lease-name=other", "--service-name=web"] }),
                false,
            ),
            (
                json!({ "name": "x", "args": ["--lease-names=service-leader-election-web"] }),
                false,
            ),
            (json!({ "name": "x" }), false),
            (
                json!({
                    "name": names::CONTAINER,
                    "env": [{ "name": env::SERVICE, "value": "other" }],
                }),
                false,
            ),
        ] {
            let found = runs_sidecar_of(lease, &object(pod("a", "", &sidecar)));
            assert_eq!(found, runs, "{sidecar}");
        }
    }
}
