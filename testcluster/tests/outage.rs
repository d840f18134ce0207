//! What an outage of the API server does to an election: nothing. A control plane of its own.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, in its helpers too, and says why"
)]

mod support;

use std::time::Duration;

use kube::ResourceExt;
use serde_json::json;
use support::{Installed, Scene};
use testcluster::Signal;
use tokio::{sync::OnceCell, time::sleep};

#[tokio::test]
async fn api_outage_moves_nobody() {
    // The fault itself: longer than a lease of 12 s.
    const OUTAGE: Duration = Duration::from_secs(20);
    static INSTALLED: OnceCell<Installed> = OnceCell::const_new();
    let installed = INSTALLED.get_or_init(Installed::start).await;
    let scene = Scene::enter(&installed.cluster, "outage").await;
    let mut leader = scene.elect("web", 3, json!({})).await;
    let names: Vec<_> = scene
        .pods("web")
        .await
        .iter()
        .map(ResourceExt::name_any)
        .collect();
    let mut expected = vec![leader.pod.clone()];
    for _ in 0..3 {
        scene.cluster.stop_api_server().await.unwrap();
        sleep(OUTAGE).await;
        scene.documented_log("log-no-answer", &leader.pod).await;
        for pod in &names {
            let says = scene.says(pod).await.unwrap();
            assert_eq!(says["isLeader"], false, "{pod} is past every deadline");
        }
        scene.cluster.start_api_server().await.unwrap();
        // It is past its deadline: to lead again takes a new term.
        let resumed = scene.agreed("web", |now| now.epoch != leader.epoch).await;
        assert_eq!(resumed.pod, leader.pod);
        assert_eq!(scene.leaders("web").await, expected);

        // Everybody still competes: the others lead one after the other.
        for pod in names.iter().filter(|pod| **pod != resumed.pod) {
            leader = scene.lead("web", pod).await;
            expected.push(pod.clone());
        }
        assert_eq!(scene.leaders("web").await, expected);
    }
}

#[tokio::test]
async fn a_sidecar_that_is_asked_to_end_in_an_outage_says_that_it_leads_still() {
    static INSTALLED: OnceCell<Installed> = OnceCell::const_new();
    let installed = INSTALLED.get_or_init(Installed::start).await;
    let scene = Scene::enter(&installed.cluster, "ends").await;
    let leader = scene.elect("web", 1, json!({})).await;
    scene.cluster.stop_api_server().await.unwrap();
    scene.signal(&leader.pod, Signal::TERM);
    scene
        .documented_log("exit-lease-still-held", &leader.pod)
        .await;
    scene.cluster.start_api_server().await.unwrap();
    let resumed = scene.agreed("web", |now| now.epoch != leader.epoch).await;
    assert_eq!(
        resumed.pod, leader.pod,
        "the same pod, by its next container"
    );
}
