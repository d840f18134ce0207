//! What the documents tell of each other: the Services, who claims them, and the namespaces.
//!
//! Pure. What is not among them may be in the cluster, so nothing is said of it. Must not know: what
//! follows from a fact.

use std::collections::{BTreeMap, BTreeSet};

use contract::{
    annotations::Services,
    claim::Claim,
    facts::{Facts, Meshes, Selecting, ServiceFact},
    values::ServiceName,
    workload::Kind,
};
use serde_json::Value;

use super::{
    manifests,
    place::{Identity, in_a_line},
};

/// What is known by all documents together.
#[derive(Debug, Default)]
pub(super) struct Surroundings {
    /// By name; each with its namespace, which is empty where the manifest names none.
    services: BTreeMap<String, Vec<(String, ServiceFact)>>,
    /// By namespace and Service, as `Kind/name`.
    claimants: BTreeMap<(String, String), BTreeSet<String>>,
    /// By name.
    namespaces: BTreeMap<String, Meshes>,
}

impl Surroundings {
    pub(super) fn of<'a>(objects: impl Iterator<Item = &'a Value>) -> Self {
        let mut surroundings = Self::default();
        for object in objects {
            surroundings.note(object);
        }
        surroundings
    }

    fn note(&mut self, object: &Value) {
        let Identity {
            api_version,
            kind,
            namespace,
            name,
        } = Identity::of(object);
        match (api_version.as_str(), kind.as_str()) {
            ("v1", "Service") => {
                let of_the_name = self.services.entry(name).or_default();
                of_the_name.push((namespace, ServiceFact::of(object)));
            }
            ("v1", "Namespace") => {
                self.namespaces
                    .entry(name)
                    .or_insert_with(|| Meshes::of(object));
            }
            _ => self.note_claims(&namespace, object),
        }
    }

    fn note_claims(&mut self, namespace: &str, object: &Value) {
        let Some(claimant) = claimant(object) else {
            return;
        };
        let services = manifests::services(object);
        for service in services.iter().flat_map(Services::iter) {
            self.claimants
                .entry((namespace.to_owned(), service.to_string()))
                .or_default()
                .insert(claimant.clone());
        }
    }

    /// What they tell of the Services that an object names, and of its namespace.
    pub(super) fn facts(&self, object: &Value) -> Facts {
        let mut facts = Facts::default();
        let here = Identity::of(object).namespace;
        let own = claimant(object);
        for name in manifests::services(object).iter().flat_map(Services::iter) {
            let others = self
                .claimants
                .get(&(here.clone(), name.to_string()))
                .into_iter()
                .flatten()
                .filter(|other| Some(*other) != own.as_ref());
            facts.note(name, claimed(self.service(&here, name), others));
        }
        if let Some(meshes) = self.namespaces.get(&here) {
            facts.note_meshes(meshes.clone());
        }
        facts
    }

    /// The Service that is meant. Which namespace it is where none is written, says whoever applies it:
    /// of several that might be meant none is.
    fn service(&self, here: &str, name: &ServiceName) -> ServiceFact {
        let named = self.services.get(name.as_str());
        let named = named.map(Vec::as_slice).unwrap_or_default();
        let exact = named.iter().any(|(namespace, _)| namespace == here);
        let mut meant = named.iter().filter(|(namespace, _)| {
            namespace == here || !exact && (namespace.is_empty() || here.is_empty())
        });
        match (meant.next(), meant.next()) {
            (Some((_, fact)), None) => fact.clone(),
            _ => ServiceFact::Unknown,
        }
    }
}

/// Who claims Services by this object: as the webhook's controller names it, or, of a template whose pods
/// are injected one by one, the workload.
fn claimant(object: &Value) -> Option<String> {
    let kind = Kind::of(object)?;
    let metadata = object.get("metadata");
    let claimant = match Claim::of(kind, metadata?) {
        Some(claim) => claim.claimant(),
        None if kind.is_left_to_its_controller(metadata) => return None,
        None => {
            manifests::pod(object)?;
            format!("{}/{}", kind.as_str(), Identity::of(object).name)
        }
    };
    Some(in_a_line(&claimant))
}

/// A fact and who else claims the Service, which is known of one too that is not among the documents.
fn claimed<'a>(fact: ServiceFact, others: impl Iterator<Item = &'a String>) -> ServiceFact {
    let mut others = others.peekable();
    let mut selecting = match fact {
        ServiceFact::Selects(selecting) => selecting,
        ServiceFact::Unknown if others.peek().is_some() => Selecting::default(),
        other => return other,
    };
    for other in others {
        if !selecting.claimed_by.contains(other) {
            selecting.claimed_by.push(other.clone());
        }
    }
    ServiceFact::Selects(selecting)
}

#[cfg(test)]
mod tests {
    use contract::names::annotation;
    use serde_json::json;

    use super::*;

    fn deployment(namespace: &str, name: &str, annotations: &Value) -> Value {
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": { "namespace": namespace, "name": name, "annotations": annotations },
            "spec": { "template": { "spec": { "containers": [{ "name": "app" }] } } },
        })
    }

    fn claiming(namespace: &str, name: &str, services: &str) -> Value {
        let annotations = json!({
            annotation::SERVICE: services, annotation::LEASE: format!("of-{name}")
        });
        deployment(namespace, name, &annotations)
    }

    fn service(namespace: &str, app: &str) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": { "namespace": namespace, "name": "web" },
            "spec": { "selector": { "app": app } },
        })
    }

    fn fact(object: &Value, others: &[Value], service: &str) -> ServiceFact {
        let facts = Surroundings::of(others.iter().chain([object])).facts(object);
        facts.of(&ServiceName::parse(service).unwrap()).clone()
    }

    /// Who else claims a Service.
    fn claimants(object: &Value, others: &[Value], service: &str) -> Vec<String> {
        match fact(object, others, service) {
            ServiceFact::Selects(selecting) => selecting.claimed_by,
            other => {
                assert_eq!(other, ServiceFact::Unknown);
                Vec::new()
            }
        }
    }

    #[test]
    fn who_else_claims_a_service_is_known_with_the_service_and_without_it() {
        let one = claiming("shop", "one", "web,api");
        let two = claiming("shop", "two", "api");
        for others in [vec![two.clone()], vec![two.clone(), service("shop", "a")]] {
            assert_eq!(claimants(&one, &others, "api"), ["Deployment/two"]);
            assert_eq!(claimants(&one, &others, "web"), [""; 0]);
        }
        assert_eq!(claimants(&two, &[one], "api"), ["Deployment/one"]);
    }

    #[test]
    fn a_template_claims_for_its_workload_and_a_pod_for_what_has_made_it() {
        let one = claiming("shop", "one", "web");
        let mut two = deployment("shop", "two", &json!({}));
        two["spec"]["template"]["metadata"] =
            json!({ "annotations": { annotation::SERVICE: "web" } });
        assert_eq!(
            claimants(&one, std::slice::from_ref(&two), "web"),
            ["Deployment/two"]
        );
        let mut made = two.clone();
        made["kind"] = json!("ReplicaSet");
        made["metadata"]["ownerReferences"] = json!([{ "kind": "Deployment", "controller": true }]);
        assert_eq!(claimants(&one, &[made], "web"), [""; 0]);
    }

    #[test]
    fn another_namespace_claims_another_service() {
        let here = claiming("shop", "one", "web");
        let others = [
            claiming("other", "two", "web"),
            claiming("", "three", "web"),
        ];
        assert_eq!(claimants(&here, &others, "web"), [""; 0]);
        let copies = [here.clone(), claiming("other", "one", "web")];
        assert_eq!(claimants(&here, &copies, "web"), [""; 0]);
    }

    #[test]
    fn who_claims_by_the_service_itself_is_told_once() {
        let mut service = service("shop", "a");
        service["metadata"]["annotations"] =
            json!({ "service-leader-election/claimed": "Deployment/two" });
        let others = [claiming("shop", "two", "web"), service];
        let one = claiming("shop", "one", "web");
        assert_eq!(claimants(&one, &others, "web"), ["Deployment/two"]);
    }

    #[test]
    fn of_several_services_of_a_name_the_one_of_the_namespace_is_meant_or_none() {
        let of = |namespace, others: &[(&str, &str)]| {
            let others: Vec<Value> = others.iter().map(|(ns, app)| service(ns, app)).collect();
            match fact(&claiming(namespace, "web", "web"), &others, "web") {
                ServiceFact::Selects(selecting) => selecting.labels.get("app").cloned(),
                _ => None,
            }
        };
        let is = |app: &str| Some(app.to_owned());
        assert_eq!(of("shop", &[("", "a"), ("shop", "b")]), is("b"));
        assert_eq!(of("shop", &[("", "a"), ("other", "b")]), is("a"));
        assert_eq!(of("shop", &[("other", "b")]), None);
        assert_eq!(of("", &[("shop", "b"), ("", "a")]), is("a"));
        assert_eq!(of("", &[("shop", "b")]), is("b"));
        for several in [[("shop", "a"), ("other", "b")], [("", "a"), ("", "b")]] {
            assert_eq!(of("", &several), None);
        }
        assert_eq!(of("shop", &[("shop", "a"), ("shop", "b")]), None);
    }
}
