//! What an operator sees on the Lease and may ask of it, by kubectl alone.

use k8s_openapi::api::{coordination::v1::Lease, core::v1::Pod};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use testcluster::Signal;

use crate::{
    scene,
    support::{KEY, Scene, selector},
};

const LEASE: &str = "service-leader-election-web";

async fn lease(scene: &Scene) -> Lease {
    let leases: Api<Lease> = Api::namespaced(scene.client.clone(), &scene.namespace);
    leases.get(LEASE).await.unwrap()
}

async fn annotation(scene: &Scene, name: &str) -> Option<String> {
    let key = format!("{KEY}/{name}");
    lease(scene).await.annotations().get(&key).cloned()
}

async fn annotate(scene: &Scene, word: &str) {
    let word = format!("{KEY}/{word}");
    scene
        .kubectl(&["annotate", "lease", LEASE, &word, "--overwrite"])
        .await;
}

/// A lease that outlasts every test: nobody has waited for its expiry.
fn long() -> Value {
    json!({"service-leader-election/lease-duration": "300"})
}

#[tokio::test]
async fn a_switchover_goes_to_whom_the_operator_names() {
    let scene = scene("switchover").await;
    let first = scene.elect("web", 3, long()).await;
    let pods = scene.pods("web").await;
    let wanted = pods.iter().map(Pod::name_any).max();
    let others = pods.iter().map(Pod::name_any);
    let wanted = if wanted.as_deref() == Some(first.pod.as_str()) {
        others.min()
    } else {
        wanted
    };
    let wanted = wanted.unwrap();
    annotate(&scene, &format!("switchover-to={wanted}")).await;
    let second = scene.next("web", &first).await;
    assert_eq!(second.pod, wanted);
    assert_eq!(annotation(&scene, "switchover-to").await, None);
    let handed_over = format!("{} handed over", first.pod);
    assert_eq!(
        annotation(&scene, "reason").await,
        Some(handed_over.clone())
    );
    assert!(annotation(&scene, "acquired-at").await.is_some());
    let terms: Value = serde_json::from_str(&annotation(&scene, "terms").await.unwrap()).unwrap();
    let terms = terms.as_array().unwrap();
    let [.., before, now] = &terms[..] else {
        panic!("{terms:?}")
    };
    assert_eq!(before["leader"], first.pod);
    assert_eq!(before["ended"], "an operator asked for it");
    assert!(before["seconds"].is_u64());
    assert_eq!(
        (&now["leader"], &now["why"]),
        (&json!(second.pod), &json!(handed_over))
    );

    annotate(&scene, "switchover-to=any").await;
    let third = scene.next("web", &second).await;
    assert_eq!(
        scene.leaders("web").await,
        [first.pod, second.pod, third.pod]
    );
}

#[tokio::test]
async fn a_switchover_that_cannot_be_is_refused_and_told() {
    let scene = scene("refused").await;
    let first = scene.elect("web", 2, long()).await;
    for to in ["nobody", &first.pod] {
        annotate(&scene, &format!("switchover-to={to}")).await;
        scene
            .eventually("the request is taken away", async || {
                annotation(&scene, "switchover-to")
                    .await
                    .is_none()
                    .then_some(())
            })
            .await;
    }
    scene
        .documented_event("event-switchover-not-ready", "Lease")
        .await;
    scene
        .documented_event("event-switchover-leads-already", "Lease")
        .await;
    assert_eq!(scene.leaders("web").await, [first.pod]);
}

#[tokio::test]
async fn while_paused_nobody_takes_over_save_by_request() {
    let scene = scene("paused").await;
    let brief = json!({"service-leader-election/lease-duration": "5"});
    let first = scene.elect("web", 2, brief).await;
    annotate(&scene, "paused=true").await;
    let paused = lease(&scene).await.resource_version().unwrap();
    scene
        .eventually("the leader renews", async || {
            (lease(&scene).await.resource_version().unwrap() != paused).then_some(())
        })
        .await;

    annotate(&scene, "switchover-to=any").await;
    let second = scene.next("web", &first).await;

    // Its sidecar stops, and comes back: the Lease is still its own.
    scene.signal(&second.pod, Signal::TERM);
    let same = scene
        .agreed("web", |leader| leader.epoch != second.epoch)
        .await;
    assert_eq!(same.pod, second.pod);

    // It is silent for two leases.
    let node = scene.cluster.node();
    node.freeze(&scene.namespace, &second.pod).unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(11)).await;
    let holder = lease(&scene).await.spec.unwrap().holder_identity;
    assert_eq!(holder.as_ref(), Some(&second.pod), "nobody takes over");
    scene
        .kubectl(&["annotate", "lease", LEASE, &format!("{KEY}/paused-")])
        .await;
    scene
        .eventually("another pod leads", async || {
            let service = scene.service("web").await.unwrap();
            let pod = selector(&service).remove(KEY);
            pod.filter(|pod| *pod == first.pod)
        })
        .await;
    node.thaw(&scene.namespace, &second.pod).unwrap();
    let last = scene.agreed("web", |leader| leader.pod == first.pod).await;
    assert_eq!(
        scene.leaders("web").await,
        [first.pod, second.pod, last.pod]
    );
}
