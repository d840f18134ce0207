//! What holds for the injection of every workload, generated at random.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use contract::{
    facts::Facts,
    inject::{self, PullPolicy, Reason, Request, Settings},
    names::{self, annotation},
    workload::Kind,
};
use proptest::{collection::vec, option, prelude::*};
use serde_json::{Map, Value, json};

fn settings(image: &str, native: bool) -> Settings {
    Settings {
        image: image.to_owned(),
        pull_policy: PullPolicy::default(),
        native,
        run_as_user: None,
    }
}

fn mutate(object: &Value, old: Option<&Value>, settings: &Settings) -> (Value, Reason) {
    let kind = Kind::of(object).unwrap();
    let request = Request {
        kind,
        object,
        old,
        facts: &Facts::default(),
    };
    let decision = inject::decide(&request, settings).unwrap();
    assert!(
        decision
            .warnings
            .iter()
            .all(|w| w.chars().count() < 256 && !w.contains('\n'))
    );
    let mut after = object.clone();
    json_patch::patch(&mut after, &decision.patch).unwrap();
    (after, decision.reason)
}

fn uninject(object: &Value) -> Value {
    let patch = inject::uninject(Kind::of(object).unwrap(), object);
    let mut after = object.clone();
    json_patch::patch(&mut after, &patch).unwrap();
    after
}

/// A map of labels or annotations, absent now and then.
fn map(ours: &'static str) -> impl Strategy<Value = Option<Value>> {
    let entry = (
        prop_oneof![3 => Just("app"), 1 => Just("team"), 1 => Just(ours)],
        "[a-z~/]{0,8}",
    );
    option::weighted(0.8, vec(entry, 0..4)).prop_map(|entries| {
        entries.map(|entries| {
            entries
                .into_iter()
                .map(|(k, v)| (k.to_owned(), Value::from(v)))
                .collect()
        })
    })
}

/// A list of containers or volumes with distinct names, absent now and then.
fn list(least: usize) -> impl Strategy<Value = Option<Value>> {
    vec("[a-z]{1,3}", least..4).prop_map(move |names| {
        if names.is_empty() && least == 0 {
            return None;
        }
        let items = names.into_iter().enumerate();
        Some(
            items
                .map(|(i, name)| json!({ "name": format!("{name}{i}"), "x": i }))
                .collect(),
        )
    })
}

fn put(map: &mut Map<String, Value>, key: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        map.insert(key.to_owned(), value.into());
    }
}

prop_compose! {
    fn template()(
        labels in map(names::LABEL),
        annotations in map("kubectl.kubernetes.io/default-container"),
        metadata in proptest::bool::weighted(0.9),
        containers in list(1),
        init_containers in list(0),
        empty_list in any::<bool>(),
        volumes in list(0),
        account in option::of(prop_oneof![Just("default"), Just("own")]),
        automount in option::of(any::<bool>()),
    ) -> Value {
        let mut spec = Map::new();
        put(&mut spec, "containers", containers);
        put(&mut spec, "initContainers", init_containers.or(empty_list.then(|| json!([]))));
        put(&mut spec, "volumes", volumes);
        put(&mut spec, "serviceAccountName", account);
        put(&mut spec, "automountServiceAccountToken", automount);
        let mut template = Map::new();
        template.insert("spec".to_owned(), Value::Object(spec));
        if metadata {
            let mut metadata = Map::new();
            put(&mut metadata, "labels", labels);
            put(&mut metadata, "annotations", annotations);
            template.insert("metadata".to_owned(), Value::Object(metadata));
        }
        Value::Object(template)
    }
}

fn deployment(template: &Value, annotations: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "web", "namespace": "shop", "annotations": annotations },
        "spec": { "replicas": 3, "template": template },
    })
}

/// A pod of this template.
fn pod(template: &Value, annotations: &Value) -> Value {
    let mut metadata = template.get("metadata").cloned().unwrap_or(json!({}));
    json_patch::merge(
        &mut metadata,
        &json!({ "name": "web-1", "annotations": annotations }),
    );
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template.get("spec") })
}

fn annotated() -> Value {
    json!({ annotation::SERVICE: "web" })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_second_injection_changes_nothing(template in template(), native in any::<bool>()) {
        let settings = settings("sidecar:1", native);
        let (once, reason) = mutate(&deployment(&template, &annotated()), None, &settings);
        prop_assert_eq!(reason, Reason::Injected);
        let (twice, _) = mutate(&once, None, &settings);
        prop_assert_eq!(&once, &twice);
    }

    #[test]
    fn de_annotating_gives_back_the_original(template in template(), native in any::<bool>()) {
        let settings = settings("sidecar:1", native);
        let (injected, _) = mutate(&deployment(&template, &annotated()), None, &settings);
        let mut bare = injected.clone();
        bare["metadata"]["annotations"] = json!({});
        let (after, reason) = mutate(&bare, Some(&injected), &settings);
        prop_assert_eq!(reason, Reason::TakenOut);
        prop_assert_eq!(after, deployment(&template, &json!({})));
    }

    #[test]
    fn what_was_injected_can_be_taken_out(template in template(), native in any::<bool>()) {
        let plain = deployment(&template, &annotated());
        let (injected, _) = mutate(&plain, None, &settings("sidecar:1", native));
        prop_assert_ne!(&injected, &plain);
        prop_assert_eq!(&uninject(&injected), &plain);
        prop_assert_eq!(&uninject(&plain), &plain);
    }

    #[test]
    fn what_was_injected_into_a_pod_can_be_taken_out(template in template(), native in any::<bool>()) {
        let plain = pod(&template, &annotated());
        let settings = settings("sidecar:1", native);
        let (injected, reason) = mutate(&plain, None, &settings);
        prop_assert_eq!(reason, Reason::Injected);
        prop_assert_eq!(&uninject(&injected), &plain);
        let (again, reason) = mutate(&injected, None, &settings);
        prop_assert_eq!(reason, Reason::Kept);
        prop_assert_eq!(&again, &injected);
    }

    #[test]
    fn an_unannotated_pod_loses_our_label_and_nothing_else(template in template()) {
        let mut plain = pod(&template, &json!({ "example.org/x": "y" }));
        let (after, reason) = mutate(&plain, None, &settings("sidecar:1", true));
        let labels = plain.pointer_mut("/metadata/labels").and_then(Value::as_object_mut);
        let label = labels.and_then(|labels| labels.remove(names::LABEL));
        prop_assert_eq!(after, plain);
        prop_assert_eq!(reason == Reason::Unlabelled, label.is_some());
    }

    #[test]
    fn an_unannotated_workload_is_untouched(template in template()) {
        let object = deployment(&template, &json!({ "example.org/x": "y" }));
        let (after, reason) = mutate(&object, None, &settings("sidecar:1", true));
        prop_assert_eq!(reason, Reason::NotAnnotated);
        prop_assert_eq!(after, object);
    }

    #[test]
    fn the_users_manifest_again_keeps_an_old_sidecar(template in template()) {
        let manifest = deployment(&template, &annotated());
        let (stored, _) = mutate(&manifest, None, &settings("sidecar:1", true));
        let (replaced, reason) = mutate(&manifest, Some(&stored), &settings("sidecar:2", true));
        prop_assert_eq!(reason, Reason::Kept);
        prop_assert_eq!(&replaced, &stored);
        let (applied, _) = mutate(&stored, Some(&stored), &settings("sidecar:2", true));
        prop_assert_eq!(&applied, &stored);
    }

    #[test]
    fn a_changed_template_gets_the_sidecar_of_today(template in template(), next in template()) {
        let (stored, _) =
            mutate(&deployment(&template, &annotated()), None, &settings("sidecar:1", true));
        let manifest = deployment(&next, &annotated());
        let fresh = mutate(&manifest, None, &settings("sidecar:2", true)).0;
        let (after, reason) = mutate(&manifest, Some(&stored), &settings("sidecar:2", true));
        let expected = if reason == Reason::Kept { stored } else { fresh };
        prop_assert_eq!(after, expected);
        prop_assert_eq!(reason == Reason::Kept, template == next);
    }
}
