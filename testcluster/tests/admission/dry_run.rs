//! A dry run is answered like any other, and leaves nothing behind.

use serde_json::{Value, json};

use crate::{
    scene,
    support::{
        KEY,
        kinds::{KINDS, workload},
        service,
    },
};

#[tokio::test]
async fn a_dry_run_makes_nothing_and_tells_nobody() {
    let scene = scene("dry").await;
    scene.apply(&service("web")).await;
    scene.apply(&service("other")).await;
    let before = scene.service("web").await.unwrap();
    let annotations = json!({"service-leader-election/service": "web"});
    for kind in KINDS {
        let manifest = workload(kind, "web", &annotations).to_string();
        let create = ["create", "--dry-run=server", "-o", "json", "-f", "-"];
        let answer = scene.kubectl_stdin(&create, &manifest).await;
        assert!(answer.contains("\"serviceAccountName\": \"service-leader-election-web\""));
    }
    // What is made of this one shows that the controller has gone on meanwhile.
    let annotations = json!({"service-leader-election/service": "other"});
    scene
        .apply(&workload("Deployment", "other", &annotations))
        .await;
    scene.all_ready("other", 2).await;
    scene.agreed("other", |_| true).await;
    scene.told("other", &["LeaderElected"]).await;

    assert_eq!(scene.service("web").await.unwrap(), before);
    let kinds = "deployments,statefulsets,daemonsets,replicasets,pods,serviceaccounts,roles,\
                 rolebindings,leases";
    let names = ["get", kinds, "-o", "name"];
    let made = scene.kubectl(&names).await;
    assert!(made.contains("lease.coordination.k8s.io/service-leader-election-other"));
    let of_the_dry_run = made.lines().filter(|name| {
        let name = name.rsplit('/').next().unwrap_or_default();
        name == "web" || name.starts_with("web-") || name.ends_with("-web")
    });
    assert_eq!(of_the_dry_run.collect::<Vec<_>>(), [""; 0]);
    // Kubernetes' own controllers may tell of the Service, too.
    let told = scene.kubectl(&["get", "events", "-o", "json"]).await;
    let told: Value = serde_json::from_str(&told).unwrap();
    let about = |object: &str| {
        let all = told["items"].as_array().unwrap().iter();
        let ours = all.filter(|event| event["reportingComponent"].as_str().unwrap().contains(KEY));
        ours.filter(|event| event["involvedObject"]["name"] == object)
            .count()
    };
    assert!(about("other") > 0, "{told}");
    assert_eq!(about("web"), 0, "{told}");
}
