//! What can be seen in the API of the election that chores show and measure.
//!
//! Must not know: how a leader is elected.

use std::{fmt, time::Duration};

use anyhow::{Context as _, Result, bail};
use contract::names::{self, service_annotation};
use k8s_openapi::api::{
    apps::v1::Deployment,
    coordination::v1::Lease,
    core::v1::{Pod, Service},
};
use kube::{Api, ResourceExt, api::ListParams};
use serde_json::Value;
use testcluster::Cluster;
use tokio::time::{Instant, sleep};

/// The name of its Service and Deployment.
pub(crate) const NAME: &str = "web";

/// A Service and an annotated Deployment.
pub(crate) const MANIFEST: &str = include_str!("web.yaml");

/// How long a chore waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

#[derive(Debug)]
pub(crate) struct Election {
    pub(crate) namespace: String,
    pub(crate) services: Api<Service>,
    pub(crate) pods: Api<Pod>,
    leases: Api<Lease>,
    deployments: Api<Deployment>,
}

/// Who leads, by Lease and Service alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leader {
    pub(crate) pod: String,
    pub(crate) epoch: String,
}

impl fmt::Display for Leader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pod, epoch } = self;
        write!(formatter, "Leader: {pod}, epoch {epoch}.")
    }
}

impl Election {
    pub(crate) fn new(cluster: &Cluster, namespace: &str) -> Result<Self> {
        let client = cluster.client()?;
        Ok(Self {
            namespace: namespace.to_owned(),
            services: Api::namespaced(client.clone(), namespace),
            pods: Api::namespaced(client.clone(), namespace),
            leases: Api::namespaced(client.clone(), namespace),
            deployments: Api::namespaced(client, namespace),
        })
    }

    /// Waits until a probe finds something. A probe's error is final.
    pub(crate) async fn until<T>(
        &self,
        what: &str,
        mut probe: impl AsyncFnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(found) = probe().await? {
                return Ok(found);
            }
            sleep(Duration::from_millis(20)).await;
        }
        bail!(
            "within {} s it was not seen that {what}",
            PATIENCE.as_secs()
        )
    }

    /// Waits until Lease and Service agree on a leader, who is another pod than this one.
    pub(crate) async fn leader_other_than(&self, pod: Option<&str>) -> Result<Leader> {
        self.until("Lease and Service name one leader", async || {
            let leader = selected(&self.services.get(NAME).await?);
            let lease = self.leases.get_opt(&names::default_name(NAME)).await?;
            let holder = lease.and_then(|lease| lease.spec?.holder_identity);
            let agreed = leader.filter(|leader| holder.as_deref() == Some(&leader.pod));
            Ok(agreed.filter(|leader| Some(leader.pod.as_str()) != pod))
        })
        .await
    }

    /// Waits until the Deployment has all its replicas, ready, and no pod more.
    pub(crate) async fn wait_for_replicas(&self) -> Result<()> {
        self.until("every replica is ready", async || {
            let deployment = self.deployments.get(NAME).await?;
            let wanted = deployment.spec.and_then(|spec| spec.replicas);
            let ready = deployment.status.and_then(|status| status.ready_replicas);
            let pods = i32::try_from(self.pods().await?.len()).ok();
            Ok((ready == wanted && pods == wanted).then_some(()))
        })
        .await
    }

    pub(crate) async fn pods(&self) -> Result<Vec<String>> {
        let pods = self.pods.list(&ListParams::default()).await?;
        Ok(pods.iter().map(ResourceExt::name_any).collect())
    }

    /// What a pod's sidecar answers to `/leader`.
    pub(crate) async fn ask(&self, cluster: &Cluster, pod: &str) -> Result<Value> {
        let asked = cluster
            .node()
            .get(&self.namespace, pod, names::PORT, "/leader");
        let (status, text) = asked.await?;
        serde_json::from_str(&text).with_context(|| format!("{pod}: {status} {text}"))
    }
}

/// The leader that a Service selects: its selector and its annotations agree.
pub(crate) fn selected(service: &Service) -> Option<Leader> {
    let selector = service.spec.as_ref()?.selector.as_ref()?;
    let pod = selector.get(names::LABEL)?;
    let annotations = service.annotations();
    if annotations.get(service_annotation::LEADER) != Some(pod) {
        return None;
    }
    Some(Leader {
        pod: pod.clone(),
        epoch: annotations.get(service_annotation::EPOCH)?.clone(),
    })
}
