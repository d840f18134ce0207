//! The process node: plays scheduler and kubelet for every pod, with real processes.
//!
//! Must not know: elections, the webhook, what an image's program does. What it cannot play it
//! refuses in the pod's status (reason [`UNSUPPORTED`]); it does not enforce resources, users,
//! capabilities or mounts.

mod container;
mod credentials;
mod follow;
mod plan;
mod pod;
mod probe;
mod status;

use std::{
    collections::HashMap,
    fs,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result};
use hyper::Method;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::{
    sync::{Notify, watch},
    task::AbortHandle,
};

pub(crate) use self::follow::register;
use self::{
    container::Ending,
    pod::Worker,
    status::{PodState, Stage},
};
use crate::{
    cluster::Options, control_plane::ControlPlane, faults::Proxy, http, loopback,
    loopback::Loopback, programs::Programs,
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
    /// Between the pods and the API server, if there is to be one.
    proxy: Option<Arc<Proxy>>,
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
    rotate: Arc<Notify>,
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
        proxy: Option<Arc<Proxy>>,
        loopback: Arc<Loopback>,
        programs: Programs,
        rig: PathBuf,
        options: Options,
    ) -> Result<Self> {
        let logs = rig.join("logs");
        fs::create_dir_all(&logs)?;
        let client = plane.client()?;
        register(&client, NODE).await?;
        let inner = Arc::new(Inner {
            rig,
            logs,
            options,
            plane,
            proxy,
            loopback,
            programs,
            pods: Mutex::default(),
        });
        tokio::spawn(follow::follow(Arc::clone(&inner), client));
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
    /// so do probes and reports, and its deletion, forced or not, waits for the end of it.
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
        self.inner.with(namespace, pod, |entry| {
            entry.task.abort();
            entry.state.send_modify(|state| state.containers.clear());
        })?;
        for (_, pid) in pids {
            kill_process_group(process(pid)?, Signal::KILL).ok();
        }
        Ok(())
    }

    /// Writes new tokens into a pod's files now, as kubelet does long before the old ones expire.
    pub fn rotate_tokens(&self, namespace: &str, pod: &str) -> Result<()> {
        self.inner
            .with(namespace, pod, |entry| entry.rotate.notify_one())
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
        let note = || {
            self.with(namespace, pod, |entry| {
                entry.state.send_modify(|state| state.frozen = frozen);
            })
        };
        // Probes stop before the processes do, and go on after them.
        let signal = if frozen { Signal::STOP } else { Signal::CONT };
        if frozen {
            note()?;
        }
        for (_, pid) in self.pids(namespace, pod)? {
            kill_process_group(process(pid)?, signal)?;
        }
        if frozen { Ok(()) } else { note() }
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
                tokio::spawn(follow::bind(client.clone(), pod));
            }
            Some(_) => {
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
            None => {}
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
        let rotate = Arc::new(Notify::new());
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
            rotate: Arc::clone(&rotate),
            pod,
        };
        let entry = Entry {
            namespace,
            name,
            ip,
            grace: Duration::from_secs(grace.max(0).unsigned_abs()),
            state,
            ending,
            rotate,
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
