//! A workload keeps its Lease while it has pods: those of before and those to come would otherwise elect a
//! leader each, and both would switch the Services that they share.
//!
//! Must not know: which pods there are, beside their number.

use serde_json::Value;

use super::{Denied, Request, record::Record};
use crate::{
    annotations::{self, Spec, Wish},
    names::annotation,
    workload::{self, Kind},
};

/// Fails if an update gives another Lease to the pods of an injected workload.
pub(super) fn check(request: &Request<'_>, spec: &Spec) -> Result<(), Denied> {
    let Some(old) = request.old else {
        return Ok(());
    };
    let template = workload::template(request.kind, old);
    if template.and_then(Record::on).is_none() {
        return Ok(());
    }
    stays(request, old.get("metadata"), spec)
}

/// The same where the template alone is annotated.
pub(super) fn check_template(request: &Request<'_>) -> Result<(), Denied> {
    let metadata = |object| workload::template(request.kind, object)?.get("metadata");
    let Ok(Wish::Elect(spec)) = annotations::parse(metadata(request.object)) else {
        return Ok(());
    };
    stays(request, request.old.and_then(metadata), &spec)
}

/// `before`: the metadata by which the pods of before were injected.
fn stays(request: &Request<'_>, before: Option<&Value>, spec: &Spec) -> Result<(), Denied> {
    let Ok(Wish::Elect(before)) = annotations::parse(before) else {
        return Ok(());
    };
    if before.lease == spec.lease || !request.old.is_some_and(|old| has_pods(request.kind, old)) {
        return Ok(());
    }
    let mut services = spec.services.iter();
    let Some(shared) = services.find(|service| before.services.iter().any(|had| had == *service))
    else {
        return Ok(());
    };
    let how = match request.kind {
        Kind::DaemonSet => "delete the DaemonSet",
        _ => "scale to 0",
    };
    Err(Denied::new(format!(
        "the Lease would change from {before} to {after}, and the pods of before and those to come would each \
         have a leader for Service {service}: write {before} in annotation {key}, or {how} and wait until its \
         pods are gone first",
        before = before.lease.as_str(),
        after = spec.lease.as_str(),
        service = shared.as_str(),
        key = annotation::LEASE,
    )))
}

/// Whether it asks for some, or has some yet.
fn has_pods(kind: Kind, workload: &Value) -> bool {
    let left = workload.pointer("/status/replicas").and_then(Value::as_u64);
    kind.replicas(workload) != Some(0) || left.is_some_and(|left| left > 0)
}
