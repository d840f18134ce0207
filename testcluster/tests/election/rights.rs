//! Rights that are missing, come late, or are taken away. The sidecar is added by hand here, with a
//! Role of its user's.

use kube::ResourceExt as _;
use serde_json::json;
use testcluster::Signal;

use crate::{
    scene,
    support::{KEY, SIDECAR, STATUS, Scene, selector},
};

const BY_HAND: &str = include_str!("../../../docs/added-by-hand.yaml");

async fn apply(scene: &Scene, manifest: &str) {
    scene.kubectl_stdin(&["apply", "-f", "-"], manifest).await;
}

/// The documents of the example but for those of a kind.
fn without(kind: &str) -> String {
    let kind = format!("\nkind: {kind}\n");
    let kept: Vec<_> = BY_HAND
        .split("\n---\n")
        .filter(|document| !format!("\n{document}").contains(&kind))
        .collect();
    assert!(kept.len() < BY_HAND.split("\n---\n").count());
    kept.join("\n---\n")
}

/// The Role of the Go original lets its holder neither list nor watch: everything is asked for by
/// name, now and then.
#[tokio::test]
async fn works_with_the_originals_role() {
    let scene = scene("original").await;
    let role = BY_HAND.replace("list, watch, ", "");
    assert!(!role.contains("watch, "));
    apply(&scene, &role).await;
    scene.all_ready("web", 3).await;
    let first = scene.agreed("web", |_| true).await;
    for pod in scene.pods("web").await {
        let name = pod.name_any();
        scene.documented_log("log-may-not-watch", &name).await;
    }
    scene.signal(&first.pod, Signal::TERM);
    let second = scene
        .agreed("web", |leader| leader.epoch != first.epoch)
        .await;
    scene.kubectl(&["delete", "pod", &second.pod]).await;
    scene.next("web", &second).await;
    scene.record.check().await.unwrap();
}

/// Only the chart's value `sidecar.nodeReaders` lets them, and names no namespace here.
#[tokio::test]
async fn who_may_not_read_nodes_soon_asks_no_more() {
    let scene = scene("nodes").await;
    let leader = scene.elect("web", 1, json!({})).await;
    let node = scene.cluster.node();
    scene
        .eventually("its log says so", async || {
            let logs = node.logs(&scene.namespace, &leader.pod, SIDECAR).unwrap();
            logs.contains("doing without").then_some(())
        })
        .await;
    let metrics = node.get(&scene.namespace, &leader.pod, STATUS, "/metrics");
    let (_, metrics) = metrics.await.unwrap();
    let lines = metrics.lines();
    let asked: Vec<_> = lines
        .filter(|line| line.contains("resource=\"node\""))
        .collect();
    let refused = "{resource=\"node\",verb=\"list\",outcome=\"refused\"} 3";
    assert!(asked.len() == 1 && asked[0].ends_with(refused), "{asked:?}");
}

#[tokio::test]
async fn waits_for_rights_that_come_late() {
    let scene = scene("late").await;
    apply(&scene, &without("RoleBinding")).await;
    scene.all_ready("web", 3).await;
    for pod in scene.pods("web").await {
        let name = pod.name_any();
        scene.documented_log("log-may-not-watch", &name).await;
    }
    apply(&scene, BY_HAND).await;
    let leader = scene.agreed("web", |_| true).await;
    for pod in scene.pods("web").await {
        let status = pod.status.unwrap();
        let restarts: i32 = status
            .container_statuses
            .into_iter()
            .flatten()
            .map(|container| container.restart_count)
            .sum();
        assert_eq!(restarts, 0, "nobody crashes for want of rights");
    }
    assert_eq!(scene.leaders("web").await, [leader.pod]);
}

#[tokio::test]
async fn a_leader_whose_rights_are_taken_away_says_so_and_goes_on_when_they_are_back() {
    let scene = scene("taken").await;
    apply(&scene, BY_HAND).await;
    scene.all_ready("web", 3).await;
    let first = scene.agreed("web", |_| true).await;
    scene.kubectl(&["delete", "rolebinding", "web"]).await;
    scene
        .eventually("the leader's own answer turns false", async || {
            let says = scene.says(&first.pod).await.unwrap();
            (says["isLeader"] == false).then_some(())
        })
        .await;
    scene.documented_log("log-rights-missing", &first.pod).await;
    scene
        .documented_log("log-may-not-write-events", &first.pod)
        .await;
    let service = scene.service("web").await.unwrap();
    assert_eq!(
        selector(&service).get(KEY),
        Some(&first.pod),
        "nobody may move it, so it stays"
    );
    apply(&scene, BY_HAND).await;
    scene
        .agreed("web", |leader| leader.epoch != first.epoch)
        .await;
    scene.record.check().await.unwrap();
}

#[tokio::test]
async fn one_right_that_is_missing_is_told_in_an_event() {
    let scene = scene("readers").await;
    let role = BY_HAND.replace("watch, create, update, patch", "watch");
    assert_ne!(role, BY_HAND);
    apply(&scene, &role).await;
    scene.documented_event("event-rights-missing", "Pod").await;
}

#[tokio::test]
async fn a_sidecar_that_does_not_know_its_pod_waits_until_it_may_look() {
    const UID: &str = "            - name: POD_UID
              valueFrom:
                fieldRef:
                  fieldPath: metadata.uid
";
    let scene = scene("nameless").await;
    assert!(BY_HAND.contains(UID));
    apply(&scene, &without("RoleBinding").replace(UID, "")).await;
    scene.all_ready("web", 3).await;
    for pod in scene.pods("web").await {
        let name = pod.name_any();
        scene
            .documented_log("log-waiting-for-the-own-pod", &name)
            .await;
    }
    apply(&scene, &BY_HAND.replace(UID, "")).await;
    scene.agreed("web", |_| true).await;
}

#[tokio::test]
async fn a_container_that_is_not_there_is_told() {
    const FIRST: &str = "          env:\n            - name: POD_NAME\n";
    let scene = scene("misnamed").await;
    let container =
        "            - name: SERVICE_LEADER_ELECTION_CONTAINER\n              value: ap\n";
    let wrong = FIRST.replace("env:\n", &format!("env:\n{container}"));
    let manifest = BY_HAND.replace(FIRST, &wrong);
    assert_ne!(manifest, BY_HAND);
    apply(&scene, &manifest).await;
    scene.all_ready("web", 3).await;
    for pod in scene.pods("web").await {
        let name = pod.name_any();
        scene.documented_log("log-no-such-container", &name).await;
    }
}
