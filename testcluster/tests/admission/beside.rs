//! Beside another injector it does not matter who is asked first: what comes out is the same.

use json_patch::Patch;
use serde_json::{Value, json};
use testcluster::Injector;

use crate::{
    scene,
    support::{SIDECAR, ask, deployment, service},
};

/// Another injector: a sidecar, a volume and an annotation of its own, once.
fn injected(template: &Value) -> Value {
    let mut wanted = template.clone();
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
    wanted
}

fn patch(object: &Value) -> Patch {
    let mut wanted = object.clone();
    wanted["spec"]["template"] = injected(&object["spec"]["template"]);
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
            "rules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"],
                "resources": ["deployments"]}],
            "objectSelector": {"matchLabels": {"mesh": when}},
        }],
    })
}

#[tokio::test]
async fn the_order_among_other_webhooks_does_not_matter() {
    let scene = scene("beside").await;
    scene.apply(&service("web")).await;
    let injector = Injector::serve(patch).await.unwrap();
    let mut templates = Vec::new();
    for (name, when) in [("a-mesh", "first"), ("z-mesh", "last")] {
        scene.apply(&configuration(name, when, &injector)).await;
        let annotations = json!({"service-leader-election/service": "web"});
        let mut workload = deployment("web", 0, &annotations);
        workload["metadata"]["labels"] = json!({"mesh": when});
        let template = scene
            .eventually("the other injector is asked", async || {
                let tried = ask::try_create(&scene.client, &scene.namespace, &workload).await;
                let mut stored = tried.unwrap().outcome.unwrap();
                let template = stored["spec"]["template"].take();
                template
                    .to_string()
                    .contains("example.org/mesh")
                    .then_some(template)
            })
            .await;
        let delete = ["delete", "mutatingwebhookconfiguration", name];
        scene.kubectl(&delete).await;
        templates.push(template);
    }
    assert_eq!(templates[0], templates[1]);
    let containers = templates[0]["spec"]["initContainers"].as_array().unwrap();
    let names: Vec<_> = containers.iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["mesh", SIDECAR]);
}
