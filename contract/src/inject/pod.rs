//! A pod, which is judged once, when it is created.
//!
//! What differs from a template: the API server has put an account and its token into it already,
//! and nothing is ever taken out of it but our label. Must not know: how a sidecar is put in.

use json_patch::{Patch, PatchOperation, RemoveOperation, jsonptr::PointerBuf};
use serde_json::Value;

use super::{
    Decision, Denied, Reason, Request, Settings, disregarded,
    record::Record,
    template, unchanged,
    warnings::{self, Warnings},
    wish,
};
use crate::{
    annotations::{Spec, Wish},
    names,
    workload::{self, Ending, Kind},
};

/// The longest value of a label.
const MOST: usize = 63;

/// Judges a pod.
pub(super) fn decide(request: &Request<'_>, settings: &Settings) -> Result<Decision, Denied> {
    let metadata = request.object.get("metadata");
    if request.old.is_some() {
        return Ok(unchanged(Reason::Kept));
    }
    if let Some(kind) = ending(metadata) {
        let reason = disregarded(metadata);
        let mut decision = unlabelled(request, reason);
        if reason == Reason::Unsupported {
            decision
                .warnings
                .extend(warnings::ending("a pod of a", kind));
        }
        return Ok(decision);
    }
    match wish(metadata) {
        // A bad value does no harm where none is obeyed.
        Err(denied) => by_hand(request, settings).ok_or(denied),
        Ok(Wish::Elect(spec)) => elect(request, settings, &spec),
        Ok(Wish::KeepOut) => Ok(unlabelled(request, Reason::KeptOut)),
        Ok(Wish::Nothing) => {
            let mut decision = unlabelled(request, Reason::NotAnnotated);
            let more = warnings::without_service(request);
            decision.warnings.extend(more);
            Ok(decision)
        }
    }
}

/// Whether a pod is left with the account that it has, for there will be no other.
pub(super) fn keeps_account(request: &Request<'_>, spec: &Spec) -> bool {
    request.kind == Kind::Pod && spec.account.is_none() && request.facts.account_is_missing()
}

fn elect(request: &Request<'_>, settings: &Settings, spec: &Spec) -> Result<Decision, Denied> {
    if let Some(decision) = by_hand(request, settings) {
        return Ok(decision);
    }
    let pod = request.object;
    if template::sidecar(pod, settings).is_some() {
        return Ok(unlabelled(request, Reason::Kept));
    }
    let named = pod.pointer("/metadata/name").and_then(Value::as_str);
    if let Some(length) = named.map(str::len).filter(|length| *length > MOST) {
        return Err(Denied::new(format!(
            "the pod's name has {length} characters, and is to be the value of its label {}, which \
             has at most {MOST}: write a shorter name",
            names::LABEL
        )));
    }
    super::elect(request, settings, spec)
}

/// A pod that has its sidecar from its owner.
fn by_hand(request: &Request<'_>, settings: &Settings) -> Option<Decision> {
    let pod = request.object;
    let sidecar = template::sidecar(pod, settings).filter(|_| Record::on(pod).is_none())?;
    let mut decision = unlabelled(request, Reason::ByHand);
    let mut warnings = Warnings::default();
    warnings.by_hand(sidecar);
    decision.warnings.extend(warnings.list());
    Some(decision)
}

/// Takes our label out, with which the Service would select a pod that is a mere copy.
fn unlabelled(request: &Request<'_>, reason: Reason) -> Decision {
    if template::label(request.object).is_none() {
        return unchanged(reason);
    }
    let path = PointerBuf::from_tokens(["metadata", "labels", names::LABEL]);
    let mut warnings = Warnings::default();
    warnings.label();
    Decision {
        patch: Patch(vec![PatchOperation::Remove(RemoveOperation { path })]),
        warnings: warnings.list(),
        reason: match reason {
            Reason::NotAnnotated => Reason::Unlabelled,
            reason => reason,
        },
    }
}

/// The kind of the pod's controller, where its pods end.
fn ending(metadata: Option<&Value>) -> Option<Ending> {
    let controller = workload::controller(metadata)?;
    let text = |key| controller.get(key)?.as_str();
    Ending::of(text("apiVersion")?, text("kind")?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::uninject, *};
    use crate::{facts::Facts, inject::PullPolicy, names::annotation};

    /// What becomes of a new pod.
    fn created(pod: &Value) -> Value {
        let request = Request {
            kind: Kind::Pod,
            object: pod,
            old: None,
            facts: &Facts::default(),
        };
        let settings = Settings {
            image: "sidecar:1".to_owned(),
            pull_policy: PullPolicy::default(),
            native: true,
            run_as_user: None,
        };
        let decision = decide(&request, &settings).unwrap();
        patched(pod, &decision.patch)
    }

    fn patched(pod: &Value, patch: &Patch) -> Value {
        let mut pod = pod.clone();
        json_patch::patch(&mut pod, patch).unwrap();
        pod
    }

    #[test]
    fn an_account_under_its_fields_old_name_comes_back() {
        let pod = json!({
            "metadata": { "annotations": { annotation::SERVICE: "web" } },
            "spec": { "serviceAccount": "default", "containers": [{ "name": "app" }] },
        });
        let injected = created(&pod);
        let generated = "service-leader-election-web";
        assert_eq!(injected["spec"]["serviceAccount"], generated);
        let out = patched(&injected, &uninject(Kind::Pod, &injected));
        assert_eq!(workload::account(&out), Some("default"));
    }

    #[test]
    fn a_label_that_is_no_text_is_left_to_the_api_server() {
        for annotations in [json!({}), json!({ annotation::SERVICE: "web" })] {
            let metadata = json!({ "labels": { names::LABEL: null }, "annotations": annotations });
            let spec = json!({ "containers": [{ "name": "app" }] });
            let once = created(&json!({ "metadata": metadata, "spec": spec }));
            assert_eq!(
                once["metadata"]["labels"].get(names::LABEL),
                Some(&Value::Null)
            );
            assert_eq!(created(&once), once);
        }
    }
}
