//! The pods with a sidecar that are left, as a majority of the store has them.
//!
//! Must not know: what waits for them to go.

use std::ops::ControlFlow;

use contract::{
    names::service_annotation, pods::Pod, rbac::Names, values::ServiceName, workload::Kind,
};
use serde_json::Value;

use super::{Controller, not_ended};
use crate::cluster::{Object, RequestError, Resource};

const PODS: Resource = Resource::Workload(Kind::Pod);

impl Controller {
    /// The pod that a Service names as its leader, if its sidecar may still write it.
    pub(super) async fn leaders_pod(
        &self,
        namespace: &str,
        service: &Value,
    ) -> Result<Option<String>, RequestError> {
        let leader = service
            .pointer("/metadata/annotations")
            .and_then(|annotations| annotations.get(service_annotation::LEADER)?.as_str());
        let service = service.pointer("/metadata/name").and_then(Value::as_str);
        let service = service.and_then(|name| ServiceName::parse(name).ok());
        let (Some(name), Some(service)) = (leader, service) else {
            return Ok(None);
        };
        let object = Object {
            resource: PODS,
            namespace,
            name,
        };
        let pod = self.cluster.get(object).await?;
        let pod = pod.and_then(|pod| serde_json::from_value::<Pod>(pod).ok());
        Ok(pod
            .filter(|pod| pod.may_switch(&service))
            .map(|pod| pod.name().to_owned()))
    }

    /// A pod whose sidecar may still write this Service.
    pub(super) async fn served_by(
        &self,
        namespace: &str,
        service: &str,
    ) -> Result<Option<String>, RequestError> {
        let Ok(service) = ServiceName::parse(service) else {
            return Ok(None);
        };
        let mut found = None;
        let look = |pod: Pod| {
            if !pod.may_switch(&service) {
                return ControlFlow::Continue(());
            }
            found = Some(pod.name().to_owned());
            ControlFlow::Break(())
        };
        self.cluster
            .visit(PODS, namespace, &not_ended(), look)
            .await?;
        Ok(found)
    }

    /// What the pods work with whose sidecars name this Service first.
    pub(super) async fn needs(
        &self,
        namespace: &str,
        election: &str,
    ) -> Result<Names, RequestError> {
        let mut needs = Names::default();
        let look = |pod: Pod| {
            pod.add_needs(election, &mut needs);
            ControlFlow::Continue(())
        };
        self.cluster
            .visit(PODS, namespace, &not_ended(), look)
            .await?;
        Ok(needs)
    }
}
