//! What users do with their workloads.

use std::collections::BTreeMap;

use k8s_openapi::api::{core::v1::ServiceAccount, rbac::v1::RoleBinding};
use kube::{Api, ResourceExt as _, api::ListParams};
use serde_json::json;
use testcluster::Signal;

use crate::{
    scene,
    support::{KEY, epoch, is_ready, selector},
};

#[tokio::test]
async fn rollout_ends_on_a_new_pod() {
    let scene = scene("rollout").await;
    let old = scene.elect("web", 3, json!({})).await;
    let olds = scene.pods("web").await;
    scene
        .kubectl(&["rollout", "restart", "deployment/web"])
        .await;
    scene
        .kubectl(&["rollout", "status", "deployment/web", "--timeout=120s"])
        .await;
    let is_new = |pod: &str| olds.iter().all(|old| old.name_any() != pod);
    let new = scene.agreed("web", |leader| is_new(&leader.pod)).await;
    // The Deployment may take the leader first, and then the next one: at most one switch for
    // each old pod.
    let leaders = scene.leaders("web").await;
    assert_eq!(leaders.first(), Some(&old.pod));
    assert_eq!(leaders.last(), Some(&new.pod));
    assert!((2..=4).contains(&leaders.len()), "{leaders:?}");
    let news = leaders.iter().filter(|pod| is_new(pod));
    assert_eq!(news.count(), 1, "{leaders:?}");
}

#[tokio::test]
async fn scale_to_one() {
    let scene = scene("scale").await;
    let first = scene.elect("web", 3, json!({})).await;
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
    scene.agreed("web", |leader| leader.pod == last).await;
    let leaders = scene.leaders("web").await;
    assert_eq!(leaders.first(), Some(&first.pod));
    assert_eq!(leaders.last(), Some(&last));
    // At most one switch for each pod that goes.
    assert!(leaders.len() <= 3, "{leaders:?}");
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
    const EXAMPLE: &str = include_str!("../../../docs/added-by-hand.yaml");
    let scene = scene("hand").await;
    scene.kubectl_stdin(&["apply", "-f", "-"], EXAMPLE).await;
    scene
        .eventually("all pods are ready", async || {
            let pods = scene.pods("web").await;
            (pods.len() == 3 && pods.iter().all(is_ready)).then_some(())
        })
        .await;
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
    let service = scene
        .eventually("the user's selector stands again", async || {
            let service = scene.service("web").await.unwrap();
            (!selector(&service).contains_key(KEY)).then_some(service)
        })
        .await;
    let own = BTreeMap::from([("app".to_owned(), "web".to_owned())]);
    assert_eq!(selector(&service), own);
    let annotations = service.annotations();
    let ours: Vec<_> = annotations
        .keys()
        .filter(|key| key.starts_with(KEY))
        .collect();
    assert_eq!(ours, ["service-leader-election/epoch"]);
    assert!(epoch(&service) > Some(leader.epoch));
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
