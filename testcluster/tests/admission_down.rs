//! What a webhook that is down blocks: its own users, in words that name it, and nobody else. A
//! control plane of its own.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, in its helpers too, and says why"
)]

mod support;

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt as _, api::ListParams};
use serde_json::{Value, json};
use support::{Installed, Scene, deployment, service};
use testcluster::{
    Cluster,
    troubleshooting::{documented, has},
};
use tokio::{
    sync::OnceCell,
    time::{Instant, sleep},
};

const RELEASE: &str = "service-leader-election";
/// An annotated Deployment from better times, in each of these namespaces.
const OLD: [&str; 3] = ["changed", "orphaned", "scaled"];

/// A cluster whose webhook has lost its Secret and its caller's trust, and is gone then.
async fn cluster() -> &'static Cluster {
    static INSTALLED: OnceCell<Installed> = OnceCell::const_new();
    let start = async || {
        let installed = Installed::start().await;
        for namespace in OLD {
            let cluster = &installed.cluster;
            cluster
                .kubectl(&["create", "namespace", namespace])
                .await
                .unwrap();
            apply(cluster, namespace, &annotated("old")).await.unwrap();
        }
        let told = distrust(&installed.cluster).await;
        DISTRUST.get_or_init(async || told).await;
        take_down(&installed.cluster).await;
        installed
    };
    &INSTALLED.get_or_init(start).await.cluster
}

/// What the API server says of a webhook that it does not trust, and the log of that webhook, which
/// cannot set it right.
static DISTRUST: OnceCell<[String; 2]> = OnceCell::const_new();

async fn distrust(cluster: &Cluster) -> [String; 2] {
    let configuration = format!("{RELEASE}-webhook");
    let delete = ["-n", RELEASE, "delete", "secret", &configuration];
    cluster.kubectl(&delete).await.unwrap();
    let authority = "jsonpath={.clusters[0].cluster.certificate-authority-data}";
    let view = ["config", "view", "--raw", "-o", authority];
    let another = cluster.kubectl(&view).await.unwrap().stdout;
    let place = "/webhooks/0/clientConfig/caBundle";
    let bundle = json!([{"op": "replace", "path": place, "value": another}]).to_string();
    let patch = ["patch", "mutatingwebhookconfiguration", &configuration];
    let patch = [&patch[..], &["--type=json", "-p", &bundle]].concat();
    cluster.kubectl(&patch).await.unwrap();
    let pods: Api<Pod> = Api::namespaced(cluster.client().unwrap(), RELEASE);
    let pods = pods.list(&ListParams::default()).await.unwrap();
    let deadline = Instant::now() + Duration::from_mins(1);
    let (create, new) = (
        ["create", "--dry-run=server", "-f", "-"],
        annotated("new").to_string(),
    );
    loop {
        let refusal = cluster.kubectl_stdin(&create, &new).await.err();
        let pod = pods.items[0].name_any();
        let logs = cluster.node().logs(RELEASE, &pod, "webhook").unwrap();
        if let Some(refusal) = refusal
            && has("webhook-log-no-secret", &logs).unwrap()
        {
            return [format!("{refusal:#}"), logs];
        }
        assert!(Instant::now() < deadline, "the webhook goes on as it did");
        sleep(Duration::from_millis(500)).await;
    }
}

async fn take_down(cluster: &Cluster) {
    let webhook = format!("deployment/{RELEASE}-webhook");
    let scale = ["-n", RELEASE, "scale", &webhook, "--replicas=0"];
    cluster.kubectl(&scale).await.unwrap();
    let gone = [
        "-n",
        RELEASE,
        "wait",
        "pods",
        "--all",
        "--for=delete",
        "--timeout=60s",
    ];
    cluster.kubectl(&gone).await.unwrap();
    let pods: Api<Pod> = Api::namespaced(cluster.client().unwrap(), RELEASE);
    assert_eq!(pods.list(&ListParams::default()).await.unwrap().items, []);
}

fn annotated(name: &str) -> Value {
    deployment(name, 0, &json!({"service-leader-election/service": name}))
}

async fn apply(cluster: &Cluster, namespace: &str, manifest: &Value) -> Result<(), String> {
    let apply = ["-n", namespace, "apply", "-f", "-"];
    let applied = cluster.kubectl_stdin(&apply, &manifest.to_string()).await;
    applied.map(|_| ()).map_err(|error| format!("{error:#}"))
}

#[tokio::test]
async fn webhook_down_blocks_no_unannotated_object() {
    let scene = Scene::enter(cluster().await, "free").await;
    let mut set = deployment("set", 0, &json!({}));
    set["kind"] = json!("StatefulSet");
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}});
    pod["spec"] = set["spec"]["template"]["spec"].clone();
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "map"}});
    let web = deployment(
        "web",
        1,
        &json!({"example.org/note": "no annotation of ours"}),
    );
    for manifest in [service("web"), web, set, pod, map] {
        scene.apply(&manifest).await;
    }
    // A rollout takes ReplicaSets and pods.
    scene
        .kubectl(&["set", "image", "deployment/web", "app=example.org/app:2"])
        .await;
    scene
        .kubectl(&["rollout", "status", "deployment/web", "--timeout=60s"])
        .await;
    scene
        .kubectl(&[
            "annotate",
            "deployment/web",
            "example.org/note=changed",
            "--overwrite",
        ])
        .await;
    scene
        .kubectl(&[
            "label",
            "service/web",
            "statefulset/set",
            "pod/pod",
            "color=red",
        ])
        .await;
    scene
        .kubectl(&["scale", "deployment/web", "--replicas=2"])
        .await;
    let all = "deployment/web,statefulset/set,pod/pod,service/web,configmap/map";
    let foreground = ["delete", "--cascade=foreground", "--timeout=60s"];
    for one in all.split(',') {
        scene.kubectl(&[&foreground[..], &[one]].concat()).await;
    }
}

#[tokio::test]
async fn webhook_down_refuses_an_annotated_object_by_name() {
    let scene = Scene::enter(cluster().await, "refused").await;
    let refusal = apply(scene.cluster, &scene.namespace, &annotated("web")).await;
    let refusal = refusal.unwrap_err();
    documented("webhook-away", &refusal).unwrap();
    // What is misspelt is meant for the webhook, too, and would not be told.
    let misspelt = deployment("web", 0, &json!({"service-leader-election/servise": "web"}));
    let refusal = apply(scene.cluster, &scene.namespace, &misspelt).await;
    documented("webhook-away", &refusal.unwrap_err()).unwrap();
    let mut changed = annotated("old");
    changed["spec"]["template"]["metadata"]["labels"]["color"] = json!("red");
    let refusal = apply(scene.cluster, OLD[0], &changed).await.unwrap_err();
    documented("webhook-away", &refusal).unwrap();
    for metadata in [
        json!({"name": "web", "annotations": {"service-leader-election/service": "web"}}),
        json!({"name": "web", "annotations": {"service-leader-election/servise": "web"}}),
        json!({"name": "web", "labels": {"service-leader-election": "other"}}),
    ] {
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata});
        pod["spec"] = changed["spec"]["template"]["spec"].clone();
        let refusal = apply(scene.cluster, &scene.namespace, &pod).await;
        let refusal = refusal.unwrap_err();
        documented("webhook-away", &refusal).unwrap();
        assert!(
            refusal.contains("\"pods.service-leader-election.io\""),
            "{refusal}"
        );
    }
}

/// What has its sidecar already needs no webhook, nor what gets none.
#[tokio::test]
async fn webhook_down_lets_pods_start_that_it_has_nothing_to_do_with() {
    let scene = Scene::enter(cluster().await, "started").await;
    let own = ["-n", OLD[2]];
    let scale = ["scale", "deployment/old", "--replicas=1"];
    scene.kubectl(&[&own, &scale[..]].concat()).await;
    let mut job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job"}});
    let annotations = json!({"service-leader-election/service": "web"});
    job["spec"]["template"] = json!({"metadata": {"annotations": annotations}, "spec": {
        "restartPolicy": "Never", "containers": [{"name": "app", "image": "example.org/app:1"}]}});
    apply(scene.cluster, OLD[2], &job).await.unwrap();
    for selector in ["app=old", "batch.kubernetes.io/job-name=job"] {
        let get = ["get", "pods", "-o", "name", "--selector", selector];
        scene
            .eventually("the pod is created", async || {
                let pods = scene.kubectl(&[&own, &get[..]].concat()).await;
                (!pods.is_empty()).then_some(())
            })
            .await;
    }
}

#[tokio::test]
async fn a_webhook_that_is_not_trusted_and_cannot_help_it_is_told() {
    cluster().await;
    let [refusal, logs] = DISTRUST.get().unwrap();
    documented("webhook-not-trusted", refusal).unwrap();
    documented("webhook-log-no-secret", logs).unwrap();
}

#[tokio::test]
async fn pods_whose_account_is_not_made_are_told() {
    let cluster = cluster().await;
    let namespace = OLD[1];
    let account = format!("{RELEASE}-old");
    let steps: [&[&str]; 2] = [
        &["delete", "serviceaccount", &account, "--ignore-not-found"],
        &["scale", "deployment/old", "--replicas=1"],
    ];
    for step in steps {
        let step = [&["-n", namespace], step].concat();
        cluster.kubectl(&step).await.unwrap();
    }
    let texts = "jsonpath={range .items[*]}{.message}{\"\\n\"}{end}";
    let events = ["-n", namespace, "get", "events", "-o", texts];
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let text = cluster.kubectl(&events).await.unwrap().stdout;
        match documented("account-not-there-yet", &text) {
            Ok(()) => return,
            Err(error) => assert!(Instant::now() < deadline, "{error:#}"),
        }
        sleep(Duration::from_millis(100)).await;
    }
}
