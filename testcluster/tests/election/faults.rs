//! What a leader meets: it stands still, its Lease goes, others write what is its to write.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Service};
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use testcluster::Kind;
use tokio::time::sleep;

use crate::{
    scene,
    support::{KEY, Scene, epoch, selector},
};

#[tokio::test]
async fn frozen_leader_writes_nothing_and_competes_again() {
    const LEASE: Duration = Duration::from_secs(5);
    let scene = scene("frozen").await;
    let node = scene.cluster.node();
    let lease = json!({"service-leader-election/lease-duration": "5"});
    let first = scene.elect("web", 3, lease).await;

    node.freeze(&scene.namespace, &first.pod).unwrap();
    // The fault itself: two leases long.
    sleep(2 * LEASE).await;
    let second = scene
        .eventually("another pod leads", async || {
            let service = scene.service("web").await.unwrap();
            selector(&service)
                .remove(KEY)
                .filter(|pod| *pod != first.pod)
        })
        .await;
    let thawed = scene.record.sync().await.unwrap();
    node.thaw(&scene.namespace, &first.pod).unwrap();
    let same = scene.agreed("web", |_| true).await;
    assert_eq!(same.pod, second);
    // It has heard since who leads; it wrote nothing before.
    let writes: Vec<_> = scene
        .record
        .changes()
        .await
        .unwrap()
        .into_iter()
        .filter(|change| change.revision > thawed && change.kind != Kind::Pod)
        .filter(|change| is_about(change.object.as_ref(), &first.pod))
        .collect();
    assert_eq!(writes, []);

    let third = scene.lead("web", &first.pod).await;
    let leaders = scene.leaders("web").await;
    assert_eq!(leaders, [first.pod, second, third.pod]);
}

/// Whether a Lease or a Service names the pod.
fn is_about(object: Option<&Value>, pod: &str) -> bool {
    object.is_some_and(|object| {
        object["spec"]["holderIdentity"] == pod || object["spec"]["selector"][KEY] == pod
    })
}

#[tokio::test]
async fn lease_deleted_by_hand() {
    let scene = scene("lease").await;
    let before = scene.elect("web", 3, json!({})).await;
    let lease = format!("{KEY}-web");
    scene.kubectl(&["delete", "lease", &lease]).await;
    let after = scene
        .agreed("web", |leader| leader.epoch != before.epoch)
        .await;
    assert_eq!(after.pod, before.pod);
    assert_eq!(scene.leaders("web").await, [before.pod]);
}

#[tokio::test]
async fn service_drift_is_repaired() {
    let scene = scene("drift").await;
    let leader = scene.elect("web", 3, json!({})).await;
    let standby = standby(&scene, &leader.pod).await;
    let key = |value: Value| json!({"spec": {"selector": {KEY: value}}});
    let annotation = |name: &str, value: Value| json!({"metadata": {"annotations": {format!("service-leader-election/{name}"): value}}});
    let drifts = [
        ("un-pinned", key(Value::Null)),
        ("pinned to another pod", key(json!(standby))),
        ("pinned to no pod", key(json!("nobody"))),
        ("an epoch of the past", annotation("epoch", json!("1"))),
        ("no epoch", annotation("epoch", Value::Null)),
        (
            "another leader's name",
            annotation("leader", json!(standby)),
        ),
    ];
    for (what, drift) in drifts {
        let before = scene.service("web").await.unwrap();
        // From all others the policies keep most of this.
        let drifted = scene.force("web", &drift).await;
        let repaired = scene
            .eventually(what, async || {
                let now = scene.service("web").await.unwrap();
                let same = now.spec == before.spec && leader_of(&now) == leader_of(&before);
                (same && epoch(&now) >= epoch(&before)).then_some(now)
            })
            .await;
        scene.allow_drift(&drifted, &repaired);
        scene.agreed("web", |now| now.pod == leader.pod).await;
    }
    scene.told("web", &["SelectorRestored"]).await;
    assert_eq!(scene.leaders("web").await, [leader.pod]);
}

fn leader_of(service: &Service) -> Option<&String> {
    service.annotations().get("service-leader-election/leader")
}

#[tokio::test]
async fn label_is_repaired() {
    let scene = scene("label").await;
    let leader = scene.elect("web", 3, json!({})).await;
    let standby = standby(&scene, &leader.pod).await;
    relabel(&scene, &leader.pod, Value::Null).await;
    // For a moment the Service selects two pods.
    relabel(&scene, &standby, json!(leader.pod)).await;
    scene.agreed("web", |now| now.pod == leader.pod).await;
    assert_eq!(scene.leaders("web").await, [leader.pod]);
}

#[tokio::test]
async fn a_fight_over_the_leaders_label_ends_in_a_handover() {
    let scene = scene("fight").await;
    let first = scene.elect("web", 3, json!({})).await;
    // The first repair comes at once; before the second one the sidecar waits.
    relabel(&scene, &first.pod, json!("somebody")).await;
    relabel(&scene, &first.pod, json!("somebody")).await;
    let second = scene.next("web", &first).await;
    assert_eq!(scene.leaders("web").await, [first.pod, second.pod]);
}

/// Writes a label of ours, and waits for its repair.
async fn relabel(scene: &Scene, pod: &str, value: Value) {
    let pods: Api<Pod> = Api::namespaced(scene.client.clone(), &scene.namespace);
    let label = json!({"metadata": {"labels": {KEY: value}}});
    let params = PatchParams::default();
    let drifted = pods.patch(pod, &params, &Patch::Merge(&label)).await;
    let drifted = drifted.unwrap();
    let repaired = scene
        .eventually("the label stands again", async || {
            let now = pods.get(pod).await.unwrap();
            (now.labels().get(KEY).map(String::as_str) == Some(pod)).then_some(now)
        })
        .await;
    scene.allow_label(&drifted, &repaired);
}

async fn standby(scene: &Scene, leader: &str) -> String {
    let pods = scene.pods("web").await;
    let mut names = pods.iter().map(Pod::name_any);
    names.find(|pod| pod != leader).unwrap()
}
