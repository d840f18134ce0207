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
    let names_service = annotations::ours(metadata).contains_key(annotation::SERVICE);
    match kind {
        Some(kind) if kind.is_left_to_its_controller(metadata) => {
            Asked::Nobody("whatever controls it says what is in it")
        }
        Some(Kind::Pod) if is_to_be_injected_or_copied(object, names_service) => Asked::Pods,
        Some(Kind::Pod) if names_service && !is_by_hand(object) => {
            Asked::Nobody("it has its sidecar, or is of a Job")
        }
        Some(Kind::Pod) | None => words(object),
        Some(_) if names_service => Asked::Workloads,
        Some(_) => words(object),
    }
}

fn words(object: &Value) -> Asked {
    if owners(object).any(|owner| owner.get("controller").and_then(Value::as_bool) == Some(true)) {
        return Asked::Nobody("whatever controls it is told");
    }
    let places = [
        "/metadata",
        "/spec/template/metadata",
        "/spec/jobTemplate/spec/template/metadata",
    ];
    let mut keys = places
        .into_iter()
        .flat_map(|place| annotations::ours(object.pointer(place)))
        .map(|(key, _)| key);
    if keys.any(|key| key != annotation::INJECTED) {
        Asked::Words
    } else {
        Asked::Nobody("it has no annotation that begins with service-leader-election/")
    }
}

fn is_to_be_injected_or_copied(pod: &Value, names_service: bool) -> bool {
    let labels = pod.pointer("/metadata/labels");
    let is_of_a_job = owners(pod).any(|owner| {
        let text = |key| owner.get(key).and_then(Value::as_str);
        text("apiVersion") == Some(Ending::API_VERSION) && text("kind") == Some("Job")
    });
    labels.and_then(|labels| labels.get(names::LABEL)).is_some()
        || names_service && !has_sidecar(pod) && !is_of_a_job
}

/// Whether the pod has a sidecar that the injector does not know of.
fn is_by_hand(pod: &Value) -> bool {
    has_sidecar(pod) && !annotations::ours(pod.get("metadata")).contains_key(annotation::INJECTED)
}

fn has_sidecar(pod: &Value) -> bool {
    ["/spec/containers", "/spec/initContainers"]
        .into_iter()
        .filter_map(|list| pod.pointer(list)?.as_array())
        .flatten()
        .any(|it| it.get("name").and_then(Value::as_str) == Some(names::CONTAINER))
}

fn owners(object: &Value) -> impl Iterator<Item = &Value> {
    let owners = object.pointer("/metadata/ownerReferences");
    owners.and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::{super::yaml, *};

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
                Asked::Nobody(why) => !patches && (!warns || why.ends_with("is of a Job")),
            };
            assert!(fits, "{}: {asked:?}", case.display());
            match asked {
                Asked::Workloads => asked_of[0] += 1,
                Asked::Pods => asked_of[1] += 1,
                Asked::Words => asked_of[2] += 1,
                Asked::Nobody(_) => {}
            }
        }
        assert!(asked_of.iter().all(|count| *count > 10), "{asked_of:?}");
    }
}
