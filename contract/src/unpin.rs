//! Giving a Service back to its user: the patches, for the controller to send.
//!
//! Must not know: whether the time has come, how a patch is sent.

use serde_json::{Map, Value, json};

use crate::{
    epoch::Epoch,
    names::{self, service_annotation},
};

/// Whether the controller may un-pin this Service. One whose sidecars were added by hand is none
/// of its business.
pub fn is_claimed(service: &Value) -> bool {
    annotation(service, service_annotation::CLAIMED).is_some()
}

/// The merge patch that un-pins a Service, in one compare-and-swap. The user's selector stands
/// again; the epoch goes up by one and stays, so that no late leader can write. None: the Service
/// is not claimed.
pub fn patch(service: &Value) -> Option<Value> {
    if !is_claimed(service) {
        return None;
    }
    let mut annotations = Map::new();
    annotations.insert(service_annotation::CLAIMED.to_owned(), Value::Null);
    annotations.insert(service_annotation::LEADER.to_owned(), Value::Null);
    let epoch = annotation(service, service_annotation::EPOCH).and_then(Epoch::parse);
    if let Some(next) = epoch.and_then(|epoch| epoch.next()) {
        annotations.insert(
            service_annotation::EPOCH.to_owned(),
            Value::from(next.as_str()),
        );
    }
    let mut patch = json!({
        "metadata": { "resourceVersion": resource_version(service)?, "annotations": annotations },
    });
    let pinned = service
        .pointer("/spec/selector")
        .and_then(|s| s.get(names::LABEL))
        .is_some();
    if let (true, Some(patch)) = (pinned, patch.as_object_mut()) {
        patch.insert(
            "spec".to_owned(),
            json!({ "selector": { names::LABEL: null } }),
        );
    }
    Some(patch)
}

/// The merge patch that takes `f:selector` out of what `manager` owns, so that the user's next
/// server-side apply meets no conflict. None: it owns nothing of the kind.
pub fn hand_back(service: &Value, manager: &str) -> Option<Value> {
    let mut entries = service
        .pointer("/metadata/managedFields")?
        .as_array()?
        .clone();
    let mut changed = false;
    for entry in &mut entries {
        if entry.get("manager").and_then(Value::as_str) != Some(manager) {
            continue;
        }
        let Some(fields) = entry.get_mut("fieldsV1").and_then(Value::as_object_mut) else {
            continue;
        };
        let Some(spec) = fields.get_mut("f:spec").and_then(Value::as_object_mut) else {
            continue;
        };
        changed |= spec.remove("f:selector").is_some();
        if spec.is_empty() {
            fields.remove("f:spec");
        }
    }
    changed.then_some(json!({
        "metadata": { "resourceVersion": resource_version(service)?, "managedFields": entries },
    }))
}

fn annotation<'a>(service: &'a Value, key: &str) -> Option<&'a str> {
    service.pointer("/metadata/annotations")?.get(key)?.as_str()
}

fn resource_version(service: &Value) -> Option<&str> {
    service.pointer("/metadata/resourceVersion")?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pinned() -> Value {
        json!({
            "metadata": {
                "resourceVersion": "77",
                "annotations": {
                    service_annotation::CLAIMED: "Deployment/web",
                    service_annotation::LEADER: "web-1",
                    service_annotation::EPOCH: "1999",
                    "example.org/x": "y",
                },
            },
            "spec": { "selector": { "app": "web", names::LABEL: "web-1" } },
        })
    }

    #[test]
    fn the_users_selector_stands_again() {
        let mut service = pinned();
        let unpin = patch(&service).unwrap();
        json_patch::merge(&mut service, &unpin);
        assert_eq!(
            service,
            json!({
                "metadata": {
                    "resourceVersion": "77",
                    "annotations": { service_annotation::EPOCH: "2000", "example.org/x": "y" },
                },
                "spec": { "selector": { "app": "web" } },
            })
        );
    }

    #[test]
    fn a_service_that_is_not_claimed_is_left_alone() {
        let mut service = pinned();
        service["metadata"]["annotations"]
            .as_object_mut()
            .unwrap()
            .remove(service_annotation::CLAIMED);
        assert_eq!(patch(&service), None);
    }

    #[test]
    fn a_malformed_epoch_stays_and_holds_nothing_up() {
        let mut service = pinned();
        service["metadata"]["annotations"][service_annotation::EPOCH] = json!("x");
        let patch = patch(&service).unwrap();
        assert_eq!(patch["spec"], json!({ "selector": { names::LABEL: null } }));
        assert_eq!(
            patch["metadata"]["annotations"].get(service_annotation::EPOCH),
            None
        );
    }

    #[test]
    fn the_selector_is_handed_back() {
        let mut service = pinned();
        service["metadata"]["managedFields"] = json!([
            { "manager": "helm", "fieldsV1": { "f:spec": { "f:selector": {} } } },
            { "manager": "us", "fieldsV1": {
                "f:metadata": { "f:annotations": {} }, "f:spec": { "f:selector": {} },
            } },
        ]);
        let patch = hand_back(&service, "us").unwrap();
        assert_eq!(
            patch["metadata"]["managedFields"],
            json!([
                { "manager": "helm", "fieldsV1": { "f:spec": { "f:selector": {} } } },
                { "manager": "us", "fieldsV1": { "f:metadata": { "f:annotations": {} } } },
            ])
        );
        json_patch::merge(&mut service, &patch);
        assert_eq!(hand_back(&service, "us"), None);
    }
}
