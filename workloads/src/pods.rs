//! Pods: such as somebody writes, and such as a controller makes of its template. Most are as the API
//! server hands them to a webhook, which has given them an account and its token.

use contract::names;
use proptest::{bool::weighted, prelude::*};
use serde_json::{Value, json};

use crate::{
    annotations,
    context::Security,
    object::{self, Annotated},
    shape::{Values, just, map, may, merge, merged, must, one_of},
    template::{items, template},
};

/// Pods that ask for something by annotations of their own, or of the template that they are made of.
pub fn pods(annotated: Annotated, security: Security) -> BoxedStrategy<Value> {
    let metadata = object::metadata(annotated);
    let odd = if annotated == Annotated::Anyhow {
        odd()
    } else {
        just(json!({}))
    };
    let written = merged(metadata.clone(), odd);
    let made = merged(metadata, controlled()).prop_map(without_name);
    let template = template(security, annotations::on_template());
    let metadata = prop_oneof![written, made];
    (template, metadata, weighted(0.7))
        .prop_map(|(template, metadata, is_completed)| {
            let mut pod = of(template, &metadata);
            if is_completed {
                complete(&mut pod);
            }
            pod
        })
        .boxed()
}

/// A pod of this name of a template.
pub fn pod(template: &Value, name: &str) -> Value {
    of(template.clone(), &json!({ "name": name }))
}

fn of(mut template: Value, metadata: &Value) -> Value {
    let more = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata });
    merge(&mut template, &more);
    template
}

/// What a pod has from a controller, one in a while of a kind whose pods end.
fn controlled() -> Values {
    let owner = |api_version: &str, kind: &str| {
        json!({
            "generateName": "web-6d4f9-",
            "labels": { "pod-template-hash": "6d4f9" },
            "ownerReferences": [{
                "apiVersion": api_version,
                "kind": kind,
                "name": "web-6d4f9",
                "uid": "00000000-0000-0000-0000-000000000001",
                "controller": true,
                "blockOwnerDeletion": true,
            }],
        })
    };
    prop_oneof![
        20 => just(owner("apps/v1", "ReplicaSet")),
        1 => just(owner("batch/v1", "Job")),
    ]
    .boxed()
}

fn without_name(mut metadata: Value) -> Value {
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.remove("name");
    }
    metadata
}

/// Names as long as a label's value, or longer; and the mirror of a static pod.
fn odd() -> Values {
    let mirror = map([must("kubernetes.io/config.mirror", just("x"))]);
    map([
        may("name", 0.05, one_of(["a".repeat(63), "a".repeat(64)])),
        may("annotations", 0.02, mirror),
    ])
}

/// Does what the API server's admission of service accounts does.
fn complete(pod: &mut Value) {
    const VOLUME: &str = "kube-api-access-x7k2p";
    let Some(spec) = pod.get_mut("spec") else {
        return;
    };
    let account = ["serviceAccountName", "serviceAccount"]
        .into_iter()
        .find_map(|key| spec.get(key)?.as_str())
        .unwrap_or("default")
        .to_owned();
    merge(
        spec,
        &json!({ "serviceAccountName": account, "serviceAccount": account }),
    );
    if spec.get("automountServiceAccountToken") == Some(&Value::Bool(false)) {
        return;
    }
    let mount = json!({ "name": VOLUME, "mountPath": names::TOKEN_PATH, "readOnly": true });
    for list in ["initContainers", "containers"] {
        for container in items(spec, list) {
            append(container, "volumeMounts", mount.clone());
        }
    }
    let sources = json!([
        { "serviceAccountToken": { "expirationSeconds": 3607, "path": "token" } },
        { "configMap": {
            "name": "kube-root-ca.crt",
            "items": [{ "key": "ca.crt", "path": "ca.crt" }],
        } },
        { "downwardAPI": { "items": [{
            "path": "namespace",
            "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.namespace" },
        }] } },
    ]);
    let projected = json!({ "defaultMode": 0o644, "sources": sources });
    append(
        spec,
        "volumes",
        json!({ "name": VOLUME, "projected": projected }),
    );
}

fn append(map: &mut Value, key: &str, item: Value) {
    let Some(map) = map.as_object_mut() else {
        return;
    };
    if let Some(list) = map.entry(key).or_insert_with(|| json!([])).as_array_mut() {
        list.push(item);
    }
}
