//! A workload keeps its Lease while it has pods: those of before and those to come would otherwise elect a
//! leader each, and both would switch the Services that they share.
//!
//! Must not know: which pods there are, beside their number.

use serde_json::Value;

use super::{Denied, Request, record::Record, template};
use crate::{
    annotations::{self, Spec, Wish},
    names::annotation,
    sidecars::is_sidecar,
    workload::{self, Kind},
};

/// Fails if an update gives another Lease to the pods of an injected workload.
pub(super) fn check(request: &Request<'_>, spec: &Spec) -> Result<(), Denied> {
    let Some(old) = request.old.filter(|old| has_pods(request.kind, old)) else {
        return Ok(());
    };
    let Ok(Wish::Elect(before)) = annotations::parse(obeyed(request.kind, old)) else {
        return Ok(());
    };
    if before.lease == spec.lease {
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

/// The same where the template alone asks for an election.
pub(super) fn check_template(request: &Request<'_>) -> Result<(), Denied> {
    let metadata = workload::template(request.kind, request.object)
        .and_then(|template| template.get("metadata"));
    match annotations::parse(metadata) {
        Ok(Wish::Elect(spec)) => check(request, &spec),
        _ => Ok(()),
    }
}

/// The metadata by which the pods of a workload were injected: its own, if its template was, or else the
/// template's, by which each pod is judged. None: their sidecar was added by hand.
fn obeyed(kind: Kind, workload: &Value) -> Option<&Value> {
    let template = workload::template(kind, workload)?;
    if Record::on(template).is_some() {
        return workload.get("metadata");
    }
    let by_hand = template::containers(template).any(is_sidecar);
    template.get("metadata").filter(|_| !by_hand)
}

/// Whether it asks for some, or has some yet, or nobody has looked since it asked for some.
fn has_pods(kind: Kind, workload: &Value) -> bool {
    let number = |path| workload.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    kind.replicas(workload) != Some(0)
        || number("/status/replicas") > 0
        || number("/status/terminatingReplicas") > 0
        || number("/status/observedGeneration") < number("/metadata/generation")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{facts::Facts, names};

    fn election(lease: &str) -> Value {
        json!({ "annotations": { annotation::SERVICE: "web", annotation::LEASE: lease } })
    }

    /// A Deployment that is injected by its own annotations, or whose pods are by its template's.
    fn deployment(own: &Value, template: &Value) -> Value {
        let mut template = template.clone();
        if !own.is_null() {
            template["annotations"][annotation::INJECTED] = json!("{}");
        }
        json!({ "metadata": own, "spec": { "template": { "metadata": template } } })
    }

    fn is_denied(old: &Value, new: &Value) -> bool {
        let request = Request {
            kind: Kind::Deployment,
            object: new,
            old: Some(old),
            facts: &Facts::default(),
        };
        let checked = match annotations::parse(new.get("metadata")) {
            Ok(Wish::Elect(spec)) => check(&request, &spec),
            _ => check_template(&request),
        };
        checked.is_err()
    }

    #[test]
    fn an_annotation_that_moves_to_the_template_or_back_keeps_its_lease() {
        let (one, other) = (election("one"), election("other"));
        let none = Value::Null;
        let by_itself = |lease| deployment(lease, &none);
        let by_template = |lease| deployment(&none, lease);
        for (old, new, expected) in [
            (by_itself(&one), by_template(&other), true),
            (by_itself(&one), by_template(&one), false),
            (by_template(&one), by_itself(&other), true),
            (by_template(&one), by_itself(&one), false),
            (by_itself(&one), by_itself(&other), true),
            (by_template(&one), by_template(&other), true),
            // Its own annotations are obeyed, and what stands on the template as well is not.
            (deployment(&one, &other), by_template(&other), true),
            (deployment(&one, &other), by_template(&one), false),
        ] {
            assert_eq!(is_denied(&old, &new), expected, "{old}\n{new}");
        }
        let mut by_hand = by_template(&one);
        by_hand["spec"]["template"]["spec"]["containers"] = json!([{ "name": names::CONTAINER }]);
        assert!(!is_denied(&by_hand, &by_template(&other)));
    }

    #[test]
    fn pods_that_are_not_known_to_be_gone_may_be_there() {
        for (status, expected) in [
            (json!({ "observedGeneration": 2 }), false),
            (json!({ "observedGeneration": 2, "replicas": 0 }), false),
            (json!({ "observedGeneration": 2, "replicas": 1 }), true),
            (
                json!({ "observedGeneration": 2, "terminatingReplicas": 1 }),
                true,
            ),
            (json!({ "observedGeneration": 1 }), true),
            (json!({}), true),
        ] {
            let mut workload = json!({ "metadata": { "generation": 2 },
                "spec": { "replicas": 0 }, "status": status });
            assert_eq!(
                has_pods(Kind::Deployment, &workload),
                expected,
                "{workload}"
            );
            assert!(has_pods(Kind::DaemonSet, &workload));
            workload["spec"]["replicas"] = json!(1);
            assert!(has_pods(Kind::Deployment, &workload));
        }
    }
}
