//! What admission does to other people's objects, and to ours when nothing of them changes: nothing.

use anyhow::Result;
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use serde_json::{Value, json};
use testcluster::Cluster;

use crate::{
    BEFORE, scene,
    support::{SIDECAR, Scene, deployment, service},
};

/// Creates and changes a Deployment without our annotation: all that the API server has stored
/// after each step, but for what is another's in each object.
pub(crate) async fn stored_step_by_step(cluster: &Cluster, prefix: &str) -> Result<Vec<Value>> {
    let namespace = cluster.namespace(prefix).await?;
    let annotations = json!({"example.org/service-leader-election": "web"});
    let manifest = deployment("web", 1, &annotations).to_string();
    let restart = r#"{"spec": {"template": {"metadata": {"annotations": {"at": "noon"}}}}}"#;
    let steps: [(&[&str], &str); 4] = [
        (&["create", "-f", "-"], &manifest),
        (&["apply", "--server-side", "-f", "-"], &manifest),
        (
            &["set", "image", "deployment/web", "app=example.org/app:2"],
            "",
        ),
        (&["patch", "deployment/web", "-p", restart], ""),
    ];
    let mut stored = Vec::new();
    for (step, input) in steps {
        let own = ["-n", &namespace];
        cluster.kubectl_stdin(&[&own, step].concat(), input).await?;
        let rollout = ["rollout", "status", "deployment/web", "--timeout=60s"];
        cluster.kubectl(&[&own[..], &rollout].concat()).await?;
        let get = [
            "get",
            "deployment/web",
            "-o",
            "json",
            "--show-managed-fields",
        ];
        let text = cluster.kubectl(&[&own[..], &get].concat()).await?.stdout;
        stored.push(without_instance(serde_json::from_str(&text)?));
    }
    Ok(stored)
}

/// The object without the values that differ from object to object, and without its status, which
/// the controller writes.
fn without_instance(mut object: Value) -> Value {
    object["status"].take();
    let meta = &mut object["metadata"];
    for field in ["uid", "resourceVersion", "namespace", "creationTimestamp"] {
        meta[field].take();
    }
    if let Some(managed) = meta["managedFields"].as_array_mut() {
        for entry in managed.iter_mut() {
            entry["time"].take();
        }
        managed.retain(|entry| entry["subresource"] != "status");
        // Kept in the order of their times, which are whole seconds.
        managed.sort_by_key(Value::to_string);
    }
    object
}

#[tokio::test]
async fn unannotated_deployment_is_untouched() {
    let scene = scene("untouched").await;
    let after = stored_step_by_step(scene.cluster, "after").await.unwrap();
    assert_eq!(Some(&after), BEFORE.get());
    let text = json!(after).to_string();
    assert!(!text.contains("\"service-leader-election"), "{text}");
}

#[tokio::test]
async fn reapply_starts_no_rollout() {
    let scene = scene("reapply").await;
    for (name, flags) in [("client", &[][..]), ("server", &["--server-side"][..])] {
        scene.apply(&service(name)).await;
        let annotations = json!({"service-leader-election/service": name});
        let manifest = deployment(name, 1, &annotations).to_string();
        let apply = [&["apply", "-f", "-"], flags].concat();
        scene.kubectl_stdin(&apply, &manifest).await;
        let wait = format!("deployment/{name}");
        scene
            .kubectl(&["rollout", "status", &wait, "--timeout=60s"])
            .await;
        let before = stored(&scene, name).await;
        let injected = before.spec.clone().unwrap().template.spec.unwrap();
        let sidecars = injected.init_containers.unwrap_or_default();
        assert_eq!(sidecars[0].name, SIDECAR);
        for _ in 0..2 {
            scene.kubectl_stdin(&apply, &manifest).await;
        }
        let after = stored(&scene, name).await;
        assert_eq!(after.metadata.generation, before.metadata.generation);
        assert_eq!(after.spec, before.spec);
        let replicas = scene.kubectl(&["get", "replicasets", "-o", "name"]).await;
        let own = format!("replicaset.apps/{name}-");
        assert_eq!(replicas.matches(&own).count(), 1, "{replicas}");
    }
}

async fn stored(scene: &Scene, name: &str) -> Deployment {
    let all: Api<Deployment> = Api::namespaced(scene.client.clone(), &scene.namespace);
    all.get(name).await.unwrap()
}
