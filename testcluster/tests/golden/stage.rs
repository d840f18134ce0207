//! What the cases take to be there: a namespace each, its Services, and the past of an update.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::{Namespace, Service};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use testcluster::Cluster;
use tokio::time::{Instant, sleep};

use crate::{
    AT_ONCE,
    case::Case,
    support::{ask, service},
};

/// Makes it all, while there is no webhook yet.
pub(crate) async fn set(cluster: &Cluster, cases: &[Case]) {
    let client = cluster.client().unwrap();
    stream::iter(cases)
        .for_each_concurrent(AT_ONCE, |case| make(&client, case))
        .await;
    hold_services_still(cluster, &client).await;
}

async fn make(client: &Client, case: &Case) {
    let Case {
        name,
        old,
        namespace: marks,
        ..
    } = case;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace = json!({"metadata": {"name": name, "labels": marks["labels"],
        "annotations": marks["annotations"]}});
    let namespace = serde_json::from_value(namespace).unwrap();
    let params = PostParams::default();
    namespaces.create(&params, &namespace).await.unwrap();
    if old.as_ref().is_some_and(|old| old["kind"] != "Pod") {
        // Nobody asks for the pods of the past.
        let none = json!({"apiVersion": "v1", "kind": "ResourceQuota",
            "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}});
        create(client, name, &none).await;
    }
    for account in case.accounts() {
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": account}});
        let made = ask::create(client, name, &account).await.unwrap();
        // A controller makes `default`, at about the same time.
        if let Err(why) = made.outcome {
            assert!(why.contains("already exists"), "{name}: {why}");
        }
    }
    for service in case.services() {
        create(client, name, &service).await;
    }
    if let Some(old) = old {
        create(client, name, old).await;
    }
}

async fn create(client: &Client, namespace: &str, object: &Value) {
    let created = ask::create(client, namespace, object).await.unwrap();
    if let Err(why) = created.outcome {
        panic!("{namespace}: {why}\n{object}");
    }
}

/// Refuses every change of a Service from now on: the webhook's controller would mark those that
/// are claimed, and give back those that are not.
async fn hold_services_still(cluster: &Cluster, client: &Client) {
    let updates = json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"],
        "resources": ["services"]});
    let name = json!({"name": "services-stand-still"});
    let version = "admissionregistration.k8s.io/v1";
    let policy = json!({"apiVersion": version, "kind": "ValidatingAdmissionPolicy",
        "metadata": name, "spec": {
            "matchConstraints": {"resourceRules": [updates]},
            "validations": [{"expression": "false"}],
    }});
    let binding = json!({"apiVersion": version, "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": name, "spec": {"policyName": name["name"], "validationActions": ["Deny"]}});
    for manifest in [policy, binding, service("still")] {
        let apply = ["apply", "-f", "-"];
        let applied = cluster.kubectl_stdin(&apply, &manifest.to_string()).await;
        applied.unwrap();
    }
    // A policy holds a moment after it is stored.
    let services: Api<Service> = Api::default_namespaced(client.clone());
    let patch = Patch::Merge(json!({"metadata": {"labels": {"still": "no"}}}));
    let deadline = Instant::now() + Duration::from_mins(1);
    while services
        .patch("still", &PatchParams::default().dry_run(), &patch)
        .await
        .is_ok()
    {
        assert!(Instant::now() < deadline, "the policy is not obeyed");
        sleep(Duration::from_millis(100)).await;
    }
}
