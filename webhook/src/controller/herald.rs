//! Kubernetes Events of the controller's.
//!
//! Must not know: what is worth one.

use std::{fmt, time::Duration};

use contract::wording::in_one_line;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use serde_json::Value;
use tokio::time::timeout;

use crate::cluster::{MANAGER, PATIENCE};

/// Writes Events.
pub(super) struct Herald {
    recorder: Recorder,
    /// How long an Event may take: a reconciliation waits for it.
    patience: Duration,
}

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
        Self {
            recorder: Recorder::new(client, reporter),
            patience: PATIENCE,
        }
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
        match timeout(self.patience, self.recorder.publish(&event, &about)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(error = in_one_line(&error), "no Event"),
            Err(error) => tracing::warn!(error = in_one_line(&error), "no Event"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::http::{Request, Response};
    use kube::client::Body;
    use serde_json::json;
    use tower::service_fn;

    use super::*;

    #[tokio::test]
    async fn an_event_that_nobody_takes_holds_nothing_up() {
        let silence =
            |_: Request<Body>| std::future::pending::<Result<Response<Body>, Infallible>>();
        let mut herald = Herald::new(Client::new(service_fn(silence), "shop"));
        herald.patience = Duration::from_millis(1);
        let service = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": { "namespace": "shop", "name": "web", "uid": "u1" },
        });
        let said = Said {
            type_: EventType::Normal,
            reason: "Unpinned",
            action: "Unpin",
            note: "said".to_owned(),
        };
        herald.say(&service, said).await;
    }
}
