//! Leases.

use k8s_openapi::api::coordination::v1::Lease;
use serde_json::{Value, json};

use crate::stage::{GENERATED, HOLDER, LEASE, OWN, Stage, TERM, annotated};

fn held(holder: &str, transitions: u32) -> Value {
    json!({
        "metadata": {"annotations": {HOLDER: holder, TERM: "7"}},
        "spec": {"holderIdentity": holder.split('/').next(), "leaseTransitions": transitions},
    })
}

#[tokio::test]
async fn a_lease_is_written_by_its_old_or_its_new_holder() {
    let stage = Stage::set("leases").await;
    let a = stage.caller("a", GENERATED, Some("a")).await;
    let b = stage.caller("b", GENERATED, Some("b")).await;
    let unbound = stage.caller("an unbound token", GENERATED, None).await;
    let own = stage.caller("a user's account", OWN, Some("c")).await;
    let admin = stage.admin();
    let mut lease = held(&stage.holder("a"), 3);
    lease["apiVersion"] = json!("coordination.k8s.io/v1");
    lease["kind"] = json!("Lease");
    lease["metadata"]["name"] = json!(LEASE);
    stage.scene.apply(&lease).await;
    let renewed = json!({"spec": {"leaseDurationSeconds": 12}});
    let emptied = json!({
        "metadata": {"annotations": {HOLDER: null}},
        "spec": {"holderIdentity": "", "leaseTransitions": 4},
    });
    let mut unmatched = held(&stage.holder("b"), 4);
    unmatched["spec"]["holderIdentity"] = json!("a");
    let asked = annotated("service-leader-election/switchover-to", &json!("any"));
    let another = "b/a-pod-of-the-past";
    for caller in [&b, &own] {
        stage
            .settled::<Lease>(caller, LEASE, &renewed, "is neither")
            .await;
    }
    cases! { stage, Lease, "service-leader-election-web";
        a, "renews", renewed => "allowed";
        a, "gives up", emptied => "allowed";
        a, "hands over", held(&stage.holder("b"), 4) => "allowed";
        a, "hands over without counting", held(&stage.holder("b"), 3) => "must go up";
        b, "takes it", held(&stage.holder("b"), 4) => "allowed";
        b, "takes it without counting", held(&stage.holder("b"), 3) => "must go up";
        b, "takes it for another", held(&stage.holder("c"), 4) => "is neither";
        b, "takes it as a pod of the past", held(another, 4) => "is neither";
        b, "empties another's", emptied => "is neither";
        b, "renews another's", renewed => "is neither";
        b, "names two", unmatched => "must name the same pod";
        unbound, "renews", renewed => "is neither";
        own, "takes it", held(&stage.holder("c"), 4) => "allowed";
        own, "empties another's", emptied => "is neither";
        admin, "empties it", emptied => "allowed";
        admin, "asks for a switchover", asked => "allowed";
    }
}
