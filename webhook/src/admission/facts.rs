//! What is known of the Services that an object names, and of its namespace: what the watches have
//! shown, or else one short look, and no guess.

use std::time::Duration;

use contract::{
    annotations::Services,
    facts::{Facts, Meshes, ServiceFact},
    wording::in_one_line,
};
use futures::future;

use crate::{
    cluster::{Cluster, Object, RequestError, Resource},
    known::Known,
};

/// An admission waits no longer than this for a mere warning.
const PATIENCE: Duration = Duration::from_secs(1);

pub(crate) async fn facts(
    cluster: &Cluster,
    known: &Known,
    namespace: &str,
    services: &Services,
) -> Facts {
    let services = services.iter().map(|service| async move {
        let fact = match known.service(namespace, service.as_str()) {
            Some(fact) => fact,
            None => look(cluster, namespace, service.as_str()).await,
        };
        (service, fact)
    });
    let meshes = async {
        match known.meshes(namespace) {
            Some(meshes) => Some(meshes),
            // Seldom, so that it need not stand in every admission.
            None => Box::pin(look_for_meshes(cluster, namespace)).await,
        }
    };
    let (services, meshes) = future::join(future::join_all(services), meshes).await;
    let mut facts = Facts::default();
    for (service, fact) in services {
        facts.note(service, fact);
    }
    if let Some(meshes) = meshes {
        facts.note_meshes(meshes);
    }
    facts
}

/// A Service that was made in the moment before, out of the same file as the workload, is in no cache
/// yet: the store alone can say that there is none.
async fn look(cluster: &Cluster, namespace: &str, name: &str) -> ServiceFact {
    let object = Object {
        resource: Resource::Service,
        namespace,
        name,
    };
    match within(object, cluster.get(object)).await {
        Some(Some(found)) => ServiceFact::of(&found),
        Some(None) => ServiceFact::Missing,
        None => ServiceFact::Unknown,
    }
}

/// What the namespace asks for; a mesh's own webhook knows it by the API server's cache, too.
async fn look_for_meshes(cluster: &Cluster, namespace: &str) -> Option<Meshes> {
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
