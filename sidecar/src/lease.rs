//! The election's Lease: what it says, and how it is written without losing what it says besides.
//!
//! The object is kept as it came, not as a type, so that fields of a later API and the user's own
//! labels and annotations outlive our writes.
//!
//! Must not know: when to write.

use std::time::Duration;

use contract::names::lease_annotation::{
    ACQUIRED_AT, ANY, GIVEN_UP_BY, HOLDER, PAUSED, REASON, SWITCHOVER_TO, TERM, TERMS,
};
use election::{
    Cause, Failure, Holder, Identity, Lease, LeaseRecord, PodName, PodUid, Target, Timing, Version,
};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::api::{Api, Error, Kind};
use crate::clock::micro_time;
use crate::watch::Versioned;
use crate::{history, reasons};

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

/// What is to be written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change<'a> {
    pub(crate) record: &'a LeaseRecord,
    /// What it is for: told in the Lease's annotations.
    pub(crate) cause: &'a Cause,
    /// By the wall clock.
    pub(crate) now: Timestamp,
}

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

/// Writes `change` over `known`, if that is the revision `seen`; where `seen` is `None`, makes the
/// Lease by a PUT to its name, which a Role limited by resourceNames allows, unlike a POST.
pub(crate) async fn write(
    api: &Api,
    name: &str,
    known: Option<Object>,
    change: &Change<'_>,
    seen: Option<Version>,
    timeout: Duration,
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
    let object = edit(known, api.namespace(), name, change);
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
        holder: name.map(|name| holder(name, identity(raw, HOLDER))),
        given_up_by: identity(raw, GIVEN_UP_BY),
        duration: Timing::granted(number("leaseDurationSeconds")),
        transitions: number("leaseTransitions").unwrap_or(0),
        term: annotation(raw, TERM)
            .and_then(|term| term.parse().ok())
            .unwrap_or(0),
        switchover_to: annotation(raw, SWITCHOVER_TO).and_then(target),
        paused: annotation(raw, PAUSED) == Some("true"),
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

/// An annotation `<pod name>/<pod UID>`.
fn identity(raw: &Value, key: &str) -> Option<Identity> {
    let (pod, uid) = annotation(raw, key)?.split_once('/')?;
    let pod = PodName::parse(pod).ok()?;
    (!uid.is_empty()).then(|| Identity {
        pod,
        uid: PodUid::new(uid),
    })
}

fn target(text: &str) -> Option<Target> {
    match text.trim() {
        "" => None,
        ANY => Some(Target::Any),
        name => Some(Target::Pod(name.to_owned())),
    }
}

fn edit(known: Option<Value>, namespace: &str, name: &str, change: &Change<'_>) -> Value {
    let Change { record, cause, now } = *change;
    let mut raw = known.unwrap_or_else(|| {
        json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": { "name": name, "namespace": namespace },
        })
    });
    let holder_name = record.holder.as_ref().map_or("", Holder::name);
    let seconds = record.duration.as_secs().clamp(1, 300);
    if let Some(spec) = child(&mut raw, "spec") {
        spec.insert("holderIdentity".to_owned(), holder_name.into());
        spec.insert("leaseDurationSeconds".to_owned(), seconds.into());
        spec.insert("leaseTransitions".to_owned(), record.transitions.into());
        spec.insert("renewTime".to_owned(), micro_time(now).into());
        if !matches!(cause, Cause::Renew) && record.holder.is_some() {
            spec.insert("acquireTime".to_owned(), micro_time(now).into());
        }
    }
    let annotations = child(&mut raw, "metadata").and_then(|it| child_of(it, "annotations"));
    if let Some(annotations) = annotations {
        let holder = record.candidate().map(Identity::to_string);
        put(annotations, HOLDER, holder);
        let giver = record.given_up_by.as_ref().map(Identity::to_string);
        put(annotations, GIVEN_UP_BY, giver);
        put(annotations, TERM, Some(record.term.to_string()));
        if record.switchover_to.is_none() {
            annotations.remove(SWITCHOVER_TO);
        }
        tell(annotations, holder_name, change);
    }
    raw
}

/// Writes for people why the Lease changes hands, and who led before.
fn tell(annotations: &mut Map<String, Value>, holder: &str, change: &Change<'_>) {
    let Some(why) = reasons::of_change(change.cause) else {
        return;
    };
    let (term, now) = (change.record.term, change.now);
    let told = annotations.get(TERMS).and_then(Value::as_str);
    let told = told.unwrap_or_default();
    let terms = match change.cause {
        Cause::Begin(_) => history::begin(told, term, holder, &why, now),
        Cause::GiveUp(_) | Cause::Renew => history::end(told, &why, now),
    };
    if matches!(change.cause, Cause::Begin(_)) {
        put(annotations, ACQUIRED_AT, Some(micro_time(now)));
    }
    put(annotations, REASON, Some(why));
    put(annotations, TERMS, Some(terms));
}

fn put(annotations: &mut Map<String, Value>, key: &str, value: Option<String>) {
    match value {
        Some(value) => annotations.insert(key.to_owned(), value.into()),
        None => annotations.remove(key),
    };
}

/// The object in this field, made where there is none.
fn child<'a>(raw: &'a mut Value, field: &str) -> Option<&'a mut Map<String, Value>> {
    child_of(raw.as_object_mut()?, field)
}

fn child_of<'a>(
    parent: &'a mut Map<String, Value>,
    field: &str,
) -> Option<&'a mut Map<String, Value>> {
    let entry = parent.entry(field).or_insert_with(|| json!({}));
    if entry.is_null() {
        *entry = json!({});
    }
    entry.as_object_mut()
}

#[cfg(test)]
mod tests {
    use super::*;
    use election::{How, Why};

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
                switchover_to: None,
                paused: false,
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

    fn edited(known: Option<Value>, record: &LeaseRecord, cause: &Cause) -> Value {
        let change = Change {
            record,
            cause,
            now: at(9),
        };
        edit(known, "shop", "web", &change)
    }

    fn other() -> Identity {
        Identity {
            pod: PodName::parse("web-1").unwrap(),
            uid: PodUid::new("u-2"),
        }
    }

    #[test]
    fn a_renewal_changes_the_renewal_time_and_no_other_byte() {
        let record = Object::parse(held()).unwrap().lease.record;
        let mut expected = held();
        expected["spec"]["renewTime"] = json!("1970-01-01T00:00:09.000000Z");
        assert_eq!(edited(Some(held()), &record, &Cause::Renew), expected);
    }

    #[test]
    fn a_new_term_says_when_it_began_and_why() {
        let mut record = Object::parse(held()).unwrap().lease.record;
        record.term = 8;
        let mut expected = held();
        expected["spec"]["renewTime"] = json!("1970-01-01T00:00:09.000000Z");
        expected["spec"]["acquireTime"] = json!("1970-01-01T00:00:09.000000Z");
        let annotations = &mut expected["metadata"]["annotations"];
        annotations[TERM] = json!("8");
        annotations[ACQUIRED_AT] = json!("1970-01-01T00:00:09.000000Z");
        annotations[REASON] = json!("the lease named this pod");
        annotations[TERMS] = json!(history::begin(
            "",
            8,
            "web-0",
            "the lease named this pod",
            at(9)
        ));
        let cause = Cause::Begin(How::Resumed);
        assert_eq!(edited(Some(held()), &record, &cause), expected);
    }

    #[test]
    fn a_handover_names_successor_uid_and_duration_together_and_who_gave_up() {
        let mut asked = held();
        asked["metadata"]["annotations"][SWITCHOVER_TO] = json!("web-1");
        asked["metadata"]["annotations"][PAUSED] = json!("true");
        let mut record = Object::parse(asked.clone()).unwrap().lease.record;
        assert_eq!(record.switchover_to, Some(Target::Pod("web-1".to_owned())));
        assert!(record.paused);
        record.holder = Some(Holder::Candidate(other()));
        record.given_up_by = Some(identity());
        record.duration = Timing::HANDOVER;
        record.switchover_to = None;
        let written = edited(Some(asked), &record, &Cause::GiveUp(Why::Requested));
        assert_eq!(super::record(&written), record);
        assert_eq!(written["spec"]["holderIdentity"], "web-1");
        assert_eq!(written["spec"]["leaseDurationSeconds"], 2);
        let annotations = &written["metadata"]["annotations"];
        assert_eq!(annotations[HOLDER], "web-1/u-2");
        assert_eq!(annotations[GIVEN_UP_BY], "web-0/u-1");
        assert_eq!(annotations[REASON], "an operator asked for it");
        assert_eq!(annotations[PAUSED], "true");
        assert_eq!(annotations[SWITCHOVER_TO], Value::Null);
    }

    #[test]
    fn an_emptied_lease_keeps_its_term_and_says_who_gave_it_up() {
        let mut record = Object::parse(held()).unwrap().lease.record;
        record.holder = None;
        record.given_up_by = Some(identity());
        record.transitions = 4;
        let written = edited(Some(held()), &record, &Cause::GiveUp(Why::Stopped));
        assert_eq!(super::record(&written), record);
        assert_eq!(written["spec"]["holderIdentity"], "");
        assert_eq!(written["metadata"]["annotations"][HOLDER], Value::Null);
        assert_eq!(written["metadata"]["annotations"][TERM], "7");
    }

    #[test]
    fn a_new_lease_names_holder_uid_and_duration_together() {
        let record = LeaseRecord {
            holder: Some(Holder::Candidate(identity())),
            given_up_by: None,
            duration: Duration::from_secs(12),
            transitions: 0,
            term: 1,
            switchover_to: None,
            paused: false,
        };
        let written = edited(None, &record, &Cause::Begin(How::Vacant));
        let why = "the lease named nobody";
        let expected = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": "web", "namespace": "shop",
                "annotations": {
                    HOLDER: "web-0/u-1", TERM: "1", REASON: why,
                    ACQUIRED_AT: "1970-01-01T00:00:09.000000Z",
                    TERMS: history::begin("", 1, "web-0", why, at(9)),
                },
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
