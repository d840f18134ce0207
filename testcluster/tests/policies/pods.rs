//! Pods.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use crate::{
    stage::{COST, GENERATED, MIGHTY, OWN, Stage, annotated},
    support::KEY,
};

fn label(key: &str, value: &Value) -> Value {
    json!({"metadata": {"labels": {key: value}}})
}

#[tokio::test]
async fn a_sidecar_labels_its_own_pod_only() {
    let stage = Stage::set("pods").await;
    let a = stage.caller("a", GENERATED, Some("a")).await;
    let unbound = stage.caller("an unbound token", GENERATED, None).await;
    let own = stage.caller("a user's account", OWN, Some("c")).await;
    let mighty = stage.caller("a mighty account", MIGHTY, Some("d")).await;
    let admin = stage.admin();
    let other = label(KEY, &json!("x"));
    stage.settled::<Pod>(&a, "b", &other, "own pod only").await;
    stage
        .settled::<Pod>(&own, "b", &other, "own pod only")
        .await;
    stage.settled::<Pod>(&mighty, "b", &other, "allowed").await;
    let spec = json!({"spec": {"activeDeadlineSeconds": 7}});
    let finalizer = json!({"metadata": {"finalizers": ["example.org/x"]}});
    cases! { stage, Pod;
        a, "takes its label off", "a", label(KEY, &Value::Null) => "allowed";
        a, "sets its cost", "a", annotated(COST, &json!("2147483647")) => "allowed";
        a, "labels itself for another", "a", label(KEY, &json!("b")) => "the pod's own name";
        a, "labels another", "b", label(KEY, &json!("a")) => "own pod only";
        a, "sets another's cost", "b", annotated(COST, &json!("7")) => "own pod only";
        a, "changes another label", "a", label("app", &json!("x")) => "nothing else";
        a, "changes another annotation", "a", annotated("x", &json!("y")) => "nothing else";
        a, "changes its spec", "a", spec => "nothing else";
        a, "adds a finalizer", "a", finalizer => "nothing else";
        unbound, "labels a pod", "a", label(KEY, &Value::Null) => "to none";
        own, "takes its label off", "c", label(KEY, &Value::Null) => "allowed";
        own, "labels itself for another", "c", label(KEY, &json!("a")) => "the pod's own name";
        own, "labels another", "a", label(KEY, &json!("c")) => "own pod only";
        own, "changes another pod otherwise", "a", label("x", &json!("y")) => "allowed";
        mighty, "labels a pod", "a", label(KEY, &json!("d")) => "allowed";
        admin, "labels a pod", "a", label(KEY, &json!("b")) => "allowed";
    }
}
