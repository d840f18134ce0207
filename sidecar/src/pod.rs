//! Pods: what the sidecar reads of one, whether its own may lead, and the own pod's label.
//!
//! Must not know: who leads.

use std::collections::BTreeMap;
use std::time::Duration;

use contract::names::LABEL;
use election::{Identity, OwnPod, PodFate};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::{Api, Error, Kind};
use crate::service;
use crate::watch::Versioned;

/// The parts of a pod that the sidecar reads. Everything else is dropped as it is parsed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Object {
    pub(crate) metadata: Meta,
    pub(crate) spec: Spec,
    pub(crate) status: Status,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Meta {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) resource_version: Option<String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) owner_references: Vec<Owner>,
    pub(crate) creation_timestamp: Option<String>,
    pub(crate) deletion_timestamp: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Owner {
    pub(crate) kind: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Spec {
    pub(crate) node_name: Option<String>,
    pub(crate) containers: Vec<Container>,
    pub(crate) init_containers: Vec<Container>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Container {
    pub(crate) name: String,
    pub(crate) command: Vec<String>,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<Variable>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Status {
    pub(crate) phase: String,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) container_statuses: Vec<ContainerStatus>,
    pub(crate) init_container_statuses: Vec<ContainerStatus>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Condition {
    #[serde(rename = "type")]
    pub(crate) type_: String,
    pub(crate) status: String,
    pub(crate) last_transition_time: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ContainerStatus {
    pub(crate) name: String,
    pub(crate) ready: bool,
}

impl Versioned for Object {
    fn version(&self) -> Option<&str> {
        self.metadata.resource_version.as_deref()
    }
}

impl Object {
    /// Whether it is ready: as a whole, or by the container that the user named.
    pub(crate) fn is_ready(&self, container: Option<&str>) -> bool {
        let Some(container) = container else {
            return self
                .ready_condition()
                .is_some_and(|ready| ready.status == "True");
        };
        let statuses = self
            .status
            .container_statuses
            .iter()
            .chain(&self.status.init_container_statuses);
        statuses
            .filter(|status| status.name == container)
            .any(|status| status.ready)
    }

    /// Since when it is as ready as it is, as the API server writes times.
    pub(crate) fn ready_since(&self) -> Option<&str> {
        self.ready_condition()?.last_transition_time.as_deref()
    }

    /// Its label's value.
    pub(crate) fn label(&self) -> Option<&str> {
        self.metadata.labels.get(LABEL).map(String::as_str)
    }

    pub(crate) fn is_labelled(&self) -> bool {
        self.label() == Some(self.metadata.name.as_str())
    }

    /// The same pod with its label in place.
    pub(crate) fn as_labelled(&self) -> Self {
        let mut pod = self.clone();
        pod.metadata
            .labels
            .insert(LABEL.to_owned(), pod.metadata.name.clone());
        pod
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    /// It will never run again.
    pub(crate) fn is_finished(&self) -> bool {
        matches!(self.status.phase.as_str(), "Failed" | "Succeeded")
    }

    /// Something is about to take it away: a drain, a preemption, a taint.
    pub(crate) fn is_to_be_disrupted(&self) -> bool {
        let mut conditions = self.status.conditions.iter();
        conditions.any(|c| c.type_ == "DisruptionTarget" && c.status == "True")
    }

    /// The revision of the template that it was made of, as its workload names it.
    pub(crate) fn template(&self) -> Option<&str> {
        let label = |key| self.metadata.labels.get(key).map(String::as_str);
        label("pod-template-hash").or_else(|| label("controller-revision-hash"))
    }

    /// Its number in a StatefulSet, which deletes the highest one first.
    pub(crate) fn ordinal(&self) -> Option<u32> {
        let owners = &self.metadata.owner_references;
        if !owners.iter().any(|owner| owner.kind == "StatefulSet") {
            return None;
        }
        let (_, number) = self.metadata.name.rsplit_once('-')?;
        number.parse().ok()
    }

    pub(crate) fn has_container(&self, name: &str) -> bool {
        self.containers().any(|container| container.name == name)
    }

    pub(crate) fn containers(&self) -> impl Iterator<Item = &Container> {
        self.spec
            .containers
            .iter()
            .chain(&self.spec.init_containers)
    }

    fn ready_condition(&self) -> Option<&Condition> {
        self.status
            .conditions
            .iter()
            .find(|condition| condition.type_ == "Ready")
    }
}

/// What the core is told of the own pod. `wanted`: the user's selectors of the election's existing
/// Services; `None`: not all of them are known yet.
pub(crate) fn own(
    pod: Option<&Object>,
    identity: &Identity,
    container: Option<&str>,
    wanted: Option<&[&BTreeMap<String, String>]>,
) -> OwnPod {
    let Some(pod) = pod.filter(|pod| pod.metadata.uid == identity.uid.as_str()) else {
        return OwnPod {
            candidate: false,
            leaving: false,
            gone: true,
        };
    };
    let matched = wanted.is_some_and(|selectors| {
        selectors
            .iter()
            .all(|selector| service::matches(selector, &pod.metadata.labels))
    });
    let leaving = pod.is_leaving();
    let usable = !leaving && !pod.is_finished() && pod.is_labelled();
    OwnPod {
        candidate: usable && matched && pod.is_ready(container),
        leaving,
        gone: false,
    }
}

/// Puts the label on the own pod. Another pod of the name refuses it (409), for its UID differs.
pub(crate) async fn label(
    api: &Api,
    identity: &Identity,
    timeout: Duration,
) -> Result<Object, Error> {
    api.merge(
        Kind::Pod,
        identity.pod.as_str(),
        &label_patch(identity),
        timeout,
    )
    .await
}

fn label_patch(identity: &Identity) -> Value {
    json!({ "metadata": {
        "uid": identity.uid.as_str(),
        "labels": { LABEL: identity.pod.as_str() },
    } })
}

/// Asks a quorum what became of a holder's pod.
pub(crate) async fn fate(
    api: &Api,
    identity: &Identity,
    timeout: Duration,
) -> Result<PodFate, Error> {
    let pod = api
        .get::<Object>(Kind::Pod, identity.pod.as_str(), timeout)
        .await?;
    let runs = |pod: &Object| pod.metadata.uid == identity.uid.as_str() && !pod.is_finished();
    Ok(if pod.as_ref().is_some_and(runs) {
        PodFate::Present
    } else {
        PodFate::Gone
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use election::{PodName, PodUid};

    fn identity() -> Identity {
        Identity {
            pod: PodName::parse("web-0").unwrap(),
            uid: PodUid::new("u-1"),
        }
    }

    fn ready() -> Value {
        json!({
            "metadata": {
                "name": "web-0", "uid": "u-1",
                "labels": { "app": "web", LABEL: "web-0" },
            },
            "spec": { "containers": [{ "name": "app" }, { "name": "proxy" }] },
            "status": {
                "phase": "Running",
                "conditions": [{
                    "type": "Ready", "status": "True",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }],
                "containerStatuses": [
                    { "name": "app", "ready": true }, { "name": "proxy", "ready": false },
                ],
            },
        })
    }

    fn own_of(raw: Value, container: Option<&str>) -> OwnPod {
        let selector = BTreeMap::from([("app".to_owned(), "web".to_owned())]);
        let pod: Object = serde_json::from_value(raw).unwrap();
        own(Some(&pod), &identity(), container, Some(&[&selector]))
    }

    #[test]
    fn a_ready_labelled_and_selected_pod_is_a_candidate() {
        let candidate = OwnPod {
            candidate: true,
            leaving: false,
            gone: false,
        };
        assert_eq!(own_of(ready(), None), candidate);

        let spoilt: [fn(&mut Value); 5] = [
            |pod| pod["status"]["conditions"][0]["status"] = json!("False"),
            |pod| pod["status"]["conditions"] = json!([]),
            |pod| pod["metadata"]["labels"][LABEL] = json!("web-1"),
            |pod| pod["metadata"]["labels"]["app"] = json!("other"),
            |pod| pod["status"]["phase"] = json!("Failed"),
        ];
        for spoil in spoilt {
            let mut pod = ready();
            spoil(&mut pod);
            assert_eq!(own_of(pod.clone(), None), OwnPod::default(), "{pod}");
        }
    }

    #[test]
    fn a_named_container_counts_in_place_of_the_pod() {
        let mut unready = ready();
        unready["status"]["conditions"][0]["status"] = json!("False");
        assert!(own_of(unready.clone(), Some("app")).candidate);
        assert!(!own_of(unready, Some("proxy")).candidate);
        assert!(!own_of(ready(), Some("absent")).candidate);
    }

    #[test]
    fn a_pod_that_is_deleted_is_leaving() {
        let mut pod = ready();
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(
            own_of(pod, None),
            OwnPod {
                candidate: false,
                leaving: true,
                gone: false
            }
        );
    }

    #[test]
    fn another_pod_of_the_name_means_that_the_own_is_gone() {
        let mut pod = ready();
        pod["metadata"]["uid"] = json!("u-2");
        let gone = OwnPod {
            candidate: false,
            leaving: false,
            gone: true,
        };
        assert_eq!(own_of(pod, None), gone);
        assert_eq!(own(None, &identity(), None, Some(&[])), gone);
    }

    #[test]
    fn nobody_is_a_candidate_before_the_services_are_known() {
        let pod: Object = serde_json::from_value(ready()).unwrap();
        assert_eq!(own(Some(&pod), &identity(), None, None), OwnPod::default());
    }

    #[test]
    fn the_label_goes_to_this_very_pod() {
        let expected = json!({
            "metadata": { "uid": "u-1", "labels": { "service-leader-election": "web-0" } },
        });
        assert_eq!(label_patch(&identity()), expected);
    }
}
