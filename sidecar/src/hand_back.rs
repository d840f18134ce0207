//! Whose is the selector? The user's: once a Service names the leader, the sidecar takes the selector
//! out of its own field ownership, so that neither Helm nor server-side apply meets a conflict.
//!
//! `spec.selector` is one atomic field under server-side apply, and whoever patches it owns it.
//!
//! Must not know: who leads.

use std::collections::BTreeMap;
use std::time::Duration;

use contract::names::PRODUCT;
use election::{Epoch, Timing, Version};
use futures::future::BoxFuture;
use serde_json::{Value, json};
use tokio::time::sleep;
use tracing::debug;

use crate::api::{Api, Error, Kind};
use crate::known::Known;
use crate::service::Object;

/// The pause after a failure, at most.
const LONGEST: Duration = Duration::from_secs(30);

/// `managedFields` without our claim to the selector; `None`: there is no such claim.
pub(crate) fn without_our_claim(managed: &[Value]) -> Option<Value> {
    let claims = |entry: &Value| {
        entry.get("manager").and_then(Value::as_str) == Some(PRODUCT) && owns_selector(entry)
    };
    if !managed.iter().any(claims) {
        return None;
    }
    let mut kept = managed.to_vec();
    for entry in kept.iter_mut().filter(|entry| claims(entry)) {
        let spec = entry.pointer_mut("/fieldsV1/f:spec");
        let fields = spec.and_then(Value::as_object_mut);
        let empty = fields.is_some_and(|fields| {
            fields.remove("f:selector");
            fields.is_empty()
        });
        if let (true, Some(all)) = (
            empty,
            entry.get_mut("fieldsV1").and_then(Value::as_object_mut),
        ) {
            all.remove("f:spec");
        }
    }
    Some(Value::Array(kept))
}

/// Who else wrote the selector last, or our annotations, as the API server noted it.
pub(crate) fn last_other_writer(managed: &[Value]) -> Option<String> {
    let text = |entry: &Value, key: &str| entry.get(key).and_then(Value::as_str).map(str::to_owned);
    let others = managed.iter().filter(|entry| {
        text(entry, "manager").as_deref() != Some(PRODUCT)
            && (owns_selector(entry) || owns_our_annotations(entry))
    });
    let last = others.max_by_key(|entry| text(entry, "time"))?;
    text(last, "manager")
}

fn owns_selector(entry: &Value) -> bool {
    entry.pointer("/fieldsV1/f:spec/f:selector").is_some()
}

fn owns_our_annotations(entry: &Value) -> bool {
    let annotations = entry.pointer("/fieldsV1/f:metadata/f:annotations");
    let mut keys = annotations.and_then(Value::as_object).into_iter().flatten();
    keys.any(|(key, _)| key.starts_with("f:service-leader-election/"))
}

/// The hand-backs of one sidecar, one at a time.
#[derive(Default)]
pub(crate) struct HandBack {
    call: Option<BoxFuture<'static, (usize, Result<Object, Error>)>>,
    /// The revision of each Service that was tried last: after a conflict a newer one is waited for.
    tried: BTreeMap<usize, Version>,
    failures: u32,
}

impl HandBack {
    /// Whether another one may begin.
    pub(crate) fn is_free(&self) -> bool {
        self.call.is_none()
    }

    /// The first Service of this epoch that is still to be handed back, its revision, and what is to be written.
    pub(crate) fn next<'a>(
        &self,
        services: &'a [Known],
        epoch: Option<Epoch>,
    ) -> Option<(usize, Version, &'a Value)> {
        services.iter().enumerate().find_map(|(i, known)| {
            let Known::Seen(sight) = known else {
                return None;
            };
            let service = sight.view.present().filter(|s| Some(s.epoch) == epoch)?;
            let managed = sight.hand_back.as_ref();
            let managed = managed.filter(|_| self.may_try(i, service.version))?;
            Some((i, service.version, managed))
        })
    }

    /// Whether a Service at this revision is still to be tried. One that was refused must not keep
    /// the others waiting.
    fn may_try(&self, service: usize, seen: Version) -> bool {
        self.tried.get(&service) != Some(&seen)
    }

    /// Writes `managed` to the Service, if this is still its revision.
    pub(crate) fn begin(
        &mut self,
        api: &Api,
        service: usize,
        name: &str,
        seen: Version,
        managed: &Value,
    ) {
        self.tried.insert(service, seen);
        let pause = match self.failures {
            0 => Duration::ZERO,
            n => (Timing::RETRY * (1 << n.min(8))).min(LONGEST),
        };
        let (api, name) = (api.clone(), name.to_owned());
        let patch = json!({ "metadata": {
            "resourceVersion": seen.to_string(),
            "managedFields": managed,
        } });
        self.call = Some(Box::pin(async move {
            sleep(pause).await;
            let timeout = Timing::REQUEST;
            let written = api.merge(Kind::Service, &name, &patch, timeout).await;
            (service, written)
        }));
    }

    /// Waits for the one under way: the Service as it was written. For ever, if there is none.
    pub(crate) async fn done(&mut self) -> Option<(usize, Object)> {
        let Some(call) = &mut self.call else {
            return futures::future::pending().await;
        };
        let (service, result) = call.await;
        self.call = None;
        match result {
            Ok(object) => {
                self.failures = 0;
                Some((service, object))
            }
            Err(error) => {
                debug!(error = error.chain(), "the selector was not handed back");
                let answered = matches!(error.code(), Some(404 | 409 | 422));
                if !answered {
                    self.tried.remove(&service);
                    self.failures = self.failures.saturating_add(1);
                }
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(manager: &str, time: &str, fields: &Value) -> Value {
        json!({
            "manager": manager, "operation": "Update", "apiVersion": "v1", "time": time,
            "fieldsType": "FieldsV1", "fieldsV1": fields,
        })
    }

    #[test]
    fn only_our_claim_to_the_selector_goes() {
        let users = json!({ "f:spec": { "f:selector": {}, "f:ports": {} } });
        let annotations = json!({ "f:annotations": { "f:service-leader-election/epoch": {} } });
        let ours = json!({ "f:metadata": annotations, "f:spec": { "f:selector": {} } });
        let managed = [
            entry("helm", "2026-01-01T00:00:00Z", &users),
            entry(PRODUCT, "2026-01-01T00:00:01Z", &ours),
        ];
        let expected = json!([
            entry("helm", "2026-01-01T00:00:00Z", &users),
            entry(
                PRODUCT,
                "2026-01-01T00:00:01Z",
                &json!({ "f:metadata": annotations })
            ),
        ]);
        let kept = without_our_claim(&managed).unwrap();
        assert_eq!(kept, expected);
        let kept: Vec<Value> = serde_json::from_value(kept).unwrap();
        assert_eq!(without_our_claim(&kept), None, "once is enough");
    }

    #[test]
    fn a_refused_service_keeps_no_other_waiting() {
        let mut hand_back = HandBack::default();
        let seen = Version::new(9);
        hand_back.tried.insert(0, seen);
        assert!(!hand_back.may_try(0, seen));
        assert!(hand_back.may_try(0, Version::new(10)));
        assert!(hand_back.may_try(1, seen));
    }

    #[test]
    fn who_wrote_last_is_named() {
        let selector = json!({ "f:spec": { "f:selector": {} } });
        let managed = [
            entry(
                "kubectl-client-side-apply",
                "2026-01-01T00:00:00Z",
                &selector,
            ),
            entry("argocd-controller", "2026-01-01T00:00:05Z", &selector),
            entry(
                "ports",
                "2026-01-01T00:00:07Z",
                &json!({ "f:spec": { "f:ports": {} } }),
            ),
            entry(PRODUCT, "2026-01-01T00:00:09Z", &selector),
        ];
        let last = last_other_writer(&managed);
        assert_eq!(last.as_deref(), Some("argocd-controller"));
    }
}
