//! What is known of the Services that a workload names: one short look, and no guess.

use std::time::Duration;

use contract::{
    annotations::Services,
    facts::{Facts, ServiceFact},
    wording::in_one_line,
};
use futures::future;
use serde_json::Value;

use crate::cluster::{Cluster, Object, RequestError, Resource};

/// An admission waits no longer than this for a mere warning.
const PATIENCE: Duration = Duration::from_secs(1);

pub(crate) async fn facts(cluster: &Cluster, namespace: &str, services: &Services) -> Facts {
    let looks = services.iter().map(|service| async move {
        let object = Object {
            resource: Resource::Service,
            namespace,
            name: service.as_str(),
        };
        let fact = match tokio::time::timeout(PATIENCE, look(cluster, object)).await {
            Ok(Ok(Some(found))) => ServiceFact::of(&found),
            Ok(Ok(None)) => ServiceFact::Missing,
            Ok(Err(error)) => {
                tracing::debug!(error = in_one_line(&error), "Service unknown");
                ServiceFact::Unknown
            }
            Err(_elapsed) => ServiceFact::Unknown,
        };
        (service, fact)
    });
    let mut facts = Facts::default();
    for (service, fact) in future::join_all(looks).await {
        facts.note(service, fact);
    }
    facts
}

/// A Service that was made in the moment before, out of the same file as the workload, may not be in
/// the API server's cache yet: that there is none is said by the store alone.
async fn look(cluster: &Cluster, service: Object<'_>) -> Result<Option<Value>, RequestError> {
    match cluster.get_cached(service).await? {
        Some(found) => Ok(Some(found)),
        None => cluster.get(service).await,
    }
}
