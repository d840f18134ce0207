//! A Service is given back when no sidecar is left that may write it: no sooner, and no later for the
//! sake of others.

use std::time::Duration;

use serde_json::json;

use crate::{
    scene,
    support::{kinds, service},
};

const BY_HAND: &str = include_str!("../../../docs/added-by-hand.yaml");
const BARE: &str = "service-leader-election/service-";

#[tokio::test]
async fn a_sidecar_added_by_hand_for_another_service_holds_nothing_up() {
    let scene = scene("beside").await;
    scene.kubectl_stdin(&["apply", "-f", "-"], BY_HAND).await;
    scene.all_ready("web", 3).await;
    let by_hand = scene.agreed("web", |_| true).await;
    scene.elect("api", 2, json!({})).await;
    scene.record.allow_unpin();
    scene.kubectl(&["annotate", "deployment/api", BARE]).await;
    scene.given_back("api").await;
    assert_eq!(scene.agreed("web", |_| true).await, by_hand);
    scene.record.check().await.unwrap();
}

/// Nobody replaces the pods of this StatefulSet, so they run on with their sidecars.
#[tokio::test]
async fn an_unpin_that_waits_for_long_says_for_which_pod() {
    let scene = scene("waits").await;
    scene.apply(&service("web")).await;
    let annotations = json!({"service-leader-election/service": "web"});
    let mut workload = kinds::workload("StatefulSet", "web", &annotations);
    workload["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
    scene.apply(&workload).await;
    scene.all_ready("web", 2).await;
    let leader = scene.agreed("web", |_| true).await;
    scene.kubectl(&["annotate", "statefulset/web", BARE]).await;
    scene
        .documented_webhook_log("webhook-log-unpin-waits", Duration::from_mins(4))
        .await;
    scene.documented_event("event-unpin-waits", "Service").await;
    assert_eq!(scene.agreed("web", |_| true).await, leader);
    scene.record.allow_unpin();
    let delete = ["delete", "pods", "-l", "app=web", "--wait=false"];
    scene.kubectl(&delete).await;
    scene.given_back("web").await;
    scene.record.check().await.unwrap();
}
