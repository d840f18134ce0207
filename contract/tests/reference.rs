//! The reference of annotations says what the parser does.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::collections::BTreeSet;

use contract::{
    annotations::{self, Spec, Wish},
    facts::Facts,
    inject::{self, PullPolicy, Request, Settings},
    names::{self, annotation},
    reference::{Absent, KEYS, MARKS, REQUESTS},
    workload::Kind,
};
use serde_json::{Value, json};

/// A Deployment with one annotation beside the one that asks for an election.
fn annotated(key: &str, value: &str) -> Value {
    let mut object = json!({
        "metadata": { "annotations": { annotation::SERVICE: "web" } },
        "spec": { "template": { "spec": { "containers": [{ "name": "app" }] } } },
    });
    object["metadata"]["annotations"][key] = json!(value);
    object
}

fn wish(key: &str, value: &str) -> Result<Wish, String> {
    annotations::parse(annotated(key, value).get("metadata")).map_err(|errors| {
        let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
        texts.join("; ")
    })
}

/// What becomes of the template.
fn injected(key: &str, value: &str) -> Value {
    let mut object = annotated(key, value);
    let settings = Settings {
        image: "sidecar:1".to_owned(),
        pull_policy: PullPolicy::default(),
        native: true,
        run_as_user: None,
    };
    let request = Request {
        kind: Kind::Deployment,
        object: &object,
        old: None,
        facts: &Facts::default(),
    };
    let decision = inject::decide(&request, &settings).unwrap();
    json_patch::patch(&mut object, &decision.patch).unwrap();
    object["spec"]["template"].take()
}

#[test]
fn a_refusal_says_the_form_of_the_reference() {
    for key in KEYS {
        let expected = format!(r#"annotation {} is "?": write {}"#, key.name, key.form);
        assert_eq!(wish(key.name, "?"), Err(expected));
    }
}

#[test]
fn every_example_is_obeyed_and_is_not_what_holds_without_it() {
    let without = elect(wish("example.org/none", "").unwrap());
    for key in KEYS {
        match wish(key.name, key.example).unwrap() {
            Wish::KeepOut => assert_eq!(key.name, annotation::INJECT),
            found if key.name == annotation::SERVICE => assert_eq!(elect(found), without),
            found => assert_ne!(elect(found), without, "{}", key.name),
        }
    }
}

#[test]
fn an_absent_annotation_means_what_the_reference_says() {
    let without = injected("example.org/none", "");
    let mut values = 0;
    for key in KEYS {
        if let Absent::Value(value) = key.absent {
            assert_eq!(injected(key.name, value), without, "{}", key.name);
            values += 1;
        }
    }
    assert!(values >= 6, "{values}: this proves little");
}

fn elect(wish: Wish) -> Spec {
    match wish {
        Wish::Elect(spec) => *spec,
        other => panic!("{other:?}"),
    }
}

/// Every key that the product has a name for.
fn named() -> BTreeSet<&'static str> {
    include_str!("../src/names.rs")
        .split('"')
        .filter(|text| text.starts_with(names::PREFIX) && *text != names::PREFIX)
        .collect()
}

#[test]
fn every_key_with_a_name_is_in_the_reference() {
    let written = KEYS.iter().chain(&REQUESTS).map(|key| key.name);
    let told: BTreeSet<_> = written.chain(MARKS.map(|mark| mark.name)).collect();
    let missing: Vec<_> = named().difference(&told).copied().collect();
    assert!(missing.is_empty(), "without an entry: {missing:?}");
}
