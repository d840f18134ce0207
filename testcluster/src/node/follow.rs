//! What the process node asks the API server on its own account: to be a node, to hear of every
//! pod, and, as the scheduler, to have every pod.

use std::{collections::HashSet, pin::pin, sync::Arc, time::Duration};

use anyhow::Result;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Binding, Node as NodeObject, Pod};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::json;
use tokio::time::sleep;

use super::{Inner, NODE};
use crate::{loopback, steady::Steady};

/// Makes a Node object of this name, if there is none. One process plays the pods of them all.
pub(crate) async fn register(client: &Client, name: &str) -> Result<()> {
    let nodes: Api<NodeObject> = Api::all(client.clone());
    let node = serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name,
            "kubernetes.io/os": "linux", "kubernetes.io/arch": std::env::consts::ARCH}},
    }))?;
    match nodes.create(&PostParams::default(), &node).await {
        Err(kube::Error::Api(status)) if status.code == 409 => return Ok(()),
        made => drop(made?),
    }
    let capacity = json!({"cpu": "64", "memory": "256Gi", "pods": "1000"});
    let status = json!({"status": {
        "capacity": capacity,
        "allocatable": capacity,
        "addresses": [{"type": "InternalIP", "address": loopback::NODE_IP},
            {"type": "Hostname", "address": name}],
        "conditions": [{"type": "Ready", "status": "True", "reason": "ProcessNode",
            "message": "pods are processes", "lastTransitionTime": jiff::Timestamp::now()}],
    }});
    let params = PatchParams::default();
    nodes
        .patch_status(name, &params, &Patch::Strategic(status))
        .await?;
    // Admission taints every new node, and the controller that would take it off is not run.
    let untaint = Patch::Merge(json!({"spec": {"taints": null}}));
    nodes.patch(name, &params, &untaint).await?;
    Ok(())
}

/// Tells the node of every pod, for ever.
pub(super) async fn follow(node: Arc<Inner>, client: Client) {
    let events = watcher(Api::<Pod>::all(client.clone()), watcher::Config::default());
    let mut events = pin!(events.backoff(Steady));
    let mut listed = HashSet::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Init) => listed.clear(),
            Ok(watcher::Event::InitApply(pod)) => {
                listed.extend(pod.metadata.uid.clone());
                node.seen(&client, pod);
            }
            Ok(watcher::Event::InitDone) => {
                let known: Vec<_> = node.pods().by_uid.keys().cloned().collect();
                for uid in known.iter().filter(|uid| !listed.contains(*uid)) {
                    node.gone(uid);
                }
            }
            Ok(watcher::Event::Apply(pod)) => node.seen(&client, pod),
            Ok(watcher::Event::Delete(pod)) => {
                if let Some(uid) = &pod.metadata.uid {
                    node.gone(uid);
                }
            }
            Err(error) => tracing::debug!(%error, "the process node's watch broke"),
        }
    }
}

/// Plays the scheduler: a DaemonSet says which node it wants, for all others one will do.
pub(super) async fn bind(client: Client, pod: Pod) {
    let name = pod.metadata.name.clone().unwrap_or_default();
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    let pods: Api<Pod> = Api::namespaced(client, &namespace);
    let mut binding = Binding::default();
    binding.metadata.name = Some(name.clone());
    binding.metadata.uid = pod.metadata.uid.clone();
    binding.target.kind = Some("Node".to_owned());
    binding.target.name = Some(wanted_node(&pod).unwrap_or(NODE).to_owned());
    loop {
        let params = PostParams::default();
        let bound =
            pods.create_subresource::<_, serde_json::Value>("binding", &name, &params, &binding);
        match bound.await {
            Err(kube::Error::Api(status)) if status.code < 500 => {
                tracing::debug!(pod = name, error = %status, "not bound");
                return;
            }
            Err(_) => sleep(Duration::from_millis(200)).await,
            Ok(_) => return,
        }
    }
}

/// The node that a pod's affinity names by its field, as a DaemonSet writes it.
fn wanted_node(pod: &Pod) -> Option<&str> {
    let affinity = pod.spec.as_ref()?.affinity.as_ref()?;
    let nodes = affinity.node_affinity.as_ref()?;
    let required = nodes
        .required_during_scheduling_ignored_during_execution
        .as_ref()?;
    let fields = required
        .node_selector_terms
        .iter()
        .flat_map(|term| term.match_fields.iter().flatten());
    let mut names = fields.filter(|field| field.key == "metadata.name");
    let values = names.next()?.values.as_ref()?;
    values.first().map(String::as_str)
}
