//! What people do to their workloads, with the webhook up and with it down: up, each comes to what
//! it should, and nothing is rolled out that need not be; down, nothing but what would change an
//! injected template is refused, in words that name the webhook. A control plane of its own.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, in its helpers too, and says why"
)]

#[path = "../support/mod.rs"]
mod support;

mod scene;
mod table;

use serde_json::Value;

use crate::{
    scene::{Scene, Seen},
    support::{
        Installed, SIDECAR,
        kinds::{Form, form},
    },
    table::{Effect, OPERATIONS, Operation},
};

/// The sidecar that the workloads were injected with, and the one of an upgraded webhook.
const IMAGES: [&str; 2] = [
    "service-leader-election/sidecar:1",
    "service-leader-election/sidecar:2",
];

/// The webhook's name, for those whom it cannot serve.
const REFUSED: &str = "failed calling webhook \"workloads.service-leader-election.io\"";

#[tokio::test]
async fn every_operation_comes_to_what_it_should_whether_the_webhook_is_up_or_down() {
    let installed = Installed::with(&[("sidecar.image", IMAGES[0])]).await;
    let cluster = &installed.cluster;
    let mut up = Vec::new();
    let mut down = Vec::new();
    for annotated in [false, true] {
        up.push(Scene::prepare(cluster, "up", annotated).await);
        down.push(Scene::prepare(cluster, "down", annotated).await);
    }
    let variable = format!(
        "SERVICE_LEADER_ELECTION_WEBHOOK_SIDECAR_IMAGE={}",
        IMAGES[1]
    );
    installed.set_webhook(&[&variable]).await;
    let mut wrong = Vec::new();
    for scene in &up {
        wrong.extend(perform(scene, true).await);
    }
    installed.take_webhook_down().await;
    for scene in &down {
        wrong.extend(perform(scene, false).await);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Does all of it, one after another: what did not come to what it should.
async fn perform(scene: &Scene<'_>, up: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    for operation in OPERATIONS {
        if operation.is_ours() && !scene.annotated {
            continue;
        }
        for kind in operation.kinds {
            let seen = scene.perform(&operation, kind).await;
            let judged = match (scene.annotated, up) {
                (false, _) => works_unasked(&seen),
                (true, true) => works(&operation, &seen),
                (true, false) => works_or_is_refused(&operation, &seen),
            };
            if let Err(what) = judged {
                let (name, annotated) = (operation.name, scene.annotated);
                wrong.push(format!(
                    "{name}, {kind}, annotated: {annotated}, webhook up: {up}: {what}"
                ));
            }
        }
    }
    wrong
}

/// One that is not annotated: it works, and no webhook of ours is asked.
fn works_unasked(seen: &Seen) -> Result<(), String> {
    seen.result.clone()?;
    if seen.calls > 0 {
        return Err("a webhook was asked".to_owned());
    }
    Ok(())
}

fn works(operation: &Operation, seen: &Seen) -> Result<(), String> {
    seen.result.clone()?;
    let asked = matches!(operation.effect, Effect::Injected | Effect::TakenOut);
    if (seen.calls > 0) != asked {
        return Err(format!("the webhook was asked {} times", seen.calls));
    }
    let template = |object: &Option<Value>| {
        let template = object.as_ref().map(|object| &object["spec"]["template"]);
        template.cloned()
    };
    let (before, after) = (template(&seen.before), template(&seen.after));
    let found = after
        .as_ref()
        .map(|template| (form(template), image(template)));
    match operation.effect {
        Effect::Untouched if before == after => Ok(()),
        Effect::Injected if found == Some((Some(Form::Native), Some(IMAGES[1]))) => Ok(()),
        Effect::TakenOut if found == Some((None, None)) => Ok(()),
        Effect::Gone if after.is_none() => Ok(()),
        _ => Err(format!("from {before:?} to {after:?}")),
    }
}

/// With nobody to ask.
fn works_or_is_refused(operation: &Operation, seen: &Seen) -> Result<(), String> {
    match (operation.effect, &seen.result) {
        (Effect::Untouched | Effect::Gone, _) => works(operation, seen),
        (_, Ok(())) => Err("it was let through".to_owned()),
        (_, Err(why)) if !why.contains(REFUSED) => Err(why.clone()),
        _ if seen.before != seen.after => Err(format!("it changed {:?}", seen.before)),
        _ => Ok(()),
    }
}

/// The sidecar's image.
fn image(template: &Value) -> Option<&str> {
    let containers = template["spec"]["initContainers"].as_array()?;
    let sidecar = containers.iter().find(|one| one["name"] == SIDECAR)?;
    sidecar["image"].as_str()
}
