//! The rig itself, on its real parts.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::{path::Path, process::Stdio, time::Duration};

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, PostParams},
};
use serde_json::{Value, json};
use testcluster::{Cluster, KUBERNETES, Options, Signal, UNSUPPORTED};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
    sync::OnceCell,
    time::{Instant, sleep},
};

/// Set for the process that `nothing_is_left_of_a_killed_rig` kills.
const CHILD: &str = "TESTCLUSTER_TEST_CHILD";

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
        .list(&kube::api::ListParams::default())
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

#[tokio::test]
async fn a_native_sidecar_starts_first_and_ends_last() {
    let cluster = cluster().await;
    let namespace = cluster.namespace("order").await.unwrap();
    let pods: Api<Pod> = Api::namespaced(cluster.client().unwrap(), &namespace);
    let probe = json!({"httpGet": {"path": "/healthz", "port": 9000}, "periodSeconds": 1});
    create(
        &pods,
        "ordered",
        json!({
            "initContainers": [{"name": "side", "image": "side", "restartPolicy": "Always",
                "ports": [{"containerPort": 9000}], "startupProbe": probe}],
            "containers": [{"name": "app", "image": "app",
                "env": [{"name": "TERM_DELAY_MS", "value": "1500"}]}],
        }),
    )
    .await;
    let pod = wait_ready(&pods, "ordered").await;
    let status = pod.status.unwrap();
    let started = |statuses: Option<Vec<k8s_openapi::api::core::v1::ContainerStatus>>| {
        let state = statuses.unwrap().remove(0).state.unwrap();
        state.running.unwrap().started_at.unwrap().0
    };
    let side = started(status.init_container_statuses);
    assert!(
        side <= started(status.container_statuses),
        "the sidecar starts first"
    );

    let pid = |container| cluster.node().pid(&namespace, "ordered", container);
    let (side, app) = (pid("side").unwrap(), pid("app").unwrap());
    pods.delete("ordered", &DeleteParams::default())
        .await
        .unwrap();
    eventually("the app has ended", async || {
        let app_runs = alive(app);
        let side_runs = alive(side);
        assert!(side_runs || !app_runs, "the sidecar ended before the app");
        (!app_runs).then_some(())
    })
    .await;
    wait_gone(&pods, "ordered").await;
    assert!(!alive(side));
}

#[tokio::test]
async fn a_killed_container_is_started_again() {
    let cluster = cluster().await;
    let namespace = cluster.namespace("restart").await.unwrap();
    let pods: Api<Pod> = Api::namespaced(cluster.client().unwrap(), &namespace);
    create(&pods, "killed", json!({"containers": [app()]})).await;
    wait_ready(&pods, "killed").await;
    cluster
        .node()
        .signal(&namespace, "killed", "app", Signal::KILL)
        .unwrap();
    let restarted = eventually("it is ready again", async || {
        let pod = pods.get("killed").await.unwrap();
        let mut statuses = pod.status.clone()?.container_statuses?;
        (is_ready(&pod) && statuses[0].restart_count > 0).then(|| statuses.remove(0))
    })
    .await;
    assert_eq!(restarted.restart_count, 1);
    let end = restarted.last_state.unwrap().terminated.unwrap();
    assert_eq!(end.exit_code, 137);
}

#[tokio::test]
async fn the_processes_of_a_force_deleted_pod_end() {
    let cluster = cluster().await;
    let namespace = cluster.namespace("force").await.unwrap();
    let pods: Api<Pod> = Api::namespaced(cluster.client().unwrap(), &namespace);
    // It would serve on for a minute after its SIGTERM: it takes the SIGKILL to end it.
    create(
        &pods,
        "forced",
        json!({"containers": [{"name": "app", "image": "app",
        "env": [{"name": "TERM_DELAY_MS", "value": "60000"}]}]}),
    )
    .await;
    wait_ready(&pods, "forced").await;
    let pid = cluster.node().pid(&namespace, "forced", "app").unwrap();
    let force = DeleteParams::default().grace_period(0);
    pods.delete("forced", &force).await.unwrap();
    eventually("the process has ended", async || {
        (!alive(pid)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_vanished_pod_stays_as_it_was_until_it_is_force_deleted() {
    let cluster = cluster().await;
    let namespace = cluster.namespace("vanish").await.unwrap();
    let pods: Api<Pod> = Api::namespaced(cluster.client().unwrap(), &namespace);
    create(&pods, "lost", json!({"containers": [app()]})).await;
    let before = wait_ready(&pods, "lost").await;
    let pid = cluster.node().pid(&namespace, "lost", "app").unwrap();
    cluster.node().vanish(&namespace, "lost").unwrap();
    eventually("the process has ended", async || {
        (!alive(pid)).then_some(())
    })
    .await;
    pods.delete("lost", &DeleteParams::default().grace_period(1))
        .await
        .unwrap();
    let after = pods.get("lost").await.unwrap();
    assert_eq!(after.status, before.status);
    pods.delete("lost", &DeleteParams::default().grace_period(0))
        .await
        .unwrap();
    wait_gone(&pods, "lost").await;
}

#[tokio::test]
async fn a_frozen_pod_is_not_restarted_by_its_probes() {
    let cluster = cluster().await;
    let namespace = cluster.namespace("freeze").await.unwrap();
    let pods: Api<Pod> = Api::namespaced(cluster.client().unwrap(), &namespace);
    let mut frozen = app();
    frozen["livenessProbe"] = json!({"httpGet": {"path": "/healthz", "port": 8080},
        "periodSeconds": 1, "failureThreshold": 1});
    create(&pods, "frozen", json!({"containers": [frozen]})).await;
    let mut unfrozen = app();
    unfrozen["livenessProbe"] = json!({"httpGet": {"path": "/healthz", "port": 8080},
        "periodSeconds": 1, "failureThreshold": 1});
    create(
        &pods,
        "stopped",
        json!({"containers": [unfrozen],
        "terminationGracePeriodSeconds": 1}),
    )
    .await;
    wait_ready(&pods, "frozen").await;
    wait_ready(&pods, "stopped").await;
    let pid = cluster.node().pid(&namespace, "frozen", "app").unwrap();
    cluster.node().freeze(&namespace, "frozen").unwrap();
    cluster
        .node()
        .signal(&namespace, "stopped", "app", Signal::STOP)
        .unwrap();
    eventually("the pod that is merely stopped is restarted", async || {
        let pod = pods.get("stopped").await.unwrap();
        (pod.status?.container_statuses?[0].restart_count == 1).then_some(())
    })
    .await;
    cluster.node().thaw(&namespace, "frozen").unwrap();
    let answer = cluster
        .node()
        .get(&namespace, "frozen", 8080, "/")
        .await
        .unwrap();
    assert_eq!(answer, (200, "frozen".to_owned()));
    assert_eq!(cluster.node().pid(&namespace, "frozen", "app"), Some(pid));
    assert!(is_ready(&pods.get("frozen").await.unwrap()));
}

#[tokio::test]
async fn what_the_node_cannot_play_is_refused_in_plain_words() {
    let cluster = cluster().await;
    let namespace = cluster.namespace("refuse").await.unwrap();
    let pods: Api<Pod> = Api::namespaced(cluster.client().unwrap(), &namespace);
    let plain = json!({"name": "app", "image": "app"});
    let exec = json!({"name": "app", "image": "app",
        "livenessProbe": {"exec": {"command": ["true"]}}});
    let cases = [
        (
            "host",
            json!({"hostNetwork": true, "containers": [plain]}),
            "no host network",
        ),
        (
            "init",
            json!({"initContainers": [{"name": "first", "image": "app"}],
            "containers": [plain]}),
            "init container first",
        ),
        (
            "disk",
            json!({"volumes": [{"name": "disk", "hostPath": {"path": "/"}}],
            "containers": [plain]}),
            "volume disk",
        ),
        ("exec", json!({"containers": [exec]}), "httpGet probes only"),
    ];
    for (name, spec, words) in cases {
        create(&pods, name, spec).await;
        let message = eventually("it is refused", async || {
            let status = pods.get(name).await.unwrap().status?;
            status
                .message
                .filter(|_| status.reason.as_deref() == Some(UNSUPPORTED))
        })
        .await;
        assert!(message.contains(words), "{message}");
        pods.delete(name, &DeleteParams::default()).await.unwrap();
        wait_gone(&pods, name).await;
    }
}

#[tokio::test]
async fn a_token_is_bound_to_its_pod() {
    let cluster = cluster().await;
    let namespace = cluster.namespace("token").await.unwrap();
    let pods: Api<Pod> = Api::namespaced(cluster.client().unwrap(), &namespace);
    create(&pods, "holder", json!({"containers": [app()]})).await;
    let pod = wait_ready(&pods, "holder").await;
    let pid = cluster.node().pid(&namespace, "holder", "app").unwrap();
    let environment = std::fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    let kubeconfig = environment
        .split('\0')
        .find_map(|variable| variable.strip_prefix("KUBECONFIG="))
        .unwrap();
    let whoami = cluster
        .kubectl(&["--kubeconfig", kubeconfig, "auth", "whoami", "-o", "json"])
        .await
        .unwrap();
    let whoami: Value = serde_json::from_str(&whoami.stdout).unwrap();
    let user = whoami.pointer("/status/userInfo").unwrap();
    assert_eq!(
        user["username"],
        format!("system:serviceaccount:{namespace}:default")
    );
    let uid = &user["extra"]["authentication.kubernetes.io/pod-uid"][0];
    assert_eq!(*uid, pod.uid().unwrap());
}

#[tokio::test]
async fn an_outage_of_the_api_server_loses_no_data_and_tears_no_hole_in_a_record() {
    // A cluster of its own: other tests would feel the outage.
    let cluster = Cluster::start(Options::default()).await.unwrap();
    let namespace = cluster.namespace("outage").await.unwrap();
    let record = cluster.record(&namespace).await.unwrap();
    record.check().await.expect_err("nothing has been seen yet");
    let pods: Api<Pod> = Api::namespaced(cluster.client().unwrap(), &namespace);
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client().unwrap(), &namespace);
    let service = [
        "-n",
        &namespace,
        "create",
        "service",
        "clusterip",
        "web",
        "--tcp=80:8080",
    ];
    cluster.kubectl(&service).await.unwrap();
    create(&pods, "web", json!({"containers": [app()]})).await;
    wait_ready(&pods, "web").await;
    let pid = cluster.node().pid(&namespace, "web", "app");

    cluster.stop_api_server().await.unwrap();
    maps.list(&kube::api::ListParams::default())
        .await
        .expect_err("the API server is down");
    cluster.start_api_server().await.unwrap();

    assert!(is_ready(&pods.get("web").await.unwrap()));
    assert_eq!(cluster.node().pid(&namespace, "web", "app"), pid);
    for color in ["red", "blue"] {
        let label = format!("color={color}");
        cluster
            .kubectl(&[
                "-n",
                &namespace,
                "label",
                "--overwrite",
                "service",
                "web",
                &label,
            ])
            .await
            .unwrap();
    }
    let pins = record.check().await.unwrap();
    assert_eq!(pins.len(), 3);
    // The node's watch has come back, too.
    pods.delete("web", &DeleteParams::default()).await.unwrap();
    wait_gone(&pods, "web").await;
    let folder = cluster.folder().to_owned();
    drop(cluster);
    assert!(!folder.exists());
}

#[tokio::test]
async fn nothing_is_left_of_a_killed_rig() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "holds_a_rig_until_it_is_killed", "--nocapture"])
        .env(CHILD, "yes")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let folder = loop {
        let line = lines
            .next_line()
            .await
            .unwrap()
            .expect("the child says its folder");
        if let Some((_, folder)) = line.split_once("folder: ") {
            break folder.to_owned();
        }
    };
    let processes = marked(&folder);
    assert!(
        processes.len() >= 4,
        "etcd, API server, controllers and a pod: {processes:?}"
    );
    child.kill().await.unwrap();
    eventually("its folder is gone", async || {
        (!Path::new(&folder).exists()).then_some(())
    })
    .await;
    assert_eq!(marked(&folder), Vec::<u32>::new());
}

/// Not a test of its own: it plays the rig for `nothing_is_left_of_a_killed_rig`.
#[tokio::test]
async fn holds_a_rig_until_it_is_killed() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let cluster = Cluster::start(Options::default()).await.unwrap();
    let namespace = cluster.namespace("killed").await.unwrap();
    let pods: Api<Pod> = Api::namespaced(cluster.client().unwrap(), &namespace);
    create(&pods, "web", json!({"containers": [app()]})).await;
    wait_ready(&pods, "web").await;
    println!("folder: {}", cluster.folder().display());
    std::future::pending::<()>().await;
}

/// The processes that carry a rig's mark.
fn marked(folder: &str) -> Vec<u32> {
    let mark = format!("{}={folder}", testcluster::MARK);
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment
                .split(|byte| *byte == 0)
                .any(|variable| variable == mark.as_bytes())
        })
        .collect()
}
