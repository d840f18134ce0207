//! The election's Lease: what it says, and how it is written without losing what it says besides.
//!
//! The object is kept as it came, not as a type, so that fields of a later API and the user's own
//! labels and annotations outlive our writes.
//!
//! Must not know: when to write.

use std::time::Duration;

use contract::names::lease_annotation::{HOLDER, TERM};
use election::{Failure, Holder, Identity, Lease, LeaseRecord, PodName, PodUid, Timing, Version};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::api::{Api, Error, Kind};
use crate::clock::micro_time;
use crate::watch::Versioned;

/// A Lease as it came from the API server.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    raw: Value,
    lease: Lease,
}

/// The API server's answer has no resourceVersion that can be compared.
#[derive(Debug, thiserror::Error)]
#[error("the lease has no usable resourceVersion: {0:?}")]
pub(crate) struct Unversioned(String);

/// A write as it ended: what the core is told, the object where there is one, and why not.
pub(crate) type Written = (Result<Version, Failure>, Option<Object>, Option<Error>);

impl Object {
    /// Reads the fields that the protocol knows.
    pub(crate) fn parse(raw: Value) -> Result<Self, Unversioned> {
        let text = raw.version();
        let version = text.and_then(|text| Version::parse(text).ok());
        let version = version.ok_or_else(|| Unversioned(text.unwrap_or_default().to_owned()))?;
        let lease = Lease {
            record: record(&raw),
            version,
        };
        Ok(Self { raw, lease })
    }

    pub(crate) fn lease(&self) -> &Lease {
        &self.lease
    }

    pub(crate) fn uid(&self) -> Option<&str> {
        self.raw.pointer("/metadata/uid").and_then(Value::as_str)
    }
}

impl Versioned for Value {
    fn version(&self) -> Option<&str> {
        self.pointer("/metadata/resourceVersion")
            .and_then(Self::as_str)
    }
}

/// Reads the Lease from a quorum.
pub(crate) async fn read(
    api: &Api,
    name: &str,
    timeout: Duration,
) -> Result<Option<Object>, (Failure, Option<Error>)> {
    let answer = api.get::<Value>(Kind::Lease, name, timeout).await;
    let raw = answer.map_err(|error| (error.failure(), Some(error)))?;
    raw.map(|raw| Object::parse(raw).map_err(|_| (Failure::Unknown, None)))
        .transpose()
}

/// Writes `record` over `known`, if that is the revision `seen`; where `seen` is `None`, makes the
/// Lease by a PUT to its name, which a Role limited by resourceNames allows, unlike a POST.
pub(crate) async fn write(
    api: &Api,
    name: &str,
    known: Option<Object>,
    record: &LeaseRecord,
    seen: Option<Version>,
    timeout: Duration,
    now: Timestamp,
) -> Written {
    let known = match seen {
        None => None,
        // The object that was judged is not the one at hand: a later one is, or none.
        Some(seen)
            if known
                .as_ref()
                .is_none_or(|known| known.lease.version != seen) =>
        {
            return (Err(Failure::Conflict), None, None);
        }
        Some(_) => known.map(|known| known.raw),
    };
    let creates = known.is_none();
    let object = edit(known, api.namespace(), name, record, now);
    match api.put(Kind::Lease, name, &object, timeout).await {
        Ok(raw) => match Object::parse(raw) {
            Ok(written) => (Ok(written.lease.version), Some(written), None),
            Err(_) => (Err(Failure::Unknown), None, None),
        },
        Err(error) => {
            let failure = match error.code() {
                // It exists already.
                Some(422) if creates => Failure::Conflict,
                // It was deleted.
                Some(404) => Failure::Conflict,
                _ => error.failure(),
            };
            (Err(failure), None, Some(error))
        }
    }
}

fn record(raw: &Value) -> LeaseRecord {
    let spec = |field: &str| raw.get("spec").and_then(|spec| spec.get(field));
    let number = |field| {
        spec(field)
            .and_then(Value::as_i64)
            .and_then(|n| i32::try_from(n).ok())
    };
    let name = spec("holderIdentity")
        .and_then(Value::as_str)
        .filter(|name| !name.is_empty());
    LeaseRecord {
        holder: name.map(|name| holder(name, identity(raw))),
        given_up_by: identity(raw).filter(|_| name.is_none()),
        duration: Timing::granted(number("leaseDurationSeconds")),
        transitions: number("leaseTransitions").unwrap_or(0),
        term: annotation(raw, TERM)
            .and_then(|term| term.parse().ok())
            .unwrap_or(0),
    }
}

fn annotation<'a>(raw: &'a Value, key: &str) -> Option<&'a str> {
    raw.get("metadata")?.get("annotations")?.get(key)?.as_str()
}

/// A sidecar, if the annotation agrees with `holderIdentity`.
fn holder(name: &str, annotation: Option<Identity>) -> Holder {
    match annotation {
        Some(identity) if identity.pod.as_str() == name => Holder::Candidate(identity),
        _ => Holder::Foreign(name.to_owned()),
    }
}

/// The annotation `<pod name>/<pod UID>`: who holds the Lease, or gave it up.
fn identity(raw: &Value) -> Option<Identity> {
    let (pod, uid) = annotation(raw, HOLDER)?.split_once('/')?;
    let pod = PodName::parse(pod).ok()?;
    (!uid.is_empty()).then(|| Identity {
        pod,
        uid: PodUid::new(uid),
    })
}

fn edit(
    known: Option<Value>,
    namespace: &str,
    name: &str,
    record: &LeaseRecord,
    now: Timestamp,
) -> Value {
    let mut raw = known.unwrap_or_else(|| {
        json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": { "name": name, "namespace": namespace },
        })
    });
    let before = self::record(&raw);
    let begins = before.holder != record.holder || before.term != record.term;
    let holder_name = match &record.holder {
        Some(Holder::Candidate(identity)) => identity.pod.as_str(),
        Some(Holder::Foreign(name)) => name,
        None => "",
    };
    let seconds = record.duration.as_secs().clamp(1, 300);
    if let Some(spec) = child(&mut raw, "spec") {
        spec.insert("holderIdentity".to_owned(), holder_name.into());
        spec.insert("leaseDurationSeconds".to_owned(), seconds.into());
        spec.insert("leaseTransitions".to_owned(), record.transitions.into());
        spec.insert("renewTime".to_owned(), micro_time(now).into());
        if begins && record.holder.is_some() {
            spec.insert("acquireTime".to_owned(), micro_time(now).into());
        }
    }
    let annotations = child(&mut raw, "metadata")
        .map(|metadata| metadata.entry("annotations").or_insert_with(|| json!({})));
    if let Some(Value::Object(annotations)) = annotations {
        annotations.insert(TERM.to_owned(), record.term.to_string().into());
        let named = match &record.holder {
            Some(Holder::Candidate(identity)) => Some(identity),
            Some(Holder::Foreign(_)) => None,
            None => record.given_up_by.as_ref(),
        };
        match named {
            Some(identity) => annotations.insert(HOLDER.to_owned(), identity.to_string().into()),
            None => annotations.remove(HOLDER),
        };
    }
    raw
}

/// The object in this field, made where there is none.
fn child<'a>(raw: &'a mut Value, field: &str) -> Option<&'a mut Map<String, Value>> {
    let entry = raw
        .as_object_mut()?
        .entry(field)
        .or_insert_with(|| json!({}));
    if entry.is_null() {
        *entry = json!({});
    }
    entry.as_object_mut()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity {
            pod: PodName::parse("web-0").unwrap(),
            uid: PodUid::new("u-1"),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn held() -> Value {
        json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": "web", "namespace": "shop", "resourceVersion": "41", "uid": "l-1",
                "labels": { "team": "blue" },
                "annotations": { HOLDER: "web-0/u-1", TERM: "7", "note": "kept" },
            },
            "spec": {
                "holderIdentity": "web-0", "leaseDurationSeconds": 12, "leaseTransitions": 3,
                "acquireTime": "2026-01-01T00:00:00.000000Z",
                "renewTime": "2026-01-01T00:00:04.000000Z",
                "aLaterField": "kept",
            },
        })
    }

    #[test]
    fn a_sidecar_is_a_holder_whose_annotation_agrees() {
        let object = Object::parse(held()).unwrap();
        let expected = Lease {
            record: LeaseRecord {
                holder: Some(Holder::Candidate(identity())),
                given_up_by: None,
                duration: Duration::from_secs(12),
                transitions: 3,
                term: 7,
            },
            version: Version::new(41),
        };
        assert_eq!(*object.lease(), expected);
        for annotation in [
            json!("web-1/u-1"),
            json!("web-0/"),
            json!("web-0"),
            Value::Null,
        ] {
            let mut raw = held();
            raw["metadata"]["annotations"][HOLDER] = annotation;
            let holder = Object::parse(raw).unwrap().lease().record.holder.clone();
            assert_eq!(holder, Some(Holder::Foreign("web-0".to_owned())));
        }
    }

    #[test]
    fn a_lease_without_spec_is_held_by_nobody() {
        let object = Object::parse(json!({ "metadata": { "resourceVersion": "5" } })).unwrap();
        assert_eq!(object.lease().record.holder, None);
        assert_eq!(object.lease().record.duration, Duration::from_secs(15));
        assert!(Object::parse(json!({ "metadata": {} })).is_err());
    }

    #[test]
    fn a_renewal_changes_the_renewal_time_and_no_other_byte() {
        let record = Object::parse(held()).unwrap().lease.record;
        let mut expected = held();
        expected["spec"]["renewTime"] = json!("1970-01-01T00:00:09.000000Z");
        assert_eq!(edit(Some(held()), "shop", "web", &record, at(9)), expected);
    }

    #[test]
    fn a_new_term_has_a_new_time_of_acquisition() {
        let mut record = Object::parse(held()).unwrap().lease.record;
        record.term = 8;
        let mut expected = held();
        expected["spec"]["renewTime"] = json!("1970-01-01T00:00:09.000000Z");
        expected["spec"]["acquireTime"] = json!("1970-01-01T00:00:09.000000Z");
        expected["metadata"]["annotations"][TERM] = json!("8");
        assert_eq!(edit(Some(held()), "shop", "web", &record, at(9)), expected);
    }

    #[test]
    fn an_emptied_lease_keeps_its_term_and_says_who_gave_it_up() {
        let mut record = Object::parse(held()).unwrap().lease.record;
        record.holder = None;
        record.given_up_by = Some(identity());
        record.transitions = 4;
        let mut expected = held();
        expected["spec"]["holderIdentity"] = json!("");
        expected["spec"]["leaseTransitions"] = json!(4);
        expected["spec"]["renewTime"] = json!("1970-01-01T00:00:09.000000Z");
        let written = edit(Some(held()), "shop", "web", &record, at(9));
        assert_eq!(written, expected);
        assert_eq!(super::record(&written), record);
    }

    #[test]
    fn a_new_lease_names_holder_uid_and_duration_together() {
        let record = LeaseRecord {
            holder: Some(Holder::Candidate(identity())),
            given_up_by: None,
            duration: Duration::from_secs(12),
            transitions: 0,
            term: 1,
        };
        let written = edit(None, "shop", "web", &record, at(9));
        let expected = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": "web", "namespace": "shop",
                "annotations": { HOLDER: "web-0/u-1", TERM: "1" },
            },
            "spec": {
                "holderIdentity": "web-0", "leaseDurationSeconds": 12, "leaseTransitions": 0,
                "acquireTime": "1970-01-01T00:00:09.000000Z",
                "renewTime": "1970-01-01T00:00:09.000000Z",
            },
        });
        assert_eq!(written, expected);
    }
}
