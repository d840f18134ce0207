//! Kubernetes Events: what `kubectl describe` tells of an election.
//!
//! Never in the way of a failover: the queue is bounded, and what does not fit is dropped.
//! Written by hand and not by kube-runtime's recorder, which folds Events of one reason into a
//! series that keeps the first one's text: the second switch of a Service would tell of the first.
//!
//! Must not know: when something is worth telling.

use std::time::Duration;

use contract::names::PRODUCT;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tracing::{debug, warn};

use crate::api::{Api, Kind};
use crate::clock::{Clock, micro_time};

/// How many may wait.
const QUEUE: usize = 32;
/// An Event that the API server does not take within this is dropped.
const TIMEOUT: Duration = Duration::from_secs(5);

/// One Event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) about: Object,
    pub(crate) reason: &'static str,
    pub(crate) warning: bool,
    /// At most 1 kB.
    pub(crate) text: String,
}

/// What an Event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    /// Without it, `kubectl describe` does not show the Event.
    pub(crate) uid: Option<String>,
}

/// Where Events are put.
#[derive(Debug, Clone)]
pub(crate) struct Queue {
    notes: mpsc::Sender<Note>,
}

/// The queue, and the other end of it for [`publish`].
pub(crate) fn queue() -> (Queue, mpsc::Receiver<Note>) {
    let (notes, waiting) = mpsc::channel(QUEUE);
    (Queue { notes }, waiting)
}

impl Queue {
    /// Takes an Event, or drops it when too many wait.
    pub(crate) fn put(&self, note: Note) {
        if let Err(error) = self.notes.try_send(note) {
            debug!(error = %error, "dropped a Kubernetes Event");
        }
    }
}

/// Writes Events until the queue is closed and empty.
pub(crate) async fn publish(
    api: Api,
    pod: String,
    clock: Clock,
    mut waiting: mpsc::Receiver<Note>,
) {
    let mut forbidden = false;
    let mut number = 0_u32;
    while let Some(note) = waiting.recv().await {
        number = number.wrapping_add(1);
        let time = micro_time(clock.wall());
        let event = event(&note, api.namespace(), &pod, number, &time);
        match api.create(Kind::Event, &event, TIMEOUT).await {
            Ok(()) => {}
            Err(error) if error.code() == Some(403) && !forbidden => {
                forbidden = true;
                warn!(
                    ns = api.namespace(),
                    "forbidden to create Events: the Role needs create on events in events.k8s.io"
                );
            }
            Err(error) => debug!(error = error.chain(), "a Kubernetes Event was not written"),
        }
    }
}

fn event(note: &Note, namespace: &str, pod: &str, number: u32, time: &str) -> Value {
    let (api_version, kind) = match note.about.kind {
        Kind::Lease => ("coordination.k8s.io/v1", "Lease"),
        Kind::Service => ("v1", "Service"),
        Kind::Pod | Kind::Event | Kind::Node => ("v1", "Pod"),
    };
    let mut regarding = json!({
        "apiVersion": api_version, "kind": kind, "namespace": namespace, "name": note.about.name,
    });
    if let (Some(uid), Some(fields)) = (&note.about.uid, regarding.as_object_mut()) {
        fields.insert("uid".to_owned(), uid.as_str().into());
    }
    // Unique: the pod's name is, at one time, and the time has microseconds.
    let stamp: String = time.chars().filter(char::is_ascii_digit).collect();
    json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": { "namespace": namespace, "name": format!("{pod}.{stamp}.{number}") },
        "eventTime": time,
        "reportingController": PRODUCT,
        "reportingInstance": pod,
        "action": note.reason,
        "reason": note.reason,
        "regarding": regarding,
        "note": note.text,
        "type": if note.warning { "Warning" } else { "Normal" },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note() -> Note {
        Note {
            about: Object {
                kind: Kind::Service,
                name: "web".to_owned(),
                uid: Some("s-1".to_owned()),
            },
            reason: "ServiceSwitched",
            warning: false,
            text: "now web-0".to_owned(),
        }
    }

    #[test]
    fn an_event_names_the_object_with_its_uid() {
        let event = event(&note(), "shop", "web-0", 3, "2026-01-01T00:00:00.000001Z");
        let regarding = json!({
            "apiVersion": "v1", "kind": "Service", "namespace": "shop", "name": "web", "uid": "s-1",
        });
        assert_eq!(event["regarding"], regarding);
        assert_eq!(event["metadata"]["name"], "web-0.20260101000000000001.3");
    }

    #[test]
    fn a_full_queue_drops_and_never_waits() {
        let (queue, waiting) = queue();
        (0..2 * QUEUE).for_each(|_| queue.put(note()));
        assert_eq!(waiting.len(), QUEUE);
    }
}
