//! A Service: marked while somebody claims it, given back to its user when nobody does.
//!
//! The patches are made in `contract`. The order here is what keeps a late leader from writing.

use contract::{
    claim::{self, Claim},
    names::{self, reason, service_annotation},
    rbac, unpin,
    workload::Kind,
};
use kube::runtime::events::EventType;
use serde_json::{Value, json};

use super::{Controller, Progress, claimants, herald::Said};
use crate::cluster::{MANAGER, Object, RequestError, Resource, Selection};

/// How often others may write in between before the hand-back is given up. Then a user's
/// server-side apply meets one conflict.
const HAND_BACK_ATTEMPTS: u32 = 5;

/// What is done to a Service, in its Events.
const UNPIN: &str = "Unpin";

impl Controller {
    pub(super) async fn reconcile_service(
        &self,
        namespace: &str,
        name: &str,
        claims: &[Claim],
    ) -> Result<Progress, RequestError> {
        let object = Object {
            resource: Resource::Service,
            namespace,
            name,
        };
        if claims.is_empty() {
            return match self.cluster.get(object).await? {
                Some(service) => self.unpin(object, &service).await,
                None => Ok(Progress::Done),
            };
        }
        let value = claim::claimed_value(claims.iter());
        let annotations = json!({ service_annotation::CLAIMED: value });
        let patch = json!({ "metadata": { "annotations": annotations } });
        match self.cluster.merge(object, &patch).await {
            Ok(_) => tracing::info!(ns = namespace, name, "Service claimed"),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
        Ok(Progress::Done)
    }

    /// Gives a Service back. `service` was read before everything that is asked here, and the
    /// patch holds only for that very version of it.
    async fn unpin(&self, object: Object<'_>, service: &Value) -> Result<Progress, RequestError> {
        let Object {
            namespace, name, ..
        } = object;
        let Some(patch) = unpin::patch(service) else {
            return Ok(Progress::Done);
        };
        // The leader's pod goes last, and from then on nobody is served: a look at it alone can be frequent.
        if let Some(leader) = self.leaders_pod(namespace, service).await? {
            return Ok(Progress::Soon(leader));
        }
        let claims = self.claims(namespace).await?;
        if claims.iter().any(|claim| claim.covers(name)) {
            // The watch is behind; what it will show is looked at then.
            return Ok(Progress::Done);
        }
        if let Some(pod) = self.served_by(namespace, name).await? {
            return Ok(Progress::Later(pod));
        }
        let label = format!("{}={}", rbac::MANAGED_BY, names::PRODUCT);
        let ours = Selection {
            labels: Some(label),
            ..Selection::default()
        };
        let roles = self.cluster.list(Resource::Role, namespace, &ours).await?;
        for role in roles.iter().filter(|role| rbac::grants(role, name)) {
            let role = role
                .pointer("/metadata/name")
                .and_then(Value::as_str)
                .unwrap_or_default();
            // A workload that keeps other Services keeps its rights to those.
            if !claims
                .iter()
                .any(|claim| names::default_name(claim.election()) == role)
            {
                self.revoke(namespace, role).await?;
            }
        }
        let mut unpinned = self.cluster.merge(object, &patch).await?;
        tracing::info!(ns = namespace, name, "Service un-pinned");
        let said = Said {
            type_: EventType::Normal,
            reason: reason::UNPINNED,
            action: UNPIN,
            note: "Nothing claims this Service: its selector is the user's again".to_owned(),
        };
        self.herald.say(&unpinned, said).await;
        for _ in 0..HAND_BACK_ATTEMPTS {
            let Some(patch) = unpin::hand_back(&unpinned, MANAGER) else {
                break;
            };
            match self.cluster.merge(object, &patch).await {
                Ok(_) => break,
                Err(error) if error.is_conflict() => match self.cluster.get(object).await? {
                    Some(service) => unpinned = service,
                    None => break,
                },
                Err(error) => return Err(error),
            }
        }
        Ok(Progress::Done)
    }

    /// What the workloads and pods of a namespace claim, as a majority of the store has them.
    pub(super) async fn claims(&self, namespace: &str) -> Result<Vec<Claim>, RequestError> {
        let mut claims = Vec::new();
        for kind in Kind::ALL {
            let resource = Resource::Workload(kind);
            let note = |metadata: &Value| claims.extend(Claim::of(kind, metadata));
            self.cluster
                .visit_metadata(resource, namespace, &claimants(kind), note)
                .await?;
        }
        Ok(claims)
    }

    /// Says what an un-pin waits for that has waited long.
    pub(super) async fn say_unpin_waits(
        &self,
        namespace: &str,
        name: &str,
        pod: &str,
    ) -> Result<(), RequestError> {
        tracing::warn!(ns = namespace, name, pod, "un-pin waits for a pod");
        let object = Object {
            resource: Resource::Service,
            namespace,
            name,
        };
        let Some(service) = self.cluster.get(object).await? else {
            return Ok(());
        };
        let said = Said {
            type_: EventType::Warning,
            reason: reason::UNPIN_WAITS,
            action: UNPIN,
            note: format!(
                "Nothing claims this Service, but the sidecar of pod {pod} may still write it: the \
                 selector is the user's again once no such pod is left"
            ),
        };
        self.herald.say(&service, said).await;
        Ok(())
    }
}
