//! Every kind of workload where the sidecar is a plain container, as on a cluster older than 1.29:
//! it gets its SIGTERM together with the application. So do pods that are injected one by one.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, in its helpers too, and says why"
)]

mod support;

use serde_json::{Value, json};
use support::{
    Installed, Scene, deployment,
    kinds::{Form, form, is_elected_and_given_back},
    service,
};
use tokio::sync::OnceCell;

async fn scene(prefix: &str) -> Scene {
    static INSTALLED: OnceCell<Installed> = OnceCell::const_new();
    let start = async || Installed::with(&[("sidecar.native", "never")]).await;
    let installed = INSTALLED.get_or_init(start).await;
    Scene::enter(&installed.cluster, prefix).await
}

async fn is_elected_as_a_plain_container(kind: &str) {
    let scene = scene(&kind.to_lowercase()).await;
    is_elected_and_given_back(&scene, kind, Form::Plain).await;
}

#[tokio::test]
async fn a_deployment() {
    is_elected_as_a_plain_container("Deployment").await;
}

#[tokio::test]
async fn a_stateful_set() {
    is_elected_as_a_plain_container("StatefulSet").await;
}

#[tokio::test]
async fn a_daemon_set() {
    is_elected_as_a_plain_container("DaemonSet").await;
}

#[tokio::test]
async fn a_replica_set() {
    is_elected_as_a_plain_container("ReplicaSet").await;
}

/// The sidecar's form in each pod of `web`.
async fn forms(scene: &Scene) -> Vec<Option<Form>> {
    let pods = scene.pods("web").await;
    let pods = pods.iter().map(|pod| serde_json::to_value(pod).unwrap());
    pods.map(|pod: Value| form(&pod)).collect()
}

#[tokio::test]
async fn pods_that_are_injected_one_by_one() {
    let scene = scene("pods").await;
    scene.apply(&service("web")).await;
    let annotations = json!({"service-leader-election/service": "web"});
    let mut workload = deployment("web", 2, &json!({}));
    workload["spec"]["template"]["metadata"]["annotations"] = annotations;
    scene.apply(&workload).await;
    scene.all_ready("web", 2).await;
    let first = scene.agreed("web", |_| true).await;
    assert_eq!(forms(&scene).await, [Some(Form::Plain); 2]);
    scene.kubectl(&["delete", "pod", &first.pod]).await;
    scene.next("web", &first).await;

    scene.record.allow_unpin();
    scene.kubectl(&["delete", "deployment/web"]).await;
    scene.given_back("web").await;
    scene.record.check().await.unwrap();
}
