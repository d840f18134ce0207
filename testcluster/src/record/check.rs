//! What must hold at every revision of a pinned Service. Pure.

use std::{collections::BTreeMap, ops::RangeInclusive};

use anyhow::{Result, bail, ensure};
use serde_json::Value;
use tokio::time::Instant;

use super::{Change, Kind};

/// The selector key of a pinned Service.
const KEY: &str = "service-leader-election";
const EPOCH: &str = "service-leader-election/epoch";
const LEADER: &str = "service-leader-election/leader";

/// What a test has said that may happen.
#[derive(Debug, Default)]
pub(super) struct Rules {
    pub(super) allowed: Vec<RangeInclusive<u64>>,
    pub(super) unpin: bool,
}

/// One revision of a Service.
#[derive(Debug, Clone, PartialEq)]
pub struct Pin {
    /// The Service's resourceVersion.
    pub revision: u64,
    /// The Service's name.
    pub service: String,
    /// The pod that the selector names, if it is pinned.
    pub selector: Option<String>,
    /// The stored epoch.
    pub epoch: Option<String>,
    /// When the recorder saw it.
    pub seen: Instant,
}

type Labels = BTreeMap<String, String>;

#[derive(Debug, Default)]
struct Service {
    uid: String,
    selector: Labels,
    pinned: bool,
    epoch: Option<String>,
}

/// Every revision of the Services, or the first that breaks a rule.
pub(super) fn check(changes: &[Change], rules: &Rules) -> Result<Vec<Pin>> {
    let mut services: BTreeMap<&str, Service> = BTreeMap::new();
    let mut pods: BTreeMap<&str, Labels> = BTreeMap::new();
    let mut pins = Vec::new();
    for change in changes {
        let allowed = rules
            .allowed
            .iter()
            .any(|range| range.contains(&change.revision));
        let name = change.name.as_str();
        ensure!(
            change.object != Some(Value::Null),
            "revision {}: {name} is not stored as JSON",
            change.revision
        );
        match (&change.kind, &change.object) {
            (Kind::Lease, _) => continue,
            (Kind::Pod, None) => {
                pods.remove(name);
            }
            (Kind::Pod, Some(pod)) => {
                pods.insert(name, map(pod, "/metadata/labels"));
            }
            (Kind::Service, None) => {
                services.remove(name);
            }
            (Kind::Service, Some(object)) => {
                let service = services.entry(name).or_default();
                let stepped = service.step(object, rules.unpin);
                if let (Err(what), false) = (stepped, allowed) {
                    bail!("revision {}: Service {name} {what}", change.revision);
                }
                pins.push(Pin {
                    revision: change.revision,
                    service: name.to_owned(),
                    selector: service.selector.get(KEY).cloned(),
                    epoch: text(object, EPOCH),
                    seen: change.seen,
                });
            }
        }
        for (name, service) in services.iter().filter(|(_, service)| service.pinned) {
            let matched: Vec<_> = pods
                .iter()
                .filter(|(_, labels)| {
                    let mut wanted = service.selector.iter();
                    wanted.all(|(key, value)| labels.get(key) == Some(value))
                })
                .map(|(pod, _)| *pod)
                .collect();
            ensure!(
                matched.len() < 2 || allowed,
                "revision {}: Service {name} selects {matched:?}",
                change.revision
            );
        }
    }
    ensure!(
        !pins.is_empty(),
        "no revision of any Service was seen: this proves nothing"
    );
    Ok(pins)
}

impl Service {
    /// Takes the next revision, and says what is wrong with it.
    fn step(&mut self, object: &Value, may_unpin: bool) -> Result<(), String> {
        let uid = object
            .pointer("/metadata/uid")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if self.uid != uid {
            *self = Self {
                uid: uid.to_owned(),
                ..Self::default()
            };
        }
        self.selector = map(object, "/spec/selector");
        let has_key = self.selector.contains_key(KEY);
        let new = text(object, EPOCH);
        let raised = rank(new.as_deref()) > rank(self.epoch.as_deref());
        if rank(new.as_deref()) < rank(self.epoch.as_deref()) {
            return Err(format!("has epoch {new:?} after {:?}", self.epoch));
        }
        self.epoch = new;
        if self.pinned && !has_key {
            if !(may_unpin && raised && text(object, LEADER).is_none()) {
                return Err("has lost its pin".to_owned());
            }
            self.pinned = false;
        }
        self.pinned |= has_key;
        Ok(())
    }
}

/// Epochs compare as decimals of any length: by length, then as text. None is the lowest.
fn rank(epoch: Option<&str>) -> (usize, &str) {
    let epoch = epoch.unwrap_or_default();
    (epoch.len(), epoch)
}

fn map(object: &Value, pointer: &str) -> Labels {
    let entries = object.pointer(pointer).and_then(Value::as_object);
    entries
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

fn text(object: &Value, annotation: &str) -> Option<String> {
    let annotations = object.pointer("/metadata/annotations")?;
    Some(annotations.get(annotation)?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn change(revision: u64, kind: Kind, name: &str, object: Value) -> Change {
        Change {
            revision,
            seen: Instant::now(),
            kind,
            name: name.to_owned(),
            object: Some(object),
        }
    }

    fn pod(revision: u64, name: &str, label: &str) -> Change {
        let labels = json!({"app": "web", KEY: label});
        change(
            revision,
            Kind::Pod,
            name,
            json!({"metadata": {"labels": labels}}),
        )
    }

    fn service(revision: u64, pod: Option<&str>, epoch: &str) -> Change {
        let mut selector = json!({"app": "web"});
        let mut annotations = json!({EPOCH: epoch});
        if let Some(pod) = pod {
            selector[KEY] = json!(pod);
            annotations[LEADER] = json!(pod);
        }
        change(
            revision,
            Kind::Service,
            "web",
            json!({
                "metadata": {"uid": "1", "annotations": annotations}, "spec": {"selector": selector},
            }),
        )
    }

    fn complaint(changes: &[Change], rules: &Rules) -> String {
        check(changes, rules).unwrap_err().to_string()
    }

    #[test]
    fn a_switch_with_a_higher_epoch_passes_and_is_listed() {
        let record = [
            pod(1, "a", "a"),
            pod(2, "b", "b"),
            service(3, None, ""),
            service(4, Some("a"), "9"),
            service(5, Some("b"), "10"),
        ];
        let pins = check(&record, &Rules::default()).unwrap();
        let selectors: Vec<_> = pins.iter().map(|pin| pin.selector.as_deref()).collect();
        assert_eq!(selectors, [None, Some("a"), Some("b")]);
    }

    #[test]
    fn an_empty_record_proves_nothing() {
        assert!(complaint(&[pod(1, "a", "a")], &Rules::default()).contains("proves nothing"));
    }

    #[test]
    fn a_falling_epoch_is_found() {
        let record = [service(1, Some("a"), "10"), service(2, Some("a"), "9")];
        assert!(complaint(&record, &Rules::default()).contains("epoch"));
    }

    #[test]
    fn two_selected_pods_are_found() {
        let record = [
            service(1, Some("a"), "1"),
            pod(2, "a", "a"),
            pod(3, "b", "a"),
        ];
        assert!(complaint(&record, &Rules::default()).starts_with("revision 3"));
    }

    #[test]
    fn a_lost_pin_is_found_unless_it_was_allowed_or_unpinned() {
        let drift = [
            service(1, Some("a"), "1"),
            service(2, None, "1"),
            service(3, Some("a"), "2"),
        ];
        assert!(complaint(&drift, &Rules::default()).contains("lost its pin"));
        let unpin = Rules {
            unpin: true,
            ..Rules::default()
        };
        assert!(complaint(&drift, &unpin).contains("lost its pin"));
        let allowed = Rules {
            allowed: vec![2..=2],
            ..Rules::default()
        };
        check(&drift, &allowed).unwrap();
        let unpinned = [service(1, Some("a"), "1"), service(2, None, "2")];
        check(&unpinned, &unpin).unwrap();
    }
}
