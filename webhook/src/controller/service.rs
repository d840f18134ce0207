//! A Service: marked while somebody claims it, given back to its user when nobody does.
//!
//! The patches are made in `contract`. The order here is what keeps a late leader from writing.

use std::ops::ControlFlow;

use contract::{
    claim::{self, Claim},
    names::{self, reason, service_annotation},
    pods::Pod,
    rbac, unpin,
    values::ServiceName,
    wording::in_one_line,
    workload::Kind,
};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use serde_json::{Value, json};

use super::{Controller, Progress, claimants, not_ended};
use crate::cluster::{MANAGER, Object, RequestError, Resource, Selection};

/// How often others may write in between before the hand-back is given up. Then a user's
/// server-side apply meets one conflict.
const HAND_BACK_ATTEMPTS: u32 = 5;

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
        let Some(service) = self.cluster.get(object).await? else {
            return Ok(Progress::Done);
        };
        if claims.is_empty() {
            return self.unpin(object, &service).await;
        }
        let written = service
            .pointer("/metadata/annotations")
            .and_then(|annotations| annotations.get(service_annotation::CLAIMED)?.as_str());
        if !written.is_some_and(|written| claim::is_named(written, claims.iter())) {
            let value = claim::claimed_value(claims.iter());
            let annotations = json!({ service_annotation::CLAIMED: value });
            let patch = json!({ "metadata": { "annotations": annotations } });
            self.cluster.merge(object, &patch).await?;
            tracing::info!(ns = namespace, name, "Service claimed");
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
        if self.is_led(namespace, service).await? {
            return Ok(Progress::Soon);
        }
        let claims = self.claims(namespace).await?;
        if claims.iter().any(|claim| claim.covers(name)) {
            // The watch is behind; what it will show is looked at then.
            return Ok(Progress::Done);
        }
        if self.is_served(namespace, name).await? {
            return Ok(Progress::Later);
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
        self.publish(&unpinned).await;
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

    /// Whether the pod is left that the Service names as its leader.
    async fn is_led(&self, namespace: &str, service: &Value) -> Result<bool, RequestError> {
        let leader = service
            .pointer("/metadata/annotations")
            .and_then(|annotations| annotations.get(service_annotation::LEADER)?.as_str());
        let Some(name) = leader else {
            return Ok(false);
        };
        let object = Object {
            resource: Resource::Workload(Kind::Pod),
            namespace,
            name,
        };
        let service = service.pointer("/metadata/name").and_then(Value::as_str);
        let service = service.and_then(|name| ServiceName::parse(name).ok());
        let pod = self.cluster.get(object).await?;
        let pod = pod.and_then(|pod| serde_json::from_value::<Pod>(pod).ok());
        Ok(pod
            .zip(service)
            .is_some_and(|(pod, service)| pod.may_switch(&service)))
    }

    /// Whether a pod is left whose sidecar may still write this Service.
    pub(super) async fn is_served(
        &self,
        namespace: &str,
        service: &str,
    ) -> Result<bool, RequestError> {
        let Ok(service) = ServiceName::parse(service) else {
            return Ok(false);
        };
        let mut is_served = false;
        let look = |pod: Pod| {
            is_served = pod.may_switch(&service);
            if is_served {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        };
        let resource = Resource::Workload(Kind::Pod);
        self.cluster
            .visit(resource, namespace, &not_ended(), look)
            .await?;
        Ok(is_served)
    }

    async fn publish(&self, service: &Value) {
        let text = |path| {
            service
                .pointer(path)
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        let reference = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Service".to_owned()),
            namespace: text("/metadata/namespace"),
            name: text("/metadata/name"),
            uid: text("/metadata/uid"),
            ..ObjectReference::default()
        };
        let event = Event {
            type_: EventType::Normal,
            reason: reason::UNPINNED.to_owned(),
            note: Some("Nothing claims this Service: its selector is the user's again".to_owned()),
            action: "Unpin".to_owned(),
            secondary: None,
        };
        let reporter = Reporter {
            controller: MANAGER.to_owned(),
            instance: None,
        };
        let recorder = Recorder::new(self.cluster.client(), reporter);
        if let Err(error) = recorder.publish(&event, &reference).await {
            tracing::warn!(error = in_one_line(&error), "no Event");
        }
    }
}
