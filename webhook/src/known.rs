//! What watches have shown of Services and namespaces, so that an admission need not ask for it.
//!
//! Must not know: who watches, and what is made of it.

use std::{
    collections::BTreeMap,
    sync::{PoisonError, RwLock},
};

use contract::{
    facts::{Meshes, ServiceFact},
    names::service_annotation,
};
use kube::runtime::watcher::Event;
use serde_json::{Value, json};

/// Namespace and name; the first is empty for a namespace itself.
pub(crate) type Name = (String, String);

/// What is known: as it was some milliseconds ago, like the API server's own cache, or before a watch broke
/// that is not open again.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Of each Service what is looked at, as text: a cluster may have many.
    services: RwLock<Shown<Box<str>>>,
    namespaces: RwLock<Shown<Meshes>>,
}

impl Known {
    /// What is known of a Service. None: whether there is one has to be asked.
    pub(crate) fn service(&self, namespace: &str, name: &str) -> Option<ServiceFact> {
        let services = self.services.read();
        let services = services.unwrap_or_else(PoisonError::into_inner);
        let service = serde_json::from_str(services.of(namespace, name)?);
        Some(ServiceFact::of(&service.ok()?))
    }

    /// What a namespace asks for. None: it has to be asked.
    pub(crate) fn meshes(&self, namespace: &str) -> Option<Meshes> {
        let namespaces = self.namespaces.read();
        let namespaces = namespaces.unwrap_or_else(PoisonError::into_inner);
        namespaces.of("", namespace).cloned()
    }

    /// Notes what the watch of the Services brought.
    pub(crate) fn note_service(&self, event: &Event<Value>) {
        let services = self.services.write();
        let mut services = services.unwrap_or_else(PoisonError::into_inner);
        services.note(event, looked_at);
    }

    /// Notes what the watch of the namespaces brought.
    pub(crate) fn note_namespace(&self, event: &Event<Value>) {
        let namespaces = self.namespaces.write();
        let mut namespaces = namespaces.unwrap_or_else(PoisonError::into_inner);
        namespaces.note(event, Meshes::of);
    }
}

/// What [`ServiceFact::of`] looks at.
fn looked_at(service: &Value) -> Box<str> {
    let part = |path| service.pointer(path);
    let claimed = part("/metadata/annotations").and_then(|it| it.get(service_annotation::CLAIMED));
    let looked_at = json!({
        "metadata": { "annotations": { service_annotation::CLAIMED: claimed } },
        "spec": {
            "type": part("/spec/type"),
            "selector": part("/spec/selector"),
            "clusterIP": part("/spec/clusterIP"),
        },
    });
    looked_at.to_string().into()
}

/// The objects that a watch has shown.
#[derive(Debug)]
struct Shown<T> {
    all: BTreeMap<Name, T>,
    /// Those of a listing that is still under way.
    listed: BTreeMap<Name, T>,
    /// Whether they are all of them.
    is_complete: bool,
}

impl<T> Default for Shown<T> {
    fn default() -> Self {
        Self {
            all: BTreeMap::new(),
            listed: BTreeMap::new(),
            is_complete: false,
        }
    }
}

impl<T> Shown<T> {
    fn of(&self, namespace: &str, name: &str) -> Option<&T> {
        let all = self.is_complete.then_some(&self.all)?;
        all.get(&(namespace.to_owned(), name.to_owned()))
    }

    fn note(&mut self, event: &Event<Value>, read: impl Fn(&Value) -> T) {
        match event {
            Event::Apply(object) => {
                self.all.insert(name(object.get("metadata")), read(object));
            }
            Event::Delete(object) => {
                self.all.remove(&name(object.get("metadata")));
            }
            // The events in between were missed.
            Event::Init => {
                self.listed.clear();
                self.is_complete = false;
            }
            Event::InitApply(object) => {
                self.listed
                    .insert(name(object.get("metadata")), read(object));
            }
            Event::InitDone => {
                self.all = std::mem::take(&mut self.listed);
                self.is_complete = true;
            }
        }
    }
}

/// Namespace and name, by the metadata.
pub(crate) fn name(metadata: Option<&Value>) -> Name {
    let text = |key| {
        let field = metadata.and_then(|it| it.get(key)?.as_str());
        field.unwrap_or_default().to_owned()
    };
    (text("namespace"), text("name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str) -> Value {
        json!({ "metadata": { "namespace": "shop", "name": name }, "spec": { "type": "ExternalName" } })
    }

    /// What is known of the Services `web` and `api`.
    fn after(known: &Known, events: impl IntoIterator<Item = Event<Value>>) -> [bool; 2] {
        for event in events {
            known.note_service(&event);
        }
        ["web", "api"].map(|name| known.service("shop", name) == Some(ServiceFact::ExternalName))
    }

    #[test]
    fn nothing_is_known_before_all_was_listed() {
        let known = Known::default();
        let begun = [Event::Init, Event::InitApply(service("web"))];
        assert_eq!(after(&known, begun), [false, false]);
        assert_eq!(after(&known, [Event::InitDone]), [true, false]);
        let more = [Event::Apply(service("api"))];
        assert_eq!(after(&known, more), [true, true]);
        let gone = [Event::Delete(service("web"))];
        assert_eq!(after(&known, gone), [false, true]);
        // What vanished while the watch was broken is not in the next listing.
        assert_eq!(after(&known, [Event::Init]), [false, false]);
        let again = [Event::InitApply(service("web")), Event::InitDone];
        assert_eq!(after(&known, again), [true, false]);
    }

    #[test]
    fn as_much_is_known_of_a_service_as_of_the_whole_one() {
        let claimed = json!({ service_annotation::CLAIMED: "Deployment/web", "other": "x" });
        for spec in [
            json!({ "selector": { "app": "web" }, "clusterIP": "None", "ports": [] }),
            json!({ "selector": { "app": "web", "service-leader-election": "web-1" }, "type": "NodePort" }),
            json!({ "clusterIP": "10.0.0.1" }),
            json!({ "type": "ExternalName" }),
        ] {
            let whole = json!({ "metadata": { "namespace": "shop", "name": "web",
                "annotations": claimed }, "spec": spec });
            let known = Known::default();
            let listed = [
                Event::Init,
                Event::InitApply(whole.clone()),
                Event::InitDone,
            ];
            after(&known, listed);
            assert_eq!(known.service("shop", "web"), Some(ServiceFact::of(&whole)));
        }
    }

    #[test]
    fn a_namespace_is_known_by_its_name() {
        let known = Known::default();
        let labels = json!({ "istio-injection": "enabled" });
        let namespace = json!({ "metadata": { "name": "shop", "labels": labels } });
        for event in [Event::Init, Event::InitApply(namespace), Event::InitDone] {
            known.note_namespace(&event);
        }
        assert!(known.meshes("shop").unwrap().istio);
        assert_eq!(known.meshes("other"), None);
    }
}
