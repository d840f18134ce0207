//! The own pod: what is known of it, its label, and whether it may lead.
//!
//! Must not know: the election.

use std::collections::BTreeMap;
use std::time::Duration;

use election::{Identity, OwnPod, Timing, Version};
use futures::future::BoxFuture;
use tokio::time::sleep;
use tracing::{info, warn};

use crate::api::{Api, Error};
use crate::pod::{self, Object};
use crate::watch::Versioned as _;

/// Repairs of the label start at once, then after 1 s, 2 s, up to this, while somebody fights.
const LONGEST: Duration = Duration::from_mins(1);
/// Nobody fights any more when the label stood for so long.
const FORGET: Duration = Duration::from_mins(2);

/// The own pod, and the repair of its label that is under way.
pub(crate) struct Own {
    identity: Identity,
    container: Option<String>,
    pod: Pod,
    repair: Option<BoxFuture<'static, Result<Object, Error>>>,
    /// The label has been in place before.
    labelled: bool,
    /// Repairs of the label that followed each other closely.
    rounds: u32,
    last_repair: Duration,
    complained: bool,
}

/// What is known of it.
#[derive(Debug)]
enum Pod {
    Unknown,
    Gone,
    Here(Box<Object>),
}

impl Own {
    pub(crate) fn new(identity: Identity, container: Option<String>) -> Self {
        Self {
            identity,
            container,
            pod: Pod::Unknown,
            repair: None,
            labelled: false,
            rounds: 0,
            last_repair: Duration::ZERO,
            complained: false,
        }
    }

    /// Takes what a watch or a write shows; `None`: there is none of this name.
    pub(crate) fn see(&mut self, pod: Option<Box<Object>>) {
        let mine = |pod: &Object| pod.metadata.uid == self.identity.uid.as_str();
        self.pod = match (pod, &self.pod) {
            (_, Pod::Gone) => Pod::Gone,
            (Some(pod), Pod::Here(known)) if mine(&pod) && is_older(&pod, known) => return,
            (Some(pod), _) if mine(&pod) => Pod::Here(pod),
            _ => Pod::Gone,
        };
        let labelled = matches!(&self.pod, Pod::Here(pod) if pod.is_labelled());
        if labelled && !self.labelled {
            // What it took to put it there for the first time was no repair.
            (self.labelled, self.rounds) = (true, 0);
        }
        self.complain_of_a_missing_container();
    }

    /// The pod as it was last seen, while it is there.
    pub(crate) fn object(&self) -> Option<&Object> {
        match &self.pod {
            Pod::Here(pod) => Some(pod),
            Pod::Unknown | Pod::Gone => None,
        }
    }

    /// Starts a repair, if the label is wrong.
    pub(crate) fn repair_label(&mut self, api: &Api, now: Duration) {
        let Pod::Here(pod) = &self.pod else { return };
        if pod.is_labelled() || pod.is_finished() || self.repair.is_some() {
            return;
        }
        if now.saturating_sub(self.last_repair) > FORGET {
            self.rounds = 0;
        }
        let pause = match self.rounds {
            0 => Duration::ZERO,
            n => Duration::from_secs(1 << (n - 1).min(6)).min(LONGEST),
        };
        info!(name = %self.identity.pod, found = pod.label(), "labelling the own pod");
        self.rounds = self.rounds.saturating_add(1);
        self.last_repair = now + pause;
        let (api, identity) = (api.clone(), self.identity.clone());
        self.repair = Some(Box::pin(async move {
            sleep(pause).await;
            pod::label(&api, &identity, Timing::REQUEST).await
        }));
    }

    /// Waits for the repair that is under way; for ever, if there is none.
    pub(crate) async fn repaired(&mut self) -> Result<Object, Error> {
        let Some(repair) = &mut self.repair else {
            return futures::future::pending().await;
        };
        let result = repair.await;
        self.repair = None;
        result
    }

    /// What the core is told; `None` before the pod was seen. `wanted`: the user's selectors of the
    /// existing Services, once all are known.
    pub(crate) fn verdict(
        &self,
        wanted: Option<&[&BTreeMap<String, String>]>,
        was: OwnPod,
    ) -> Option<OwnPod> {
        let pod = match &self.pod {
            Pod::Unknown => return None,
            Pod::Gone => None,
            Pod::Here(pod) => Some(pod.as_ref()),
        };
        let container = self.container.as_deref();
        // A label that somebody took away is back in milliseconds: no reason for a handover.
        let soon = self.repair.is_some() && self.rounds == 1;
        let spared = pod.filter(|pod| was.candidate && soon && !pod.is_labelled());
        let labelled = spared.map(Object::as_labelled);
        Some(pod::own(
            labelled.as_ref().or(pod),
            &self.identity,
            container,
            wanted,
        ))
    }

    fn complain_of_a_missing_container(&mut self) {
        let (Pod::Here(pod), Some(container)) = (&self.pod, &self.container) else {
            return;
        };
        if !pod.has_container(container) && !self.complained {
            self.complained = true;
            warn!(
                name = %self.identity.pod,
                container,
                "the pod has no container of this name, so it will never lead: correct --container"
            );
        }
    }
}

fn is_older(pod: &Object, known: &Object) -> bool {
    let version = |pod: &Object| pod.version().and_then(|text| Version::parse(text).ok());
    version(pod) < version(known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use election::{PodName, PodUid};
    use serde_json::json;

    fn identity() -> Identity {
        Identity {
            pod: PodName::parse("web-0").unwrap(),
            uid: PodUid::new("u-1"),
        }
    }

    fn pod(version: &str, label: Option<&str>) -> Box<Object> {
        let mut raw = json!({
            "metadata": { "name": "web-0", "uid": "u-1", "resourceVersion": version },
            "status": { "conditions": [{ "type": "Ready", "status": "True" }] },
        });
        if let Some(label) = label {
            raw["metadata"]["labels"] = json!({ contract::names::LABEL: label });
        }
        serde_json::from_value(raw).unwrap()
    }

    #[test]
    fn old_news_change_nothing() {
        let mut own = Own::new(identity(), None);
        own.see(Some(pod("9", Some("web-0"))));
        own.see(Some(pod("8", None)));
        assert!(own.verdict(Some(&[]), OwnPod::default()).unwrap().candidate);
    }

    #[test]
    fn a_label_taken_away_ends_candidacy_unless_its_repair_is_under_way() {
        let mut own = Own::new(identity(), None);
        own.see(Some(pod("9", Some("web-0"))));
        let candidate = own.verdict(Some(&[]), OwnPod::default()).unwrap();
        own.see(Some(pod("10", None)));
        assert!(!own.verdict(Some(&[]), candidate).unwrap().candidate);
        own.repair = Some(Box::pin(futures::future::pending()));
        own.rounds = 1;
        assert!(own.verdict(Some(&[]), candidate).unwrap().candidate);
        assert!(!own.verdict(Some(&[]), OwnPod::default()).unwrap().candidate);
        own.rounds = 2;
        assert!(!own.verdict(Some(&[]), candidate).unwrap().candidate);
    }

    #[test]
    fn who_is_gone_stays_gone() {
        let mut own = Own::new(identity(), None);
        assert_eq!(own.verdict(Some(&[]), OwnPod::default()), None);
        own.see(None);
        own.see(Some(pod("9", Some("web-0"))));
        assert!(own.verdict(Some(&[]), OwnPod::default()).unwrap().gone);
    }
}
