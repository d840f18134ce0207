//! What the generated cases are like: a property says nothing of what no case has.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use contract::{
    inject::{self, Reason, Request},
    reference,
    workload::Kind,
};
use serde_json::Value;

use crate::case::{Case, always, annotated, count};

/// A part of each warning there is.
const WARNINGS: [&str; 28] = [
    "does not exist",
    "has no selector",
    "ExternalName",
    "which is not obeyed yet",
    "is headless",
    "spec.serviceName too",
    "is claimed by",
    "which the template's labels do not match",
    "which the pod's labels do not match",
    "spec.replicas is 1",
    "the readinessProbe of",
    "the livenessProbe of",
    "the startupProbe of",
    "which is the sidecar's: only one",
    "hostNetwork is true",
    "on the template has no effect",
    "did you mean",
    "serviceAccountName is default",
    "service-account is default",
    "the pods run as",
    "any token that they mount",
    "the pod runs as",
    "any token that it mounts",
    "this dry run does not make it",
    "is taken out of the new pod",
    "keeps no sidecar out of its pods",
    "has no effect without",
    "has no effect on a pod of a Job",
];

/// A part of each refusal that no annotation alone is the reason of.
const REFUSALS: [&str; 6] = [
    "which container",
    "containers are",
    "serviceAccountName says",
    "has a volume",
    "spec.selector has the label",
    "the pod's name has",
];

/// What a template may have, and where.
const PLACES: [&str; 23] = [
    "/metadata/annotations/service-leader-election~1service",
    "/metadata/labels/service-leader-election",
    "/metadata/labels/sidecar.istio.io~1inject",
    "/metadata/annotations/sidecar.istio.io~1inject",
    "/metadata/annotations/linkerd.io~1inject",
    "/metadata/annotations/kubectl.kubernetes.io~1default-container",
    "/metadata/annotations/service-leader-election~1injected",
    "/spec/containers/2",
    "/spec/containers/0/env",
    "/spec/containers/0/envFrom",
    "/spec/containers/0/command",
    "/spec/containers/0/lifecycle",
    "/spec/containers/0/securityContext",
    "/spec/containers/0/volumeMounts",
    "/spec/initContainers/1",
    "/spec/initContainers/0/restartPolicy",
    "/spec/volumes/2",
    "/spec/serviceAccountName",
    "/spec/serviceAccount",
    "/spec/automountServiceAccountToken",
    "/spec/imagePullSecrets",
    "/spec/securityContext",
    "/spec/hostNetwork",
];

/// What a pod may have besides.
const PLACES_OF_PODS: [&str; 2] = ["/metadata/generateName", "/metadata/ownerReferences"];

/// What may be missing, empty or of another type.
const ABSENT: [&str; 6] = [
    "/metadata",
    "/metadata/labels",
    "/metadata/annotations",
    "/spec",
    "/spec/containers",
    "/spec/volumes",
];

#[test]
fn the_cases_have_all_that_can_be_met() {
    let met: RefCell<BTreeMap<String, u32>> = RefCell::default();
    always(&annotated(), |case| {
        for feature in features(&case) {
            *met.borrow_mut().entry(feature).or_default() += 1;
        }
        Ok(())
    });
    let met = met.into_inner();
    // Often enough that it is met in every run.
    let least = (count() / 5_000).max(1);
    let often = |feature: &String| met.get(feature).is_some_and(|times| *times >= least);
    let missed: Vec<_> = wanted().into_iter().filter(|it| !often(it)).collect();
    assert!(missed.is_empty(), "hardly met: {missed:#?}");
}

fn wanted() -> BTreeSet<String> {
    // What becomes of an update, the properties that need one are tried on nothing else.
    let reasons = [
        Reason::Injected,
        Reason::NotAnnotated,
        Reason::KeptOut,
        Reason::ByHand,
    ];
    let reasons_of_pods = [Reason::Unlabelled, Reason::Unsupported, Reason::Controlled];
    Kind::ALL
        .map(|kind| format!("kind {}", kind.as_str()))
        .into_iter()
        .chain(keys().flat_map(|key| [format!("{key} obeyed"), format!("{key} denied")]))
        .chain(reasons.map(|reason| format!("reason {reason} of a template")))
        .chain(reasons.map(|reason| format!("reason {reason} of a pod")))
        .chain(reasons_of_pods.map(|reason| format!("reason {reason} of a pod")))
        .chain(WARNINGS.map(|part| format!("warning {part}")))
        .chain(REFUSALS.map(|part| format!("refusal {part}")))
        .chain(PLACES.map(|place| format!("template with {place}")))
        .chain(
            PLACES
                .iter()
                .chain(&PLACES_OF_PODS)
                .map(|place| format!("pod with {place}")),
        )
        .chain(ABSENT.iter().flat_map(|place| {
            ["absent", "null", "empty", "odd"].map(|how| format!("{how} {place}"))
        }))
        .chain(["native", "plain"].map(str::to_owned))
        .collect()
}

fn keys() -> impl Iterator<Item = &'static str> {
    reference::KEYS.iter().map(|key| key.name)
}

fn features(case: &Case) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let kind = case.kind();
    let part = match kind {
        Kind::Pod => "pod",
        _ => "template",
    };
    found.insert(format!("kind {}", kind.as_str()));
    found.insert(
        if case.settings.native {
            "native"
        } else {
            "plain"
        }
        .to_owned(),
    );
    if let Some(template) = case.template() {
        let has = |place: &&str| template.pointer(place).is_some();
        let places = PLACES.iter().chain(&PLACES_OF_PODS).filter(|it| has(it));
        found.extend(places.map(|place| format!("{part} with {place}")));
        found.extend(ABSENT.iter().filter_map(|place| {
            let how = what_is_wrong(template.pointer(place))?;
            Some(format!("{how} {place}"))
        }));
    }
    let request = Request {
        kind,
        object: &case.object,
        old: None,
        facts: &case.facts,
    };
    match inject::decide(&request, &case.settings) {
        Err(denied) => {
            let says = |part: &str| denied.message.contains(part);
            let keys = keys().filter(|key| says(&format!("annotation {key} is ")));
            found.extend(keys.map(|key| format!("{key} denied")));
            let parts = REFUSALS.into_iter().filter(|part| says(part));
            found.extend(parts.map(|part| format!("refusal {part}")));
        }
        Ok(decision) => {
            found.insert(format!("reason {} of a {part}", decision.reason));
            let annotations = case.object.pointer("/metadata/annotations");
            let written = |key: &&str| annotations.is_some_and(|it| it.get(*key).is_some());
            found.extend(keys().filter(written).map(|key| format!("{key} obeyed")));
            let said = |part: &&&str| decision.warnings.iter().any(|it| it.contains(**part));
            found.extend(
                WARNINGS
                    .iter()
                    .filter(said)
                    .map(|part| format!("warning {part}")),
            );
        }
    }
    found
}

fn what_is_wrong(value: Option<&Value>) -> Option<&'static str> {
    match value {
        None => Some("absent"),
        Some(Value::Null) => Some("null"),
        Some(Value::Array(list)) => list.is_empty().then_some("empty"),
        Some(Value::Object(map)) => map.is_empty().then_some("empty"),
        Some(_) => Some("odd"),
    }
}
