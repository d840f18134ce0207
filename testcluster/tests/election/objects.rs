//! Services and Leases that are missing, foreign, or older than they say.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    scene,
    support::{KEY, Leader, Scene, deployment, selector, service},
};

const EPOCH: &str = "service-leader-election/epoch";
const LEASE: &str = "service-leader-election-web";

/// An election whose Service the test makes itself.
async fn begin(scene: &Scene) {
    let annotations = json!({"service-leader-election/service": "web"});
    scene.apply(&deployment("web", 2, &annotations)).await;
}

async fn pinned_by(scene: &Scene, leader: &Leader) {
    let again = scene.agreed("web", |_| true).await;
    assert_eq!(again.pod, leader.pod, "the leader stayed");
}

#[tokio::test]
async fn a_missing_service_is_said_and_switched_once_it_exists_and_again_when_made_anew() {
    let scene = scene("missing").await;
    begin(&scene).await;
    scene.documented_event("event-service-missing", "Pod").await;
    scene.apply(&service("web")).await;
    let leader = scene.agreed("web", |_| true).await;
    scene.kubectl(&["delete", "service", "web"]).await;
    scene.apply(&service("web")).await;
    pinned_by(&scene, &leader).await;
    assert_eq!(scene.leaders("web").await, [leader.pod]);
}

#[tokio::test]
async fn a_service_without_a_selector_is_said_and_left_alone_until_it_has_one() {
    let scene = scene("selectorless").await;
    let mut bare = service("web");
    bare["spec"].as_object_mut().unwrap().remove("selector");
    scene.apply(&bare).await;
    begin(&scene).await;
    scene
        .documented_event("event-service-without-selector", "Service")
        .await;
    let untouched = scene.service("web").await.unwrap();
    assert_eq!(selector(&untouched).len(), 0, "{untouched:?}");
    scene.apply(&service("web")).await;
    let leader = scene.agreed("web", |_| true).await;
    assert_eq!(scene.leaders("web").await, [leader.pod]);
}

#[tokio::test]
async fn a_lease_of_another_program_is_waited_for_and_then_taken() {
    let scene = scene("foreign").await;
    let foreign = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": LEASE},
        "spec": {"holderIdentity": "another-program", "leaseDurationSeconds": 8}});
    scene.apply(&foreign).await;
    scene.apply(&service("web")).await;
    begin(&scene).await;
    scene.documented_event("event-foreign-lease", "Lease").await;
    let service = scene.service("web").await.unwrap();
    assert!(!selector(&service).contains_key(KEY), "nobody leads yet");
    let leader = scene.agreed("web", |_| true).await;
    // And while somebody leads, another program that takes the Lease is no election.
    let took = json!({"spec": {"holderIdentity": "another-program"}}).to_string();
    scene
        .kubectl(&["patch", "lease", LEASE, "--type=merge", "-p", &took])
        .await;
    scene.documented_event("event-lost", "Pod").await;
    scene.agreed("web", |next| next.epoch > leader.epoch).await;
    scene.leaders("web").await;
}

/// As after a restored backup: the Service's epoch is above every revision that there is.
#[tokio::test]
async fn an_epoch_from_the_future_is_said_and_nobody_claims_to_lead_until_the_service_is_made_anew()
{
    let scene = scene("restored").await;
    let leader = scene.elect("web", 2, json!({})).await;
    let before = scene.record.sync().await.unwrap();
    let future = json!({"metadata": {"annotations": {EPOCH: "99999999999"}}});
    scene.force("web", &future).await;
    scene.documented_event("event-fenced", "Service").await;
    for pod in scene.pods("web").await {
        let name = pod.metadata.name.unwrap();
        let leads = async || scene.says(&name).await.unwrap()["isLeader"] == Value::Bool(false);
        scene
            .eventually("nobody claims to lead", async || {
                leads().await.then_some(())
            })
            .await;
    }
    let stored = scene.service("web").await.unwrap();
    assert_eq!(
        selector(&stored).get(KEY).map(String::as_str),
        Some(leader.pod.as_str()),
        "the Service stays at a pod that serves"
    );
    scene.kubectl(&["delete", "service", "web"]).await;
    scene.apply(&service("web")).await;
    scene.agreed("web", |_| true).await;
    let now = scene.record.sync().await.unwrap();
    scene.record.allow(before + 1..=now);
    scene.record.check().await.unwrap();
}

/// Metadata of what a chart of the user's ships.
fn of_a_chart(kind: &str, version: &str) -> Value {
    json!({"apiVersion": version, "kind": kind, "metadata": {"name": LEASE,
        "labels": {"app.kubernetes.io/managed-by": "Helm"}, "annotations": {"example.org/x": "y"}}})
}

/// The object's metadata and rules as they are stored, less what the API server keeps.
async fn stored(scene: &Scene, kind: &str) -> Value {
    let text = scene.kubectl(&["get", kind, LEASE, "-o", "json"]).await;
    let object: Value = serde_json::from_str(&text).unwrap();
    let metadata = &object["metadata"];
    json!([
        metadata["labels"],
        metadata["ownerReferences"],
        object["rules"]
    ])
}

#[tokio::test]
async fn a_service_account_of_the_users_is_bound_and_stays_the_users() {
    let scene = scene("ownaccount").await;
    scene.apply(&of_a_chart("ServiceAccount", "v1")).await;
    let before = stored(&scene, "serviceaccount").await;
    scene.elect("web", 2, json!({})).await;
    scene
        .documented_event("event-name-taken", "ServiceAccount")
        .await;
    scene.record.allow_unpin();
    scene.kubectl(&["delete", "deployment", "web"]).await;
    scene
        .eventually("the rights are gone", async || {
            let rights = ["get", "roles,rolebindings", "-o", "name"];
            scene.kubectl(&rights).await.is_empty().then_some(())
        })
        .await;
    assert_eq!(stored(&scene, "serviceaccount").await, before);
    scene.record.check().await.unwrap();
}

#[tokio::test]
async fn a_role_of_the_users_keeps_its_rules_and_that_is_said() {
    let scene = scene("ownrole").await;
    let mut role = of_a_chart("Role", "rbac.authorization.k8s.io/v1");
    role["rules"] = json!([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]);
    scene.apply(&role).await;
    let before = stored(&scene, "role").await;
    scene.apply(&service("web")).await;
    begin(&scene).await;
    scene
        .documented_webhook_log("webhook-log-name-taken", Duration::from_mins(1))
        .await;
    scene.documented_event("event-name-taken", "Role").await;
    scene
        .eventually("what is ours is made", async || {
            let account = [
                "get",
                "serviceaccount",
                LEASE,
                "--ignore-not-found",
                "-o",
                "name",
            ];
            (!scene.kubectl(&account).await.is_empty()).then_some(())
        })
        .await;
    assert_eq!(stored(&scene, "role").await, before);
    let bindings = scene.kubectl(&["get", "rolebindings", "-o", "name"]).await;
    let bindings: Vec<_> = bindings.lines().collect();
    let one = format!("rolebinding.rbac.authorization.k8s.io/{LEASE}.sidecar");
    assert_eq!(bindings, [one], "nobody is bound to it");
    let bare = "service-leader-election/service-";
    scene.kubectl(&["annotate", "deployment/web", bare]).await;
    scene
        .eventually("what is ours is gone", async || {
            let ours = ["get", "rolebindings,serviceaccounts", "-o", "name"];
            (!scene.kubectl(&ours).await.contains(KEY)).then_some(())
        })
        .await;
    assert_eq!(stored(&scene, "role").await, before);
}

/// The API server of these tests wants of whoever makes somebody the owner of an object the right to delete
/// that, as OpenShift does.
#[tokio::test]
async fn the_lease_of_an_election_is_the_workloads() {
    let scene = scene("owned").await;
    scene.elect("web", 1, json!({})).await;
    let owner = "jsonpath={.metadata.ownerReferences[*].kind}";
    scene
        .eventually("the Lease goes with its Deployment", async || {
            let found = scene.kubectl(&["get", "lease", LEASE, "-o", owner]).await;
            (found == "Deployment").then_some(())
        })
        .await;
}

/// For the garbage collector would delete it with the workload.
#[tokio::test]
async fn a_lease_of_another_program_is_the_workloads_from_its_first_term_on() {
    let scene = scene("lock").await;
    let foreign = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "operator-lock"},
        "spec": {"holderIdentity": "another-program", "leaseDurationSeconds": 8}});
    scene.apply(&foreign).await;
    scene.apply(&service("web")).await;
    let annotations = json!({
        "service-leader-election/service": "web",
        "service-leader-election/lease": "operator-lock",
    });
    scene.apply(&deployment("web", 1, &annotations)).await;
    scene.documented_event("event-foreign-lease", "Lease").await;
    let owner = "jsonpath={.metadata.ownerReferences[*].kind}{.spec.holderIdentity}";
    let get = ["get", "lease", "operator-lock", "-o", owner];
    assert_eq!(scene.kubectl(&get).await, "another-program");
    scene
        .eventually("the Lease goes with its Deployment", async || {
            let found = scene.kubectl(&get).await;
            found.starts_with("Deploymentweb-").then_some(())
        })
        .await;
}
