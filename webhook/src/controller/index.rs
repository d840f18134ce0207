//! What the watches have shown, reduced to what concerns us: events in, keys to look at out.
//!
//! Pure. Must not know: what is done about a key.

use std::collections::{BTreeMap, BTreeSet};

use contract::{
    annotations::Services,
    claim::{self, Claim},
    names::service_annotation,
    workload::Kind,
};
use kube::runtime::watcher::Event;
use serde_json::Value;

use crate::known::{Name, name};

/// What is reconciled as one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Key {
    /// The rights of the workloads and pods that name this Service first.
    Election { namespace: String, service: String },
    /// The Service.
    Service { namespace: String, service: String },
}

impl Key {
    pub(super) fn is_of_service(&self) -> bool {
        matches!(self, Self::Service { .. })
    }

    /// The rights of those that name this key's Service first.
    pub(super) fn rights(&self) -> Self {
        let (Self::Election { namespace, service } | Self::Service { namespace, service }) = self;
        Self::Election {
            namespace: namespace.clone(),
            service: service.clone(),
        }
    }

    /// The Service that those name first whose rights this key is of.
    pub(super) fn service(&self) -> Self {
        let (Self::Election { namespace, service } | Self::Service { namespace, service }) = self;
        Self::Service {
            namespace: namespace.clone(),
            service: service.clone(),
        }
    }
}

/// A key with what is known of it.
#[derive(Debug)]
pub(super) enum Work {
    Election {
        namespace: String,
        service: String,
        claims: Vec<Claim>,
    },
    Service {
        namespace: String,
        service: String,
        claims: Vec<Claim>,
    },
}

/// A workload or a pod: Deployment and StatefulSet of one name are two.
type Id = (Kind, Name);

/// What is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Watch {
    Workloads(Kind),
    Services,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Workload {
    claim: Claim,
    generation: Option<i64>,
}

/// What is noted of a Service that is claimed, or that somebody leads.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Marks {
    claimed: Option<String>,
    /// The epoch, while somebody leads.
    term: Option<String>,
}

#[derive(Debug, Default)]
pub(super) struct Index {
    workloads: BTreeMap<Id, Workload>,
    services: BTreeMap<Name, Marks>,
    /// Seen in a listing that is still under way.
    listing: BTreeMap<Watch, BTreeSet<Name>>,
    /// Who has listed what there is.
    complete: BTreeSet<Watch>,
}

impl Index {
    /// Whether every watch has listed what there is.
    pub(super) fn is_complete(&self) -> bool {
        self.complete.len() == Kind::ALL.len() + 1
    }

    /// Notes an event of a workload.
    pub(super) fn workload(&mut self, kind: Kind, event: Event<Value>) -> Vec<Key> {
        let watch = Watch::Workloads(kind);
        match event {
            Event::Apply(metadata) => self.put_workload(kind, &metadata),
            Event::InitApply(metadata) => {
                self.list(watch, name(Some(&metadata)));
                self.put_workload(kind, &metadata)
            }
            Event::Delete(metadata) => self.drop_workload(&(kind, name(Some(&metadata)))),
            Event::Init => self.begin(watch),
            Event::InitDone => {
                let seen = self.end(watch);
                let known = self.workloads.keys();
                let gone: Vec<_> = known
                    .filter(|(of, name)| *of == kind && !seen.contains(name))
                    .cloned()
                    .collect();
                gone.iter().flat_map(|id| self.drop_workload(id)).collect()
            }
        }
    }

    /// Notes an event of a Service.
    pub(super) fn service(&mut self, event: Event<Value>) -> Vec<Key> {
        match event {
            Event::Apply(metadata) => self.put_service(&metadata),
            Event::InitApply(metadata) => {
                self.list(Watch::Services, name(Some(&metadata)));
                self.put_service(&metadata)
            }
            Event::Delete(metadata) => {
                self.services.remove(&name(Some(&metadata)));
                Vec::new()
            }
            Event::Init => self.begin(Watch::Services),
            Event::InitDone => {
                let seen = self.end(Watch::Services);
                self.services.retain(|name, _| seen.contains(name));
                Vec::new()
            }
        }
    }

    /// What is known of a key.
    pub(super) fn work(&self, key: &Key) -> Work {
        match key.clone() {
            Key::Election { namespace, service } => {
                let claims = self.claims(&namespace, |claim| claim.election() == service);
                Work::Election {
                    namespace,
                    service,
                    claims,
                }
            }
            Key::Service { namespace, service } => {
                let claims = self.claims(&namespace, |claim| claim.covers(&service));
                Work::Service {
                    namespace,
                    service,
                    claims,
                }
            }
        }
    }

    /// Whether somebody claims what a key is of.
    pub(super) fn is_claimed(&self, key: &Key) -> bool {
        match self.work(key) {
            Work::Election { claims, .. } | Work::Service { claims, .. } => !claims.is_empty(),
        }
    }

    /// Whether a Service is marked as claimed by just those who claim it, so that nothing is to be done.
    pub(super) fn is_settled(&self, work: &Work) -> bool {
        let Work::Service {
            namespace,
            service,
            claims,
        } = work
        else {
            return false;
        };
        let marks = self.services.get(&(namespace.clone(), service.clone()));
        let claimed = marks.and_then(|marks| marks.claimed.as_ref());
        !claims.is_empty() && claimed.is_some_and(|claimed| claim::is_named(claimed, claims.iter()))
    }

    /// Everything that is claimed, or marked so.
    pub(super) fn all(&self) -> BTreeSet<Key> {
        let claims = self.workloads.values().map(|workload| &workload.claim);
        let marked = self.services.iter();
        let marked = marked.filter(|(_, marks)| marks.claimed.is_some());
        let marked = marked.map(|((namespace, service), _)| Key::Service {
            namespace: namespace.clone(),
            service: service.clone(),
        });
        claims.flat_map(keys_of).chain(marked).collect()
    }

    fn claims(&self, namespace: &str, which: impl Fn(&Claim) -> bool) -> Vec<Claim> {
        let begin = (namespace.to_owned(), String::new());
        Kind::ALL
            .into_iter()
            .flat_map(|kind| {
                let of_kind = self.workloads.range((kind, begin.clone())..);
                of_kind
                    .take_while(move |((of, (within, _)), _)| (*of, &**within) == (kind, namespace))
            })
            .map(|(_, workload)| &workload.claim)
            .filter(|claim| which(claim))
            .cloned()
            .collect()
    }

    fn put_workload(&mut self, kind: Kind, metadata: &Value) -> Vec<Key> {
        let id = (kind, name(Some(metadata)));
        let Some(claim) = Claim::of(kind, metadata) else {
            return self.drop_workload(&id);
        };
        // What concerns us of a pod's spec never changes.
        let generation = metadata
            .get("generation")
            .and_then(Value::as_i64)
            .filter(|_| kind != Kind::Pod);
        let workload = Workload { claim, generation };
        if self.workloads.get(&id) == Some(&workload) {
            return Vec::new();
        }
        let mut keys = keys_of(&workload.claim);
        if let Some(before) = self.workloads.insert(id, workload) {
            keys.extend(keys_of(&before.claim));
        }
        keys
    }

    fn drop_workload(&mut self, id: &Id) -> Vec<Key> {
        self.workloads
            .remove(id)
            .map(|workload| keys_of(&workload.claim))
            .unwrap_or_default()
    }

    fn put_service(&mut self, metadata: &Value) -> Vec<Key> {
        let annotation = |key| Some(metadata.get("annotations")?.get(key)?.as_str()?.to_owned());
        let leader = annotation(service_annotation::LEADER);
        let marks = Marks {
            claimed: annotation(service_annotation::CLAIMED),
            term: leader.and(annotation(service_annotation::EPOCH)),
        };
        let name = name(Some(metadata));
        let claims = self.claims(&name.0, |claim| claim.covers(&name.1));
        let before = if marks.claimed.is_none() && marks.term.is_none() {
            self.services.remove(&name)
        } else {
            self.services.insert(name.clone(), marks.clone())
        };
        let (namespace, service) = name;
        let mut found = Vec::new();
        if before.as_ref().and_then(|before| before.claimed.as_ref()) != marks.claimed.as_ref()
            || (marks.claimed.is_none() && !claims.is_empty())
        {
            found.push(Key::Service {
                namespace: namespace.clone(),
                service,
            });
        }
        // Each term may be the first on its Lease, which then wants an owner.
        if marks.term.is_some() && before.is_none_or(|before| before.term != marks.term) {
            found.extend(claims.iter().map(|claim| Key::Election {
                namespace: namespace.clone(),
                service: claim.election().to_owned(),
            }));
        }
        found
    }

    fn begin(&mut self, watch: Watch) -> Vec<Key> {
        self.listing.insert(watch, BTreeSet::new());
        Vec::new()
    }

    fn list(&mut self, watch: Watch, name: Name) {
        if let Some(listing) = self.listing.get_mut(&watch) {
            listing.insert(name);
        }
    }

    fn end(&mut self, watch: Watch) -> BTreeSet<Name> {
        self.complete.insert(watch);
        self.listing.remove(&watch).unwrap_or_default()
    }
}

fn keys_of(claim: &Claim) -> Vec<Key> {
    keys(&claim.namespace, &claim.services)
}

/// What is reconciled for a claim of these Services.
pub(super) fn keys(namespace: &str, services: &Services) -> Vec<Key> {
    let each = services.iter().map(|service| Key::Service {
        namespace: namespace.to_owned(),
        service: service.as_str().to_owned(),
    });
    let election = Key::Election {
        namespace: namespace.to_owned(),
        service: services.first().as_str().to_owned(),
    };
    std::iter::once(election).chain(each).collect()
}

#[cfg(test)]
mod tests {
    use contract::names::{self, annotation};
    use serde_json::json;

    use super::*;

    fn workload(name: &str, services: &str, generation: i64) -> Value {
        json!({
            "name": name, "namespace": "shop", "uid": name, "generation": generation,
            "annotations": { annotation::SERVICE: services },
        })
    }

    fn election(service: &str) -> Key {
        Key::Election {
            namespace: "shop".to_owned(),
            service: service.to_owned(),
        }
    }

    fn service(service: &str) -> Key {
        Key::Service {
            namespace: "shop".to_owned(),
            service: service.to_owned(),
        }
    }

    #[test]
    fn a_status_update_is_nothing_to_look_at() {
        let mut index = Index::default();
        let event = || Event::Apply(workload("web", "web", 1));
        assert_eq!(
            index.workload(Kind::Deployment, event()),
            [election("web"), service("web")]
        );
        assert_eq!(index.workload(Kind::Deployment, event()), []);
        let changed = index.workload(Kind::Deployment, Event::Apply(workload("web", "web", 2)));
        assert!(changed.contains(&election("web")));
    }

    #[test]
    fn who_claims_a_service_is_in_its_namespace() {
        let mut index = Index::default();
        for namespace in ["a", "shop", "shop-2"] {
            let mut web = workload("web", "web", 1);
            web["namespace"] = json!(namespace);
            index.workload(Kind::Deployment, Event::Apply(web.clone()));
            index.workload(Kind::ReplicaSet, Event::Apply(web));
        }
        let Work::Service { claims, .. } = index.work(&service("web")) else {
            panic!()
        };
        let found = claims.iter().map(|claim| (claim.kind, &*claim.namespace));
        let kinds = [Kind::Deployment, Kind::ReplicaSet];
        assert!(found.eq(kinds.map(|kind| (kind, "shop"))));
    }

    #[test]
    fn what_vanished_while_the_watch_was_broken_is_looked_at() {
        let mut index = Index::default();
        index.workload(
            Kind::Deployment,
            Event::Apply(workload("web", "web,web-internal", 1)),
        );
        index.workload(Kind::Deployment, Event::Init);
        let keys = index.workload(Kind::Deployment, Event::InitDone);
        assert_eq!(
            keys,
            [election("web"), service("web"), service("web-internal")]
        );
        assert!(
            matches!(index.work(&service("web")), Work::Service { claims, .. } if claims.is_empty())
        );
    }

    #[test]
    fn a_stateful_set_and_a_deployment_of_one_name_are_two() {
        let mut index = Index::default();
        let web = || Event::Apply(workload("web", "web", 1));
        index.workload(Kind::Deployment, web());
        index.workload(Kind::StatefulSet, web());
        index.workload(Kind::DaemonSet, Event::Init);
        index.workload(Kind::DaemonSet, Event::InitDone);
        index.workload(Kind::Deployment, Event::Init);
        index.workload(Kind::Deployment, Event::InitDone);
        let Work::Service { claims, .. } = index.work(&service("web")) else {
            panic!()
        };
        let kinds: Vec<_> = claims.iter().map(|claim| claim.kind).collect();
        assert_eq!(kinds, [Kind::StatefulSet]);
    }

    #[test]
    fn a_pod_is_looked_at_when_it_comes_and_when_it_goes() {
        let mut index = Index::default();
        let mut pod = workload("web-1", "web", 1);
        assert_eq!(index.workload(Kind::Pod, Event::Apply(pod.clone())), []);
        pod["labels"] = json!({ names::POD_LABEL: names::POD_LABEL_VALUE });
        let both = [election("web"), service("web")];
        assert_eq!(index.workload(Kind::Pod, Event::Apply(pod.clone())), both);
        pod["generation"] = json!(2);
        assert_eq!(index.workload(Kind::Pod, Event::Apply(pod.clone())), []);
        pod["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(index.workload(Kind::Pod, Event::Apply(pod.clone())), both);
        assert_eq!(index.workload(Kind::Pod, Event::Delete(pod)), []);
    }

    #[test]
    fn a_service_that_moves_from_one_workload_to_another_has_both() {
        let mut index = Index::default();
        index.workload(Kind::Deployment, Event::Apply(workload("blue", "web", 1)));
        index.workload(Kind::Deployment, Event::Apply(workload("green", "web", 1)));
        let Work::Election { claims, .. } = index.work(&election("web")) else {
            panic!()
        };
        assert_eq!(claims.len(), 2);
    }

    #[test]
    fn a_late_service_and_each_term_of_a_leader_are_looked_at() {
        let mut index = Index::default();
        index.workload(Kind::Deployment, Event::Apply(workload("web", "web", 1)));
        let bare = json!({ "name": "web", "namespace": "shop" });
        assert_eq!(index.service(Event::Apply(bare)), [service("web")]);
        let mut led = json!({ "name": "web", "namespace": "shop", "annotations": {
            service_annotation::CLAIMED: "Deployment/web", service_annotation::LEADER: "web-0",
            service_annotation::EPOCH: "7",
        }});
        assert_eq!(
            index.service(Event::Apply(led.clone())),
            [service("web"), election("web")]
        );
        assert_eq!(index.service(Event::Apply(led.clone())), []);
        // A pod of a StatefulSet comes back under its name, and may have another Lease.
        led["annotations"][service_annotation::EPOCH] = json!("8");
        assert_eq!(index.service(Event::Apply(led)), [election("web")]);
    }

    #[test]
    fn a_claimed_service_without_a_workload_is_looked_at() {
        let mut index = Index::default();
        let claimed = json!({ "name": "web", "namespace": "shop", "annotations": {
            service_annotation::CLAIMED: "Deployment/web",
        }});
        assert_eq!(index.service(Event::InitApply(claimed)), [service("web")]);
    }

    #[test]
    fn a_round_has_what_is_claimed_and_what_is_marked() {
        let mut index = Index::default();
        for name in ["blue", "green"] {
            index.workload(Kind::Deployment, Event::Apply(workload(name, "web,api", 1)));
        }
        for (name, claimed) in [
            ("web", Some("Deployment/blue")),
            ("left", Some("")),
            ("other", None),
        ] {
            let annotations = json!({ service_annotation::CLAIMED: claimed });
            let metadata = json!({ "name": name, "namespace": "shop", "annotations": annotations });
            index.service(Event::Apply(metadata));
        }
        let all = [
            election("web"),
            service("api"),
            service("left"),
            service("web"),
        ];
        assert!(index.all().into_iter().eq(all), "{:?}", index.all());
    }
}
