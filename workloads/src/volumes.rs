//! Volumes of every kind that a restricted pod may have, and of one that it may not.

use proptest::prelude::*;
use serde_json::json;

use crate::{
    context::Security,
    shape::{Field, Values, just, list, map, may, must, one_of},
};

/// `spec.volumes`, each still without a name.
pub(crate) fn volumes(security: Security) -> Values {
    let restricted = prop_oneof![
        source(
            "emptyDir",
            map([may("sizeLimit", 0.3, one_of(["1Gi", "64Mi"]))])
        ),
        source(
            "configMap",
            map([must("name", just("settings")), mode(), items(), optional()])
        ),
        source(
            "secret",
            map([must("secretName", just("keys")), mode(), optional()])
        ),
        source(
            "persistentVolumeClaim",
            just(json!({ "claimName": "data" }))
        ),
        source(
            "projected",
            map([must("sources", list(projected(), 0..3)), mode()])
        ),
        source("downwardAPI", just(json!({ "items": [labels()] }))),
        source(
            "csi",
            just(json!({ "driver": "csi.example.org", "readOnly": true }))
        ),
        source(
            "ephemeral",
            just(json!({ "volumeClaimTemplate": { "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": { "requests": { "storage": "1Gi" } },
            } } })),
        ),
    ];
    let free = || {
        source(
            "hostPath",
            just(json!({ "path": "/var/log", "type": "Directory" })),
        )
    };
    let volume = match security {
        Security::Free => prop_oneof![8 => restricted, 1 => free()].boxed(),
        Security::RestrictedByPod | Security::RestrictedByContainers => restricted.boxed(),
    };
    list(volume, 0..4)
}

fn source(key: &'static str, value: Values) -> Values {
    map([must(key, value)])
}

fn mode() -> Field {
    may("defaultMode", 0.3, one_of([0o400, 0o644]))
}

fn items() -> Field {
    may(
        "items",
        0.2,
        just(json!([{ "key": "a", "path": "a", "mode": 0o444 }])),
    )
}

fn optional() -> Field {
    may("optional", 0.2, one_of([true, false]))
}

/// A projected token for somebody else, among others: not every one is the sidecar's.
fn projected() -> Values {
    one_of([
        json!({ "serviceAccountToken": { "audience": "vault", "path": "token" } }),
        json!({ "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } }),
        json!({ "secret": { "name": "keys", "optional": true } }),
        json!({ "downwardAPI": { "items": [labels()] } }),
    ])
}

fn labels() -> serde_json::Value {
    json!({ "path": "labels", "fieldRef": { "fieldPath": "metadata.labels" } })
}
