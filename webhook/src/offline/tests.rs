//! The command and the webhook are one engine: they make the same of every case of the injector.

use std::{fs, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use contract::inject::{PullPolicy, Settings};
use serde_json::{Value, json};

use super::{manifests::Manifests, sources::Source, yaml};
use crate::admission::tests::ask_with;

/// What became of an object, and what was said of it.
#[derive(Debug, PartialEq)]
struct Outcome {
    /// The object as bytes; None: it was denied.
    object: Option<Vec<u8>>,
    words: Vec<String>,
}

#[tokio::test]
async fn the_command_and_the_webhook_make_the_same_of_every_case() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../contract/testdata");
    let (mut changed, mut denied) = (0, 0);
    for case in fs::read_dir(folder).unwrap() {
        let case = case.unwrap().path();
        let text = fs::read_to_string(case.join("input.yaml")).unwrap();
        let settings = settings(&case);
        let expected = from_webhook(&text, settings.clone()).await;
        let (found, written) = from_command(&text, &settings);
        assert_eq!(found, expected, "{}", case.display());
        let before = serde_json::to_vec(&yaml::read(&text).unwrap()).unwrap();
        match expected.object {
            None => denied += 1,
            Some(after) if after == before => assert_eq!(written, text, "{}", case.display()),
            Some(_) => changed += 1,
        }
    }
    assert!(changed > 60 && denied > 30, "{changed} {denied}");
}

fn settings(case: &Path) -> Settings {
    let text = fs::read_to_string(case.join("case.yaml")).unwrap_or_default();
    let case = match text.as_str() {
        "" => Value::Null,
        text => yaml::read(text).unwrap(),
    };
    Settings {
        image: case["image"].as_str().unwrap_or("sidecar:1").to_owned(),
        pull_policy: PullPolicy::default(),
        native: case["native"].as_bool().unwrap_or(true),
        run_as_user: case["runAsUser"]
            .as_u64()
            .map(|user| u32::try_from(user).unwrap()),
    }
}

async fn from_webhook(text: &str, settings: Settings) -> Outcome {
    let mut object = yaml::read(text).unwrap();
    let api_version = object["apiVersion"].as_str().unwrap();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let review = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "u1",
            "kind": { "group": group, "version": version, "kind": object["kind"] },
            "namespace": object["metadata"]["namespace"],
            "operation": "CREATE",
            "object": object,
            // A pod's account would be made, and nobody is there who could.
            "dryRun": object["kind"] == "Pod",
        },
    });
    let (_, mut answer) = ask_with(settings, review.to_string()).await;
    let mut response = answer["response"].take();
    if response["allowed"] == false {
        return Outcome {
            object: None,
            words: vec![response["status"]["message"].as_str().unwrap().to_owned()],
        };
    }
    if let Some(patch) = response["patch"].as_str() {
        let patch: json_patch::Patch =
            serde_json::from_slice(&STANDARD.decode(patch).unwrap()).unwrap();
        json_patch::patch(&mut object, &patch).unwrap();
    }
    let warnings = response["warnings"].take();
    Outcome {
        object: Some(serde_json::to_vec(&object).unwrap()),
        words: serde_json::from_value(warnings).unwrap_or_default(),
    }
}

/// And what the command writes.
fn from_command(text: &str, settings: &Settings) -> (Outcome, String) {
    let mut manifests = Manifests::read(&[Source {
        name: "input.yaml".to_owned(),
        text: text.to_owned(),
    }]);
    manifests.inject(settings);
    let written = manifests.text().unwrap();
    let report = manifests.report;
    let outcome = if let Some(error) = report.errors.first() {
        let message = error.to_string();
        let (_, message) = message.split_once(": ").unwrap();
        Outcome {
            object: None,
            words: vec![message.to_owned()],
        }
    } else {
        let object = yaml::read(&written).unwrap();
        Outcome {
            object: Some(serde_json::to_vec(&object).unwrap()),
            words: report.warnings.into_iter().map(|(_, text)| text).collect(),
        }
    };
    (outcome, written)
}
