//! A cluster with the webhook, some of whose namespaces are as in a cluster without it.

use std::time::Duration;

use anyhow::{Result, ensure};
use contract::names::annotation;
use k8s_openapi::api::{
    admissionregistration::v1::MutatingWebhookConfiguration,
    apps::v1::Deployment,
    core::v1::{Namespace, ServiceAccount},
};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use testcluster::{Cluster, Injector};
use tokio::time::{Instant, sleep};

use super::{
    elsewhere,
    load::{create, deployment, service},
    webhook::Webhook,
};
use crate::election::PATIENCE;

/// How many Deployments stand in one namespace.
pub(super) const PER_NAMESPACE: usize = 50;

/// A namespace with this label is one in a cluster without the webhook.
const WITHOUT: &str = "example.org/without-webhook";

/// Whose Deployment it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    /// Somebody's in a cluster without the webhook.
    Without,
    /// Somebody's who does not use it.
    Unannotated,
    /// That of one who does.
    Annotated,
    /// Somebody's whose cluster has another injector, which adds one container and looks at nothing.
    Elsewhere,
}

impl Who {
    pub(super) const ALL: [Self; 4] = [
        Self::Without,
        Self::Unannotated,
        Self::Annotated,
        Self::Elsewhere,
    ];

    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Without => "without the webhook",
            Self::Unannotated => "with it, not annotated",
            Self::Annotated => "with it, annotated",
            Self::Elsewhere => "with the least injector",
        }
    }

    pub(super) fn deployment(self, namespace: &str, name: &str, containers: usize) -> Value {
        let annotations = match self {
            Self::Annotated => json!({ annotation::SERVICE: name }),
            _ => json!({ "example.org/team": "shop" }),
        };
        deployment(namespace, name, &annotations, containers)
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::Without => "without",
            Self::Unannotated => "others",
            Self::Annotated => "with",
            Self::Elsewhere => "elsewhere",
        }
    }
}

pub(super) struct Stage<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) webhook: Webhook<'a>,
    namespaces: Api<Namespace>,
    _elsewhere: Injector,
}

impl<'a> Stage<'a> {
    pub(super) async fn set(cluster: &'a Cluster) -> Result<Self> {
        let client = cluster.client()?;
        let all: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
        let only = json!({ "matchExpressions": [{ "key": WITHOUT, "operator": "DoesNotExist" }] });
        for configuration in all.list(&ListParams::default()).await? {
            let name = configuration.metadata.name.unwrap_or_default();
            let webhooks = configuration.webhooks.into_iter().flatten();
            let each: Vec<_> = webhooks
                .map(|webhook| json!({ "name": webhook.name, "namespaceSelector": only }))
                .collect();
            let patch = Patch::Strategic(json!({ "webhooks": each }));
            all.patch(&name, &PatchParams::default(), &patch).await?;
        }
        let stage = Self {
            cluster,
            webhook: Webhook::new(cluster)?,
            namespaces: Api::all(client.clone()),
            _elsewhere: elsewhere::install(client).await?,
        };
        stage.wait_until_it_gets(Who::Without, 0).await?;
        stage.wait_until_it_gets(Who::Elsewhere, 1).await?;
        Ok(stage)
    }

    /// Waits until the API server does not call our webhook for a namespace that is without it, and the
    /// other injector has its say: so many containers.
    async fn wait_until_it_gets(&self, who: Who, more: usize) -> Result<()> {
        let namespace = self.namespace(who).await?;
        let object = Who::Annotated.deployment(&namespace, "web", 1);
        let object: Deployment = serde_json::from_value(object)?;
        let deployments: Api<Deployment> = Api::namespaced(self.cluster.client()?, &namespace);
        let dry_run = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let containers = |deployment: &Deployment| {
            let pod = deployment.spec.as_ref()?.template.spec.as_ref()?;
            let init = pod.init_containers.as_ref().map_or(0, Vec::len);
            Some((pod.containers.len(), init))
        };
        let wanted = containers(&object).map(|(containers, init)| (containers + more, init));
        let deadline = Instant::now() + PATIENCE;
        while containers(&deployments.create(&dry_run, &object).await?) != wanted {
            ensure!(
                Instant::now() < deadline,
                "{}: another webhook is called than is to be",
                who.words()
            );
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    pub(super) async fn namespace(&self, who: Who) -> Result<String> {
        let name = self.cluster.namespace(who.prefix()).await?;
        let labels = match who {
            Who::Without => Some(json!({ WITHOUT: "" })),
            Who::Elsewhere => Some(json!({ WITHOUT: "", elsewhere::LABEL: "" })),
            Who::Unannotated | Who::Annotated => None,
        };
        if let Some(labels) = labels {
            let patch = Patch::Merge(json!({ "metadata": { "labels": labels } }));
            self.namespaces
                .patch(&name, &PatchParams::default(), &patch)
                .await?;
        }
        Ok(name)
    }

    /// As many Deployments of each kind, with so many containers each.
    pub(super) async fn deployments(
        &self,
        count: usize,
        containers: usize,
    ) -> Result<[Vec<Value>; Who::ALL.len()]> {
        let mut all = [const { Vec::new() }; Who::ALL.len()];
        for (who, all) in Who::ALL.into_iter().zip(&mut all) {
            *all = self.deployments_of(who, count, containers).await?;
        }
        Ok(all)
    }

    /// As many Deployments of one kind. The Services of annotated ones exist.
    pub(super) async fn deployments_of(
        &self,
        who: Who,
        count: usize,
        containers: usize,
    ) -> Result<Vec<Value>> {
        let mut all = Vec::new();
        let mut services = Vec::new();
        for first in (0..count).step_by(PER_NAMESPACE) {
            let namespace = self.namespace(who).await?;
            for number in first..count.min(first + PER_NAMESPACE) {
                let name = format!("web-{number}");
                all.push(who.deployment(&namespace, &name, containers));
                if who == Who::Annotated {
                    services.push(service(&namespace, &name));
                }
            }
        }
        create(self.cluster, 4, Duration::ZERO, services).await?;
        Ok(all)
    }

    /// Fails if the controllers had less to do than they ought to have had.
    pub(super) async fn check_granted(&self, deployments: usize) -> Result<()> {
        let accounts: Api<ServiceAccount> = Api::all(self.cluster.client()?);
        let ours = "app.kubernetes.io/managed-by=service-leader-election";
        let made = accounts.list(&ListParams::default().labels(ours)).await?;
        let made = made.items.len();
        ensure!(
            made >= deployments,
            "{made} accounts for {deployments} Deployments"
        );
        Ok(())
    }
}
