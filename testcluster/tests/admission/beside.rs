//! Beside another injector it does not matter who is asked first: what comes out is the same.

use json_patch::Patch;
use serde_json::{Value, json};
use testcluster::Injector;

use crate::{
    scene,
    support::{SIDECAR, Scene, ask, deployment, service},
};

/// Another injector: a sidecar, a volume and an annotation of its own, once, in a pod or a template.
fn inject(wanted: &mut Value) {
    let sidecar = json!({"name": "mesh", "image": "example.org/mesh:1", "restartPolicy": "Always"});
    let volume = json!({"name": "mesh", "emptyDir": {}});
    for (list, item) in [("initContainers", sidecar), ("volumes", volume)] {
        let list = &mut wanted["spec"][list];
        if list.is_null() {
            *list = json!([]);
        }
        let list = list.as_array_mut().unwrap();
        if list.iter().all(|other| other["name"] != "mesh") {
            list.push(item);
        }
    }
    wanted["metadata"]["annotations"]["example.org/mesh"] = json!("yes");
}

fn patch(object: &Value) -> Patch {
    let mut wanted = object.clone();
    inject(match object["kind"].as_str() {
        Some("Pod") => &mut wanted,
        _ => &mut wanted["spec"]["template"],
    });
    json_patch::diff(object, &wanted)
}

/// Webhooks are asked in the order of their configurations' names.
fn configuration(name: &str, when: &str, injector: &Injector) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [{
            "name": "mesh.example.org",
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "reinvocationPolicy": "IfNeeded",
            "clientConfig": injector.client_config(),
            "rules": [{"apiGroups": ["", "apps"], "apiVersions": ["v1"], "operations": ["CREATE"],
                "resources": ["deployments", "pods"]}],
            "objectSelector": {"matchLabels": {"mesh": when}},
        }],
    })
}

/// What the API server would store of an object that the other injector is asked about first, and last.
async fn beside(scene: &Scene, object: &Value) -> [Value; 2] {
    let injector = Injector::serve(patch).await.unwrap();
    let mut stored = Vec::new();
    for (name, when) in [("a-mesh", "first"), ("z-mesh", "last")] {
        // Other tests have theirs in the same cluster.
        let (name, when) = (
            format!("{name}-{}", scene.namespace),
            format!("{when}-{}", scene.namespace),
        );
        scene.apply(&configuration(&name, &when, &injector)).await;
        let mut object = object.clone();
        object["metadata"]["labels"]["mesh"] = json!(when);
        let both = scene
            .eventually("the other injector is asked", async || {
                let tried = ask::try_create(&scene.client, &scene.namespace, &object).await;
                let stored = tried.unwrap().outcome.unwrap();
                stored
                    .to_string()
                    .contains("example.org/mesh")
                    .then_some(stored)
            })
            .await;
        let delete = ["delete", "mutatingwebhookconfiguration", &name];
        scene.kubectl(&delete).await;
        stored.push(both);
    }
    stored.try_into().unwrap()
}

fn init_containers(pod: &Value) -> Vec<&str> {
    let containers = pod["spec"]["initContainers"].as_array().unwrap();
    let names = containers.iter().map(|one| one["name"].as_str().unwrap());
    names.collect()
}

#[tokio::test]
async fn the_order_among_other_webhooks_does_not_matter() {
    let scene = scene("beside").await;
    scene.apply(&service("web")).await;
    let annotations = json!({"service-leader-election/service": "web"});
    let workload = deployment("web", 0, &annotations);
    let templates = beside(&scene, &workload).await;
    let [first, last] = templates.map(|mut stored| stored["spec"]["template"].take());
    assert_eq!(first, last);
    assert_eq!(init_containers(&first), ["mesh", SIDECAR]);
}

/// A pod keeps the sidecar that it has once, wherever it stands.
#[tokio::test]
async fn a_pod_has_each_sidecar_once_whoever_comes_first() {
    let scene = scene("beside-pod").await;
    scene.apply(&service("web")).await;
    let mut pod = deployment("web", 1, &json!({}))["spec"]["template"].take();
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"]["name"] = json!("web");
    pod["metadata"]["annotations"] = json!({"service-leader-election/service": "web"});
    let [first, last] = beside(&scene, &pod).await;
    assert_eq!(init_containers(&first), ["mesh", SIDECAR]);
    assert_eq!(init_containers(&last), [SIDECAR, "mesh"]);
    for pod in [first, last] {
        let annotations = &pod["metadata"]["annotations"];
        assert!(annotations["service-leader-election/injected"].is_string());
    }
}

/// A mesh, too, learns by the namespace which pods are its own.
#[tokio::test]
async fn a_mesh_that_the_namespace_asks_for_is_told_of_the_port() {
    let scene = scene("mesh").await;
    scene.apply(&service("web")).await;
    let label = [
        "label",
        "namespace",
        &scene.namespace,
        "istio-injection=enabled",
    ];
    scene.kubectl(&label).await;
    let annotations = json!({"service-leader-election/service": "web"});
    let workload = deployment("web", 0, &annotations);
    let ports = scene
        .eventually("the label is in the API server's cache", async || {
            let tried = ask::try_create(&scene.client, &scene.namespace, &workload).await;
            let stored = tried.unwrap().outcome.unwrap();
            let annotations = &stored["spec"]["template"]["metadata"]["annotations"];
            let ports = annotations["traffic.sidecar.istio.io/excludeInboundPorts"].as_str();
            ports.map(str::to_owned)
        })
        .await;
    assert_eq!(ports, "28086");
}
