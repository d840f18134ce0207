//! The pods of the election, best-ranked first.
//!
//! Must not know: who leads.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use contract::{
    names::{self, env},
    sidecars,
};
use election::{Identity, Peer, PodName, PodUid};
use tracing::debug;

use crate::clock::Clock;
use crate::node;
use crate::pod::{Container, Object};
use crate::watch::Change;

/// What is kept of each pod that carries the label.
#[derive(Debug)]
pub(crate) struct Peers {
    lease: String,
    container: Option<String>,
    clock: Clock,
    /// Who was unready so lately ranks behind the others.
    rest: Duration,
    pods: BTreeMap<String, Ranked>,
    /// Their watch is broken.
    stale: bool,
    /// The cordoned nodes, as far as they may be read.
    cordoned: BTreeSet<String>,
}

/// A pod of the election, with its labels, for the Services' selectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Labelled {
    pub(crate) peer: Peer,
    pub(crate) labels: Arc<BTreeMap<String, String>>,
}

/// One pod of the election.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ranked {
    pod: Labelled,
    leaving: bool,
    disrupted: bool,
    node: Option<String>,
    /// When it was last seen to turn unready.
    faltered: Option<Duration>,
    template: Option<String>,
    created: Option<String>,
    ordinal: Option<u32>,
    ready_since: Option<String>,
}

impl Peers {
    /// None are known yet. `container`: whose readiness counts, where it is not the whole pod's.
    pub(crate) fn new(lease: &str, container: Option<&str>, clock: Clock, rest: Duration) -> Self {
        Self {
            lease: lease.to_owned(),
            container: container.map(str::to_owned),
            clock,
            rest,
            pods: BTreeMap::new(),
            stale: false,
            cordoned: BTreeSet::new(),
        }
    }

    /// Takes a change of the pods; the new list, if it is another one, or the first after their watch
    /// broke.
    pub(crate) fn take(&mut self, change: Change<Object>) -> Option<Vec<Labelled>> {
        let before = self.ranking();
        match change {
            Change::All(pods) => {
                self.stale = false;
                let known = std::mem::take(&mut self.pods);
                for pod in pods {
                    self.put(&pod, known.get(&pod.metadata.name));
                }
                return Some(self.ranking());
            }
            Change::Put(pod) => {
                let known = self.pods.remove(&pod.metadata.name);
                self.put(&pod, known.as_ref());
            }
            Change::Gone(pod) => {
                self.pods.remove(&pod.metadata.name);
            }
            Change::Stale => {
                self.stale = true;
                return None;
            }
            Change::Unavailable => {
                self.pods.clear();
            }
        }
        Some(self.ranking()).filter(|after| *after != before)
    }

    /// Takes a change of the cordoned nodes; the new list, if it is another one and the pods' watch
    /// works.
    pub(crate) fn take_cordoned(&mut self, change: Change<node::Object>) -> Option<Vec<Labelled>> {
        let (before, known) = (self.ranking(), self.cordoned.clone());
        match change {
            Change::All(nodes) => {
                self.cordoned = nodes.into_iter().map(|node| node.metadata.name).collect();
            }
            Change::Put(node) => {
                self.cordoned.insert(node.metadata.name);
            }
            Change::Gone(node) => {
                self.cordoned.remove(&node.metadata.name);
            }
            Change::Stale => {}
            Change::Unavailable => self.cordoned.clear(),
        }
        if self.cordoned != known {
            debug!(nodes = ?self.cordoned, "cordoned nodes");
        }
        Some(self.ranking()).filter(|after| *after != before && !self.stale)
    }

    fn put(&mut self, pod: &Object, known: Option<&Ranked>) {
        if let Some(ranked) = self.rank(pod, known) {
            self.pods.insert(pod.metadata.name.clone(), ranked);
        }
    }

    fn rank(&self, pod: &Object, known: Option<&Ranked>) -> Option<Ranked> {
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
        let known = known.filter(|known| known.pod.peer.identity == identity);
        let falters = !ready && known.is_some_and(|known| known.ready_since.is_some());
        let faltered = known.and_then(|known| known.faltered);
        Some(Ranked {
            pod: Labelled {
                peer: Peer {
                    identity,
                    candidate,
                    finished,
                },
                labels: Arc::new(pod.metadata.labels.clone()),
            },
            leaving,
            disrupted: pod.is_to_be_disrupted(),
            node: pod.spec.node_name.clone(),
            faltered: if falters {
                Some(self.clock.now())
            } else {
                faltered
            },
            template: pod.template().map(str::to_owned),
            created: pod.metadata.creation_timestamp.clone(),
            ordinal: pod.ordinal(),
            ready_since: pod.ready_since().filter(|_| ready).map(str::to_owned),
        })
    }

    /// Not terminating, then ready, then not about to be taken away, then on a node that is not
    /// cordoned, then not unready of late, then of the newest template, then the one that a
    /// StatefulSet updates last, then ready for longest, then by name.
    fn ranking(&self) -> Vec<Labelled> {
        let now = self.clock.now();
        let mut newest: BTreeMap<&Option<String>, &Option<String>> = BTreeMap::new();
        for pod in self.pods.values() {
            // The template of the youngest pod is the newest, also when a rollout was undone.
            let created = newest.entry(&pod.template).or_insert(&pod.created);
            *created = (*created).max(&pod.created);
        }
        let mut pods: Vec<&Ranked> = self.pods.values().collect();
        pods.sort_by_key(|pod| {
            let faltered = pod.faltered.map(|at| now.saturating_sub(at));
            let node = pod.node.as_ref();
            (
                pod.leaving,
                Reverse(pod.pod.peer.candidate),
                pod.disrupted,
                node.is_some_and(|node| self.cordoned.contains(node)),
                faltered.is_some_and(|age| age < self.rest),
                Reverse(newest.get(&pod.template)),
                pod.ordinal,
                &pod.ready_since,
                &pod.pod.peer.identity,
            )
        });
        pods.into_iter().map(|pod| pod.pod.clone()).collect()
    }
}

/// Whether a container of the pod is a sidecar of another Lease's election, and none of this one's.
pub(crate) fn is_of_another_election(lease: &str, pod: &Object) -> bool {
    let another = |container| lease_of(container).is_some_and(|named| named != lease);
    !runs_sidecar_of(lease, pod) && pod.containers().any(another)
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
        let words = container.command.iter().chain(&container.args);
        let env = container.env.iter().find(|env| env.name == variable);
        let env = env.and_then(|env| env.value.as_deref());
        sidecars::flag(words.map(String::as_str), flag)
            .or(env)
            .filter(|value| !value.is_empty())
            .map(str::to_owned)
    };
    setting(sidecars::LEASE_FLAG, env::LEASE).or_else(|| {
        let services = setting(sidecars::SERVICE_FLAG, env::SERVICE)?;
        let first = services
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .min()?;
        Some(names::default_name(first))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::System;
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

    fn names_of(peers: &[Labelled]) -> Vec<&str> {
        peers
            .iter()
            .map(|pod| pod.peer.identity.pod.as_str())
            .collect()
    }

    fn election() -> Peers {
        let rest = Duration::from_secs(12);
        let clock = Clock::start(Arc::new(System));
        Peers::new("service-leader-election-web", None, clock, rest)
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
        let candidates: Vec<bool> = ranking.iter().map(|pod| pod.peer.candidate).collect();
        assert_eq!(candidates, [true, true, false, false]);
    }

    #[test]
    fn the_newest_template_ranks_first_also_when_a_rollout_was_undone() {
        let of = |name: &str, template: &str, created: &str| {
            let mut raw = pod(name, "2026-01-01T00:00:00Z", &injected());
            raw["metadata"]["labels"]["pod-template-hash"] = json!(template);
            raw["metadata"]["creationTimestamp"] = json!(created);
            object(raw)
        };
        let all = vec![
            of("a", "old", "2026-01-01T00:00:00Z"),
            of("b", "new", "2026-01-01T00:00:05Z"),
            of("c", "new", "2026-01-01T00:00:01Z"),
            of("d", "old", "2026-01-01T00:00:03Z"),
        ];
        let ranking = election().take(Change::All(all.clone())).unwrap();
        assert_eq!(names_of(&ranking), ["b", "c", "a", "d"]);
        let undone = of("e", "old", "2026-01-01T00:00:09Z");
        let all = all.into_iter().chain([undone]).collect();
        let ranking = election().take(Change::All(all)).unwrap();
        assert_eq!(names_of(&ranking), ["a", "d", "e", "b", "c"]);
    }

    #[test]
    fn a_stateful_set_updates_its_lowest_ordinal_last() {
        let of = |name: &str, revision: &str, created: &str| {
            let mut raw = pod(name, "2026-01-01T00:00:00Z", &injected());
            raw["metadata"]["labels"]["controller-revision-hash"] = json!(revision);
            raw["metadata"]["creationTimestamp"] = json!(created);
            raw["metadata"]["ownerReferences"] = json!([{ "kind": "StatefulSet" }]);
            object(raw)
        };
        let all = vec![
            of("web-10", "old", "2026-01-01T00:00:02Z"),
            of("web-2", "old", "2026-01-01T00:00:01Z"),
            of("web-11", "new", "2026-01-01T00:00:09Z"),
        ];
        let ranking = election().take(Change::All(all)).unwrap();
        assert_eq!(names_of(&ranking), ["web-11", "web-2", "web-10"]);
    }

    #[test]
    fn who_was_unready_of_late_or_is_to_be_disrupted_ranks_behind() {
        let mut peers = election();
        let since = "2026-01-01T00:00:00Z";
        let all = ["a", "b", "c"].map(|name| object(pod(name, since, &injected())));
        peers.take(Change::All(all.to_vec()));
        let mut unready = pod("a", since, &injected());
        unready["status"]["conditions"][0]["status"] = json!("False");
        peers.take(Change::Put(object(unready)));
        peers.take(Change::Put(object(pod("a", since, &injected()))));
        let mut disrupted = pod("b", since, &injected());
        disrupted["status"]["conditions"]
            .as_array_mut()
            .unwrap()
            .push(json!({ "type": "DisruptionTarget", "status": "True" }));
        let ranking = peers.take(Change::Put(object(disrupted))).unwrap();
        assert_eq!(names_of(&ranking), ["c", "a", "b"]);
    }

    fn node(name: &str) -> node::Object {
        serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap()
    }

    #[test]
    fn who_is_on_a_cordoned_node_ranks_behind_until_it_is_uncordoned() {
        let mut peers = election();
        let on = |name: &str, node: &str| {
            let mut raw = pod(name, "2026-01-01T00:00:00Z", &injected());
            raw["spec"]["nodeName"] = json!(node);
            raw
        };
        let mut disrupted = on("c", "n3");
        disrupted["status"]["conditions"]
            .as_array_mut()
            .unwrap()
            .push(json!({ "type": "DisruptionTarget", "status": "True" }));
        let mut unready = on("d", "n4");
        unready["status"]["conditions"][0]["status"] = json!("False");
        let all = [on("a", "n1"), on("b", "n2"), disrupted, unready].map(object);
        assert!(peers.take_cordoned(Change::All(vec![node("n0")])).is_none());
        peers.take(Change::All(all.to_vec()));
        let ranking = peers.take_cordoned(Change::Put(node("n1"))).unwrap();
        assert_eq!(names_of(&ranking), ["b", "a", "c", "d"]);
        assert!(
            ranking[1].peer.candidate,
            "it may lead where nobody else can"
        );
        assert!(peers.take_cordoned(Change::Put(node("n1"))).is_none());
        let ranking = peers.take_cordoned(Change::Gone(node("n1"))).unwrap();
        assert_eq!(names_of(&ranking), ["a", "b", "c", "d"]);
        let listed = Change::All(vec![node("n1"), node("n2")]);
        assert!(peers.take_cordoned(listed).is_none(), "all alike");
        let ranking = peers.take_cordoned(Change::Gone(node("n2"))).unwrap();
        assert_eq!(names_of(&ranking), ["b", "a", "c", "d"]);
        let ranking = peers.take_cordoned(Change::Unavailable).unwrap();
        assert_eq!(names_of(&ranking), ["a", "b", "c", "d"]);
    }

    #[test]
    fn while_the_pods_watch_is_broken_nothing_is_told_until_it_shows_all_again() {
        let mut peers = election();
        let mut here = pod("a", "2026-01-01T00:00:00Z", &injected());
        here["spec"]["nodeName"] = json!("n1");
        let all = vec![
            object(here),
            object(pod("b", "2026-01-01T00:00:01Z", &injected())),
        ];
        peers.take(Change::All(all.clone()));
        assert!(peers.take(Change::Stale).is_none());
        assert!(peers.take_cordoned(Change::Put(node("n1"))).is_none());
        let ranking = peers.take(Change::All(all)).unwrap();
        assert_eq!(names_of(&ranking), ["b", "a"]);
        assert!(peers.take_cordoned(Change::Gone(node("n1"))).is_some());
    }

    #[test]
    fn a_copied_label_makes_no_candidate() {
        let mut copy = pod("a", "2026-01-01T00:00:00Z", &injected());
        copy["metadata"]["labels"][LABEL] = json!("b");
        let ranking = election().take(Change::All(vec![object(copy)])).unwrap();
        assert!(!ranking[0].peer.candidate);
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
