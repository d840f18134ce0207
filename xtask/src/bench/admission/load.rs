//! Objects that clients create, and how long each creation took.
//!
//! Must not know: who is called on the way.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, PostParams},
};
use serde_json::{Value, json};
use testcluster::Cluster;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

/// Creates the objects in their order, as many at a time as there are clients. Each client has a
/// connection of its own, which is open before the first, and pauses after each creation.
pub(super) async fn create(
    cluster: &Cluster,
    clients: usize,
    pause: Duration,
    objects: Vec<Value>,
) -> Result<Vec<Duration>> {
    let objects: Vec<_> = objects
        .into_iter()
        .map(serde_json::from_value)
        .collect::<Result<_, _>>()?;
    let objects: Arc<[DynamicObject]> = objects.into();
    let next = Arc::new(AtomicUsize::new(0));
    let mut ready = Vec::new();
    for _ in 0..clients {
        let client = cluster.client()?;
        client.apiserver_version().await?;
        ready.push(client);
    }
    let mut running = JoinSet::new();
    for client in ready {
        let (objects, next) = (Arc::clone(&objects), Arc::clone(&next));
        running.spawn(async move {
            let mut times = Vec::new();
            while let Some(object) = objects.get(next.fetch_add(1, Ordering::Relaxed)) {
                times.push(create_one(&client, object).await?);
                sleep(pause).await;
            }
            Ok::<_, anyhow::Error>(times)
        });
    }
    let mut times = Vec::new();
    while let Some(ended) = running.join_next().await {
        times.extend(ended??);
    }
    Ok(times)
}

async fn create_one(client: &Client, object: &DynamicObject) -> Result<Duration> {
    let types = object.types.clone().unwrap_or_default();
    let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(&types)?);
    let namespace = object.metadata.namespace.clone().unwrap_or_default();
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &resource);
    let begun = Instant::now();
    api.create(&PostParams::default(), object).await?;
    Ok(begun.elapsed())
}

/// A Service for the workload of this name.
pub(super) fn service(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "namespace": namespace, "name": name },
        "spec": { "selector": { "app": name }, "ports": [{ "port": 80 }] },
    })
}

/// A Deployment of so many containers. It is paused, so that no pod follows.
pub(super) fn deployment(
    namespace: &str,
    name: &str,
    annotations: &Value,
    containers: usize,
) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "namespace": namespace, "name": name, "annotations": annotations },
        "spec": {
            "replicas": 3,
            "paused": true,
            "selector": { "matchLabels": { "app": name } },
            "template": { "metadata": { "labels": { "app": name } }, "spec": pod_spec(containers) },
        },
    })
}

/// A pod of so many containers. It is gated, so that no node runs it.
pub(super) fn pod(namespace: &str, name: &str, containers: usize) -> Value {
    let mut spec = pod_spec(containers);
    if let Some(fields) = spec.as_object_mut() {
        let gates = json!([{ "name": "example.org/never" }]);
        fields.insert("schedulingGates".to_owned(), gates);
    }
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "namespace": namespace, "name": name, "labels": { "app": name } },
        "spec": spec,
    })
}

fn pod_spec(containers: usize) -> Value {
    let containers: Vec<_> = (0..containers)
        .map(|number| {
            json!({
                "name": format!("app-{number}"),
                "image": format!("registry.example.org/shop/app-{number}:1.2.3"),
                "args": ["--verbose", "--listen", format!("0.0.0.0:{}", 8080 + number)],
                "ports": [{ "name": format!("http-{number}"), "containerPort": 8080 + number }],
                "env": [
                    { "name": "REGION", "value": "eu-1" },
                    { "name": "POD", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
                    { "name": "PASSWORD", "valueFrom": {
                        "secretKeyRef": { "name": "database", "key": "password" },
                    } },
                ],
                "readinessProbe": {
                    "httpGet": { "path": "/ready", "port": format!("http-{number}") },
                    "periodSeconds": 5,
                },
                "resources": {
                    "requests": { "cpu": "50m", "memory": "64Mi" },
                    "limits": { "memory": "256Mi" },
                },
                "volumeMounts": [{ "name": "cache", "mountPath": "/var/cache/app" }],
            })
        })
        .collect();
    json!({
        "containers": containers,
        "volumes": [{ "name": "cache", "emptyDir": {} }],
    })
}
