//! What users do with their workloads.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    core::v1::{Pod, ServiceAccount},
    rbac::v1::RoleBinding,
};
use kube::{Api, ResourceExt as _, api::ListParams};
use serde_json::{Value, json};
use testcluster::{Signal, troubleshooting::documented};

use crate::{
    scene,
    support::{KEY, STATUS, deployment, epoch, selector, service},
};

const BY_HAND: &str = include_str!("../../../docs/added-by-hand.yaml");

#[tokio::test]
async fn a_rollout_of_three_switches_once() {
    roll_out(3, json!({})).await;
}

#[tokio::test]
async fn a_rollout_of_three_without_a_missing_pod_switches_once() {
    let careful = json!({"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
    roll_out(3, careful).await;
}

#[tokio::test]
async fn a_rollout_of_ten_switches_once() {
    roll_out(10, json!({})).await;
}

#[tokio::test]
async fn a_rollout_of_ten_one_by_one_switches_once() {
    let careful = json!({"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
    roll_out(10, careful).await;
}

async fn roll_out(replicas: u32, strategy: Value) {
    let scene = scene("rollout").await;
    let old = scene.elect("web", replicas, json!({})).await;
    let strategy = json!({"spec": {"strategy": strategy}}).to_string();
    scene
        .kubectl(&["patch", "deployment/web", "--patch", &strategy])
        .await;
    scene.costs_most("web", &old.pod).await;
    let olds = scene.pods("web").await;
    scene
        .kubectl(&["rollout", "restart", "deployment/web"])
        .await;
    scene
        .kubectl(&["rollout", "status", "deployment/web", "--timeout=180s"])
        .await;
    let is_new = |pod: &str| olds.iter().all(|old| old.name_any() != pod);
    let new = scene.agreed("web", |leader| is_new(&leader.pod)).await;
    scene.costs_most("web", &new.pod).await;
    assert_eq!(scene.leaders("web").await, [old.pod, new.pod]);
    scene.switched_to_ready_pods_only("web").await;
}

#[tokio::test]
async fn a_scale_down_keeps_the_leader() {
    let scene = scene("scale").await;
    let first = scene.elect("web", 3, json!({})).await;
    scene.costs_most("web", &first.pod).await;
    scene
        .kubectl(&["scale", "deployment/web", "--replicas=1"])
        .await;
    let last = scene
        .eventually("one pod is left", async || {
            let mut pods = scene.pods("web").await;
            pods.pop().filter(|_| pods.is_empty())
        })
        .await
        .name_any();
    assert_eq!(last, first.pod);
    assert_eq!(scene.leaders("web").await, [first.pod]);
}

#[tokio::test]
async fn a_users_own_deletion_cost_stays() {
    const COST: &str = "controller.kubernetes.io/pod-deletion-cost";
    let scene = scene("cost").await;
    let first = scene.elect("web", 2, json!({})).await;
    scene.costs_most("web", &first.pod).await;
    let other = scene.pods("web").await;
    let mut others = other.iter().map(Pod::name_any);
    let other = others.find(|pod| *pod != first.pod).unwrap();
    let own = format!("{COST}=7");
    scene.kubectl(&["annotate", "pod", &other, &own]).await;
    let second = scene.lead("web", &other).await;
    assert_eq!(second.pod, other);
    scene
        .eventually("who leads no longer costs nothing", async || {
            let pods = scene.pods("web").await;
            let cost = |name: &str| {
                let pod = pods.iter().find(|pod| pod.name_any() == name);
                pod.and_then(|pod| pod.annotations().get(COST).cloned())
            };
            (cost(&first.pod).is_none() && cost(&other).as_deref() == Some("7")).then_some(())
        })
        .await;
    scene.documented_event("event-deletion-cost", "Pod").await;
}

// A pod may be ready in the very moment before its sidecar has labelled it, and is no candidate yet:
// hence the second that a new pod is given.
#[tokio::test]
async fn a_stateful_set_switches_at_most_twice() {
    let manifest = BY_HAND
        .replace("kind: Deployment", "kind: StatefulSet")
        .replace(
            "  replicas: 3\n",
            "  replicas: 3\n  serviceName: web\n  minReadySeconds: 1\n",
        );
    roll_out_by_hand("StatefulSet", &manifest).await;
}

#[tokio::test]
async fn a_daemon_set_switches_at_most_twice() {
    let manifest = BY_HAND
        .replace("kind: Deployment", "kind: DaemonSet")
        .replace("  replicas: 3\n", "  minReadySeconds: 1\n");
    roll_out_by_hand("DaemonSet", &manifest).await;
}

async fn roll_out_by_hand(kind: &str, manifest: &str) {
    let scene = scene("byhand").await;
    if kind == "DaemonSet" {
        for node in ["process-node-2", "process-node-3"] {
            scene.cluster.add_node(node).await.unwrap();
        }
    }
    assert!(manifest.contains(&format!("kind: {kind}")));
    scene.kubectl_stdin(&["apply", "-f", "-"], manifest).await;
    scene.all_ready("web", 3).await;
    let first = scene.agreed("web", |_| true).await;
    let workload = format!("{}/web", kind.to_lowercase());
    scene.kubectl(&["rollout", "restart", &workload]).await;
    scene
        .kubectl(&["rollout", "status", &workload, "--timeout=180s"])
        .await;
    let last = scene
        .agreed("web", |leader| leader.epoch != first.epoch)
        .await;
    let leaders = scene.leaders("web").await;
    assert_eq!(leaders.first(), Some(&first.pod));
    assert_eq!(leaders.last(), Some(&last.pod));
    // A name of a StatefulSet's comes back as another pod: the epochs tell them apart.
    assert!((2..=3).contains(&leaders.len()), "{leaders:?}");
    scene.switched_to_ready_pods_only("web").await;
}

#[tokio::test]
async fn two_elections_in_one_namespace() {
    let scene = scene("two").await;
    let web = scene.elect("web", 2, json!({})).await;
    let api = scene.elect("api", 2, json!({})).await;
    scene.signal(&web.pod, Signal::TERM);
    let next = scene.next("web", &web).await;
    let same = scene.agreed("api", |_| true).await;
    assert_eq!(same, api);
    assert_eq!(scene.leaders("web").await, [web.pod, next.pod]);
    assert_eq!(scene.leaders("api").await, [api.pod]);
}

#[tokio::test]
async fn sidecar_added_by_hand() {
    let scene = scene("hand").await;
    scene.kubectl_stdin(&["apply", "-f", "-"], BY_HAND).await;
    scene.all_ready("web", 3).await;
    let first = scene.agreed("web", |_| true).await;
    for pod in scene.pods("web").await {
        let spec = pod.spec.unwrap();
        let names: Vec<_> = spec.containers.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["app", KEY]);
        assert_eq!(spec.init_containers, None, "the webhook has no part in it");
    }
    scene.signal(&first.pod, Signal::TERM);
    let second = scene.next("web", &first).await;
    scene.kubectl(&["delete", "pod", &second.pod]).await;
    let third = scene.next("web", &second).await;
    let leaders = scene.leaders("web").await;
    assert_eq!(leaders, [first.pod, second.pod, third.pod]);
}

#[tokio::test]
async fn deleted_workload_unpins() {
    let scene = scene("unpin").await;
    let leader = scene.elect("web", 2, json!({})).await;
    scene.record.allow_unpin();
    scene.kubectl(&["delete", "deployment", "web"]).await;
    let service = scene.given_back("web").await;
    let own = BTreeMap::from([("app".to_owned(), "web".to_owned())]);
    assert_eq!(selector(&service), own);
    let annotations = service.annotations();
    let ours: Vec<_> = annotations
        .keys()
        .filter(|key| key.starts_with(KEY))
        .collect();
    assert_eq!(ours, ["service-leader-election/epoch"]);
    assert!(epoch(&service) > Some(leader.epoch));
    scene.documented_event("event-unpinned", "Service").await;
    let account = format!("{KEY}-web");
    let accounts: Api<ServiceAccount> = Api::namespaced(scene.client.clone(), &scene.namespace);
    let bindings: Api<RoleBinding> = Api::namespaced(scene.client.clone(), &scene.namespace);
    scene
        .eventually("the rights are gone with their workload", async || {
            let account = accounts.get_opt(&account).await.unwrap();
            let bindings = bindings.list(&ListParams::default()).await.unwrap();
            (account.is_none() && bindings.items.is_empty()).then_some(())
        })
        .await;
    // The leader goes with its pods, and another may lead for a moment.
    assert_eq!(scene.leaders("web").await.first(), Some(&leader.pod));
}

/// Only a ready pod may lead, and here only the leader gets ready.
#[tokio::test]
async fn a_rollout_whose_readiness_probe_asks_who_leads_never_ends() {
    let scene = scene("hangs").await;
    scene.apply(&service("web")).await;
    let annotations = json!({"service-leader-election/service": "web"});
    let mut workload = deployment("web", 2, &annotations);
    workload["spec"]["progressDeadlineSeconds"] = json!(5);
    let pod = &mut workload["spec"]["template"]["spec"];
    pod["containers"][0]["readinessProbe"]["httpGet"]["port"] = json!(STATUS);
    scene.apply(&workload).await;
    let status = [
        "-n",
        &scene.namespace,
        "rollout",
        "status",
        "deployment/web",
    ];
    let error = scene.cluster.kubectl(&status).await.unwrap_err();
    documented("rollout-hangs", &format!("{error:#}")).unwrap();
}
