//! What the watches have shown, reduced to what concerns us: events in, keys to look at out.
//!
//! Pure. Must not know: what is done about a key.

use std::collections::{BTreeMap, BTreeSet};

use contract::{claim::Claim, names::service_annotation, workload::Kind};
use kube::runtime::watcher::Event;
use serde_json::Value;

/// What is reconciled as one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// The rights of the workloads that name this Service first.
    Election { namespace: String, service: String },
    /// The Service.
    Service { namespace: String, service: String },
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

type Name = (String, String);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Workload {
    claim: Claim,
    generation: Option<i64>,
}

/// What is noted of a Service that is claimed, or that somebody leads.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Marks {
    claimed: Option<String>,
    leader: Option<String>,
}

#[derive(Debug, Default)]
pub(super) struct Index {
    workloads: BTreeMap<Name, Workload>,
    services: BTreeMap<Name, Marks>,
    /// Seen in a listing that is still under way, by watch.
    listing: [Option<BTreeSet<Name>>; 2],
    complete: [bool; 2],
}

const WORKLOADS: usize = 0;
const SERVICES: usize = 1;

impl Index {
    /// Whether every watch has listed what there is.
    pub(super) fn is_complete(&self) -> bool {
        self.complete.iter().all(|complete| *complete)
    }

    /// Notes an event of a Deployment.
    pub(super) fn workload(&mut self, event: Event<Value>) -> Vec<Key> {
        match event {
            Event::Apply(metadata) => self.put_workload(&metadata),
            Event::InitApply(metadata) => {
                self.list(WORKLOADS, name(&metadata));
                self.put_workload(&metadata)
            }
            Event::Delete(metadata) => self.drop_workload(&name(&metadata)),
            Event::Init => self.begin(WORKLOADS),
            Event::InitDone => {
                let seen = self.end(WORKLOADS);
                let gone: Vec<_> = self
                    .workloads
                    .keys()
                    .filter(|name| !seen.contains(*name))
                    .cloned()
                    .collect();
                gone.iter()
                    .flat_map(|name| self.drop_workload(name))
                    .collect()
            }
        }
    }

    /// Notes an event of a Service.
    pub(super) fn service(&mut self, event: Event<Value>) -> Vec<Key> {
        match event {
            Event::Apply(metadata) => self.put_service(&metadata),
            Event::InitApply(metadata) => {
                self.list(SERVICES, name(&metadata));
                self.put_service(&metadata)
            }
            Event::Delete(metadata) => {
                self.services.remove(&name(&metadata));
                Vec::new()
            }
            Event::Init => self.begin(SERVICES),
            Event::InitDone => {
                let seen = self.end(SERVICES);
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

    fn claims(&self, namespace: &str, which: impl Fn(&Claim) -> bool) -> Vec<Claim> {
        self.workloads
            .values()
            .map(|workload| &workload.claim)
            .filter(|claim| claim.namespace == namespace && which(claim))
            .cloned()
            .collect()
    }

    fn put_workload(&mut self, metadata: &Value) -> Vec<Key> {
        let name = name(metadata);
        let Some(claim) = Claim::of(Kind::Deployment, metadata) else {
            return self.drop_workload(&name);
        };
        let generation = metadata.get("generation").and_then(Value::as_i64);
        let workload = Workload { claim, generation };
        if self.workloads.get(&name) == Some(&workload) {
            return Vec::new();
        }
        let mut keys = keys(&workload.claim);
        if let Some(before) = self.workloads.insert(name, workload) {
            keys.extend(self::keys(&before.claim));
        }
        keys
    }

    fn drop_workload(&mut self, name: &Name) -> Vec<Key> {
        self.workloads
            .remove(name)
            .map(|workload| keys(&workload.claim))
            .unwrap_or_default()
    }

    fn put_service(&mut self, metadata: &Value) -> Vec<Key> {
        let annotation = |key| Some(metadata.get("annotations")?.get(key)?.as_str()?.to_owned());
        let marks = Marks {
            claimed: annotation(service_annotation::CLAIMED),
            leader: annotation(service_annotation::LEADER),
        };
        let name = name(metadata);
        let claims = self.claims(&name.0, |claim| claim.covers(&name.1));
        let before = if marks.claimed.is_none() && marks.leader.is_none() {
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
        // With its first leader an election has a Lease, which wants an owner.
        if before.is_none_or(|before| before.leader.is_none()) && marks.leader.is_some() {
            found.extend(claims.iter().map(|claim| Key::Election {
                namespace: namespace.clone(),
                service: claim.election().to_owned(),
            }));
        }
        found
    }

    fn begin(&mut self, watch: usize) -> Vec<Key> {
        if let Some(listing) = self.listing.get_mut(watch) {
            *listing = Some(BTreeSet::new());
        }
        Vec::new()
    }

    fn list(&mut self, watch: usize, name: Name) {
        if let Some(Some(listing)) = self.listing.get_mut(watch) {
            listing.insert(name);
        }
    }

    fn end(&mut self, watch: usize) -> BTreeSet<Name> {
        if let Some(complete) = self.complete.get_mut(watch) {
            *complete = true;
        }
        self.listing
            .get_mut(watch)
            .and_then(Option::take)
            .unwrap_or_default()
    }
}

fn keys(claim: &Claim) -> Vec<Key> {
    let services = claim.services.iter().map(|service| Key::Service {
        namespace: claim.namespace.clone(),
        service: service.as_str().to_owned(),
    });
    let election = Key::Election {
        namespace: claim.namespace.clone(),
        service: claim.election().to_owned(),
    };
    std::iter::once(election).chain(services).collect()
}

fn name(metadata: &Value) -> Name {
    let text = |key| {
        metadata
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    (text("namespace"), text("name"))
}

#[cfg(test)]
mod tests {
    use contract::names::annotation;
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
        assert_eq!(index.workload(event()), [election("web"), service("web")]);
        assert_eq!(index.workload(event()), []);
        let changed = index.workload(Event::Apply(workload("web", "web", 2)));
        assert!(changed.contains(&election("web")));
    }

    #[test]
    fn what_vanished_while_the_watch_was_broken_is_looked_at() {
        let mut index = Index::default();
        index.workload(Event::Apply(workload("web", "web,web-internal", 1)));
        index.workload(Event::Init);
        let keys = index.workload(Event::InitDone);
        assert_eq!(
            keys,
            [election("web"), service("web"), service("web-internal")]
        );
        assert!(
            matches!(index.work(&service("web")), Work::Service { claims, .. } if claims.is_empty())
        );
    }

    #[test]
    fn a_service_that_moves_from_one_workload_to_another_has_both() {
        let mut index = Index::default();
        index.workload(Event::Apply(workload("blue", "web", 1)));
        index.workload(Event::Apply(workload("green", "web", 1)));
        let Work::Election { claims, .. } = index.work(&election("web")) else {
            panic!()
        };
        assert_eq!(claims.len(), 2);
    }

    #[test]
    fn a_late_service_and_a_first_leader_are_looked_at() {
        let mut index = Index::default();
        index.workload(Event::Apply(workload("web", "web", 1)));
        let bare = json!({ "name": "web", "namespace": "shop" });
        assert_eq!(index.service(Event::Apply(bare)), [service("web")]);
        let mut led = json!({ "name": "web", "namespace": "shop", "annotations": {
            service_annotation::CLAIMED: "Deployment/web", service_annotation::LEADER: "web-1",
        }});
        assert_eq!(
            index.service(Event::Apply(led.clone())),
            [service("web"), election("web")]
        );
        led["annotations"][service_annotation::LEADER] = json!("web-2");
        assert_eq!(index.service(Event::Apply(led)), []);
    }

    #[test]
    fn a_claimed_service_without_a_workload_is_looked_at() {
        let mut index = Index::default();
        let claimed = json!({ "name": "web", "namespace": "shop", "annotations": {
            service_annotation::CLAIMED: "Deployment/web",
        }});
        assert_eq!(index.service(Event::InitApply(claimed)), [service("web")]);
    }
}
