//! The chart is uninstalled while there is an election, and installed again. A control plane of its own.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, in its helpers too, and says why"
)]

mod support;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use support::{Installed, KEY, Scene, webhook::RELEASE};

const README: &str = include_str!("../../README.md");

/// The arguments of the command in README.md that begins so, up to a pipe, for this namespace.
fn command(begin: &str, namespace: &str) -> Vec<String> {
    let line = README.lines().find(|line| line.starts_with(begin)).unwrap();
    let line = line.split(" | ").next().unwrap();
    let words = line.split('\'').enumerate().flat_map(|(place, part)| {
        let is_quoted = place % 2 == 1;
        part.split(move |letter| letter == ' ' && !is_quoted)
    });
    let words = words.filter(|word| !word.is_empty()).skip(1);
    words.map(|word| word.replace("shop", namespace)).collect()
}

async fn run(scene: &Scene, command: &[String], more: &[&str]) -> String {
    let arguments: Vec<_> = command.iter().map(String::as_str).collect();
    let output = scene.cluster.kubectl(&[&arguments, more].concat()).await;
    output.unwrap().stdout
}

#[tokio::test]
async fn elections_outlive_the_chart_and_an_install_anew_gives_their_services_back() {
    static INSTALLED: OnceCell<Installed> = OnceCell::const_new();
    let installed = INSTALLED.get_or_init(Installed::start).await;
    let scene = Scene::enter(&installed.cluster, "kept").await;
    scene.elect("web", 2, json!({})).await;
    let list = command("kubectl get services --all-namespaces", "");
    scene
        .eventually("the Service is listed with its claimant", async || {
            let listed = run(&scene, &list, &[]).await;
            let line = listed.lines().find(|line| line.contains(&scene.namespace));
            line.filter(|line| line.contains("Deployment/web"))
                .map(drop)
        })
        .await;

    let uninstall = ["uninstall", RELEASE, "--namespace", RELEASE, "--wait"];
    scene.cluster.helm(&uninstall).await.unwrap();
    let old: Vec<_> = scene.pods("web").await.iter().map(Pod::name_any).collect();
    let delete: Vec<_> = old.iter().map(String::as_str).collect();
    scene
        .kubectl(&[&["delete", "pod"], &delete[..]].concat())
        .await;
    scene.all_ready("web", 2).await;
    let leader = scene.agreed("web", |now| !old.contains(&now.pod)).await;

    let by_hand = command("kubectl patch service web", &scene.namespace);
    let written = run(&scene, &by_hand, &["--dry-run=server", "-o", "json"]).await;
    let written: Value = serde_json::from_str(&written).unwrap();
    assert_eq!(written["spec"]["selector"], json!({"app": "web"}));
    let annotations = written["metadata"]["annotations"].as_object().unwrap();
    let ours: Vec<_> = annotations
        .keys()
        .filter(|key| key.starts_with(KEY))
        .collect();
    assert_eq!(ours, ["service-leader-election/epoch"]);

    let _webhook = scene
        .cluster
        .install_chart(&[("replicas", "1")])
        .await
        .unwrap();
    assert_eq!(scene.agreed("web", |_| true).await, leader);
    scene.record.allow_unpin();
    let bare = command(
        "kubectl annotate deployment/web service-leader-election/service-",
        &scene.namespace,
    );
    run(&scene, &bare, &[]).await;
    scene.given_back("web").await;
    scene.record.check().await.unwrap();
}
