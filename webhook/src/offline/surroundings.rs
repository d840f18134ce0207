//! What the documents tell of each other: the Services and the namespaces.
//!
//! Pure. What is not among them may be in the cluster, so nothing is said of it. Must not know: what
//! follows from a fact.

use std::collections::BTreeMap;

use contract::{
    annotations::Services,
    facts::{Facts, Meshes, ServiceFact},
    values::ServiceName,
};
use serde_json::Value;

use super::{manifests, place::Identity};

/// What is known by all documents together.
#[derive(Debug, Default)]
pub(super) struct Surroundings {
    /// By name; each with its namespace, which is empty where the manifest names none.
    services: BTreeMap<String, Vec<(String, ServiceFact)>>,
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
            _ => {}
        }
    }

    /// What they tell of the Services that an object names, and of its namespace.
    pub(super) fn facts(&self, object: &Value) -> Facts {
        let mut facts = Facts::default();
        let here = Identity::of(object).namespace;
        for name in manifests::services(object).iter().flat_map(Services::iter) {
            facts.note(name, self.service(&here, name));
        }
        if let Some(meshes) = self.namespaces.get(&here) {
            facts.note_meshes(*meshes);
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

#[cfg(test)]
mod tests {
    use contract::names::annotation;
    use serde_json::json;

    use super::*;

    fn deployment(namespace: &str) -> Value {
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": { "namespace": namespace, "annotations": { annotation::SERVICE: "web" } },
        })
    }

    fn service(namespace: &str, app: &str) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": { "namespace": namespace, "name": "web" },
            "spec": { "selector": { "app": app } },
        })
    }

    #[test]
    fn of_several_services_of_a_name_the_one_of_the_namespace_is_meant_or_none() {
        let of = |namespace, others: &[(&str, &str)]| {
            let others: Vec<Value> = others.iter().map(|(ns, app)| service(ns, app)).collect();
            let facts = Surroundings::of(others.iter()).facts(&deployment(namespace));
            match facts.of(&ServiceName::parse("web").unwrap()) {
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
