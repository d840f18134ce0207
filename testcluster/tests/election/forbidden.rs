//! What a policy of the cluster's owner forbids, who does not know of elections.

use std::time::Duration;

use kube::ResourceExt as _;
use serde_json::{Value, json};

use crate::{
    scene,
    support::{Scene, deployment, service},
};

/// Forbids creations and updates of a resource of the core group in the scene's namespace, unless they
/// meet `expression`. Returns when the creation of `forbidden` is refused.
async fn forbid(scene: &Scene, resource: &str, expression: &str, forbidden: &Value) {
    let name = policy(scene);
    let own = json!({"matchLabels": {"kubernetes.io/metadata.name": scene.namespace}});
    let rules = json!([{"apiGroups": [""], "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE"], "resources": [resource]}]);
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"namespaceSelector": own, "resourceRules": rules},
            "validations": [{"expression": expression, "message": "Nobody may"}],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    });
    scene.apply(&policy).await;
    scene.apply(&binding).await;
    let create = [
        "-n",
        &scene.namespace,
        "create",
        "--dry-run=server",
        "-f",
        "-",
    ];
    let forbidden = forbidden.to_string();
    scene
        .eventually("the policy is in force", async || {
            scene.cluster.kubectl_stdin(&create, &forbidden).await.err()
        })
        .await;
}

async fn permit(scene: &Scene) {
    let name = policy(scene);
    let binding = ["delete", "validatingadmissionpolicybinding", &name];
    scene.kubectl(&binding).await;
}

fn policy(scene: &Scene) -> String {
    format!("{}-forbids", scene.namespace)
}

async fn apply_web(scene: &Scene) {
    scene.apply(&service("web")).await;
    let annotations = json!({"service-leader-election/service": "web"});
    scene.apply(&deployment("web", 1, &annotations)).await;
}

#[tokio::test]
async fn a_switch_that_is_denied_is_told() {
    let scene = scene("denied").await;
    scene.apply(&service("web")).await;
    forbid(&scene, "services", "false", &service("other")).await;
    let annotations = json!({"service-leader-election/service": "web"});
    scene.apply(&deployment("web", 1, &annotations)).await;
    scene.all_ready("web", 1).await;
    scene.documented_event("event-policy-denies", "Pod").await;
    let pod = scene.pods("web").await.remove(0).name_any();
    scene.documented_log("log-policy-denies", &pod).await;
    permit(&scene).await;
    scene.agreed("web", |_| true).await;
}

#[tokio::test]
async fn a_deletion_cost_that_is_denied_is_told_and_keeps_nobody_from_leading() {
    let scene = scene("cost").await;
    let free =
        "!object.metadata.?annotations[?'controller.kubernetes.io/pod-deletion-cost'].hasValue()";
    let dear = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "dear",
            "annotations": {"controller.kubernetes.io/pod-deletion-cost": "1"}},
        "spec": {"containers": [{"name": "app", "image": "app"}]},
    });
    forbid(&scene, "pods", free, &dear).await;
    apply_web(&scene).await;
    let leader = scene.agreed("web", |_| true).await;
    scene.documented_log("log-deletion-cost", &leader.pod).await;
    permit(&scene).await;
    scene.costs_most("web", &leader.pod).await;
}

#[tokio::test]
async fn an_account_that_is_denied_is_told_by_the_webhook_which_tries_again() {
    let scene = scene("accounts").await;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "another"}});
    forbid(&scene, "serviceaccounts", "false", &account).await;
    apply_web(&scene).await;
    scene
        .documented_webhook_log("webhook-log-not-reconciled", Duration::from_mins(1))
        .await;
    permit(&scene).await;
    scene.agreed("web", |_| true).await;
}
