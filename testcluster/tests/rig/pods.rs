//! How the process node plays pods.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::{Api, ResourceExt as _, api::DeleteParams};
use serde_json::{Value, json};
use testcluster::{Signal, UNSUPPORTED};

use crate::{alive, app, cluster, create, eventually, is_ready, wait_gone, wait_ready};

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
    let started = |statuses: Option<Vec<ContainerStatus>>| {
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
