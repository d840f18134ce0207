//! One namespace of a cluster, recorded from its first revision on, with elections in it.
//!
//! When a test fails, its [`Scene`] prints what the store went through and what the sidecars
//! wrote.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary compiles this module for itself, and uses a part of it"
)]

pub mod ask;
pub mod kinds;
mod report;
pub mod webhook;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    time::Duration,
};

use anyhow::{Context as _, Result};
use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Pod, Service},
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use testcluster::{
    Change, Cluster, Forwarder, Kind, Options, Pin, Recorder, Signal, troubleshooting,
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, sleep},
};

/// The key of a pinned Service's selector, the label of its pods, the sidecar's container.
pub const KEY: &str = "service-leader-election";
pub const SIDECAR: &str = "service-leader-election";
/// The sidecar's status endpoint.
pub const STATUS: u16 = 28086;
const APP: u16 = 8080;

/// How many tests of a binary run at a time: what two cores bear.
static SLOTS: Semaphore = Semaphore::const_new(3);

/// A cluster into which the chart is installed.
pub struct Installed {
    pub cluster: Cluster,
    /// The webhook is called through it.
    webhook: Forwarder,
}

impl Installed {
    /// Starts a cluster, lets `before` look at it, and installs the chart with these values.
    pub async fn after(
        values: &[(&str, &str)],
        before: impl AsyncFnOnce(&Cluster) -> Result<()>,
    ) -> Result<Self> {
        Self::of(Options::default(), values, before).await
    }

    async fn of(
        options: Options,
        values: &[(&str, &str)],
        before: impl AsyncFnOnce(&Cluster) -> Result<()>,
    ) -> Result<Self> {
        let cluster = Cluster::start(options).await?;
        before(&cluster).await?;
        // One webhook is enough for what is tested here, and starts sooner.
        let values = [&[("replicas", "1")], values].concat();
        let webhook = cluster.install_chart(&values).await?;
        Ok(Self { cluster, webhook })
    }

    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// With these values of the chart.
    pub async fn with(values: &[(&str, &str)]) -> Self {
        Self::after(values, async |_| Ok(())).await.unwrap()
    }

    /// A cluster that can do harm to what its pods ask.
    pub async fn with_faults() -> Self {
        let options = Options {
            faults: true,
            ..Options::default()
        };
        Self::of(options, &[], async |_| Ok(())).await.unwrap()
    }
}

/// A test's namespace.
pub struct Scene {
    pub cluster: &'static Cluster,
    pub namespace: String,
    pub client: Client,
    pub record: Recorder,
    /// The revisions of a test's own drift.
    drift: RefCell<Vec<RangeInclusive<u64>>>,
    _slot: SemaphorePermit<'static>,
}

/// Who leads, as Service and Lease have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    pub pod: String,
    pub epoch: u64,
}

impl Scene {
    pub async fn enter(cluster: &'static Cluster, prefix: &str) -> Self {
        let slot = SLOTS.acquire().await.unwrap();
        let namespace = cluster.namespace(prefix).await.unwrap();
        let record = cluster.record(&namespace).await.unwrap();
        Self {
            cluster,
            namespace,
            client: cluster.client().unwrap(),
            record,
            drift: RefCell::default(),
            _slot: slot,
        }
    }

    /// Applies a Service and an annotated Deployment of this name, and waits for the first leader.
    pub async fn elect(&self, name: &str, replicas: u32, annotations: Value) -> Leader {
        self.apply(&service(name)).await;
        let mut all = json!({
            "service-leader-election/service": name,
            "service-leader-election/log-level": "debug",
        });
        if let (Value::Object(all), Value::Object(more)) = (&mut all, annotations) {
            all.extend(more);
        }
        self.apply(&deployment(name, replicas, &all)).await;
        self.all_ready(name, usize::try_from(replicas).unwrap())
            .await;
        self.agreed(name, |_| true).await
    }

    /// Waits until the application has so many pods, and all are ready.
    pub async fn all_ready(&self, name: &str, replicas: usize) {
        self.eventually("all pods are ready", async || {
            let pods = self.pods(name).await;
            (pods.len() == replicas && pods.iter().all(is_ready)).then_some(())
        })
        .await;
    }

    /// Waits until this pod alone bears the deletion cost of a leader.
    pub async fn costs_most(&self, name: &str, leader: &str) {
        const COST: &str = "controller.kubernetes.io/pod-deletion-cost";
        self.eventually("the leader's pod costs most", async || {
            let pods = self.pods(name).await;
            let costs = |pod: &&Pod| pod.annotations().get(COST).is_some();
            let names: Vec<_> = pods.iter().filter(costs).map(Pod::name_any).collect();
            (names == [leader]).then_some(())
        })
        .await;
    }

    /// Fails if a Service was ever switched to a pod that was not ready, or was being deleted, as
    /// the API server had it at that revision.
    pub async fn switched_to_ready_pods_only(&self, name: &str) {
        let mut pods: BTreeMap<String, Value> = BTreeMap::new();
        let mut selected = None;
        let mut switches = 0;
        for change in self.record.changes().await.unwrap() {
            match (change.kind, change.object) {
                (Kind::Pod, Some(pod)) => drop(pods.insert(change.name, pod)),
                (Kind::Pod, None) => drop(pods.remove(&change.name)),
                (Kind::Service, Some(service)) if change.name == name => {
                    let now = service["spec"]["selector"][KEY].as_str().map(str::to_owned);
                    if let Some(name) = now.as_ref().filter(|_| now != selected) {
                        let pod = pods.get(name).cloned();
                        let pod: Option<Pod> = pod.map(|pod| serde_json::from_value(pod).unwrap());
                        let serves = pod.as_ref().is_some_and(|pod| {
                            is_ready(pod) && pod.metadata.deletion_timestamp.is_none()
                        });
                        assert!(serves, "revision {}: switched to {pod:?}", change.revision);
                        switches += 1;
                    }
                    selected = now;
                }
                _ => {}
            }
        }
        assert!(switches > 0, "no switch was seen: this proves nothing");
    }

    pub async fn apply(&self, manifest: &Value) {
        self.kubectl_stdin(&["apply", "-f", "-"], &manifest.to_string())
            .await;
    }

    pub async fn kubectl(&self, arguments: &[&str]) -> String {
        self.kubectl_stdin(arguments, "").await
    }

    pub async fn kubectl_stdin(&self, arguments: &[&str], input: &str) -> String {
        let arguments = [&["-n", &self.namespace], arguments].concat();
        let output = self.cluster.kubectl_stdin(&arguments, input).await;
        output.unwrap().stdout
    }

    pub async fn eventually<T>(&self, what: &str, probe: impl AsyncFnMut() -> Option<T>) -> T {
        self.within(Duration::from_mins(1), what, probe).await
    }

    pub async fn within<T>(
        &self,
        patience: Duration,
        what: &str,
        mut probe: impl AsyncFnMut() -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(found) = probe().await {
                return found;
            }
            assert!(Instant::now() < deadline, "never: {what}");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until Service, Lease and every pod of this application that is not being deleted
    /// name one leader, which says itself that it leads, and that is `wanted`.
    pub async fn agreed(&self, name: &str, wanted: impl Fn(&Leader) -> bool) -> Leader {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let last = match self.leader(name).await {
                Ok(leader) if wanted(&leader) => return leader,
                Ok(leader) => format!("{leader:?} leads"),
                Err(error) => format!("{error:#}"),
            };
            assert!(
                Instant::now() < deadline,
                "no leader of {name} as it was wanted, at last: {last}"
            );
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits for another leader than this one.
    pub async fn next(&self, name: &str, old: &Leader) -> Leader {
        self.agreed(name, |leader| leader.pod != old.pod).await
    }

    async fn leader(&self, name: &str) -> Result<Leader> {
        let service = self.service(name).await?;
        let pod = selector(&service).remove(KEY).context("not pinned")?;
        let epoch = epoch(&service).context("no epoch")?;
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), &self.namespace);
        let lease = leases.get(&format!("{KEY}-{name}")).await?;
        let holder = lease.spec.and_then(|spec| spec.holder_identity);
        anyhow::ensure!(
            holder.as_ref() == Some(&pod),
            "{holder:?} holds the Lease of {pod}"
        );
        for other in self.try_pods(name).await? {
            let other = other.name_any();
            let says = self.says(&other).await?;
            anyhow::ensure!(
                says["leader"] == pod
                    && says["confirmed"] == true
                    && says["isLeader"] == (other == pod),
                "{other} says {says}, and the Service {pod}"
            );
        }
        Ok(Leader { pod, epoch })
    }

    /// Waits until the user's own selector stands again: the Service as it is then.
    pub async fn given_back(&self, name: &str) -> Service {
        self.eventually("the user's selector stands again", async || {
            let service = self.service(name).await.ok();
            service.filter(|service| !selector(service).contains_key(KEY))
        })
        .await
    }

    /// Waits until Events with all these reasons stand at the Service.
    pub async fn told(&self, name: &str, reasons: &[&str]) {
        self.eventually("the Service's Events tell it", async || {
            let text = self.kubectl(&["describe", "service", name]).await;
            let (_, events) = text.split_once("Events:")?;
            let said = reasons.iter().all(|reason| events.contains(reason));
            said.then_some(())
        })
        .await;
    }

    /// Waits until an Event about this kind of object is that row of docs/troubleshooting.md.
    pub async fn documented_event(&self, row: &str, kind: &str) {
        let about = format!("involvedObject.kind={kind}");
        let texts = "jsonpath={range .items[*]}{.message}{\"\\n\"}{end}";
        let events = ["get", "events", "--field-selector", &about, "-o", texts];
        self.eventually(row, async || {
            let text = self.kubectl(&events).await;
            troubleshooting::has(row, &text).unwrap().then_some(())
        })
        .await;
    }

    /// Waits until a pod's sidecar has logged that row of docs/troubleshooting.md.
    pub async fn documented_log(&self, row: &str, pod: &str) {
        let node = self.cluster.node();
        self.eventually(row, async || {
            let logs = node.logs(&self.namespace, pod, SIDECAR).unwrap();
            troubleshooting::has(row, &logs).unwrap().then_some(())
        })
        .await;
    }

    /// Waits until the webhook has logged that row of docs/troubleshooting.md about this namespace.
    pub async fn documented_webhook_log(&self, row: &str, patience: Duration) {
        self.within(patience, row, async || {
            let logs = self.webhook_log().unwrap();
            troubleshooting::has(row, &logs).unwrap().then_some(())
        })
        .await;
    }

    /// What a sidecar answers to `/leader`.
    pub async fn says(&self, pod: &str) -> Result<Value> {
        let node = self.cluster.node();
        let (_, text) = node.get(&self.namespace, pod, STATUS, "/leader").await?;
        Ok(serde_json::from_str(&text)?)
    }

    pub async fn service(&self, name: &str) -> Result<Service> {
        let services: Api<Service> = Api::namespaced(self.client.clone(), &self.namespace);
        Ok(services.get(name).await?)
    }

    /// Writes a Service as the webhook's controller, whom no policy binds.
    pub async fn force(&self, name: &str, patch: &Value) -> Service {
        let controller = self.cluster.client_for(KEY, &format!("{KEY}-webhook"));
        let services: Api<Service> = Api::namespaced(controller.unwrap(), &self.namespace);
        let params = PatchParams::default();
        let written = services.patch(name, &params, &Patch::Merge(patch)).await;
        written.unwrap()
    }

    /// The application's pods that are not being deleted.
    pub async fn pods(&self, name: &str) -> Vec<Pod> {
        self.try_pods(name).await.unwrap()
    }

    async fn try_pods(&self, name: &str) -> Result<Vec<Pod>> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let own = ListParams::default().labels(&format!("app={name}"));
        let mut items = pods.list(&own).await?.items;
        items.retain(|pod| pod.metadata.deletion_timestamp.is_none());
        Ok(items)
    }

    pub fn signal(&self, pod: &str, signal: Signal) {
        let node = self.cluster.node();
        node.signal(&self.namespace, pod, SIDECAR, signal).unwrap();
    }

    /// Makes every pod but this one unready, the leader last, until this one leads; then all are
    /// ready again.
    pub async fn lead(&self, name: &str, pod: &str) -> Leader {
        let old = self.agreed(name, |_| true).await;
        let mut others: Vec<_> = self.pods(name).await.iter().map(Pod::name_any).collect();
        others.retain(|other| other != pod);
        others.sort_by_key(|other| *other == old.pod);
        for other in &others {
            self.set_ready(other, false).await;
        }
        let leader = self.agreed(name, |leader| leader.pod == pod).await;
        for other in &others {
            self.set_ready(other, true).await;
        }
        leader
    }

    /// Waits until the pod's status says so.
    pub async fn set_ready(&self, pod: &str, ok: bool) {
        let node = self.cluster.node();
        node.set_ready(&self.namespace, pod, APP, ok).await.unwrap();
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        self.eventually("a pod's readiness follows its application's", async || {
            let pod = pods.get(pod).await.unwrap();
            (is_ready(&pod) == ok).then_some(())
        })
        .await;
    }

    /// Lets two pods be selected from a test's own write of a label up to its repair.
    pub fn allow_label(&self, drifted: &Pod, repaired: &Pod) {
        self.record
            .allow(revision(drifted)..=revision(repaired) - 1);
    }

    /// Lets a Service be wrong from a test's own write up to its repair, and takes nothing in it
    /// for a leader's word.
    pub fn allow_drift(&self, drifted: &Service, repaired: &Service) {
        let revisions = revision(drifted)..=revision(repaired) - 1;
        self.record.allow(revisions.clone());
        self.drift.borrow_mut().push(revisions);
    }

    /// Every pod that the Service has named, in order: one more than there were switches. Checks
    /// the whole record first.
    pub async fn leaders(&self, name: &str) -> Vec<String> {
        let pins = self.record.check().await.unwrap();
        let changes = self.record.changes().await.unwrap();
        let mut leaders: Vec<String> = Vec::new();
        let mut terms = BTreeSet::new();
        let drift = self.drift.borrow();
        let drifted = |pin: &Pin| drift.iter().any(|range| range.contains(&pin.revision));
        for pin in pins {
            if pin.service != name || drifted(&pin) {
                continue;
            }
            let (Some(pod), Some(epoch)) = (pin.selector, pin.epoch) else {
                continue;
            };
            if terms.insert(epoch.clone()) {
                assert_eq!(
                    holder_at(&changes, &epoch),
                    Some(pod.as_str()),
                    "epoch {epoch} is the Lease write that began the term"
                );
                if leaders.last() != Some(&pod) {
                    leaders.push(pod);
                }
            }
        }
        leaders
    }
}

/// Whom a Lease named at a revision.
fn holder_at<'a>(changes: &'a [Change], revision: &str) -> Option<&'a str> {
    let revision: u64 = revision.parse().ok()?;
    let lease = changes
        .iter()
        .find(|change| change.kind == Kind::Lease && change.revision == revision)?;
    lease.object.as_ref()?["spec"]["holderIdentity"].as_str()
}

pub fn service(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {
        "selector": {"app": name}, "ports": [{"port": 80, "targetPort": "http"}]}})
}

pub fn deployment(name: &str, replicas: u32, annotations: &Value) -> Value {
    let probe = json!({"httpGet": {"path": "/ready", "port": "http"},
        "periodSeconds": 1, "failureThreshold": 1, "timeoutSeconds": 10});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "app", "image": "example.org/app:1",
                "ports": [{"name": "http", "containerPort": APP}], "readinessProbe": probe}]},
        }},
    })
}

pub fn selector(service: &Service) -> BTreeMap<String, String> {
    let spec = service.spec.clone();
    spec.and_then(|spec| spec.selector).unwrap_or_default()
}

/// The stored epoch.
pub fn epoch(service: &Service) -> Option<u64> {
    let text = service.annotations().get("service-leader-election/epoch");
    text?.parse().ok()
}

/// An object's resourceVersion, as the record counts it.
fn revision(object: &impl kube::Resource) -> u64 {
    let version = object.meta().resource_version.as_deref();
    version.unwrap_or_default().parse().unwrap()
}

pub fn is_ready(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
