//! Kubernetes Events of the controller's.
//!
//! Must not know: what is worth one.

use std::fmt;

use contract::wording::in_one_line;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use serde_json::Value;

use crate::cluster::MANAGER;

/// Writes Events.
pub(super) struct Herald(Recorder);

/// What an Event says.
#[derive(Debug, Clone)]
pub(super) struct Said {
    pub(super) type_: EventType,
    pub(super) reason: &'static str,
    /// What the controller did or tried.
    pub(super) action: &'static str,
    pub(super) note: String,
}

impl fmt::Debug for Herald {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Herald").finish_non_exhaustive()
    }
}

impl Herald {
    pub(super) fn new(client: Client) -> Self {
        let reporter = Reporter {
            controller: MANAGER.to_owned(),
            instance: None,
        };
        Self(Recorder::new(client, reporter))
    }

    /// Writes an Event about an object, as it was read. One that cannot be written is a line in the log.
    pub(super) async fn say(&self, object: &Value, said: Said) {
        let text = |path| {
            object
                .pointer(path)
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        let about = ObjectReference {
            api_version: text("/apiVersion"),
            kind: text("/kind"),
            namespace: text("/metadata/namespace"),
            name: text("/metadata/name"),
            uid: text("/metadata/uid"),
            ..ObjectReference::default()
        };
        let event = Event {
            type_: said.type_,
            reason: said.reason.to_owned(),
            note: Some(said.note),
            action: said.action.to_owned(),
            secondary: None,
        };
        if let Err(error) = self.0.publish(&event, &about).await {
            tracing::warn!(error = in_one_line(&error), "no Event");
        }
    }
}
