//! What the injector is not asked about, and people take it for: our annotation on a kind of others, and
//! our keys among the labels.
//!
//! Pure. Must not know: what is decided of an object.

use contract::{
    annotations::{self, Wish},
    names::annotation,
    workload::{Ending, Kind},
};
use serde_json::{Map, Value};

use super::place::Identity;

/// What can be said of an object, whatever becomes of it.
pub(super) fn of(object: &Value) -> Vec<String> {
    match Kind::of(object) {
        Some(kind) => among_the_labels(kind, object),
        None => on_a_kind_of_others(object).into_iter().collect(),
    }
}

/// Keys among the labels that are annotations, and stand among those not.
fn among_the_labels(kind: Kind, object: &Value) -> Vec<String> {
    let metadata = object.get("metadata");
    if kind.is_left_to_its_controller(metadata) {
        return Vec::new();
    }
    let written = annotations::ours(metadata);
    let mut keys: Vec<&String> = ["/metadata/labels", "/spec/template/metadata/labels"]
        .into_iter()
        .filter_map(|labels| object.pointer(labels)?.as_object())
        .flat_map(Map::keys)
        .filter(|key| annotations::is_known(key) && !written.contains_key(*key))
        .collect();
    keys.sort();
    keys.dedup();
    let remark = |key| {
        format!(
            "label {key} has no effect: write it among the annotations, in the {}'s own metadata",
            kind.as_str()
        )
    };
    keys.into_iter().map(remark).collect()
}

/// An election that is asked for on an object that is never injected.
fn on_a_kind_of_others(object: &Value) -> Option<String> {
    let identity = Identity::of(object);
    let Identity {
        api_version, kind, ..
    } = &identity;
    if kind.is_empty() || Ending::of(api_version, kind).is_some() {
        return None;
    }
    let (service, kind) = (annotation::SERVICE, identity.kind_in_words());
    let kinds = Kind::ALL.map(Kind::as_str).join(", ");
    let template = object.pointer("/spec/template");
    let template = template.filter(|template| template.get("spec").is_some());
    if asks(object) {
        Some(match template {
            Some(_) => format!(
                "annotation {service} has no effect on kind {kind}: write it on the template, whose pods \
                 the webhook injects one by one, or use one of {kinds}"
            ),
            None => format!(
                "annotation {service} has no effect on kind {kind}: write it on what makes the pods, one \
                 of {kinds}"
            ),
        })
    } else if asks(template?) {
        Some(format!(
            "annotation {service} is on the template, whose pods the webhook injects one by one: of kind \
             {kind} nothing is injected here, but of {kinds}"
        ))
    } else {
        None
    }
}

/// Whether annotations ask for an election, be it in values that cannot be obeyed.
fn asks(object: &Value) -> bool {
    let wish = annotations::parse(object.get("metadata"));
    !matches!(wish, Ok(Wish::Nothing | Wish::KeepOut))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use testcluster::troubleshooting::documented;

    use super::*;

    fn object(api_version: &str, kind: &str, metadata: &Value) -> Value {
        json!({ "apiVersion": api_version, "kind": kind, "metadata": metadata })
    }

    fn asking() -> Value {
        json!({ "name": "web", "annotations": { annotation::SERVICE: "web" } })
    }

    fn documented_remark(row: &str, object: &Value, part: &str) {
        let remarks = of(object);
        let [remark] = remarks.as_slice() else {
            panic!("{remarks:?}");
        };
        documented(row, &format!("warning: {}: {remark}", Identity::of(object))).unwrap();
        assert!(remark.contains(part), "{remark}");
    }

    #[test]
    fn an_annotation_on_a_kind_that_is_not_injected_is_told() {
        let service = object("v1", "Service", &asking());
        documented_remark("command-kind-without-pods", &service, "Service of v1: ");
        for (api_version, kind) in [
            ("argoproj.io/v1alpha1", "Rollout"),
            ("apps.openshift.io/v1", "DeploymentConfig"),
            ("extensions/v1beta1", "Deployment"),
        ] {
            let mut object = object(api_version, kind, &asking());
            object["spec"] = json!({ "template": { "spec": {} } });
            let kind = format!("{kind} of {api_version}: ");
            documented_remark("command-kind-of-others", &object, &kind);
        }
        let mut object = object("argoproj.io/v1alpha1", "Rollout", &json!({ "name": "web" }));
        object["spec"] = json!({ "template": { "metadata": asking(), "spec": {} } });
        let kind = "Rollout of argoproj.io/v1alpha1 ";
        documented_remark("command-template-of-others", &object, kind);
    }

    #[test]
    fn what_is_injected_or_asks_for_nothing_is_not_remarked_upon() {
        let kept_out = json!({ "annotations": {
            annotation::SERVICE: "web", annotation::INJECT: "false"
        } });
        for silent in [
            object("apps/v1", "Deployment", &asking()),
            object("batch/v1", "Job", &asking()),
            object(
                "v1",
                "Service",
                &json!({ "annotations": { "service-leader-election/epoch": "7" } }),
            ),
            object("argoproj.io/v1alpha1", "Rollout", &kept_out),
            json!({ "metadata": asking() }),
            json!(null),
        ] {
            assert_eq!(of(&silent), [""; 0], "{silent}");
        }
    }

    #[test]
    fn a_key_among_the_labels_is_told_once() {
        let labels = json!({ annotation::SERVICE: "web", "app": "web" });
        let mut object = object(
            "apps/v1",
            "Deployment",
            &json!({ "name": "web", "labels": labels }),
        );
        object["spec"] = json!({ "template": { "metadata": { "labels": labels } } });
        documented_remark("command-key-among-the-labels", &object, annotation::SERVICE);
        object["metadata"]["annotations"] = json!({ annotation::SERVICE: "web" });
        assert_eq!(of(&object), [""; 0]);
    }
}
