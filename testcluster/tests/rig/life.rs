//! What a rig outlives, and that nothing outlives a rig.

use std::{path::Path, process::Stdio};

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{
    Api,
    api::{DeleteParams, ListParams},
};
use serde_json::json;
use testcluster::{Cluster, Options};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
};

use crate::{app, create, eventually, is_ready, wait_gone, wait_ready};

/// Set for the process that `nothing_is_left_of_a_killed_rig` kills.
const CHILD: &str = "TESTCLUSTER_TEST_CHILD";

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
    maps.list(&ListParams::default())
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
        .args([
            "--exact",
            "life::holds_a_rig_until_it_is_killed",
            "--nocapture",
        ])
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
