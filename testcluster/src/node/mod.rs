//! The process node: plays scheduler and kubelet for every pod, with real processes.
//!
//! Must not know: elections, the webhook, what an image's program does. What it cannot play it
//! refuses in the pod's status (reason [`UNSUPPORTED`]); it does not enforce resources, users,
//! capabilities or mounts.

mod container;
mod credentials;
mod plan;
mod pod;
mod probe;
mod status;

use std::{
    collections::{HashMap, HashSet},
    fs,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use hyper::Method;
use k8s_openapi::api::core::v1::{Binding, Node as NodeObject, Pod};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt as _, watcher},
};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::json;
use tokio::{sync::watch, task::AbortHandle, time::sleep};

use self::{
    container::Ending,
    pod::Worker,
    status::{PodState, Stage},
};
use crate::{
    cluster::Options, control_plane::ControlPlane, http, loopback, loopback::Loopback,
    programs::Programs, steady::Steady,
};

pub use status::UNSUPPORTED;

/// The node's name.
pub const NODE: &str = "process-node";

#[derive(Debug)]
struct Inner {
    rig: PathBuf,
    logs: PathBuf,
    options: Options,
    plane: Arc<ControlPlane>,
    loopback: Arc<Loopback>,
    programs: Programs,
    pods: Mutex<Pods>,
}

#[derive(Debug, Default)]
struct Pods {
    by_uid: HashMap<String, Entry>,
    /// How many pods have been given an IP.
    given: u16,
}

#[derive(Debug)]
struct Entry {
    namespace: String,
    name: String,
    ip: Ipv4Addr,
    /// For a pod that vanishes: `terminationGracePeriodSeconds`.
    grace: Duration,
    state: watch::Sender<PodState>,
    ending: watch::Sender<Option<Ending>>,
    task: AbortHandle,
}

/// A handle to the process node.
#[derive(Debug, Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

impl Node {
    /// Registers the node and begins to play its pods, on the runtime that calls.
    pub(crate) async fn start(
        plane: Arc<ControlPlane>,
        loopback: Arc<Loopback>,
        programs: Programs,
        rig: PathBuf,
        options: Options,
    ) -> Result<Self> {
        let logs = rig.join("logs");
        fs::create_dir_all(&logs)?;
        let client = plane.client()?;
        register(&client).await?;
        let inner = Arc::new(Inner {
            rig,
            logs,
            options,
            plane,
            loopback,
            programs,
            pods: Mutex::default(),
        });
        tokio::spawn(follow(Arc::clone(&inner), client));
        Ok(Self { inner })
    }

    /// The process of a container, if it runs.
    pub fn pid(&self, namespace: &str, pod: &str, container: &str) -> Option<u32> {
        let pids = self.inner.pids(namespace, pod).ok()?;
        pids.into_iter()
            .find(|(name, _)| name == container)
            .map(|(_, pid)| pid)
    }

    /// Sends a signal to a container's process. The node's probes go on: see [`Node::freeze`].
    pub fn signal(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        signal: Signal,
    ) -> Result<()> {
        let pid = self.pid(namespace, pod, container).with_context(|| {
            format!("container {container} of pod {namespace}/{pod} does not run")
        })?;
        Ok(kill_process(process(pid)?, signal)?)
    }

    /// Stops the clock of a pod, as if its machine were suspended: its processes stand still, and
    /// so do probes and reports.
    pub fn freeze(&self, namespace: &str, pod: &str) -> Result<()> {
        self.inner.set_frozen(namespace, pod, true)
    }

    /// Ends a [`Node::freeze`].
    pub fn thaw(&self, namespace: &str, pod: &str) -> Result<()> {
        self.inner.set_frozen(namespace, pod, false)
    }

    /// Kills all processes of a pod and reports nothing, as if its machine had lost power: the
    /// pod's object stays as it was until somebody force-deletes it.
    pub fn vanish(&self, namespace: &str, pod: &str) -> Result<()> {
        let pids = self.inner.pids(namespace, pod)?;
        self.inner
            .with(namespace, pod, |entry| entry.task.abort())?;
        for (_, pid) in pids {
            kill_process_group(process(pid)?, Signal::KILL).ok();
        }
        Ok(())
    }

    /// What a container has written so far, over all its restarts; of a pod that is gone, too.
    /// Where several pods have had this name, the latest one's.
    pub fn logs(&self, namespace: &str, pod: &str, container: &str) -> Result<String> {
        let begin = format!("{namespace}_{pod}_{container}_");
        let mut found = Vec::new();
        for file in fs::read_dir(&self.inner.logs)? {
            let file = file?;
            if file.file_name().to_string_lossy().starts_with(&begin) {
                found.push((file.metadata()?.created()?, file.path()));
            }
        }
        let (_, latest) = found.into_iter().max().with_context(|| {
            format!("container {container} of pod {namespace}/{pod} has never run")
        })?;
        Ok(String::from_utf8_lossy(&fs::read(latest)?).into_owned())
    }

    /// The loopback address behind a pod's IP.
    pub fn pod_address(&self, namespace: &str, pod: &str) -> Result<IpAddr> {
        let ip = self.inner.with(namespace, pod, |entry| entry.ip)?;
        Ok(self.inner.loopback.behind(ip).into())
    }

    /// GET on a port of a pod: status and text.
    pub async fn get(
        &self,
        namespace: &str,
        pod: &str,
        port: u16,
        path: &str,
    ) -> Result<(u16, String)> {
        let address = (self.pod_address(namespace, pod)?, port).into();
        http::fetch(address, Method::GET, path, String::new(), http::PATIENCE).await
    }

    /// Makes the application that listens on `port` answer its `/ready` with 200 or with 503.
    pub async fn set_ready(&self, namespace: &str, pod: &str, port: u16, ok: bool) -> Result<()> {
        let address = (self.pod_address(namespace, pod)?, port).into();
        let path = format!("/ready?ok={ok}");
        let (status, text) =
            http::fetch(address, Method::POST, &path, String::new(), http::PATIENCE).await?;
        anyhow::ensure!(status == 204, "{path} at {address}: {status} {text}");
        Ok(())
    }
}

fn process(pid: u32) -> Result<Pid> {
    Pid::from_raw(pid.cast_signed()).context("no such process")
}

impl Inner {
    fn pods(&self) -> MutexGuard<'_, Pods> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The latest pod of this name that the node knows.
    fn with<T>(&self, namespace: &str, pod: &str, f: impl FnOnce(&Entry) -> T) -> Result<T> {
        let pods = self.pods();
        let entry = pods
            .by_uid
            .values()
            .filter(|entry| entry.namespace == namespace && entry.name == pod)
            .max_by_key(|entry| entry.ip)
            .with_context(|| format!("there is no pod {namespace}/{pod} on the process node"))?;
        Ok(f(entry))
    }

    fn pids(&self, namespace: &str, pod: &str) -> Result<Vec<(String, u32)>> {
        self.with(namespace, pod, |entry| {
            let state = entry.state.borrow();
            let running = state.containers.iter().filter_map(|(name, seen)| {
                if let Stage::Running { pid, .. } = seen.stage {
                    return Some((name.clone(), pid));
                }
                None
            });
            running.collect()
        })
    }

    fn set_frozen(&self, namespace: &str, pod: &str, frozen: bool) -> Result<()> {
        let signal = if frozen { Signal::STOP } else { Signal::CONT };
        for (_, pid) in self.pids(namespace, pod)? {
            kill_process_group(process(pid)?, signal)?;
        }
        self.with(namespace, pod, |entry| {
            entry.state.send_modify(|state| state.frozen = frozen);
        })
    }

    /// A pod as the API server has it.
    fn seen(self: &Arc<Self>, client: &Client, pod: Pod) {
        let meta = &pod.metadata;
        let (Some(uid), Some(spec)) = (meta.uid.clone(), &pod.spec) else {
            return;
        };
        match spec.node_name.as_deref() {
            None if meta.deletion_timestamp.is_none()
                && spec.scheduling_gates.iter().flatten().next().is_none() =>
            {
                tokio::spawn(bind(client.clone(), pod));
            }
            Some(NODE) => {
                let ends_in = meta.deletion_timestamp.as_ref().map(|_| {
                    let grace = meta.deletion_grace_period_seconds.unwrap_or(0);
                    Duration::from_secs(grace.max(0).unsigned_abs())
                });
                let mut pods = self.pods();
                if !pods.by_uid.contains_key(&uid) {
                    self.play(&mut pods, client, &uid, pod);
                }
                if let (Some(grace), Some(entry)) = (ends_in, pods.by_uid.get(&uid)) {
                    entry.end(Ending::within(grace));
                }
            }
            _ => {}
        }
    }

    fn play(self: &Arc<Self>, pods: &mut Pods, client: &Client, uid: &str, pod: Pod) {
        pods.by_uid.retain(|_, entry| !entry.is_over());
        pods.given += 1;
        let Some(ip) = loopback::pod_ip(pods.given) else {
            tracing::error!("the process node has no pod IP left");
            return;
        };
        let state = watch::Sender::new(PodState::default());
        let (ending, told) = watch::channel(None);
        let grace = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.termination_grace_period_seconds)
            .unwrap_or(30);
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        let name = pod.metadata.name.clone().unwrap_or_default();
        let worker = Worker {
            node: Arc::clone(self),
            client: client.clone(),
            uid: uid.to_owned(),
            ip,
            state: state.clone(),
            ending: told,
            pod,
        };
        let entry = Entry {
            namespace,
            name,
            ip,
            grace: Duration::from_secs(grace.max(0).unsigned_abs()),
            state,
            ending,
            task: tokio::spawn(worker.run()).abort_handle(),
        };
        pods.by_uid.insert(uid.to_owned(), entry);
    }

    /// A pod's object is gone: what still runs of it is ended, as kubelet would.
    fn gone(&self, uid: &str) {
        let pods = self.pods();
        let Some(entry) = pods.by_uid.get(uid) else {
            return;
        };
        let grace = self.options.force_deleted_grace.unwrap_or(entry.grace);
        entry.end(Ending {
            gone: true,
            ..Ending::within(grace)
        });
    }
}

impl Entry {
    /// Both the object and the processes are gone.
    fn is_over(&self) -> bool {
        self.task.is_finished() && self.ending.borrow().is_some_and(|ending| ending.gone)
    }

    /// Tells the pod to end. The earliest deadline counts.
    fn end(&self, new: Ending) {
        self.ending.send_if_modified(|ending| {
            let merged = match *ending {
                None => new,
                Some(old) => Ending {
                    kill_at: old.kill_at.min(new.kill_at),
                    gone: old.gone || new.gone,
                },
            };
            ending.replace(merged) != Some(merged)
        });
    }
}

async fn register(client: &Client) -> Result<()> {
    let nodes: Api<NodeObject> = Api::all(client.clone());
    let node = serde_json::from_value(json!({
        "metadata": {"name": NODE, "labels": {"kubernetes.io/hostname": NODE,
            "kubernetes.io/os": "linux", "kubernetes.io/arch": std::env::consts::ARCH}},
    }))?;
    nodes.create(&PostParams::default(), &node).await?;
    let capacity = json!({"cpu": "64", "memory": "256Gi", "pods": "1000"});
    let status = json!({"status": {
        "capacity": capacity,
        "allocatable": capacity,
        "addresses": [{"type": "InternalIP", "address": loopback::NODE_IP},
            {"type": "Hostname", "address": NODE}],
        "conditions": [{"type": "Ready", "status": "True", "reason": "ProcessNode",
            "message": "pods are processes", "lastTransitionTime": jiff::Timestamp::now()}],
    }});
    let params = PatchParams::default();
    nodes
        .patch_status(NODE, &params, &Patch::Strategic(status))
        .await?;
    // Admission taints every new node, and the controller that would take it off is not run.
    let untaint = Patch::Merge(json!({"spec": {"taints": null}}));
    nodes.patch(NODE, &params, &untaint).await?;
    Ok(())
}

async fn follow(node: Arc<Inner>, client: Client) {
    let events = watcher(Api::<Pod>::all(client.clone()), watcher::Config::default());
    let mut events = std::pin::pin!(events.backoff(Steady));
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

/// Plays the scheduler: there is one node.
async fn bind(client: Client, pod: Pod) {
    let name = pod.metadata.name.clone().unwrap_or_default();
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    let pods: Api<Pod> = Api::namespaced(client, &namespace);
    let mut binding = Binding::default();
    binding.metadata.name = Some(name.clone());
    binding.metadata.uid = pod.metadata.uid;
    binding.target.kind = Some("Node".to_owned());
    binding.target.name = Some(NODE.to_owned());
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
