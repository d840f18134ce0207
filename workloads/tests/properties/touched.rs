//! What an injection may touch, said once more, apart from the injector: the sidecar and its volume,
//! the account where none was written, and a few keys of the template's metadata.

use contract::{names, names::annotation, workload::Kind};
use serde_json::{Map, Value};
use workloads::template_place;

use crate::case::template;

const ACCOUNTS: [&str; 2] = ["serviceAccountName", "serviceAccount"];
const LISTS: [&str; 2] = ["initContainers", "containers"];

/// The keys of a template's annotations that an injection writes.
const ANNOTATIONS: [&str; 4] = [
    annotation::INJECTED,
    "kubectl.kubernetes.io/default-container",
    "traffic.sidecar.istio.io/excludeInboundPorts",
    "config.linkerd.io/skip-inbound-ports",
];

/// Each container of the sidecar's name, and the list in which it stands.
pub(crate) fn sidecars(object: &Value) -> Vec<(&'static str, &Value)> {
    let spec = template(object).and_then(|template| template.get("spec"));
    LISTS
        .into_iter()
        .flat_map(|list| {
            let items = spec.and_then(|spec| spec.get(list)?.as_array());
            let items = items.into_iter().flatten();
            items.map(move |item| (list, item))
        })
        .filter(|(_, container)| container["name"] == names::CONTAINER)
        .collect()
}

/// Whether the API server would read the template at all, and there is a list of containers.
pub(crate) fn is_readable(object: &Value) -> bool {
    let is = |place, kind: fn(&Value) -> bool, may_be_absent| {
        let found = template(object).and_then(|it| it.pointer(place));
        found.map_or(may_be_absent, |it| {
            kind(it) || may_be_absent && it.is_null()
        })
    };
    is("/spec/containers", Value::is_array, false)
        && is("/spec/initContainers", Value::is_array, true)
        && is("/spec/volumes", Value::is_array, true)
        && is("/metadata", Value::is_object, true)
        && is("/metadata/labels", Value::is_object, true)
        && is("/metadata/annotations", Value::is_object, true)
        && is("/spec/serviceAccountName", Value::is_string, true)
        && is(
            "/spec/automountServiceAccountToken",
            Value::is_boolean,
            true,
        )
}

/// A pod without our label, with which a Service would select it; any other object as it is.
pub(crate) fn unlabelled(object: &Value) -> Value {
    let mut object = object.clone();
    if Kind::of(&object) == Some(Kind::Pod)
        && let Some(labels) = object.pointer_mut("/metadata/labels")
        && let Some(labels) = labels.as_object_mut()
    {
        labels.retain(|key, value| key != names::LABEL || !value.is_string());
    }
    object
}

/// An object as the API server reads it: null and an account without a name are nothing, the account's
/// forerunner says the same, and a pod's token is its own to put in.
pub(crate) fn read(object: &Value) -> Value {
    let mut object = said(object);
    let kind = Kind::of(&object).unwrap();
    let spec = object
        .pointer_mut(template_place(kind))
        .and_then(|template| template.get_mut("spec")?.as_object_mut());
    if let Some(spec) = spec {
        if let Some(forerunner) = spec.remove("serviceAccount") {
            spec.entry("serviceAccountName").or_insert(forerunner);
        }
        if kind == Kind::Pod {
            without_api_access(spec);
        }
    }
    object
}

fn said(object: &Value) -> Value {
    match object {
        Value::Object(map) => map
            .iter()
            .filter(|(key, value)| {
                !value.is_null() && (!ACCOUNTS.contains(&key.as_str()) || *value != "")
            })
            .map(|(key, value)| (key.clone(), said(value)))
            .collect(),
        Value::Array(list) => list.iter().map(said).collect(),
        other => other.clone(),
    }
}

/// The account that the user wrote, and whether its token is mounted.
pub(crate) fn written_account(object: &Value) -> Option<[Option<&Value>; 3]> {
    let spec = template(object)?.get("spec")?;
    let [account, forerunner] = ACCOUNTS.map(|key| spec.get(key));
    let name = [account, forerunner]
        .into_iter()
        .flatten()
        .find(|name| *name != "")?;
    // The API server writes `default` into a pod where nobody wrote a name.
    let is_written = Kind::of(object) != Some(Kind::Pod) || name != "default";
    let automount = spec.get("automountServiceAccountToken");
    is_written.then_some([account, forerunner, automount])
}

/// An object without all that an injection may touch.
pub(crate) fn users(object: &Value) -> Value {
    let mut object = object.clone();
    let kind = Kind::of(&object).unwrap();
    let Some(template) = object.pointer_mut(template_place(kind)) else {
        return object;
    };
    if let Some(spec) = template.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("serviceAccountName");
        spec.remove("serviceAccount");
        spec.remove("automountServiceAccountToken");
        for list in ["initContainers", "volumes", "containers"] {
            without_last(spec, list);
        }
        if kind == Kind::Pod {
            without_api_access(spec);
        }
    }
    if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) {
        without(metadata, "labels", &[names::LABEL, names::POD_LABEL]);
        without(metadata, "annotations", &ANNOTATIONS);
        if metadata.is_empty() {
            template.as_object_mut().unwrap().remove("metadata");
        }
    }
    object
}

/// Takes out of a list what is ours and stands last; an empty list says the same as none.
fn without_last(spec: &mut Map<String, Value>, key: &str) {
    let Some(list) = spec.get_mut(key).and_then(Value::as_array_mut) else {
        return;
    };
    let ours = [names::CONTAINER, names::TOKEN_VOLUME];
    if list
        .last()
        .is_some_and(|it| ours.iter().any(|name| it["name"] == *name))
    {
        list.pop();
    }
    if list.is_empty() {
        spec.remove(key);
    }
}

fn without(metadata: &mut Map<String, Value>, key: &str, keys: &[&str]) {
    let Some(map) = metadata.get_mut(key).and_then(Value::as_object_mut) else {
        return;
    };
    map.retain(|key, _| !keys.contains(&key.as_str()));
    if map.is_empty() {
        metadata.remove(key);
    }
}

/// Takes out what the API server put into a pod for its account.
fn without_api_access(spec: &mut Map<String, Value>) {
    let is_not = |item: &Value| {
        let name = item.get("name").and_then(Value::as_str);
        !name.is_some_and(|name| name.starts_with("kube-api-access-"))
    };
    without_items(spec, "volumes", is_not);
    for list in LISTS {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            if let Some(container) = container.as_object_mut() {
                without_items(container, "volumeMounts", is_not);
            }
        }
    }
}

fn without_items(map: &mut Map<String, Value>, key: &str, keep: impl Fn(&Value) -> bool) {
    if let Some(items) = map.get_mut(key).and_then(Value::as_array_mut) {
        items.retain(keep);
        if items.is_empty() {
            map.remove(key);
        }
    }
}
