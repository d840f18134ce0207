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

use super::{Controller, Progress, claimants, herald::Said, index::Key};
use crate::cluster::{MANAGER, Object, RequestError, Resource, Selection};

/// How often others may write in between before the hand-back is given up. Then a user's
/// server-side apply meets one conflict.
const HAND_BACK_ATTEMPTS: u32 = 5;

/// What is done to a Service, in its Events.
const UNPIN: &str = "Unpin";

impl Controller {
    /// `revoked`: whose rights may have been taken away, which are to be looked at after this, however it
    /// ends: somebody may claim them since.
    pub(super) async fn reconcile_service(
        &self,
        namespace: &str,
        name: &str,
        claims: &[Claim],
        revoked: &mut Vec<Key>,
    ) -> Result<Progress, RequestError> {
        let object = Object {
            resource: Resource::Service,
            namespace,
            name,
        };
        if claims.is_empty() {
            return match self.cluster.get(object).await? {
                Some(service) => self.unpin(object, &service, revoked).await,
                None => Ok(Progress::Done),
            };
        }
        // The watch may be behind, and another replica have given the Service back on the strength of what it
        // read: by what was seen alone, one would mark it and the other un-pin it without end.
        let members = self.members(namespace, claims).await?;
        let claims = members.iter().map(|member| &member.claim);
        let value = claim::claimed_value(claims.filter(|claim| claim.covers(name)));
        if value.is_empty() {
            return Ok(Progress::Done);
        }
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
    async fn unpin(
        &self,
        object: Object<'_>,
        service: &Value,
        revoked: &mut Vec<Key>,
    ) -> Result<Progress, RequestError> {
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
            let role = role.pointer("/metadata/name").and_then(Value::as_str);
            let Some(election) = role.and_then(names::service_of) else {
                continue;
            };
            revoked.push(Key::Election {
                namespace: namespace.to_owned(),
                service: election.to_owned(),
            });
            // A workload that keeps other Services keeps its rights to those, and so do pods that are left.
            self.retire(namespace, election).await?;
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::http::Method;
    use contract::names::{annotation, env};

    use super::*;
    use crate::controller::tests::answered_by;

    /// A controller whose API server answers so, and what it was asked to write.
    fn controller(
        answer: impl Fn(&Method, &str) -> (u16, Value) + Send + 'static,
    ) -> (Controller, Arc<Mutex<Vec<String>>>) {
        let written = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&written);
        let controller = answered_by(move |request| {
            let (method, path) = (request.method(), request.uri().path());
            if method != Method::GET {
                log.lock().unwrap().push(format!("{method} {path}"));
            }
            answer(method, path)
        });
        (controller, written)
    }

    fn refusal(code: u16, reason: &str) -> (u16, Value) {
        let status = json!({
            "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": "",
        });
        (code, status)
    }

    fn deployment(uid: &str, services: &str) -> Value {
        let annotations = json!({ annotation::SERVICE: services });
        json!({ "name": "web", "namespace": "shop", "uid": uid, "annotations": annotations })
    }

    #[tokio::test]
    async fn a_service_is_marked_for_those_alone_that_claim_it_still() {
        let seen = Claim::of(Kind::Deployment, &deployment("u1", "web,api")).unwrap();
        for (now, is_marked) in [
            (Some(deployment("u1", "web,api")), true),
            (Some(deployment("u1", "web")), false),
            (
                Some(json!({ "name": "web", "namespace": "shop", "uid": "u1" })),
                false,
            ),
            (Some(deployment("u2", "api")), false),
            (None, false),
        ] {
            let (controller, written) = controller(move |method, _| match &now {
                _ if method == Method::PATCH => (200, json!({ "metadata": { "name": "api" } })),
                Some(now) => (200, json!({ "metadata": now })),
                None => refusal(404, "NotFound"),
            });
            let claims = std::slice::from_ref(&seen);
            let mut revoked = Vec::new();
            let progress = controller.reconcile_service("shop", "api", claims, &mut revoked);
            assert_eq!(progress.await.unwrap(), Progress::Done);
            let written = written.lock().unwrap();
            assert_eq!(written.len(), usize::from(is_marked), "{written:?}");
        }
    }

    #[tokio::test]
    async fn a_pod_claims_what_its_sidecar_was_made_for_whatever_is_written_into_it_later() {
        for (services, is_marked) in [("web", true), ("web,api", false)] {
            let metadata = json!({
                "name": "web-1", "namespace": "shop", "uid": "u1",
                "annotations": { annotation::SERVICE: services },
                "labels": { names::POD_LABEL: names::POD_LABEL_VALUE },
            });
            let claim = Claim::of(Kind::Pod, &metadata).unwrap();
            let env = json!([
                { "name": env::SERVICE, "value": "web" },
                { "name": env::LEASE, "value": claim.lease.as_str() },
            ]);
            let spec = json!({ "containers": [{ "name": names::CONTAINER, "env": env }] });
            let pods = json!({ "metadata": {}, "items": [{ "metadata": metadata, "spec": spec }] });
            let (controller, written) = controller(move |method, _| {
                let service = json!({ "metadata": { "name": "web" } });
                let is_read = method == Method::GET;
                (200, if is_read { pods.clone() } else { service })
            });
            let mut revoked = Vec::new();
            let claims = std::slice::from_ref(&claim);
            let progress = controller.reconcile_service("shop", "web", claims, &mut revoked);
            assert_eq!(progress.await.unwrap(), Progress::Done);
            let written = written.lock().unwrap();
            assert_eq!(written.len(), usize::from(is_marked), "{written:?}");
        }
    }

    /// Who claimed them again meanwhile may have found them there.
    #[tokio::test]
    async fn rights_that_were_taken_away_are_looked_at_though_the_service_is_not_given_back() {
        let (controller, written) = controller(|method, path| {
            let ours = json!({ "name": "service-leader-election-web", "labels": {
                rbac::MANAGED_BY: names::PRODUCT,
            } });
            let rules = json!([{ "resources": ["services"], "resourceNames": ["web"] }]);
            let annotations = json!({ service_annotation::CLAIMED: "Deployment/web" });
            let metadata =
                json!({ "name": "web", "resourceVersion": "7", "annotations": annotations });
            match path.rsplit('/').next().unwrap() {
                "web" if method == Method::PATCH => refusal(409, "Conflict"),
                "web" => (200, json!({ "metadata": metadata })),
                "roles" => (
                    200,
                    json!({ "metadata": {}, "items": [{ "metadata": ours, "rules": rules }] }),
                ),
                _ => (200, json!({ "metadata": ours })),
            }
        });
        let mut revoked = Vec::new();
        let given_back = controller.reconcile_service("shop", "web", &[], &mut revoked);
        assert!(given_back.await.unwrap_err().is_conflict());
        let key = Key::Election {
            namespace: "shop".to_owned(),
            service: "web".to_owned(),
        };
        assert_eq!(revoked, [key]);
        let written = written.lock().unwrap();
        assert_eq!(written.len(), 5, "{written:?}");
        assert!(written[4].starts_with("PATCH"), "{written:?}");
    }
}
