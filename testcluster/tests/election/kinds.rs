//! Every kind of workload, from one annotation to a Service that is switched, and back.

use kube::ResourceExt as _;
use serde_json::{Value, json};

use crate::{
    scene,
    support::{KEY, Scene, deployment, selector, service},
};

fn workload(kind: &str) -> Value {
    let annotations = json!({"service-leader-election/service": "web"});
    let mut workload = deployment("web", 2, &annotations);
    workload["kind"] = json!(kind);
    let spec = workload["spec"].as_object_mut().unwrap();
    match kind {
        "StatefulSet" => drop(spec.insert("serviceName".to_owned(), json!("web"))),
        "DaemonSet" => drop(spec.remove("replicas")),
        _ => {}
    }
    workload
}

/// As `kubectl apply` answers: every warning, one a line.
async fn warnings(scene: &Scene, manifest: &Value) -> String {
    let apply = ["-n", &scene.namespace, "apply", "-f", "-"];
    let manifest = manifest.to_string();
    let applied = scene.cluster.kubectl_stdin(&apply, &manifest).await;
    applied.unwrap().stderr
}

async fn is_elected_and_given_back(kind: &str, nodes: &[&str]) {
    let scene = scene(&kind.to_lowercase()).await;
    for node in nodes {
        scene.cluster.add_node(node).await.unwrap();
    }
    scene.apply(&service("web")).await;
    let workload = workload(kind);
    scene.apply(&workload).await;
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

    let target = format!("{}/web", kind.to_lowercase());
    let bare = "service-leader-election/service-";
    scene.kubectl(&["annotate", &target, bare]).await;
    // A ReplicaSet replaces no pod by itself.
    for pod in scene.pods("web").await {
        let name = pod.name_any();
        let delete = ["delete", "pod", &name, "--ignore-not-found", "--wait=false"];
        scene.kubectl(&delete).await;
    }
    scene.record.allow_unpin();
    scene
        .eventually("the user's selector stands again", async || {
            let service = scene.service("web").await.unwrap();
            (!selector(&service).contains_key(KEY)).then_some(())
        })
        .await;
    let text = scene.kubectl(&["get", &target, "-o", "json"]).await;
    let after: Value = serde_json::from_str(&text).unwrap();
    let template = after["spec"]["template"].to_string();
    assert!(!template.contains(KEY), "{template}");
    scene.record.check().await.unwrap();
}

#[tokio::test]
async fn a_stateful_set() {
    is_elected_and_given_back("StatefulSet", &[]).await;
}

#[tokio::test]
async fn a_daemon_set() {
    is_elected_and_given_back("DaemonSet", &["process-node-2", "process-node-3"]).await;
}

#[tokio::test]
async fn a_replica_set() {
    is_elected_and_given_back("ReplicaSet", &[]).await;
}

/// The Deployment's annotations come to its ReplicaSets, which are none of our business.
#[tokio::test]
async fn a_replica_set_of_a_deployment_is_left_to_it() {
    let scene = scene("owned").await;
    let leader = scene.elect("web", 2, json!({})).await;
    let claimed = "jsonpath={.metadata.annotations.service-leader-election/claimed}";
    let get = ["get", "service", "web", "-o", claimed];
    assert_eq!(scene.kubectl(&get).await, "Deployment/web");
    let sets = scene.kubectl(&["get", "replicasets", "-o", "name"]).await;
    let set = sets.trim();
    let broken = "service-leader-election/lease-duration=soon";
    let annotate = ["annotate", set, "--overwrite", broken];
    scene.kubectl(&annotate).await;
    assert_eq!(scene.agreed("web", |_| true).await, leader);
}

#[tokio::test]
async fn every_kind_is_told_what_will_not_work() {
    let scene = scene("told").await;
    for kind in ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"] {
        let mut workload = workload(kind);
        workload["metadata"]["name"] = json!(kind.to_lowercase());
        workload["metadata"]["annotations"]["service-leader-election/leese"] = json!("x");
        let said = warnings(&scene, &workload).await;
        assert!(
            said.contains("Service web does not exist"),
            "{kind}: {said}"
        );
        assert!(said.contains("did you mean"), "{kind}: {said}");

        let annotations = json!({"service-leader-election/sevice": "web"});
        workload["metadata"]["name"] = json!(format!("{}-misspelt", kind.to_lowercase()));
        workload["metadata"]["annotations"] = annotations;
        let said = warnings(&scene, &workload).await;
        assert!(said.contains("did you mean"), "{kind}: {said}");
    }
    let misspelt = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "pod", "annotations": {"service-leader-election/sevice": "web"}},
        "spec": {"containers": [{"name": "app", "image": "example.org/app:1"}]}});
    let said = warnings(&scene, &misspelt).await;
    assert!(said.contains("did you mean"), "{said}");
}

#[tokio::test]
async fn a_job_is_told_that_nothing_comes_of_it() {
    let scene = scene("job").await;
    let annotations = json!({"annotations": {"service-leader-election/service": "web"}});
    let pods = json!({"spec": {"restartPolicy": "Never",
        "containers": [{"name": "app", "image": "example.org/app:1"}]}});
    let mut job = json!({"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": pods},
        "metadata": annotations});
    job["metadata"]["name"] = json!("job");
    let said = warnings(&scene, &job).await;
    assert!(said.contains("no effect on a Job"), "{said}");

    job["metadata"] = json!({"name": "template"});
    job["spec"]["template"]["metadata"] = annotations;
    let said = warnings(&scene, &job).await;
    assert!(
        said.contains("no effect on the template of a Job"),
        "{said}"
    );
    let mut cron =
        json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "cron"}});
    cron["spec"] = json!({"schedule": "0 0 1 1 *", "jobTemplate": {"spec": job["spec"]}});
    let said = warnings(&scene, &cron).await;
    assert!(
        said.contains("no effect on the template of a CronJob"),
        "{said}"
    );
    scene
        .eventually("the Job's pod is as its template", async || {
            let own = "--selector=batch.kubernetes.io/job-name=template";
            let pods = scene.kubectl(&["get", "pods", own, "-o", "json"]).await;
            let pods: Value = serde_json::from_str(&pods).unwrap();
            let pod = pods["items"].get(0)?;
            assert_eq!(pod["spec"]["initContainers"], Value::Null);
            Some(())
        })
        .await;
}
