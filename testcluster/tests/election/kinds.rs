//! Every kind of workload, from one annotation to a Service that is switched, and back.

use serde_json::{Value, json};

use crate::{
    scene,
    support::{
        Scene,
        kinds::{Form, KINDS, is_elected_and_given_back, workload},
    },
};

/// As `kubectl apply` answers: every warning, one a line.
async fn warnings(scene: &Scene, manifest: &Value) -> String {
    let apply = ["-n", &scene.namespace, "apply", "-f", "-"];
    let manifest = manifest.to_string();
    let applied = scene.cluster.kubectl_stdin(&apply, &manifest).await;
    applied.unwrap().stderr
}

#[tokio::test]
async fn a_deployment() {
    let scene = scene("deployment").await;
    is_elected_and_given_back(&scene, "Deployment", Form::Native).await;
}

#[tokio::test]
async fn a_stateful_set() {
    let scene = scene("statefulset").await;
    is_elected_and_given_back(&scene, "StatefulSet", Form::Native).await;
}

#[tokio::test]
async fn a_daemon_set() {
    let scene = scene("daemonset").await;
    is_elected_and_given_back(&scene, "DaemonSet", Form::Native).await;
}

#[tokio::test]
async fn a_replica_set() {
    let scene = scene("replicaset").await;
    is_elected_and_given_back(&scene, "ReplicaSet", Form::Native).await;
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
    for kind in KINDS {
        let annotations = json!({
            "service-leader-election/service": "web",
            "service-leader-election/leese": "x",
        });
        let mut workload = workload(kind, &kind.to_lowercase(), &annotations);
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
