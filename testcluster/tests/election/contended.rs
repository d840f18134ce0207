//! Two elections that share a Service.

use kube::ResourceExt as _;
use serde_json::json;

use crate::{
    scene,
    support::{KEY, Scene, deployment, selector, service},
};

const WORKLOADS: [&str; 2] = ["blue", "green"];

/// Who say that they lead, one pod asked after the other.
async fn leaders(scene: &Scene) -> Vec<String> {
    let mut leaders = Vec::new();
    for workload in WORKLOADS {
        for pod in scene.pods(workload).await {
            let says = scene.says(&pod.name_any()).await.ok();
            if says.is_some_and(|says| says["isLeader"] == true) {
                leaders.push(pod.name_any());
            }
        }
    }
    leaders
}

/// The pod that the Service names, if it alone says that it leads.
async fn leader(scene: &Scene) -> Option<String> {
    let [leader] = <[String; 1]>::try_from(leaders(scene).await).ok()?;
    let service = scene.service("web").await.unwrap();
    let selected = selector(&service).remove(KEY);
    (selected.as_ref() == Some(&leader)).then_some(leader)
}

fn workload_of(pod: &str) -> &str {
    pod.split('-').next().unwrap()
}

#[tokio::test]
async fn of_two_elections_with_one_service_one_leads_until_its_leader_may_no_more() {
    let scene = scene("contended").await;
    let mut web = service("web");
    web["spec"]["selector"] = json!({"shop": "web"});
    scene.apply(&web).await;
    for name in WORKLOADS {
        let annotations = json!({
            "service-leader-election/service": "web",
            "service-leader-election/lease": name,
            "service-leader-election/lease-duration": "5",
        });
        let mut workload = deployment(name, 2, &annotations);
        workload["spec"]["template"]["metadata"]["labels"]["shop"] = json!("web");
        scene.apply(&workload).await;
    }
    for name in WORKLOADS {
        scene.all_ready(name, 2).await;
    }
    scene.documented_event("event-contended", "Service").await;
    let first = scene.eventually("one leads", async || leader(&scene).await);
    let first = first.await;

    // The leader of either renews its Lease meanwhile, and looks at the Service again.
    let before = scene.leaders("web").await;
    let leases = ["get", "leases", "-o", "jsonpath={.items[*].spec.renewTime}"];
    let mut renewals = vec![scene.kubectl(&leases).await];
    while renewals.len() < 12 {
        assert_eq!(leaders(&scene).await, [first.as_str()]);
        let renewed = scene.kubectl(&leases).await;
        if renewals.last() != Some(&renewed) {
            renewals.push(renewed);
        }
    }
    assert_eq!(
        scene.leaders("web").await,
        before,
        "nobody takes it from the other"
    );

    let first = workload_of(&first);
    scene
        .kubectl(&["delete", "deployment", first, "--wait=false"])
        .await;
    let next = scene.eventually("the other leads", async || {
        leader(&scene).await.filter(|pod| workload_of(pod) != first)
    });
    next.await;
    let mut order = scene.leaders("web").await;
    for pod in &mut order {
        *pod = workload_of(pod).to_owned();
    }
    order.dedup();
    assert_eq!(order.len(), 2, "{order:?}");
}
