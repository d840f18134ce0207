//! Walks `testdata`: each folder is an object, and beside it what the injector makes of it.
//!
//! `input.yaml` is the object, `old.yaml` what it was before an update, `case.yaml` what is known
//! of the Services, the namespace and the account, and what settings differ. Golden are `report.json` and, where
//! something is changed, `patch.json`. After a wanted change: `cargo xtask golden`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use contract::{
    facts::{Facts, Meshes, ServiceFact},
    inject::{self, Denied, PullPolicy, Reason, Request, Settings},
    reference::KEYS,
    values::ServiceName,
    workload::{Ending, Kind},
};
use serde_json::{Value, json};

#[test]
fn every_case_gives_its_golden_output() {
    let cases = cases();
    assert!(cases.len() >= 120, "only {} cases found", cases.len());
    let wrong: Vec<String> = cases.iter().filter_map(|case| differences(case)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_key_kind_and_reason_has_a_case() {
    let mut wanted: BTreeSet<String> = KEYS
        .iter()
        .map(|key| key.name)
        .flat_map(|key| [format!("{key}: obeyed"), format!("{key}: denied")])
        .chain(Kind::ALL.map(|kind| format!("kind {}", kind.as_str())))
        .chain(Ending::ALL.map(|kind| format!("kind {}", kind.as_str())))
        .chain(Reason::ALL.map(|reason| format!("reason {reason}")))
        .collect();
    for case in cases() {
        let object = read(&case, "input.yaml").expect("input.yaml");
        let report = read(&case, "report.json").expect("report.json");
        wanted.remove(&format!("kind {}", object["kind"].as_str().unwrap()));
        if let Some(denied) = report["denied"].as_str() {
            for key in KEYS.map(|key| key.name) {
                if denied.contains(&format!("annotation {key} is ")) {
                    wanted.remove(&format!("{key}: denied"));
                }
            }
            continue;
        }
        wanted.remove(&format!("reason {}", report["reason"].as_str().unwrap()));
        for (key, _) in object["metadata"]["annotations"]
            .as_object()
            .into_iter()
            .flatten()
        {
            wanted.remove(&format!("{key}: obeyed"));
        }
    }
    assert!(wanted.is_empty(), "without a case: {wanted:#?}");
}

#[test]
fn a_case_is_denied_or_warned_of_as_its_name_says() {
    for case in cases() {
        let name = case.file_name().unwrap().to_str().unwrap();
        let report = read(&case, "report.json").expect("report.json");
        assert_eq!(
            report["denied"].is_string(),
            name.starts_with("denied-"),
            "{name}"
        );
        let warned = report["warnings"]
            .as_array()
            .is_some_and(|it| !it.is_empty());
        assert!(warned || !name.starts_with("warning"), "{name}");
    }
}

#[test]
fn every_warning_is_one_whole_line() {
    for case in cases() {
        let report = read(&case, "report.json").expect("report.json");
        for warning in report["warnings"].as_array().into_iter().flatten() {
            let warning = warning.as_str().unwrap();
            // One of 255 was cut.
            let whole = warning.chars().count() < 255 && !warning.contains(char::is_control);
            assert!(whole, "{}: {warning}", case.display());
        }
    }
}

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut cases: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    cases.sort();
    cases
}

fn differences(case: &Path) -> Option<String> {
    let object = read(case, "input.yaml").expect("input.yaml");
    let old = read(case, "old.yaml");
    let (facts, settings) = setup(&read(case, "case.yaml").unwrap_or_default());
    let outcome = decide(&object, old.as_ref(), &facts, &settings);

    let mut wrong = Vec::new();
    let (report, patch) = match &outcome {
        Err(denied) => (json!({ "denied": denied.message }), None),
        Ok((decision, after)) => {
            let again = decide(after, old.as_ref(), &facts, &settings).expect("a second time");
            if *after != again.1 {
                wrong.push(format!(
                    "{}: a second time changes it again",
                    case.display()
                ));
            }
            let report =
                json!({ "reason": decision.reason.as_str(), "warnings": decision.warnings });
            let changes = !decision.patch.0.is_empty();
            (
                report,
                changes.then(|| pretty(&serde_json::to_value(&decision.patch).unwrap())),
            )
        }
    };
    wrong.extend(compare(&case.join("report.json"), Some(&pretty(&report))));
    wrong.extend(compare(&case.join("patch.json"), patch.as_deref()));
    (!wrong.is_empty()).then(|| wrong.join("\n"))
}

fn decide(
    object: &Value,
    old: Option<&Value>,
    facts: &Facts,
    settings: &Settings,
) -> Result<(inject::Decision, Value), Denied> {
    let text = |key| object[key].as_str().unwrap_or_default();
    let decision = match Ending::of(text("apiVersion"), text("kind")) {
        Some(kind) => inject::decide_ending(kind, object),
        None => inject::decide(
            &Request {
                kind: Kind::of(object).expect("a kind that is injected"),
                object,
                old,
                facts,
            },
            settings,
        )?,
    };
    let mut after = object.clone();
    json_patch::patch(&mut after, &decision.patch).expect("the patch applies");
    Ok((decision, after))
}

fn setup(case: &Value) -> (Facts, Settings) {
    let mut facts = Facts::default();
    for (name, service) in case["services"].as_object().into_iter().flatten() {
        let fact = if service.is_null() {
            ServiceFact::Missing
        } else {
            ServiceFact::of(service)
        };
        facts.note(&ServiceName::parse(name).unwrap(), fact);
    }
    if case["namespace"].is_object() {
        facts.note_meshes(Meshes::of(&case["namespace"]));
    }
    if case["accountIsMissing"] == true {
        facts.note_missing_account();
    }
    let settings = Settings {
        image: case["image"]
            .as_str()
            .unwrap_or("service-leader-election/sidecar:1")
            .to_owned(),
        pull_policy: PullPolicy::default(),
        native: case["native"].as_bool().unwrap_or(true),
        run_as_user: case["runAsUser"]
            .as_u64()
            .map(|user| u32::try_from(user).unwrap()),
    };
    (facts, settings)
}

fn read(case: &Path, file: &str) -> Option<Value> {
    let text = fs::read_to_string(case.join(file)).ok()?;
    Some(serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", case.display())))
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap() + "\n"
}

/// What is wrong with a golden file; with `UPDATE_GOLDEN` it is made right instead.
fn compare(path: &Path, actual: Option<&str>) -> Option<String> {
    let golden = fs::read_to_string(path).ok();
    if golden.as_deref() == actual {
        return None;
    }
    #[expect(clippy::disallowed_methods, reason = "a test has no flags")]
    let update = std::env::var("UPDATE_GOLDEN").is_ok();
    match (update, actual) {
        (true, Some(actual)) => fs::write(path, actual).unwrap(),
        (true, None) => fs::remove_file(path).unwrap(),
        (false, actual) => {
            return Some(format!(
                "{} is not\n{}",
                path.display(),
                actual.unwrap_or("absent")
            ));
        }
    }
    None
}
