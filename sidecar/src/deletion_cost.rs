//! The leader's pod goes last: while it leads, it bears the highest deletion cost there is, so that
//! a ReplicaSet which deletes pods, in a rollout or a scale-down, deletes the others first.
//!
//! Must not know: how anybody came to lead.

use std::time::Duration;

use contract::names::{DELETION_COST, LEADERS_COST};
use election::{Identity, Timing};
use futures::future::BoxFuture;
use serde_json::{Value, json};
use tokio::time::sleep;
use tracing::{debug, warn};

use crate::api::{Api, Error, Kind};
use crate::pod::Object;

/// The pause after a failure, at most.
const LONGEST: Duration = Duration::from_secs(30);

/// Keeps the own pod's deletion cost at what it ought to be.
pub(crate) struct DeletionCost {
    identity: Identity,
    call: Option<BoxFuture<'static, Result<Object, Error>>>,
    failures: u32,
    complained: bool,
}

/// What is to be done about the annotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chore {
    Nothing,
    Put,
    TakeOff,
    /// The user set it: theirs it stays.
    LeaveAlone,
}

impl DeletionCost {
    pub(crate) fn new(identity: Identity) -> Self {
        Self {
            identity,
            call: None,
            failures: 0,
            complained: false,
        }
    }

    /// Starts a write, if the pod, as it was last seen, ought to say something else. True, once:
    /// people should be told that the user's own value stays.
    pub(crate) fn tend(&mut self, api: &Api, pod: Option<&Object>, leads: bool) -> bool {
        let Some(pod) = pod.filter(|pod| !pod.is_leaving() && self.call.is_none()) else {
            return false;
        };
        let value = match chore(pod, leads) {
            Chore::Nothing => {
                self.failures = 0;
                return false;
            }
            Chore::LeaveAlone => return !std::mem::replace(&mut self.complained, true),
            Chore::Put => json!(LEADERS_COST),
            Chore::TakeOff => Value::Null,
        };
        let pause = match self.failures {
            0 => Duration::ZERO,
            n => (Timing::RETRY * (1 << n.min(8))).min(LONGEST),
        };
        let (api, pod) = (api.clone(), self.identity.pod.clone());
        // Another pod of the name refuses it, for its UID differs.
        let patch = json!({ "metadata": {
            "uid": self.identity.uid.as_str(),
            "annotations": { DELETION_COST: value },
        } });
        self.call = Some(Box::pin(async move {
            sleep(pause).await;
            api.merge(Kind::Pod, pod.as_str(), &patch, Timing::REQUEST)
                .await
        }));
        false
    }

    /// Waits for the write that is under way: the pod as it was written. For ever, if there is none.
    pub(crate) async fn done(&mut self) -> Option<Box<Object>> {
        let Some(call) = &mut self.call else {
            return futures::future::pending().await;
        };
        let result = call.await;
        self.call = None;
        match result {
            Ok(pod) => {
                debug!(
                    cost = pod.metadata.annotations.get(DELETION_COST),
                    "deletion cost"
                );
                Some(Box::new(pod))
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                if self.failures == 3 {
                    warn!(error = error.chain(), "the deletion cost cannot be written");
                }
                None
            }
        }
    }
}

fn chore(pod: &Object, leads: bool) -> Chore {
    let stored = pod.metadata.annotations.get(DELETION_COST);
    match (stored.map(String::as_str), leads) {
        (None, true) => Chore::Put,
        (None, false) | (Some(LEADERS_COST), true) => Chore::Nothing,
        (Some(LEADERS_COST), false) => Chore::TakeOff,
        (Some(_), true) => Chore::LeaveAlone,
        (Some(_), false) => Chore::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_own_value_stays() {
        for (stored, leads, expected) in [
            (None, true, Chore::Put),
            (None, false, Chore::Nothing),
            (Some(LEADERS_COST), true, Chore::Nothing),
            (Some(LEADERS_COST), false, Chore::TakeOff),
            (Some("7"), true, Chore::LeaveAlone),
            (Some("7"), false, Chore::Nothing),
        ] {
            let mut pod = Object::default();
            let stored = stored.map(|value| (DELETION_COST.to_owned(), value.to_owned()));
            pod.metadata.annotations.extend(stored);
            assert_eq!(chore(&pod, leads), expected, "{pod:?}");
        }
    }
}
