//! Rounds: everything is looked at now and then, for no watch shows what becomes of the objects that were
//! made, nor of those that had a name before us.
//!
//! Must not know: what is done about a key.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use contract::{names, rbac, wording::in_one_line};
use futures::{Stream, stream};
use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval};

use super::{Controller, index::Key};
use crate::{
    cluster::{RequestError, Resource, Selection},
    known::name,
};

/// How many milliseconds a round takes: ten minutes. A look at an election takes seven reads and no write, if
/// all is as it ought to be: a thousand elections are 12 reads a second of each replica.
const ROUND: u64 = 10 * 60 * 1000;

/// Spreads looks over a round: each key has a moment of its own in it, another one in each replica.
#[derive(Debug, Default)]
pub(super) struct Spread(RandomState);

impl Spread {
    /// How long after the round has begun.
    pub(super) fn moment(&self, key: &Key) -> Duration {
        Duration::from_millis(self.0.hash_one(key) % ROUND)
    }
}

impl Controller {
    /// As each round begins, at once and then for ever: the elections that something was made for, whether
    /// anybody claims them or not.
    pub(super) fn rounds(self: &Arc<Self>) -> impl Stream<Item = Vec<Key>> + use<> {
        let mut begins = interval(Duration::from_millis(ROUND));
        begins.set_missed_tick_behavior(MissedTickBehavior::Delay);
        stream::unfold(
            (Arc::clone(self), begins),
            |(controller, mut begins)| async move {
                begins.tick().await;
                let made = controller.made().await.inspect_err(|error| {
                    tracing::warn!(error = in_one_line(error), "Roles not listed");
                });
                Some((made.unwrap_or_default(), (controller, begins)))
            },
        )
    }

    /// The elections that have a Role. One may be left of a pod that was never stored, by a replica that has
    /// ended since.
    async fn made(&self) -> Result<Vec<Key>, RequestError> {
        let ours = Selection {
            labels: Some(format!("{}={}", rbac::MANAGED_BY, names::PRODUCT)),
            ..Selection::default()
        };
        let mut keys = Vec::new();
        let note = |metadata: &Value| {
            let (namespace, role) = name(Some(metadata));
            keys.extend(names::service_of(&role).map(|service| Key::Election {
                namespace,
                service: service.to_owned(),
            }));
        };
        self.cluster
            .visit_metadata(Resource::Role, "", &ours, note)
            .await?;
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use serde_json::json;

    use super::*;
    use crate::controller::tests::answered_by;

    fn election(service: &str) -> Key {
        Key::Election {
            namespace: "shop".to_owned(),
            service: service.to_owned(),
        }
    }

    #[tokio::test]
    async fn a_round_begins_at_once_with_what_was_made_whoever_claims_it() {
        let controller = answered_by(|request| {
            let ours = "labelSelector=app.kubernetes.io%2Fmanaged-by%3Dservice-leader-election";
            assert!(request.uri().to_string().contains(ours), "{request:?}");
            let path = request.uri().path();
            assert_eq!(path, "/apis/rbac.authorization.k8s.io/v1/roles");
            let role = |name| json!({ "metadata": { "namespace": "shop", "name": name } });
            let names = [
                "service-leader-election-web",
                "web",
                "service-leader-election-a-b",
            ];
            (200, json!({ "metadata": {}, "items": names.map(role) }))
        });
        let rounds = Arc::new(controller).rounds();
        let first = rounds.boxed().next().await;
        assert_eq!(first, Some(vec![election("web"), election("a-b")]));
    }

    #[test]
    fn the_looks_of_a_round_are_spread_over_it() {
        const KEYS: u64 = 1000;
        let spread = Spread::default();
        let mut minutes = [0_u64; 10];
        for key in 0..KEYS {
            let moment = spread.moment(&election(&format!("web-{key}"))).as_secs() / 60;
            minutes[usize::try_from(moment).unwrap()] += 1;
        }
        // A hundred each, give or take.
        assert!(
            minutes.iter().all(|keys| (50..200).contains(keys)),
            "{minutes:?}"
        );
    }
}
