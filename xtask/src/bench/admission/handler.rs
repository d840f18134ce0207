//! How long the webhook's handler takes over a workload of ten containers: as the API server asks, and by
//! itself, when one review is sent again and again.
//!
//! Must not know: what is answered, save that it injects.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{
    admissionregistration::v1::MutatingWebhookConfiguration, apps::v1::Deployment,
};
use kube::{
    Api, Client, Config,
    api::PostParams,
    config::{KubeConfigOptions, Kubeconfig},
    core::Request,
};
use serde_json::{Value, json};

use super::{
    PAUSE,
    load::create,
    stage::{Stage, Who},
};

/// So many workloads are created.
pub(super) const CREATED: usize = 300;

/// So many reviews are sent, after those that fill caches.
const REVIEWS: usize = 1_000;
const BEFORE: usize = 100;

/// The workload's containers.
pub(super) const CONTAINERS: usize = 10;

const PATH: &str = "/mutate";

/// p50 and p99 in seconds, as upper bounds, while a client creates one workload after the other.
pub(super) async fn as_asked(stage: &Stage<'_>) -> Result<(f64, f64)> {
    let workloads = stage.deployments_of(Who::Annotated, CREATED, CONTAINERS);
    let workloads = workloads.await?;
    let before = stage.webhook.metrics().await?;
    create(stage.cluster, 1, PAUSE, workloads).await?;
    let after = stage.webhook.metrics().await?;
    check_asked(after.reviews() - before.reviews(), CREATED)?;
    stage.webhook.settle().await?;
    after.handler_since(&before)
}

/// The same of reviews without a pause in between.
pub(super) async fn without_pause(stage: &Stage<'_>) -> Result<(f64, f64)> {
    let review = review(stage).await?;
    let client = client(stage).await?;
    ask(&client, &review, BEFORE).await?;
    let before = stage.webhook.metrics().await?;
    ask(&client, &review, REVIEWS).await?;
    let after = stage.webhook.metrics().await?;
    check_asked(after.reviews() - before.reviews(), REVIEWS)?;
    after.handler_since(&before)
}

fn check_asked(times: u64, least: usize) -> Result<()> {
    ensure!(
        times >= u64::try_from(least)?,
        "the webhook was asked {times} times only"
    );
    Ok(())
}

async fn ask(client: &Client, review: &Value, times: usize) -> Result<()> {
    for _ in 0..times {
        let body = serde_json::to_vec(review)?;
        let request = Request::new(PATH).create(&PostParams::default(), body)?;
        let answer: Value = client.request(request).await?;
        ensure!(
            answer.pointer("/response/patch").is_some(),
            "the webhook injects nothing: {answer}"
        );
    }
    Ok(())
}

/// A dry run, so that nothing follows, of a Deployment with all that the API server writes into it first.
async fn review(stage: &Stage<'_>) -> Result<Value> {
    let deployments = stage.deployments_of(Who::Annotated, 1, CONTAINERS).await?;
    let mut object = deployments.into_iter().next().context("none was made")?;
    let namespace = stage.namespace(Who::Without).await?;
    let annotated = object.pointer_mut("/metadata/namespace");
    let annotated = annotated.context("it has no namespace")?;
    let own = std::mem::replace(annotated, json!(namespace));
    let api: Api<Deployment> = Api::namespaced(stage.cluster.client()?, &namespace);
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let made = api
        .create(&dry_run, &serde_json::from_value(object)?)
        .await?;
    let mut object = serde_json::to_value(&made)?;
    let mut set = |field: &str, value: &Value| {
        let fields = object.as_object_mut()?;
        fields.insert(field.to_owned(), value.clone())
    };
    set("apiVersion", &json!("apps/v1"));
    set("kind", &json!("Deployment"));
    if let Some(namespace) = object.pointer_mut("/metadata/namespace") {
        *namespace = own.clone();
    }
    Ok(json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "00000000-0000-0000-0000-000000000000",
            "kind": { "group": "apps", "version": "v1", "kind": "Deployment" },
            "resource": { "group": "apps", "version": "v1", "resource": "deployments" },
            "name": made.metadata.name,
            "namespace": own,
            "operation": "CREATE",
            "userInfo": { "username": "admin" },
            "object": object,
            "oldObject": null,
            "dryRun": true,
        },
    }))
}

/// A client that finds the webhook where the API server does.
async fn client(stage: &Stage<'_>) -> Result<Client> {
    let all: Api<MutatingWebhookConfiguration> = Api::all(stage.cluster.client()?);
    let found = all.get("service-leader-election-webhook").await?;
    let webhook = found.webhooks.into_iter().flatten().next();
    let called = webhook.context("it has no webhook")?.client_config;
    let url = called.url.context("it is not called by URL")?;
    let named = |kind: &str, value: Value| json!([{ "name": "webhook", kind: value }]);
    let kubeconfig: Kubeconfig = serde_json::from_value(json!({
        "clusters": named("cluster", json!({
            "server": url.trim_end_matches(PATH),
            "certificate-authority-data": called.ca_bundle,
        })),
        "users": named("user", json!({})),
        "contexts": named("context", json!({ "cluster": "webhook", "user": "webhook" })),
        "current-context": "webhook",
    }))?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}
