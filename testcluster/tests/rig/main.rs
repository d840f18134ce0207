//! The rig itself, on its real parts.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod life;
mod pods;

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{ListParams, PostParams},
};
use serde_json::{Value, json};
use testcluster::{Cluster, KUBERNETES, Options};
use tokio::{
    sync::OnceCell,
    time::{Instant, sleep},
};

async fn cluster() -> &'static Cluster {
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    let options = Options {
        force_deleted_grace: Some(Duration::from_secs(2)),
        ..Options::default()
    };
    CLUSTER
        .get_or_init(async || Cluster::start(options).await.unwrap())
        .await
}

/// Waits until a condition holds.
async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_mins(2);
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        sleep(Duration::from_millis(50)).await;
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn alive(pid: u32) -> bool {
    // A process that has ended but is not waited for yet has no command line.
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

async fn create(pods: &Api<Pod>, name: &str, spec: Value) {
    let pod = json!({"metadata": {"name": name, "labels": {"app": name}}, "spec": spec});
    let pod = serde_json::from_value(pod).unwrap();
    pods.create(&PostParams::default(), &pod).await.unwrap();
}

async fn wait_ready(pods: &Api<Pod>, name: &str) -> Pod {
    eventually("the pod is ready", async || {
        pods.get_opt(name).await.unwrap().filter(is_ready)
    })
    .await
}

async fn wait_gone(pods: &Api<Pod>, name: &str) {
    eventually("the pod is gone", async || {
        pods.get_opt(name).await.unwrap().is_none().then_some(())
    })
    .await;
}

fn app() -> Value {
    json!({"name": "app", "image": "example.org/app:1",
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 1}})
}

#[tokio::test]
async fn the_control_plane_is_the_pinned_version() {
    let cluster = cluster().await;
    assert_eq!(cluster.version(), KUBERNETES);
    let seen = cluster.kubectl(&["version"]).await.unwrap().stdout;
    assert!(
        seen.contains(&format!("Server Version: {KUBERNETES}")),
        "{seen}"
    );
}

#[tokio::test]
async fn a_forwarder_reaches_every_ready_pod() {
    let cluster = cluster().await;
    let namespace = cluster.namespace("forward").await.unwrap();
    let forwarder = cluster.forward(&namespace, "web", 80).await.unwrap();
    forwarder
        .get("/")
        .await
        .expect_err("there is no Service yet");
    let manifest = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {
            "replicas": 2, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [app()]}}}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {
            "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]}},
    ]});
    cluster
        .kubectl_stdin(
            &["-n", &namespace, "apply", "-f", "-"],
            &manifest.to_string(),
        )
        .await
        .unwrap();
    cluster
        .kubectl(&[
            "-n",
            &namespace,
            "rollout",
            "status",
            "deployment/web",
            "--timeout=120s",
        ])
        .await
        .unwrap();
    let pods: Api<Pod> = Api::namespaced(cluster.client().unwrap(), &namespace);
    let mut names: Vec<_> = pods
        .list(&ListParams::default())
        .await
        .unwrap()
        .iter()
        .map(kube::ResourceExt::name_any)
        .collect();
    names.sort();
    eventually("both pods answer", async || {
        let mut seen = [
            forwarder.get("/").await.ok()?,
            forwarder.get("/").await.ok()?,
        ];
        seen.sort();
        (seen[..] == names[..]).then_some(())
    })
    .await;
    let unready = &names[0];
    cluster
        .node()
        .set_ready(&namespace, unready, 8080, false)
        .await
        .unwrap();
    eventually("the unready pod gets nothing", async || {
        for _ in 0..4 {
            if forwarder.get("/").await.ok()? == *unready {
                return None;
            }
        }
        Some(())
    })
    .await;
}
