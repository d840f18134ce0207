//! The Services of the election: what they say, and the one patch that switches one.
//!
//! Must not know: who leads, and when to switch.

use std::collections::BTreeMap;
use std::time::Duration;

use contract::names::{LABEL, service_annotation};
use election::{Epoch, Failure, PodName, Service, ServiceView, Version};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::{Api, Error, Kind};
use crate::hand_back;
use crate::watch::Versioned;

/// The parts of a Service that the sidecar reads.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Object {
    metadata: Meta,
    #[serde(default)]
    spec: Spec,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    #[serde(default)]
    uid: String,
    resource_version: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    managed_fields: Vec<Value>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Spec {
    #[serde(default, rename = "type")]
    type_: Option<String>,
    #[serde(default)]
    selector: BTreeMap<String, String>,
}

/// A Service as it was read or seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sight {
    /// What the core is told.
    pub(crate) view: ServiceView,
    /// The selector that the user wrote; `None` where nothing can be switched.
    pub(crate) wanted: Option<BTreeMap<String, String>>,
    /// For Events.
    pub(crate) uid: Option<String>,
    /// Who else wrote the selector or our annotations last.
    pub(crate) other_writer: Option<String>,
    /// `managedFields` without our claim to the selector, if there is one.
    pub(crate) hand_back: Option<Value>,
}

/// A Service has no resourceVersion that can be compared.
#[derive(Debug, thiserror::Error)]
#[error("the service has no usable resourceVersion: {0:?}")]
pub(crate) struct Unversioned(String);

impl Versioned for Object {
    fn version(&self) -> Option<&str> {
        Some(&self.metadata.resource_version)
    }
}

impl Sight {
    /// There is no Service of this name.
    pub(crate) fn missing() -> Self {
        Self {
            view: ServiceView::Missing,
            wanted: None,
            uid: None,
            other_writer: None,
            hand_back: None,
        }
    }

    /// What an object says.
    pub(crate) fn of(object: Object) -> Result<Self, Unversioned> {
        let Object { metadata, spec } = object;
        let Spec {
            type_,
            mut selector,
        } = spec;
        let uid = Some(metadata.uid).filter(|uid| !uid.is_empty());
        let other_writer = hand_back::last_other_writer(&metadata.managed_fields);
        let selected = selector.remove(LABEL);
        if selector.is_empty() || type_.as_deref() == Some("ExternalName") {
            return Ok(Self {
                view: ServiceView::WithoutSelector,
                wanted: None,
                uid,
                other_writer,
                hand_back: None,
            });
        }
        let text = metadata.resource_version;
        let version = Version::parse(&text).map_err(|_| Unversioned(text))?;
        let mut annotations = metadata.annotations;
        let epoch = annotations.remove(service_annotation::EPOCH);
        let view = ServiceView::Present(Service {
            version,
            selected,
            leader: annotations.remove(service_annotation::LEADER),
            epoch: Epoch::stored(epoch.as_deref()),
        });
        Ok(Self {
            view,
            wanted: Some(selector),
            uid,
            other_writer,
            hand_back: hand_back::without_our_claim(&metadata.managed_fields),
        })
    }
}

/// Reads all Services from a quorum, in this order.
pub(crate) async fn read_all(
    api: &Api,
    names: &[String],
    timeout: Duration,
) -> Result<Vec<Sight>, (Failure, Option<Error>)> {
    let reads = names
        .iter()
        .map(|name| api.get::<Object>(Kind::Service, name, timeout));
    let answers = futures::future::join_all(reads).await;
    let sights = answers.into_iter().map(|answer| match answer {
        Ok(Some(object)) => Sight::of(object).map_err(|_| (Failure::Unknown, None)),
        Ok(None) => Ok(Sight::missing()),
        Err(error) => Err((error.failure(), Some(error))),
    });
    sights.collect()
}

/// Points a Service at this pod, if `seen` is its revision.
pub(crate) async fn switch(
    api: &Api,
    name: &str,
    pod: &PodName,
    seen: Version,
    epoch: Epoch,
    timeout: Duration,
) -> Result<Version, (Failure, Option<Error>)> {
    let patch = patch(pod, seen, epoch);
    let answer = api
        .merge::<Object>(Kind::Service, name, &patch, timeout)
        .await;
    let written = answer.map_err(|error| match error.code() {
        // It was deleted.
        Some(404) => (Failure::Conflict, Some(error)),
        _ => (error.failure(), Some(error)),
    })?;
    Version::parse(&written.metadata.resource_version).map_err(|_| (Failure::Unknown, None))
}

/// Our selector key and our annotations, and no other byte that a user can see.
fn patch(pod: &PodName, seen: Version, epoch: Epoch) -> Value {
    json!({
        "metadata": {
            "resourceVersion": seen.to_string(),
            "annotations": {
                service_annotation::LEADER: pod.as_str(),
                service_annotation::EPOCH: epoch.to_string(),
            },
        },
        "spec": { "selector": { LABEL: pod.as_str() } },
    })
}

/// Whether a selector matches a pod's labels.
pub(crate) fn matches(
    selector: &BTreeMap<String, String>,
    labels: &BTreeMap<String, String>,
) -> bool {
    selector
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(raw: Value) -> Sight {
        Sight::of(serde_json::from_value(raw).unwrap()).unwrap()
    }

    fn map<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
        pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).into()
    }

    #[test]
    fn the_users_selector_is_what_is_left_without_our_key() {
        let pinned = sight(json!({
            "metadata": {
                "uid": "s-1", "resourceVersion": "99",
                "annotations": {
                    service_annotation::LEADER: "web-0",
                    service_annotation::EPOCH: "57",
                },
            },
            "spec": { "type": "ClusterIP", "selector": { "app": "web", LABEL: "web-0" } },
        }));
        let expected = Sight {
            view: ServiceView::Present(Service {
                version: Version::new(99),
                selected: Some("web-0".to_owned()),
                leader: Some("web-0".to_owned()),
                epoch: Version::new(57).epoch(),
            }),
            wanted: Some(map([("app", "web")])),
            uid: Some("s-1".to_owned()),
            other_writer: None,
            hand_back: None,
        };
        assert_eq!(pinned, expected);
    }

    #[test]
    fn a_service_without_a_selector_of_the_users_cannot_be_switched() {
        for spec in [
            json!({}),
            json!({ "selector": {} }),
            json!({ "selector": { LABEL: "web-0" } }),
            json!({ "type": "ExternalName", "selector": { "app": "web" } }),
        ] {
            let raw = json!({ "metadata": { "resourceVersion": "1" }, "spec": spec });
            assert_eq!(sight(raw).view, ServiceView::WithoutSelector);
        }
    }

    #[test]
    fn a_switch_is_one_patch_with_its_precondition() {
        let pod = PodName::parse("web-0").unwrap();
        let expected = json!({
            "metadata": {
                "resourceVersion": "99",
                "annotations": {
                    "service-leader-election/leader": "web-0",
                    "service-leader-election/epoch": "120",
                },
            },
            "spec": { "selector": { "service-leader-election": "web-0" } },
        });
        assert_eq!(
            patch(&pod, Version::new(99), Version::new(120).epoch()),
            expected
        );
    }

    #[test]
    fn a_selector_matches_when_every_pair_is_there() {
        let labels = map([("app", "web"), ("tier", "front")]);
        assert!(matches(&map([("app", "web")]), &labels));
        assert!(!matches(&map([("app", "web"), ("tier", "back")]), &labels));
        assert!(!matches(&map([("zone", "a")]), &labels));
    }
}
