//! Services.

use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};
use testcluster::troubleshooting::documented;

use crate::{
    stage::{EPOCH, GENERATED, LEADER, MIGHTY, OWN, Stage, annotated, patch, switch},
    support::{self, KEY},
};

fn key(value: &Value) -> Value {
    json!({"spec": {"selector": {KEY: value}}})
}

fn with_key(mut change: Value, value: &Value) -> Value {
    change["spec"] = key(value)["spec"].take();
    change
}

fn label() -> Value {
    json!({"metadata": {"labels": {"x": "y"}}})
}

fn with_a_label(mut change: Value) -> Value {
    change["metadata"]["labels"] = json!({"x": "y"});
    change
}

#[tokio::test]
async fn a_service_moves_by_a_new_term_of_the_pod_that_it_names() {
    let stage = Stage::set("services").await;
    let a = stage.caller("a", GENERATED, Some("a")).await;
    let b = stage.caller("b", GENERATED, Some("b")).await;
    let unbound = stage.caller("an unbound token", GENERATED, None).await;
    let own = stage.caller("a user's account", OWN, Some("c")).await;
    let mighty = stage.caller("a mighty account", MIGHTY, Some("d")).await;
    for caller in [&b, &own] {
        let lower = switch(if caller.name == "b" { "b" } else { "c" }, "99");
        stage
            .settled::<Service>(caller, "web", &lower, "go down")
            .await;
    }
    stage
        .settled::<Service>(&mighty, "web", &switch("d", "99"), "go down")
        .await;
    cases! { stage, Service, "web";
        b, "switches with a higher epoch", switch("b", "101") => "allowed";
        b, "switches with a longer epoch", switch("b", "1000") => "allowed";
        a, "begins another term", switch("a", "101") => "allowed";
        b, "switches with the same epoch", switch("b", "100") => "only a new term";
        b, "switches with a lower epoch", switch("b", "99") => "must not go down";
        b, "writes a shorter epoch", switch("b", "9") => "must not go down";
        b, "writes an epoch of 20 digits", switch("b", &"9".repeat(20)) => "must not go down";
        b, "writes no number", switch("b", "1e9") => "must not go down";
        b, "removes the epoch", annotated(EPOCH, &Value::Null) => "(removed)";
        b, "names another pod", switch("a", "101") => "only the sidecar of a pod";
        b, "moves the key alone", key(&json!("b")) => "only a new term";
        b, "changes a label besides", with_a_label(switch("b", "101")) => "nothing else";
        a, "changes a label", label() => "nothing else";
        a, "changes another annotation", annotated("x", &json!("y")) => "nothing else";
        a, "changes the type", json!({"spec": {"type": "NodePort"}}) => "nothing else";
        a, "changes the user's selector", json!({"spec": {"selector": {"app": "x"}}}) => "nothing else";
        unbound, "switches", switch("a", "101") => "bound to none";
        own, "switches to its pod", switch("c", "101") => "allowed";
        own, "switches to another", switch("a", "101") => "only the sidecar of a pod";
        own, "switches with the same epoch", switch("c", "100") => "only a new term";
        own, "changes a label besides", with_a_label(switch("c", "101")) => "allowed";
        mighty, "switches to its pod", switch("d", "101") => "allowed";
        mighty, "lowers the epoch", switch("d", "99") => "must not go down";
        mighty, "changes a label", label() => "allowed";
    }
}

#[tokio::test]
async fn people_may_change_what_is_theirs_and_the_controller_may_unpin() {
    let stage = Stage::set("people").await;
    stage.scene.apply(&support::service("other")).await;
    let (admin, controller) = (stage.admin(), stage.controller());
    let forged = annotated(EPOCH, &json!("999"));
    stage
        .settled::<Service>(&admin, "web", &forged, "only the sidecar")
        .await;
    let unpin = json!({
        "metadata": {"annotations": {LEADER: null, EPOCH: "101"}},
        "spec": {"selector": {KEY: null}},
    });
    let mut bare = unpin.clone();
    bare["metadata"]["annotations"][EPOCH] = Value::Null;
    cases! { stage, Service, "web";
        admin, "moves the Service", switch("b", "101") => "only the sidecar of a pod";
        admin, "moves the key", key(&json!("b")) => "switchover-to";
        admin, "forges an epoch", forged => "bound to none";
        admin, "names another leader", annotated(LEADER, &json!("b")) => "only a new term";
        admin, "removes the epoch", annotated(EPOCH, &Value::Null) => "must not go down";
        admin, "removes epoch and key", with_key(annotated(EPOCH, &Value::Null), &Value::Null) => "must not go down";
        admin, "removes all that is ours", bare => "must not go down";
        admin, "un-pins with a higher epoch", unpin => "only the sidecar of a pod";
        admin, "writes the user's selector", key(&Value::Null) => "allowed";
        admin, "changes the ports", json!({"spec": {"ports": [{"port": 81}]}}) => "allowed";
        admin, "changes a label", label() => "allowed";
        admin, "changes another annotation", annotated("x", &json!("y")) => "allowed";
        controller, "un-pins", unpin => "allowed";
        controller, "resets the epoch", annotated(EPOCH, &json!("1")) => "allowed";
    }
    let refused = async |change: Value| {
        let (own, change) = (["-n", &stage.scene.namespace], change.to_string());
        let patch = [&own[..], &["patch", "service", "web", "-p", &change]].concat();
        let error = stage.scene.cluster.kubectl(&patch).await.unwrap_err();
        format!("{error:#}")
    };
    let said = refused(key(&json!("b"))).await;
    documented("policy-only-a-new-term", &said).unwrap();
    let said = refused(annotated(EPOCH, &json!("99"))).await;
    documented("policy-epoch-down", &said).unwrap();
    let said = refused(switch("b", "101")).await;
    documented("policy-not-the-pods-sidecar", &said).unwrap();
    // None of ours; the first as the Go original does it.
    cases! { stage, Service, "other";
        admin, "pins it by hand", key(&json!("a")) => "allowed";
        admin, "takes the selector away", json!({"spec": {"selector": null}}) => "allowed";
        admin, "forges our annotation", annotated(EPOCH, &json!("7")) => "only the sidecar of a pod";
    }
}

/// Or whoever puts a manifest without our annotations, by `kubectl replace` for one, would be refused for ever.
#[tokio::test]
async fn what_unpinning_leaves_may_go_with_a_manifest_that_lacks_it() {
    let stage = Stage::set("left").await;
    let (admin, controller) = (stage.admin(), stage.controller());
    let namespace = &stage.scene.namespace;
    stage.scene.apply(&support::service("left")).await;
    let left = annotated(EPOCH, &json!("101"));
    patch::<Service>(&controller.client, namespace, "left", &left, false)
        .await
        .unwrap();
    let gone = annotated(EPOCH, &Value::Null);
    let lower = annotated(EPOCH, &json!("99"));
    let mut led = gone.clone();
    led["metadata"]["annotations"][LEADER] = json!("a");
    stage
        .settled::<Service>(&admin, "left", &lower, "go down")
        .await;
    cases! { stage, Service, "left";
        admin, "removes the epoch", gone => "allowed";
        admin, "lowers the epoch", lower => "must not go down";
        admin, "raises the epoch", annotated(EPOCH, &json!("102")) => "only the sidecar of a pod";
        admin, "empties the epoch and names a leader", led => "must not go down";
        admin, "removes the epoch and pins it", with_key(gone, &json!("a")) => "must not go down";
    }
    let manifest = support::service("left").to_string();
    let replace = ["replace", "-f", "-"];
    stage.scene.kubectl_stdin(&replace, &manifest).await;
    let replaced = stage.scene.service("left").await.unwrap();
    assert_eq!(support::epoch(&replaced), None);
}
