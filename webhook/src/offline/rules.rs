//! Which of the chart's webhooks the API server asks about an object: its `matchConditions`, in words.
//!
//! Must not know: what is answered.

use std::fmt;

use contract::{
    annotations,
    names::{self, annotation},
    workload::{Ending, Kind},
};
use serde_json::Value;

/// Who is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// When it is created, and when its template or an annotation of ours changes.
    Workloads,
    /// When it is created.
    Pods,
    /// When it is created or updated; for warnings alone.
    Words,
    /// None of them, and why.
    Nobody(&'static str),
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Workloads => {
                "workloads.service-leader-election.io, when it is created and when its template or an \
                 annotation of ours changes"
            }
            Self::Pods => "pods.service-leader-election.io, when it is created",
            Self::Words => "words.service-leader-election.io, for warnings alone",
            Self::Nobody(why) => return write!(f, "none, for {why}"),
        })
    }
}

const CONTROLLED: Asked = Asked::Nobody("whatever controls it is told");
const NOT_ANNOTATED: Asked =
    Asked::Nobody("it has no annotation that begins with service-leader-election/");

/// Who is asked about an object.
pub(super) fn asked(object: &Value) -> Asked {
    let text = |key| object.get(key).and_then(Value::as_str).unwrap_or_default();
    let kind = Kind::of(object);
    let ends = Ending::of(text("apiVersion"), text("kind"));
    if kind.is_none() && ends.is_none() {
        return Asked::Nobody("they are asked about other kinds");
    }
    let metadata = object.get("metadata");
    if metadata
        .and_then(|it| it.get("deletionTimestamp"))
        .is_some()
    {
        return Asked::Nobody("it is being deleted");
    }
    let bears_a_key = bears_a_key_of_ours(object);
    match kind {
        Some(kind) if kind.is_left_to_its_controller(metadata) => {
            Asked::Nobody("whatever controls it says what is in it")
        }
        Some(Kind::Pod) => about_a_pod(object),
        // Our note alone is left beside a sidecar that is to be taken out.
        Some(_) if keys_of_ours(object).next().is_some() => Asked::Workloads,
        None if bears_a_key && is_controlled(object) => CONTROLLED,
        None if bears_a_key => Asked::Words,
        _ => NOT_ANNOTATED,
    }
}

fn about_a_pod(pod: &Value) -> Asked {
    let labels = pod.pointer("/metadata/labels");
    if labels.and_then(|labels| labels.get(names::LABEL)).is_some() {
        return Asked::Pods;
    }
    if !bears_a_key_of_ours(pod) {
        return NOT_ANNOTATED;
    }
    let annotations = annotations::ours(pod.get("metadata"));
    let names_service = annotations.contains_key(annotation::SERVICE);
    let is_injected = names_service && annotations.contains_key(annotation::INJECTED);
    if names_service && !has_sidecar(pod) {
        if is_of_a_job(pod) {
            Asked::Nobody("it is of a Job, whose pods end")
        } else {
            Asked::Pods
        }
    } else if is_injected {
        Asked::Nobody("it has its sidecar")
    } else if is_controlled(pod) {
        CONTROLLED
    } else {
        Asked::Pods
    }
}

/// Such as people write; or its template does.
fn bears_a_key_of_ours(object: &Value) -> bool {
    keys_of_ours(object).any(|key| key != annotation::INJECTED)
}

/// Those of its template, too.
fn keys_of_ours(object: &Value) -> impl Iterator<Item = String> {
    let places = [
        "/metadata",
        "/spec/template/metadata",
        "/spec/jobTemplate/spec/template/metadata",
    ];
    places
        .into_iter()
        .flat_map(|place| annotations::ours(object.pointer(place)))
        .map(|(key, _)| key)
}

fn has_sidecar(pod: &Value) -> bool {
    ["/spec/containers", "/spec/initContainers"]
        .into_iter()
        .filter_map(|list| pod.pointer(list)?.as_array())
        .flatten()
        .any(|it| it.get("name").and_then(Value::as_str) == Some(names::CONTAINER))
}

fn is_of_a_job(pod: &Value) -> bool {
    owners(pod).any(|owner| {
        let text = |key| owner.get(key).and_then(Value::as_str);
        text("apiVersion") == Some(Ending::API_VERSION) && text("kind") == Some("Job")
    })
}

fn is_controlled(object: &Value) -> bool {
    owners(object).any(|owner| owner.get("controller").and_then(Value::as_bool) == Some(true))
}

fn owners(object: &Value) -> impl Iterator<Item = &Value> {
    let owners = object.pointer("/metadata/ownerReferences");
    owners.and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use serde_json::json;

    use super::{super::yaml, *};

    #[test]
    fn the_note_on_a_template_is_enough_but_for_pods_and_what_is_controlled() {
        let note = json!({ "annotations": { annotation::INJECTED: "{}" } });
        let mut workload = json!({ "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {},
            "spec": { "template": { "metadata": note } } });
        assert_eq!(asked(&workload), Asked::Workloads);
        workload["metadata"]["ownerReferences"] = json!([{ "controller": true }]);
        assert!(matches!(asked(&workload), Asked::Nobody(_)));
        let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": note });
        assert_eq!(asked(&pod), NOT_ANNOTATED);
    }

    /// Whether the API server does the same is for the test that puts every case to it.
    #[test]
    fn of_every_case_who_is_asked_is_whose_answer_is_golden() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../contract/testdata");
        let mut asked_of = [0; 3];
        for case in fs::read_dir(folder).unwrap() {
            let case = case.unwrap().path();
            if case.join("old.yaml").exists() {
                continue;
            }
            let read = |file| yaml::read(&fs::read_to_string(case.join(file)).unwrap()).unwrap();
            let report = read("report.json");
            let asked = asked(&read("input.yaml"));
            let patches = case.join("patch.json").exists() || report["denied"].is_string();
            let warns = report["warnings"].get(0).is_some();
            let fits = match asked {
                Asked::Workloads | Asked::Pods => true,
                Asked::Words => !patches,
                // The pods of a Job are its controller's, which listens to nobody.
                Asked::Nobody(why) => !patches && (!warns || why.contains("is of a Job")),
            };
            assert!(fits, "{}: {asked:?}", case.display());
            match asked {
                Asked::Workloads => asked_of[0] += 1,
                Asked::Pods => asked_of[1] += 1,
                Asked::Words => asked_of[2] += 1,
                Asked::Nobody(_) => {}
            }
        }
        assert!(asked_of.iter().all(|count| *count > 5), "{asked_of:?}");
    }
}
