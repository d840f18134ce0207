//! A workload of any kind, from one annotation to a Service that is switched, and back.

use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::{KEY, SIDECAR, Scene, deployment, service};

/// What the sidecar is in a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// An init container that restarts.
    Native,
    /// One of the containers.
    Plain,
}

/// The kinds that bear a template.
pub const KINDS: [&str; 4] = ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"];

/// A workload of two pods. A DaemonSet has one on each node.
pub fn workload(kind: &str, name: &str, annotations: &Value) -> Value {
    let mut workload = deployment(name, 2, annotations);
    workload["kind"] = json!(kind);
    let spec = workload["spec"].as_object_mut().unwrap();
    match kind {
        "StatefulSet" => drop(spec.insert("serviceName".to_owned(), json!(name))),
        "DaemonSet" => drop(spec.remove("replicas")),
        _ => {}
    }
    workload
}

/// How the template has the sidecar.
pub fn form(template: &Value) -> Option<Form> {
    let has = |list: &str| {
        let containers = template["spec"][list].as_array();
        containers.and_then(|all| all.iter().find(|one| one["name"] == SIDECAR))
    };
    match (has("initContainers"), has("containers")) {
        (Some(native), None) if native["restartPolicy"] == "Always" => Some(Form::Native),
        (None, Some(_)) => Some(Form::Plain),
        _ => None,
    }
}

/// Has such a workload elect, lose its leader, and give the Service back.
pub async fn is_elected_and_given_back(scene: &Scene, kind: &str, wanted: Form) {
    if kind == "DaemonSet" {
        for node in ["process-node-2", "process-node-3"] {
            scene.cluster.add_node(node).await.unwrap();
        }
    }
    scene.apply(&service("web")).await;
    let annotations = json!({"service-leader-election/service": "web"});
    scene.apply(&workload(kind, "web", &annotations)).await;
    let target = format!("{}/web", kind.to_lowercase());
    assert_eq!(form(&template(scene, &target).await), Some(wanted));

    let first = scene.agreed("web", |_| true).await;
    scene
        .eventually("somebody can take over", async || {
            (scene.pods("web").await.len() >= 2).then_some(())
        })
        .await;
    scene.kubectl(&["delete", "pod", &first.pod]).await;
    let second = scene
        .agreed("web", |leader| leader.epoch > first.epoch)
        .await;
    // A pod of a StatefulSet comes back under its name.
    assert!(scene.leaders("web").await.contains(&second.pod));

    let bare = "service-leader-election/service-";
    scene.kubectl(&["annotate", &target, bare]).await;
    // A ReplicaSet replaces no pod by itself.
    for pod in scene.pods("web").await {
        let name = pod.name_any();
        let delete = ["delete", "pod", &name, "--ignore-not-found", "--wait=false"];
        scene.kubectl(&delete).await;
    }
    scene.record.allow_unpin();
    scene.given_back("web").await;
    let template = template(scene, &target).await.to_string();
    assert!(!template.contains(KEY), "{template}");
    scene.record.check().await.unwrap();
}

async fn template(scene: &Scene, target: &str) -> Value {
    let text = scene.kubectl(&["get", target, "-o", "json"]).await;
    let mut object: Value = serde_json::from_str(&text).unwrap();
    object["spec"]["template"].take()
}
