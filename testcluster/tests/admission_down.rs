//! What a webhook that is down blocks: its own users, in words that name it, and nobody else. A
//! control plane of its own.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, in its helpers too, and says why"
)]

mod support;

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};
use serde_json::{Value, json};
use support::{Installed, Scene, deployment, service};
use testcluster::Cluster;
use tokio::sync::OnceCell;

const RELEASE: &str = "service-leader-election";
/// The webhook's name, for those whom it cannot serve.
const REFUSED: &str = "failed calling webhook \"workloads.service-leader-election.io\"";
/// An annotated Deployment from better times, in each of these namespaces.
const OLD: [&str; 2] = ["changed", "ended"];

/// A cluster whose webhook has gone.
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
        take_down(&installed.cluster).await;
        installed
    };
    &INSTALLED.get_or_init(start).await.cluster
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
    assert!(refusal.contains(REFUSED), "{refusal}");
    let mut changed = annotated("old");
    changed["spec"]["template"]["metadata"]["labels"]["color"] = json!("red");
    let refusal = apply(scene.cluster, OLD[0], &changed).await.unwrap_err();
    assert!(refusal.contains(REFUSED), "{refusal}");
}

#[tokio::test]
async fn webhook_down_lets_an_annotated_deployment_scale_and_go() {
    let cluster = cluster().await;
    apply(cluster, OLD[1], &annotated("old")).await.unwrap();
    let steps: [&[&str]; 4] = [
        &["scale", "deployment/old", "--replicas=1"],
        &["label", "deployment/old", "color=red"],
        &["rollout", "pause", "deployment/old"],
        &[
            "delete",
            "deployment/old",
            "--cascade=foreground",
            "--timeout=60s",
        ],
    ];
    for step in steps {
        cluster
            .kubectl(&[&["-n", OLD[1]], step].concat())
            .await
            .unwrap();
    }
}
