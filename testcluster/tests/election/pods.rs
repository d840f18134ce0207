//! Pods that are injected by themselves: bare ones, and those of a workload whose template bears the
//! annotation.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, Pod};
use kube::ResourceExt as _;
use serde_json::{Value, json};

use crate::{
    scene,
    support::{KEY, SIDECAR, Scene, deployment, service},
};

const SERVICE: &str = "service-leader-election/service";
const ACCOUNT: &str = "service-leader-election-web";
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// A pod of the application `web`, owned by nobody.
fn pod(name: &str, annotations: &Value) -> Value {
    let mut template = deployment("web", 1, &json!({}))["spec"]["template"].take();
    template["apiVersion"] = json!("v1");
    template["kind"] = json!("Pod");
    template["metadata"]["name"] = json!(name);
    template["metadata"]["annotations"] = annotations.clone();
    template
}

/// Standard output and the warnings of `kubectl create`.
async fn create(scene: &Scene, flags: &[&str], manifest: &Value) -> (String, String) {
    let create = ["-n", &scene.namespace, "create", "-f", "-"];
    let command = [&create[..], flags].concat();
    let manifest = manifest.to_string();
    let done = scene.cluster.kubectl_stdin(&command, &manifest).await;
    let done = done.unwrap();
    (done.stdout, done.stderr)
}

/// Kind and name of every object that an election needs.
async fn rights(scene: &Scene) -> Vec<String> {
    let kinds = "serviceaccounts,roles,rolebindings";
    let found = scene.kubectl(&["get", kinds, "-o", "name"]).await;
    let ours = found.lines().filter(|line| line.contains(KEY));
    ours.map(str::to_owned).collect()
}

/// Kind and name of the Role's owners.
async fn owners(scene: &Scene) -> BTreeSet<String> {
    let owners = "jsonpath={range .metadata.ownerReferences[*]}{.kind}/{.name} {end}";
    let found = scene.kubectl(&["get", "role", ACCOUNT, "-o", owners]).await;
    found.split_whitespace().map(str::to_owned).collect()
}

async fn is_given_back(scene: &Scene) {
    scene.given_back("web").await;
    scene
        .eventually("the rights are gone", async || {
            rights(scene).await.is_empty().then_some(())
        })
        .await;
    scene.record.check().await.unwrap();
}

/// The sidecar alone has a token.
fn only_the_sidecar_has_a_token(pod: &Pod) {
    let spec = pod.spec.as_ref().unwrap();
    let has_token = |container: &Container| {
        let mounts = container.volume_mounts.iter().flatten();
        mounts.into_iter().any(|mount| mount.mount_path == TOKEN)
    };
    let all = spec
        .init_containers
        .iter()
        .flatten()
        .chain(&spec.containers);
    let with: Vec<_> = all
        .filter(|container| has_token(container))
        .map(|container| container.name.as_str())
        .collect();
    assert_eq!(with, [SIDECAR]);
    let volumes = spec.volumes.iter().flatten();
    let volumes: Vec<_> = volumes.map(|volume| volume.name.as_str()).collect();
    assert_eq!(volumes, ["service-leader-election-token"]);
    assert_eq!(spec.service_account_name.as_deref(), Some(ACCOUNT));
}

#[tokio::test]
async fn bare_pods_elect_fail_over_and_give_the_service_back() {
    let scene = scene("bare").await;
    scene.apply(&service("web")).await;
    for name in ["web-1", "web-2", "web-3"] {
        scene.apply(&pod(name, &json!({SERVICE: "web"}))).await;
    }
    scene.all_ready("web", 3).await;
    let first = scene.agreed("web", |_| true).await;
    for pod in scene.pods("web").await {
        only_the_sidecar_has_a_token(&pod);
    }
    scene
        .eventually("the rights go with the last of the pods", async || {
            let all = ["Pod/web-1", "Pod/web-2", "Pod/web-3"].map(str::to_owned);
            (owners(&scene).await == BTreeSet::from(all)).then_some(())
        })
        .await;
    scene.kubectl(&["delete", "pod", &first.pod]).await;
    let second = scene.next("web", &first).await;
    scene
        .apply(&pod(&first.pod, &json!({SERVICE: "web"})))
        .await;
    scene.all_ready("web", 3).await;
    assert_eq!(scene.agreed("web", |_| true).await, second);
    scene.record.allow_unpin();
    scene
        .kubectl(&["delete", "pods", "--all", "--wait=false"])
        .await;
    is_given_back(&scene).await;
}

#[tokio::test]
async fn a_deployment_with_an_annotated_template_does_too() {
    let scene = scene("template").await;
    scene.apply(&service("web")).await;
    let mut workload = deployment("web", 2, &json!({}));
    workload["spec"]["template"]["metadata"]["annotations"] = json!({SERVICE: "web"});
    scene.apply(&workload).await;
    scene.all_ready("web", 2).await;
    let first = scene.agreed("web", |_| true).await;
    for pod in scene.pods("web").await {
        only_the_sidecar_has_a_token(&pod);
    }
    let sets = scene.kubectl(&["get", "replicasets", "-o", "name"]).await;
    let set = sets.trim().replace("replicaset.apps/", "ReplicaSet/");
    scene
        .eventually("the ReplicaSet claims the Service", async || {
            let claimed = "jsonpath={.metadata.annotations.service-leader-election/claimed}";
            let claimed = ["get", "service", "web", "-o", claimed];
            (scene.kubectl(&claimed).await == set).then_some(())
        })
        .await;
    scene
        .eventually("and owns the rights", async || {
            (owners(&scene).await == BTreeSet::from([set.clone()])).then_some(())
        })
        .await;
    // The injector was not in the way of anybody's apply.
    let text = scene
        .kubectl(&["get", "deployment/web", "-o", "json"])
        .await;
    let stored: Value = serde_json::from_str(&text).unwrap();
    let containers = &stored["spec"]["template"]["spec"]["containers"];
    assert_eq!(containers.as_array().unwrap().len(), 1);
    assert_eq!(
        stored["spec"]["template"]["spec"]["initContainers"],
        Value::Null
    );

    scene.kubectl(&["delete", "pod", &first.pod]).await;
    scene.next("web", &first).await;
    scene.record.allow_unpin();
    scene.kubectl(&["delete", "deployment/web"]).await;
    is_given_back(&scene).await;
}

#[tokio::test]
async fn a_dry_run_makes_nothing() {
    let scene = scene("dry").await;
    scene.apply(&service("web")).await;
    let manifest = pod("web-1", &json!({SERVICE: "web"}));
    let flags = ["--dry-run=server", "-o", "json"];
    let account = |text: &str| -> Value {
        let pod: Value = serde_json::from_str(text).unwrap();
        assert_eq!(pod["spec"]["initContainers"][0]["name"], SIDECAR);
        pod["spec"]["serviceAccountName"].clone()
    };
    let (shown, warned) = create(&scene, &flags, &manifest).await;
    assert_eq!(account(&shown), "default");
    assert!(warned.contains("this dry run does not make it"), "{warned}");
    assert_eq!(rights(&scene).await, Vec::<String>::new());

    create(&scene, &[], &manifest).await;
    let again = pod("web-2", &json!({SERVICE: "web"}));
    let (shown, warned) = create(&scene, &flags, &again).await;
    assert_eq!(account(&shown), ACCOUNT);
    assert!(!warned.contains("dry run"), "{warned}");
}

#[tokio::test]
async fn a_copy_of_the_leader_is_not_selected() {
    let scene = scene("copy").await;
    let leader = scene.elect("web", 2, json!({})).await;
    let mut copy = pod("copy", &json!({}));
    copy["metadata"]["labels"][KEY] = json!(leader.pod);
    let (_, warned) = create(&scene, &[], &copy).await;
    assert!(warned.contains("is taken out of the new pod"), "{warned}");
    scene
        .kubectl(&["wait", "pod/copy", "--for=condition=Ready", "--timeout=60s"])
        .await;
    let labels = ["get", "pod", "copy", "-o", "jsonpath={.metadata.labels}"];
    assert_eq!(scene.kubectl(&labels).await, r#"{"app":"web"}"#);
    assert_eq!(scene.leaders("web").await, [leader.pod]);
}

#[tokio::test]
async fn a_pod_with_an_account_of_its_users_keeps_it_and_its_token() {
    let scene = scene("own").await;
    scene.kubectl(&["create", "serviceaccount", "own"]).await;
    scene.apply(&service("web")).await;
    let mut manifest = pod("web-1", &json!({SERVICE: "web"}));
    manifest["spec"]["serviceAccountName"] = json!("own");
    create(&scene, &[], &manifest).await;
    scene.agreed("web", |_| true).await;
    let pods = scene.pods("web").await;
    let spec = pods[0].spec.as_ref().unwrap();
    assert_eq!(spec.service_account_name.as_deref(), Some("own"));
    let mounts = spec.containers[0].volume_mounts.as_ref().unwrap();
    assert_eq!(mounts[0].mount_path, TOKEN);
    let accounts = ["get", "serviceaccounts", "-o", "name"];
    assert!(!scene.kubectl(&accounts).await.contains(ACCOUNT));
}

#[tokio::test]
async fn a_pod_without_a_name_has_its_own_label() {
    let scene = scene("generated").await;
    scene.apply(&service("web")).await;
    let mut manifest = pod("", &json!({SERVICE: "web"}));
    manifest["metadata"]["name"].take();
    manifest["metadata"]["generateName"] = json!("web-");
    create(&scene, &[], &manifest).await;
    let leader = scene.agreed("web", |_| true).await;
    let pods = scene.pods("web").await;
    assert_eq!(pods[0].labels().get(KEY), Some(&leader.pod));
}

#[tokio::test]
async fn a_pod_that_cannot_be_obeyed_is_refused_with_what_to_write() {
    let scene = scene("denied").await;
    let apply = ["-n", &scene.namespace, "create", "-f", "-"];
    for (name, annotations, expected) in [
        ("web", json!({SERVICE: "Web"}), "write at most 63"),
        (
            &"w".repeat(64),
            json!({SERVICE: "web"}),
            "write a shorter name",
        ),
    ] {
        let manifest = pod(name, &annotations).to_string();
        let refused = scene.cluster.kubectl_stdin(&apply, &manifest).await;
        let refused = format!("{:#}", refused.err().unwrap());
        assert!(refused.contains(expected), "{refused}");
    }
    assert_eq!(rights(&scene).await, Vec::<String>::new());
}
