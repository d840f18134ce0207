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

async fn said(scene: &Scene, pod: &str, words: &str) {
    let node = scene.cluster.node();
    scene
        .eventually("its log says what to do", async || {
            let logs = node.logs(&scene.namespace, pod, SIDECAR).unwrap();
            logs.contains(words).then_some(())
        })
        .await;
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
        let wanted = "forbidden to list or watch: add both verbs to the Role";
        said(&scene, &pod.name_any(), wanted).await;
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
    said(&scene, &leader.pod, "doing without").await;
    let node = scene.cluster.node();
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
        said(&scene, &pod.name_any(), "forbidden").await;
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
    said(&scene, &first.pod, "rights are missing").await;
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
