//! A workload that is changed while it runs: until the last pod of its former template is gone, that pod
//! keeps its rights.

use serde_json::json;

use crate::{
    scene,
    support::{KEY, Scene, kinds, service},
};

const OWN: &str = "own";

async fn make_own_account(scene: &Scene) {
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": OWN}});
    scene.apply(&account).await;
}

/// Whether an account may patch what this names, such as `leases/web`.
async fn may_patch(scene: &Scene, account: &str, what: &str) -> bool {
    let account = format!("--as=system:serviceaccount:{}:{account}", scene.namespace);
    let ask = [
        "-n",
        &scene.namespace,
        "auth",
        "can-i",
        "patch",
        what,
        &account,
    ];
    // It ends with 1 where the answer is no.
    match scene.cluster.kubectl(&ask).await {
        Ok(_) => true,
        Err(error) => {
            assert!(format!("{error:#}").contains("no"), "{error:#}");
            false
        }
    }
}

async fn rights_follow(scene: &Scene, account: &str, what: &str, expected: bool) {
    scene
        .eventually("the rights are as they ought to be", async || {
            (may_patch(scene, account, what).await == expected).then_some(())
        })
        .await;
}

#[tokio::test]
async fn a_rollout_to_another_account_switches_once() {
    let scene = scene("account").await;
    let generated = format!("{KEY}-web");
    make_own_account(&scene).await;
    let old = scene.elect("web", 3, json!({})).await;
    scene.costs_most("web", &old.pod).await;
    scene
        .kubectl(&["set", "serviceaccount", "deployment/web", OWN])
        .await;
    scene
        .kubectl(&["rollout", "status", "deployment/web", "--timeout=180s"])
        .await;
    let new = scene.next("web", &old).await;
    assert_eq!(scene.leaders("web").await, [old.pod, new.pod]);
    rights_follow(&scene, &generated, "services/web", false).await;
    assert!(may_patch(&scene, OWN, "services/web").await);
}

/// Nobody replaces the pods of this StatefulSet until they are deleted.
#[tokio::test]
async fn pods_of_the_former_template_keep_their_rights_until_they_are_gone() {
    let scene = scene("former").await;
    let generated = format!("{KEY}-web");
    let lease = format!("leases.coordination.k8s.io/{generated}");
    make_own_account(&scene).await;
    for name in ["web", "web-admin"] {
        let mut service = service(name);
        service["spec"]["selector"] = json!({"app": "web"});
        scene.apply(&service).await;
    }
    let annotations = json!({"service-leader-election/service": "web,web-admin"});
    let mut workload = kinds::workload("StatefulSet", "web", &annotations);
    workload["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
    scene.apply(&workload).await;
    scene.all_ready("web", 2).await;
    let leader = scene.agreed("web", |_| true).await;
    let change = json!({
        "metadata": {"annotations": {"service-leader-election/service": "web"}},
        "spec": {"template": {"spec": {"serviceAccountName": OWN}}},
    });
    let patch = ["patch", "statefulset/web", "--patch", &change.to_string()];
    scene.kubectl(&patch).await;

    rights_follow(&scene, OWN, &lease, true).await;
    for what in ["services/web", "services/web-admin", &lease] {
        assert!(may_patch(&scene, &generated, what).await, "{what}");
    }
    assert_eq!(scene.agreed("web", |_| true).await, leader);

    let delete = ["delete", "pods", "-l", "app=web", "--wait=false"];
    scene.record.allow_unpin();
    scene.kubectl(&delete).await;
    for what in ["services/web", "services/web-admin", &lease] {
        rights_follow(&scene, &generated, what, false).await;
    }
    rights_follow(&scene, OWN, "services/web-admin", false).await;
    assert!(may_patch(&scene, OWN, "services/web").await);
}

/// Of this StatefulSet one pod names `web` alone, as its first template did, and one `api` too.
#[tokio::test]
async fn what_is_given_back_takes_no_rights_from_pods_that_need_them_for_another_service() {
    let scene = scene("another").await;
    let generated = format!("{KEY}-web");
    for name in ["web", "api"] {
        let mut service = service(name);
        service["spec"]["selector"] = json!({"app": "web"});
        scene.apply(&service).await;
    }
    let annotations = json!({"service-leader-election/service": "web"});
    let mut workload = kinds::workload("StatefulSet", "web", &annotations);
    workload["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
    scene.apply(&workload).await;
    scene.all_ready("web", 2).await;
    scene.agreed("web", |_| true).await;
    let both = "service-leader-election/service=web,api";
    scene
        .kubectl(&["annotate", "--overwrite", "statefulset/web", both])
        .await;
    scene.kubectl(&["delete", "pod", "web-1"]).await;
    scene.all_ready("web", 2).await;
    let is_claimed = async || {
        let annotations = scene.service("api").await.unwrap().metadata.annotations;
        annotations.is_some_and(|all| all.contains_key("service-leader-election/claimed"))
    };
    scene
        .eventually("the other Service is claimed", async || {
            is_claimed().await.then_some(())
        })
        .await;
    rights_follow(&scene, &generated, "services/api", true).await;

    scene.record.allow_unpin();
    let bare = "service-leader-election/service-";
    scene.kubectl(&["annotate", "statefulset/web", bare]).await;
    scene.kubectl(&["delete", "pod", "web-1"]).await;
    scene.all_ready("web", 2).await;
    scene
        .eventually("the other Service is given back", async || {
            (!is_claimed().await).then_some(())
        })
        .await;
    assert!(may_patch(&scene, &generated, "services/web").await);
}
