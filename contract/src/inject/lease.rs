//! A workload keeps its Lease while it has pods: those of before and those to come would otherwise elect a
//! leader each, and both would switch the Services that they share.
//!
//! Must not know: which pods there are.

use super::{Denied, Request, template};
use crate::{
    annotations::{self, Spec, Wish},
    names::annotation,
    workload::{self, Kind},
};

/// Fails if an update gives the workload another Lease while it has pods.
pub(super) fn check(request: &Request<'_>, spec: &Spec) -> Result<(), Denied> {
    let Some(old) = request.old else {
        return Ok(());
    };
    let has_pods = |object| request.kind.replicas(object) != Some(0);
    let is_injected =
        workload::template(request.kind, old).is_some_and(|it| template::sidecar(it).is_some());
    let Ok(Wish::Elect(before)) = annotations::parse(old.get("metadata")) else {
        return Ok(());
    };
    let mut services = spec.services.iter();
    let shared = services.find(|service| before.services.iter().any(|had| had == *service));
    let Some(shared) = shared.filter(|_| is_injected && has_pods(old) && has_pods(request.object))
    else {
        return Ok(());
    };
    if before.lease == spec.lease {
        return Ok(());
    }
    let how = match request.kind {
        Kind::DaemonSet => "delete the DaemonSet",
        _ => "scale to 0",
    };
    Err(Denied::new(format!(
        "the Lease would change from {before} to {after}, and the pods of before and those to come would each \
         have a leader for Service {service}: write {before} in annotation {key}, or {how} first",
        before = before.lease.as_str(),
        after = spec.lease.as_str(),
        service = shared.as_str(),
        key = annotation::LEASE,
    )))
}
