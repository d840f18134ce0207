//! Every kind of workload where the sidecar is a plain container, as on a cluster older than 1.29:
//! it gets its SIGTERM together with the application.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, in its helpers too, and says why"
)]

mod support;

use support::{
    Installed, Scene,
    kinds::{Form, is_elected_and_given_back},
};
use tokio::sync::OnceCell;

async fn is_elected_as_a_plain_container(kind: &str) {
    static INSTALLED: OnceCell<Installed> = OnceCell::const_new();
    let start = async || Installed::with(&[("sidecar.native", "never")]).await;
    let installed = INSTALLED.get_or_init(start).await;
    let scene = Scene::enter(&installed.cluster, &kind.to_lowercase()).await;
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
