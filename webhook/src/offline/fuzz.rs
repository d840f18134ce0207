//! Texts at random: manifests, and the values of annotations.

use contract::{
    facts::Facts,
    inject::{self, Reason, Settings},
    names,
    wording::in_one_line,
    workload::Kind,
};
use serde_json::{Map, Value, json};

use super::{
    explain::{self, Steps},
    grants,
    manifests::{self, Manifests},
    sources::Source,
};
use crate::fuzz::{fuzz, is_line, is_warning, settings};

#[test]
fn every_manifest_is_injected_or_told_to_be_wrong() {
    fuzz("manifests", manifest);
}

#[test]
fn every_value_of_an_annotation_is_obeyed_or_denied() {
    fuzz("annotations", values);
}

/// What is not changed comes out byte for byte; what is changed can be read again, and a second time
/// nothing is.
fn manifest(input: &[u8]) {
    // Other bytes are no text: they are refused before they are read as manifests.
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    for native in [true, false] {
        let once = injected(text, &settings(native));
        let errors = &once.report.errors;
        for error in errors {
            let told = in_one_line(error);
            assert!(is_line(&told), "{told}");
        }
        for (object, text) in &once.report.warnings {
            let told = format!("{object}: {text}");
            assert!(is_line(&told), "{told}");
        }
        if !errors.is_empty() {
            continue;
        }
        let written = once.text().unwrap();
        if once.report.changes.is_empty() {
            assert_eq!(written, text);
            continue;
        }
        let twice = injected(&written, &settings(native));
        let report = &twice.report;
        assert!(report.errors.is_empty(), "{:?}\n{written}", report.errors);
        assert!(report.changes.is_empty(), "{:?}\n{written}", report.changes);
        let (before, after) = (objects(&once), objects(&twice));
        assert_eq!(after.get(..before.len()), Some(&before[..]), "{written}");
    }
}

fn injected(text: &str, settings: &Settings) -> Manifests {
    let mut manifests = Manifests::read(&[Source {
        name: "stdin".to_owned(),
        text: text.to_owned(),
    }]);
    manifests.inject(settings);
    grants::grant(&mut manifests);
    manifests
}

fn objects(manifests: &Manifests) -> Vec<Value> {
    manifests
        .objects()
        .map(|(_, object)| object.clone())
        .collect()
}

/// An injection that a second time asks for no more and that can be taken back, or a refusal.
fn values(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    for object in [workload(&text), pod(&text)] {
        for native in [true, false] {
            decided(&object, &settings(native));
        }
    }
}

fn decided(object: &Value, settings: &Settings) {
    let facts = Facts::default();
    let mut steps = Steps::under("fuzz");
    let is_let_in = explain::explain(&mut steps, object, None, &facts, settings);
    let decided = manifests::decide(object, None, &facts, settings).unwrap();
    let of_pods = manifests::pod(object);
    let of_pods = of_pods.map(|pod| manifests::decide(&pod, None, &facts, settings).unwrap());
    let all = decided.is_ok() && of_pods.is_none_or(|decided| decided.is_ok());
    assert_eq!(is_let_in, all, "{}", steps.text());
    let decision = match decided {
        Ok(decision) => decision,
        Err(denied) => {
            assert!(is_line(&denied.message), "{denied}");
            return;
        }
    };
    for warning in &decision.warnings {
        assert!(is_warning(warning), "{warning}");
    }
    let mut injected = object.clone();
    json_patch::patch(&mut injected, &decision.patch).unwrap();
    let again = manifests::decide(&injected, None, &facts, settings).unwrap();
    assert!(
        again.unwrap().patch.0.is_empty(),
        "a second time it asks for more"
    );
    let is_noted = object.to_string().contains(names::annotation::INJECTED);
    if decision.reason == Reason::Injected && !is_noted {
        let out = inject::uninject(Kind::of(object).unwrap(), &injected);
        json_patch::patch(&mut injected, &out).unwrap();
        assert_eq!(&injected, object);
    }
}

/// A workload with an annotation for each line.
fn workload(text: &str) -> Value {
    let (own, templates) = annotations(text);
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "web", "annotations": own },
        "spec": { "template": { "metadata": { "annotations": templates }, "spec": spec() } },
    })
}

/// A pod with all of them.
fn pod(text: &str) -> Value {
    let (mut own, templates) = annotations(text);
    own.extend(templates);
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "generateName": "web-", "annotations": own },
        "spec": spec(),
    })
}

fn spec() -> Value {
    json!({ "containers": [{
        "name": "app",
        "ports": [{ "containerPort": 8080, "name": "http" }],
        "readinessProbe": { "httpGet": { "path": "/ready", "port": 28086 } },
    }] })
}

/// An annotation for each line, `key=value`: the product's, or where the key has a slash one of the
/// template's. `\n` stands for a line break.
fn annotations(text: &str) -> (Map<String, Value>, Map<String, Value>) {
    let (mut own, mut templates) = (Map::new(), Map::new());
    for line in text.lines() {
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        let value = Value::from(value.replace("\\n", "\n"));
        if key.contains('/') {
            templates.insert(key.to_owned(), value);
        } else {
            own.insert(format!("{}{key}", names::PREFIX), value);
        }
    }
    (own, templates)
}
