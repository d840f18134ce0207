//! Nodes that are about to be drained. The sidecar is added by hand here, in a DaemonSet: one pod a
//! node.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use serde_json::json;

use crate::{
    scene,
    support::{SIDECAR, Scene},
};

const BY_HAND: &str = include_str!("../../../docs/added-by-hand.yaml");
const CHART: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../charts/service-leader-election"
);
/// Tainted, so that the pods of no other test come to these nodes.
const TAINT: &str = "drain";

#[tokio::test]
async fn a_drain_moves_the_traffic_to_no_cordoned_node() {
    let scene = scene("drain").await;
    let_read_nodes(&scene).await;
    for name in ["drain-1", "drain-2", "drain-3"] {
        let taint = json!({"key": TAINT, "effect": "NoSchedule"});
        let node = json!({"apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": {TAINT: ""}}, "spec": {"taints": [taint]}});
        scene.apply(&node).await;
    }
    scene
        .kubectl_stdin(&["apply", "-f", "-"], &daemon_set())
        .await;
    scene.all_ready("web", 3).await;
    let first = scene.agreed("web", |_| true).await;

    let mut standbys = scene.pods("web").await;
    standbys.retain(|pod| pod.name_any() != first.pod);
    standbys.sort_by_key(|pod| (ready_since(pod), pod.name_any()));
    let (best, other) = (&standbys[0], &standbys[1]);
    let node = best.spec.as_ref().unwrap().node_name.as_deref().unwrap();
    let best = best.name_any();

    scene.kubectl(&["cordon", node]).await;
    knows(&scene, &first.pod, node, true).await;
    scene.kubectl(&["delete", "pod", &first.pod]).await;
    let second = scene.next("web", &first).await;
    assert_eq!(
        second.pod,
        other.name_any(),
        "{best} is on the cordoned {node}"
    );

    scene.kubectl(&["uncordon", node]).await;
    knows(&scene, &second.pod, node, false).await;
    scene.kubectl(&["delete", "pod", &second.pod]).await;
    let third = scene.next("web", &second).await;
    assert_eq!(third.pod, best, "{node} is cordoned no longer");
    assert_eq!(
        scene.leaders("web").await,
        [first.pod, second.pod, third.pod]
    );
}

/// Grants the right as the chart does.
async fn let_read_nodes(scene: &Scene) {
    let readers = format!("sidecar.nodeReaders={{{}}}", scene.namespace);
    let template = ["template", "any", CHART, "--set", &readers];
    let only = ["--show-only", "templates/nodereaders.yaml"];
    let rights = scene.cluster.helm(&[&template[..], &only].concat()).await;
    scene
        .kubectl_stdin(&["apply", "-f", "-"], &rights.unwrap().stdout)
        .await;
}

fn daemon_set() -> String {
    let account = "      serviceAccountName: web\n";
    let placed = format!(
        "{account}      nodeSelector: {{{TAINT}: \"\"}}\n      tolerations: [{{operator: Exists}}]\n"
    );
    let service = "            - -service-name=web\n";
    let told = format!("{service}            - -log-level=debug\n");
    let manifest = BY_HAND
        .replace("kind: Deployment", "kind: DaemonSet")
        .replace("  replicas: 3\n", "")
        .replace(account, &placed)
        .replace(service, &told);
    assert!(manifest.contains(&placed) && manifest.contains(&told));
    manifest
}

/// Waits until a sidecar takes a node for cordoned, or no longer.
async fn knows(scene: &Scene, pod: &str, node: &str, cordoned: bool) {
    let rig = scene.cluster.node();
    scene
        .eventually("the leader knows which nodes are cordoned", async || {
            let logs = rig.logs(&scene.namespace, pod, SIDECAR).unwrap();
            let mut lines = logs.lines().rev();
            let last = lines.find(|line| line.contains("cordoned nodes"))?;
            (last.contains(node) == cordoned).then_some(())
        })
        .await;
}

fn ready_since(pod: &Pod) -> Option<String> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions.iter().find(|found| found.type_ == "Ready")?;
    Some(ready.last_transition_time.as_ref()?.0.to_string())
}
