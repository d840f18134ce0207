//! A leader comes, goes, stumbles.

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt as _, api::DeleteParams};
use serde_json::{Value, json};
use testcluster::Signal;

use crate::{
    scene,
    support::{KEY, SIDECAR},
};

/// A lease that outlasts every test: who takes over has not waited for its expiry.
fn long_lease() -> Value {
    json!({"service-leader-election/lease-duration": "300"})
}

#[tokio::test]
async fn first_election() {
    let scene = scene("first").await;
    let forwarder = scene.cluster.forward(&scene.namespace, "web", 80).await;
    let forwarder = forwarder.unwrap();
    let leader = scene.elect("web", 3, json!({})).await;
    for pod in scene.pods("web").await {
        let name = pod.name_any();
        assert_eq!(pod.labels().get(KEY), Some(&name));
    }
    scene
        .eventually("the leader answers", async || {
            forwarder
                .get("/")
                .await
                .ok()
                .filter(|pod| *pod == leader.pod)
        })
        .await;
    for _ in 0..50 {
        assert_eq!(forwarder.get("/").await.unwrap(), leader.pod);
    }
    scene
        .told("web", &["LeaderElected", "ServiceSwitched"])
        .await;
    scene.documented_event("event-elected", "Service").await;
    scene.documented_event("event-switched", "Service").await;
    assert_eq!(scene.leaders("web").await, [leader.pod]);
}

#[tokio::test]
async fn sigterm_hands_over() {
    let scene = scene("sigterm").await;
    let first = scene.elect("web", 3, long_lease()).await;
    scene.signal(&first.pod, Signal::TERM);
    // The sidecar is started again, and takes part again.
    let second = scene.next("web", &first).await;
    scene.told("web", &["LeaderLost"]).await;
    assert_eq!(scene.leaders("web").await, [first.pod, second.pod]);
}

#[tokio::test]
async fn a_deleted_leader_hands_over() {
    let scene = scene("deleted").await;
    let first = scene.elect("web", 3, long_lease()).await;
    scene.kubectl(&["delete", "pod", &first.pod]).await;
    let second = scene.next("web", &first).await;
    assert_eq!(scene.leaders("web").await, [first.pod, second.pod]);
}

#[tokio::test]
async fn an_unready_leader_hands_over_and_does_not_come_back_by_itself() {
    let scene = scene("unready").await;
    let first = scene.elect("web", 3, long_lease()).await;
    scene.set_ready(&first.pod, false).await;
    let second = scene.next("web", &first).await;
    scene.set_ready(&first.pod, true).await;
    let third = scene.agreed("web", |_| true).await;
    assert_eq!(third, second);
    assert_eq!(scene.leaders("web").await, [first.pod, second.pod]);
}

#[tokio::test]
async fn a_leader_that_is_alone_stays_while_it_is_unready() {
    let scene = scene("alone").await;
    let first = scene.elect("web", 1, long_lease()).await;
    scene.set_ready(&first.pod, false).await;
    scene.set_ready(&first.pod, true).await;
    let same = scene.agreed("web", |_| true).await;
    assert_eq!(same, first);
}

#[tokio::test]
async fn sigkill_restart_resumes_without_a_switch() {
    let scene = scene("sigkill").await;
    let before = scene.elect("web", 3, long_lease()).await;
    let node = scene.cluster.node();
    let pid = node.pid(&scene.namespace, &before.pod, SIDECAR);
    scene.signal(&before.pod, Signal::KILL);
    let after = scene
        .agreed("web", |leader| leader.epoch != before.epoch)
        .await;
    assert_ne!(node.pid(&scene.namespace, &before.pod, SIDECAR), pid);
    assert_eq!(after.pod, before.pod);
    assert_eq!(scene.leaders("web").await, [before.pod]);
}

#[tokio::test]
async fn pod_force_deleted() {
    let scene = scene("forced").await;
    let first = scene.elect("web", 3, long_lease()).await;
    let pods: Api<Pod> = Api::namespaced(scene.client.clone(), &scene.namespace);
    let force = DeleteParams::default().grace_period(0);
    pods.delete(&first.pod, &force).await.unwrap();
    let second = scene.next("web", &first).await;
    assert_eq!(scene.leaders("web").await, [first.pod, second.pod]);
}

/// Nobody is left who could give the Lease up: two reads from a quorum prove that the holder is gone.
#[tokio::test]
async fn a_pod_that_died_and_is_gone_is_not_waited_for() {
    let scene = scene("gone").await;
    let first = scene.elect("web", 3, long_lease()).await;
    let node = scene.cluster.node();
    node.vanish(&scene.namespace, &first.pod).unwrap();
    let pods: Api<Pod> = Api::namespaced(scene.client.clone(), &scene.namespace);
    let force = DeleteParams::default().grace_period(0);
    pods.delete(&first.pod, &force).await.unwrap();
    let second = scene.next("web", &first).await;
    assert_eq!(scene.leaders("web").await, [first.pod, second.pod]);
}
