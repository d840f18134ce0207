//! What is known of the Services that an object names, and of its namespace: one short look, and no
//! guess.

use std::time::Duration;

use contract::{
    annotations::Services,
    facts::{Facts, Meshes, ServiceFact},
    wording::in_one_line,
};
use futures::future;
use serde_json::Value;

use crate::cluster::{Cluster, Object, RequestError, Resource};

/// An admission waits no longer than this for a mere warning.
const PATIENCE: Duration = Duration::from_secs(1);

pub(crate) async fn facts(cluster: &Cluster, namespace: &str, services: &Services) -> Facts {
    let services = services.iter().map(|service| async move {
        let object = Object {
            resource: Resource::Service,
            namespace,
            name: service.as_str(),
        };
        let fact = match within(object, look(cluster, object)).await {
            Some(Some(found)) => ServiceFact::of(&found),
            Some(None) => ServiceFact::Missing,
            None => ServiceFact::Unknown,
        };
        (service, fact)
    });
    let (services, meshes) =
        future::join(future::join_all(services), meshes(cluster, namespace)).await;
    let mut facts = Facts::default();
    for (service, fact) in services {
        facts.note(service, fact);
    }
    if let Some(meshes) = meshes {
        facts.note_meshes(meshes);
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

/// What the namespace asks for; a mesh's own webhook knows it by the API server's cache, too.
async fn meshes(cluster: &Cluster, namespace: &str) -> Option<Meshes> {
    let object = Object {
        resource: Resource::Namespace,
        namespace: "",
        name: namespace,
    };
    let found = within(object, cluster.get_cached(object)).await??;
    Some(Meshes::of(&found))
}

/// None: nothing is known.
async fn within<T>(
    object: Object<'_>,
    look: impl Future<Output = Result<T, RequestError>>,
) -> Option<T> {
    match tokio::time::timeout(PATIENCE, look).await {
        Ok(Ok(found)) => Some(found),
        Ok(Err(error)) => {
            tracing::debug!(error = in_one_line(&error), %object, "unknown");
            None
        }
        Err(_elapsed) => None,
    }
}
