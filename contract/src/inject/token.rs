//! The application's token of the Kubernetes API, where no account was written for it.
//!
//! Must not know: how a sidecar gets its own.

use serde_json::{Map, Value};

use crate::{names, workload::Kind};

/// What the names of the volumes begin with that the API server puts into pods for their token.
const API_ACCESS: &str = "kube-api-access-";

/// What the application's containers get, once their pod runs as the account that is generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    /// None, as its owner wrote.
    Refused,
    /// None, though `default` has one.
    Lost,
    /// The generated account's, for its owner wrote that one is to be mounted.
    Generated,
}

impl Token {
    /// By a template, or a pod, without us.
    pub(super) fn of(kind: Kind, plain: &Value) -> Self {
        let automount = plain
            .pointer("/spec/automountServiceAccountToken")
            .and_then(Value::as_bool);
        if automount == Some(true) || has_volume(kind, plain) {
            return Self::Generated;
        }
        match automount {
            Some(_) => Self::Refused,
            None => Self::Lost,
        }
    }
}

/// Takes out what the API server has put into the spec of a pod, so that its containers have a token.
pub(super) fn take_out(spec: &mut Map<String, Value>) {
    for list in ["initContainers", "containers"] {
        for container in maps(spec, list) {
            retain(container, "volumeMounts", |mount| {
                !(is_api_access(mount) && mount.get("mountPath").is_some_and(is_token_path))
            });
        }
    }
    // A copied pod may mount such a volume elsewhere.
    let mut mounted = Vec::new();
    for list in ["initContainers", "containers"] {
        for container in maps(spec, list) {
            let mounts = container.get("volumeMounts").and_then(Value::as_array);
            mounted.extend(
                mounts
                    .into_iter()
                    .flatten()
                    .filter_map(name)
                    .map(str::to_owned),
            );
        }
    }
    retain(spec, "volumes", |volume| {
        !is_api_access(volume)
            || name(volume).is_some_and(|name| mounted.iter().any(|it| it == name))
    });
}

/// Whether a volume of the user's has a token.
fn has_volume(kind: Kind, plain: &Value) -> bool {
    let Some(spec) = plain.get("spec").and_then(Value::as_object) else {
        return false;
    };
    if kind != Kind::Pod {
        return has_token(spec);
    }
    let mut own = spec.clone();
    take_out(&mut own);
    has_token(&own)
}

fn has_token(spec: &Map<String, Value>) -> bool {
    let volumes = spec.get("volumes").and_then(Value::as_array);
    volumes
        .into_iter()
        .flatten()
        .filter_map(|volume| volume.get("projected")?.get("sources")?.as_array())
        .flatten()
        .any(|source| source.get("serviceAccountToken").is_some())
}

fn maps<'a>(
    spec: &'a mut Map<String, Value>,
    list: &str,
) -> impl Iterator<Item = &'a mut Map<String, Value>> {
    spec.get_mut(list)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
}

/// Keeps of a list what is to stay, and nothing of one that is empty then.
fn retain(map: &mut Map<String, Value>, list: &str, keep: impl Fn(&Value) -> bool) {
    let Some(items) = map.get_mut(list).and_then(Value::as_array_mut) else {
        return;
    };
    let before = items.len();
    items.retain(keep);
    if items.is_empty() && before > 0 {
        map.remove(list);
    }
}

fn is_api_access(item: &Value) -> bool {
    name(item).is_some_and(|name| name.starts_with(API_ACCESS))
}

fn is_token_path(path: &Value) -> bool {
    path.as_str()
        .is_some_and(|path| path.trim_end_matches('/') == names::TOKEN_PATH)
}

fn name(item: &Value) -> Option<&str> {
    item.get("name")?.as_str()
}
