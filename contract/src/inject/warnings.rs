//! What a user is told at `kubectl apply`, although the object is let in.
//!
//! Must not know: what is injected. The API server drops a warning with a line break and cuts
//! long ones, so each is one line of fewer than 256 characters.

use serde_json::Value;

use super::Request;
use crate::{
    annotations::{self, Spec},
    facts::ServiceFact,
    names,
    values::ServiceName,
    wording::quoted,
    workload,
};

/// The most characters of a warning.
const MOST: usize = 255;

/// Warnings, in the order in which they were found.
#[derive(Debug, Default)]
pub(super) struct Warnings(Vec<String>);

/// What can be said of an annotated object, whose template is `plain` without us, at any time.
pub(super) fn of(request: &Request<'_>, spec: &Spec, plain: &Value) -> Warnings {
    let mut warnings = Warnings::default();
    for (key, nearest) in annotations::unknown_keys(request.object.get("metadata")) {
        warnings.add(&format!(
            "annotation {} has no effect: did you mean {nearest}?",
            quoted(&key)
        ));
    }
    for service in spec.services.iter() {
        warnings.service(service, request.facts.of(service), plain);
    }
    if request.kind.replicas(request.object) == Some(1) {
        warnings.add(
            "spec.replicas is 1: while its only pod is away nobody can take over; write 2 or more",
        );
    }
    warnings
}

impl Warnings {
    pub(super) fn list(self) -> Vec<String> {
        self.0
    }

    pub(super) fn by_hand(&mut self) {
        self.add(&format!(
            "the template has a container {} already: it is kept as it is and nothing is \
             injected; take it out to have it injected",
            names::CONTAINER
        ));
    }

    fn service(&mut self, service: &ServiceName, fact: &ServiceFact, plain: &Value) {
        let warning = match fact {
            ServiceFact::Unknown => return,
            ServiceFact::Missing => format!(
                "Service {service} does not exist in this namespace: create it, or correct the \
                 annotation; the election runs meanwhile"
            ),
            ServiceFact::WithoutSelector => format!(
                "Service {service} has no selector, so its traffic cannot be switched: give it \
                 the selector of these pods"
            ),
            ServiceFact::ExternalName => format!(
                "Service {service} is of type ExternalName, so its traffic cannot be switched: \
                 make it a ClusterIP Service with a selector"
            ),
            ServiceFact::Selects(selector) => {
                let labels = plain.pointer("/metadata/labels");
                let missing = selector.iter().find(|(key, value)| {
                    labels.and_then(|l| l.get(key)).and_then(Value::as_str) != Some(value)
                });
                let Some((key, value)) = missing else { return };
                format!(
                    "Service {service} selects {}, which the template's labels do not match: no \
                     pod of it can lead; correct the selector or the labels",
                    quoted(&format!("{key}={value}"))
                )
            }
        };
        self.add(&warning);
    }

    /// As whom the pods run, where that is to change.
    pub(super) fn account(&mut self, spec: &Spec, plain: &Value) {
        match workload::account(plain) {
            Some("default") => self.add(
                "serviceAccountName is default: every pod of the namespace that uses it gets the \
                 sidecar's rights; leave it out, or name an account of your own",
            ),
            None if spec.account.is_none()
                && plain
                    .pointer("/spec/automountServiceAccountToken")
                    .is_none() =>
            {
                let generated = names::default_name(spec.services.first().as_str());
                self.add(&format!(
                    "the pods run as {generated} and the application gets no token: if it calls \
                     the Kubernetes API, write its serviceAccountName into the template"
                ));
            }
            _ => {}
        }
    }

    fn add(&mut self, text: &str) {
        let line: String = text
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(MOST)
            .collect();
        if !self.0.contains(&line) {
            self.0.push(line);
        }
    }
}
