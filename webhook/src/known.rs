//! What watches have shown of Services and namespaces, so that an admission need not ask for it.
//!
//! Must not know: who watches, and what is made of it.

use std::{
    collections::BTreeMap,
    sync::{PoisonError, RwLock},
};

use contract::facts::{Meshes, ServiceFact};
use kube::runtime::watcher::Event;
use serde_json::Value;

/// Namespace and name; the first is empty for a namespace itself.
type Name = (String, String);

/// What is known as of now: a few milliseconds ago, like the API server's own cache.
#[derive(Debug, Default)]
pub(crate) struct Known {
    services: RwLock<Shown<ServiceFact>>,
    namespaces: RwLock<Shown<Meshes>>,
}

impl Known {
    /// What is known of a Service. None: whether there is one has to be asked.
    pub(crate) fn service(&self, namespace: &str, name: &str) -> Option<ServiceFact> {
        let services = self.services.read();
        let services = services.unwrap_or_else(PoisonError::into_inner);
        services.of(namespace, name).cloned()
    }

    /// What a namespace asks for. None: it has to be asked.
    pub(crate) fn meshes(&self, namespace: &str) -> Option<Meshes> {
        let namespaces = self.namespaces.read();
        let namespaces = namespaces.unwrap_or_else(PoisonError::into_inner);
        namespaces.of("", namespace).copied()
    }

    /// Notes what the watch of the Services brought.
    pub(crate) fn note_service<E>(&self, event: &Result<Event<Value>, E>) {
        let services = self.services.write();
        let mut services = services.unwrap_or_else(PoisonError::into_inner);
        services.note(event, ServiceFact::of);
    }

    /// Notes what the watch of the namespaces brought.
    pub(crate) fn note_namespace<E>(&self, event: &Result<Event<Value>, E>) {
        let namespaces = self.namespaces.write();
        let mut namespaces = namespaces.unwrap_or_else(PoisonError::into_inner);
        namespaces.note(event, Meshes::of);
    }
}

/// The objects that a watch has shown.
#[derive(Debug)]
struct Shown<T> {
    all: BTreeMap<Name, T>,
    /// Those of a listing that is still under way.
    listed: BTreeMap<Name, T>,
    /// Whether the watch has gone on since it last broke.
    is_current: bool,
}

impl<T> Default for Shown<T> {
    fn default() -> Self {
        Self {
            all: BTreeMap::new(),
            listed: BTreeMap::new(),
            is_current: false,
        }
    }
}

impl<T> Shown<T> {
    fn of(&self, namespace: &str, name: &str) -> Option<&T> {
        let all = self.is_current.then_some(&self.all)?;
        all.get(&(namespace.to_owned(), name.to_owned()))
    }

    fn note<E>(&mut self, event: &Result<Event<Value>, E>, read: impl Fn(&Value) -> T) {
        self.is_current = matches!(
            event,
            Ok(Event::Apply(_) | Event::Delete(_) | Event::InitDone)
        );
        match event {
            Ok(Event::Apply(object)) => drop(self.all.insert(name(object), read(object))),
            Ok(Event::Delete(object)) => drop(self.all.remove(&name(object))),
            Ok(Event::Init) => self.listed.clear(),
            Ok(Event::InitApply(object)) => {
                self.listed.insert(name(object), read(object));
            }
            Ok(Event::InitDone) => self.all = std::mem::take(&mut self.listed),
            Err(_) => {}
        }
    }
}

fn name(object: &Value) -> Name {
    let text = |key| {
        let field = object.get("metadata").and_then(|it| it.get(key)?.as_str());
        field.unwrap_or_default().to_owned()
    };
    (text("namespace"), text("name"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    type Shown = Result<Event<Value>, &'static str>;

    fn service(name: &str) -> Value {
        json!({ "metadata": { "namespace": "shop", "name": name }, "spec": { "type": "ExternalName" } })
    }

    /// What is known of the Services `web` and `api`.
    fn after(known: &Known, events: impl IntoIterator<Item = Shown>) -> [bool; 2] {
        for event in events {
            known.note_service(&event);
        }
        ["web", "api"].map(|name| known.service("shop", name) == Some(ServiceFact::ExternalName))
    }

    #[test]
    fn nothing_is_known_before_all_was_listed() {
        let known = Known::default();
        let begun = [Ok(Event::Init), Ok(Event::InitApply(service("web")))];
        assert_eq!(after(&known, begun), [false, false]);
        assert_eq!(after(&known, [Ok(Event::InitDone)]), [true, false]);
        assert_eq!(
            after(&known, [Ok(Event::Apply(service("api")))]),
            [true, true]
        );
        assert_eq!(
            after(&known, [Ok(Event::Delete(service("web")))]),
            [false, true]
        );
    }

    #[test]
    fn nothing_is_known_from_when_the_watch_breaks_until_it_goes_on() {
        let known = Known::default();
        let listed = [
            Ok(Event::Init),
            Ok(Event::InitApply(service("web"))),
            Ok(Event::InitDone),
        ];
        assert_eq!(after(&known, listed), [true, false]);
        assert_eq!(after(&known, [Err("gone")]), [false, false]);
        assert_eq!(
            after(&known, [Ok(Event::Apply(service("api")))]),
            [true, true]
        );
        // What vanished meanwhile is not in the next listing.
        let again = [Err("gone"), Ok(Event::Init), Ok(Event::InitDone)];
        assert_eq!(after(&known, again), [false, false]);
    }

    #[test]
    fn a_namespace_is_known_by_its_name() {
        let known = Known::default();
        let labels = json!({ "istio-injection": "enabled" });
        let namespace = json!({ "metadata": { "name": "shop", "labels": labels } });
        let event: Shown = Ok(Event::Apply(namespace));
        known.note_namespace(&event);
        assert!(known.meshes("shop").unwrap().istio);
        assert_eq!(known.meshes("other"), None);
    }
}
