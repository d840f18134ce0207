//! Whose selector is it? Everybody's tools go on working with a Service that names a leader.

use std::fs;

use kube::ResourceExt as _;
use serde_json::{Value, json};
use testcluster::{Kind, Signal};

use crate::{
    scene,
    support::{KEY, Scene, epoch, selector, service},
};

const EPOCH: &str = "service-leader-election/epoch";

/// The managers that own the selector, as the API server has it.
async fn owners(scene: &Scene, name: &str) -> Vec<String> {
    let service = scene.service(name).await.unwrap();
    let entries = service.metadata.managed_fields.unwrap_or_default();
    let owns = entries.into_iter().filter(|entry| {
        let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
        fields.is_some_and(|fields| fields.pointer("/f:spec/f:selector").is_some())
    });
    owns.filter_map(|entry| entry.manager).collect()
}

async fn handed_back(scene: &Scene, name: &str) {
    scene
        .eventually("the selector is the user's", async || {
            let service = scene.service(name).await.unwrap();
            let pinned = selector(&service).contains_key(KEY);
            let ours = owners(scene, name).await.iter().any(|owner| owner == KEY);
            (pinned && !ours).then_some(())
        })
        .await;
}

/// Lets a tool write the unchanged Service, and waits until it names its leader again. The tool
/// meets no error, or `write` panics.
async fn pinned_again_after(scene: &Scene, leader: &str, write: impl AsyncFnOnce()) {
    handed_back(scene, "web").await;
    let before = scene.record.sync().await.unwrap();
    write().await;
    let now = scene
        .eventually("the Service names its leader", async || {
            let service = scene.service("web").await.unwrap();
            let pinned = selector(&service).get(KEY).map(String::as_str) == Some(leader);
            pinned.then_some(service)
        })
        .await;
    // Until the repair the tool's own write stands.
    let repaired: u64 = now.resource_version().unwrap().parse().unwrap();
    scene.record.allow(before + 1..=repaired - 1);
    handed_back(scene, "web").await;
}

/// A term writes each Service twice, to switch it and to hand it back, and then no more.
#[tokio::test]
async fn each_of_several_services_is_handed_back_once_in_a_term() {
    const NAMES: [&str; 2] = ["web", "web-admin"];
    let scene = scene("several").await;
    let mut admin = service("web-admin");
    admin["spec"]["selector"] = json!({"app": "web"});
    scene.apply(&admin).await;
    let both = json!({"service-leader-election/service": NAMES.join(",")});
    let first = scene.elect("web", 2, both).await;
    let hand_back = async || {
        for name in NAMES {
            handed_back(&scene, name).await;
        }
    };
    hand_back().await;
    scene.signal(&first.pod, Signal::TERM);
    let second = scene.next("web", &first).await;
    hand_back().await;
    let changes = scene.record.changes().await.unwrap();
    for name in NAMES {
        for leader in [&first, &second] {
            let epoch = leader.epoch.to_string();
            let writes = changes.iter().filter(|change| {
                let annotations = change
                    .object
                    .as_ref()
                    .map(|o| &o["metadata"]["annotations"]);
                change.kind == Kind::Service
                    && change.name == name
                    && annotations.is_some_and(|all| all[EPOCH] == epoch.as_str())
            });
            assert_eq!(writes.count(), 2, "of {name} in the term of {leader:?}");
        }
        let leaders = scene.leaders(name).await;
        assert_eq!(leaders, [first.pod.clone(), second.pod.clone()]);
    }
}

#[tokio::test]
async fn apply_of_the_unchanged_service_meets_no_conflict() {
    let scene = scene("apply").await;
    let leader = scene.elect("web", 2, json!({})).await;
    let manifest = service("web").to_string();
    for arguments in [
        &["apply", "-f", "-"][..],
        &["apply", "--server-side", "-f", "-"],
        &["apply", "--server-side", "-f", "-"],
        &[
            "apply",
            "--server-side",
            "--field-manager=gitops",
            "-f",
            "-",
        ],
    ] {
        pinned_again_after(&scene, &leader.pod, async || {
            let said = scene.kubectl_stdin(arguments, &manifest).await;
            assert!(said.contains("web"), "{said}");
        })
        .await;
    }
    assert_eq!(scene.leaders("web").await, [leader.pod]);
}

#[tokio::test]
async fn helm_upgrades_of_the_unchanged_chart_meet_no_conflict() {
    let scene = scene("helm").await;
    let chart = chart(&scene);
    let release = |verb: &'static str| [verb, "web", &chart, "--namespace", &scene.namespace];
    scene.cluster.helm(&release("install")).await.unwrap();
    let workload = deployment_of("web");
    scene.apply(&workload).await;
    scene.all_ready("web", 2).await;
    let leader = scene.agreed("web", |_| true).await;
    for _ in 0..2 {
        pinned_again_after(&scene, &leader.pod, async || {
            scene.cluster.helm(&release("upgrade")).await.unwrap();
        })
        .await;
    }
    assert_eq!(scene.leaders("web").await, [leader.pod]);
}

/// A chart of one Service, as a user's own would have it.
fn chart(scene: &Scene) -> String {
    let folder = scene
        .cluster
        .folder()
        .join(format!("{}-chart", scene.namespace));
    fs::create_dir_all(folder.join("templates")).unwrap();
    let about = json!({"apiVersion": "v2", "name": "web", "version": "1.0.0"});
    fs::write(folder.join("Chart.yaml"), about.to_string()).unwrap();
    let template = folder.join("templates/service.yaml");
    fs::write(template, service("web").to_string()).unwrap();
    folder.display().to_string()
}

fn deployment_of(name: &str) -> Value {
    let annotations = json!({"service-leader-election/service": name});
    crate::support::deployment(name, 2, &annotations)
}

#[tokio::test]
async fn who_changed_the_selector_is_named() {
    let scene = scene("named").await;
    let leader = scene.elect("web", 2, json!({})).await;
    let before = scene.service("web").await.unwrap();
    pinned_again_after(&scene, &leader.pod, async || {
        let drift = json!({"spec": {"selector": {KEY: null}}}).to_string();
        let patch = ["patch", "service", "web", "--field-manager=meddler"];
        scene
            .kubectl(&[&patch[..], &["--patch", &drift]].concat())
            .await;
        scene
            .eventually("it was repaired under a new epoch", async || {
                let now = scene.service("web").await.unwrap();
                (epoch(&now) > epoch(&before)).then_some(())
            })
            .await;
    })
    .await;
    scene
        .told("web", &["meddler had changed the selector"])
        .await;
    scene.documented_event("event-restored", "Service").await;
}
