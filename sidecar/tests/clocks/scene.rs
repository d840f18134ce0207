//! A namespace with one Service, its record, and what its candidates have said.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use election::{PodName, Timing};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::{
    Api, Client, Config,
    api::{Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sidecar::Settings;
use testcluster::{Change, Cluster, Kind, Options, Recorder};
use tokio::{
    sync::OnceCell,
    time::{Instant, sleep},
};

use crate::machine::{Clock, Line, Machine, free_address};

const NAME: &str = "web";
/// The election's label and key, and the sidecar's container.
const KEY: &str = "service-leader-election";

pub(crate) struct Scene {
    namespace: String,
    config: Config,
    client: Client,
    record: Recorder,
    timing: Timing,
    said: Arc<Mutex<Vec<Answer>>>,
}

/// One answer to `/leader`.
#[derive(Debug, Clone)]
struct Answer {
    pod: String,
    sent: Instant,
    received: Instant,
    said: Value,
}

impl Answer {
    fn leads(&self) -> bool {
        self.said["isLeader"] == true
    }
}

async fn cluster() -> &'static Cluster {
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    let start = async || Cluster::start(Options::default()).await.unwrap();
    CLUSTER.get_or_init(start).await
}

impl Scene {
    pub(crate) async fn enter(prefix: &str, lease: u64) -> Self {
        // Shown when a test fails; each thread of a candidate bears its pod's name.
        tracing_subscriber::fmt()
            .with_env_filter("sidecar=debug")
            .with_thread_names(true)
            .with_test_writer()
            .try_init()
            .ok();
        let cluster = cluster().await;
        let namespace = cluster.namespace(prefix).await.unwrap();
        let record = cluster.record(&namespace).await.unwrap();
        let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig()).unwrap();
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options);
        let scene = Self {
            config: config.await.unwrap(),
            client: cluster.client().unwrap(),
            namespace,
            record,
            timing: Timing::from_seconds(lease).unwrap(),
            said: Arc::default(),
        };
        let services: Api<Service> = Api::namespaced(scene.client.clone(), &scene.namespace);
        let service = object(json!({
            "metadata": {"name": NAME},
            "spec": {"selector": {"app": NAME}, "ports": [{"port": 80}]},
        }));
        let made = services.create(&PostParams::default(), &service).await;
        made.unwrap();
        scene
    }

    /// Makes a pod that no node runs and a candidate in its name, and asks that all the time whether
    /// it leads.
    pub(crate) async fn start(&self, pod: &str, clock: Arc<Clock>) -> Machine {
        self.make_pod(pod).await;
        let settings = Settings {
            cluster: self.config.clone(),
            namespace: self.namespace.clone(),
            pod: PodName::parse(pod).unwrap(),
            uid: None,
            lease: contract::names::default_name(NAME),
            services: vec![NAME.to_owned()],
            timing: self.timing,
            container: None,
            listen: free_address(),
            notify_port: None,
            time: Arc::<Clock>::clone(&clock),
        };
        let machine = Machine::start(settings, clock);
        let line = eventually("its endpoint listens", async || machine.call().await).await;
        tokio::spawn(ask_always(pod.to_owned(), line, Arc::clone(&self.said)));
        machine
    }

    async fn make_pod(&self, name: &str) {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let pod = object(json!({
            "metadata": {"name": name, "labels": {"app": NAME}},
            "spec": {"schedulerName": "nobody", "containers": [{"name": KEY, "image": KEY}]},
        }));
        let made = pods.create(&PostParams::default(), &pod).await;
        made.unwrap();
        let ready = json!({"status": {
            "phase": "Running",
            "conditions": [
                {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
            ],
        }});
        let (params, patch) = (PatchParams::default(), Patch::Merge(&ready));
        let patched = pods.patch_status(name, &params, &patch).await;
        patched.unwrap();
    }

    /// Waits until it says so.
    pub(crate) async fn leads(&self, pod: &str) {
        self.says(pod, |said| said["isLeader"] == true).await;
    }

    /// Waits until it says who leads, and that the API server has confirmed it.
    pub(crate) async fn follows(&self, pod: &str, leader: &str) {
        let follows = |said: &Value| said["leader"] == leader && said["confirmed"] == true;
        self.says(pod, follows).await;
    }

    /// Waits until its latest answer is wanted.
    pub(crate) async fn says(&self, pod: &str, wanted: impl Fn(&Value) -> bool) {
        let what = format!("{pod} says what it should");
        eventually(&what, async || {
            let said = self.said.lock().unwrap();
            let last = said.iter().rfind(|answer| answer.pod == pod)?;
            wanted(&last.said).then_some(())
        })
        .await;
    }

    /// Waits until it has renewed the Lease so many times more.
    pub(crate) async fn renewed(&self, pod: &str, times: usize) {
        let before = self.renewals(pod).await.len();
        eventually("the Lease is renewed", async || {
            let after = self.renewals(pod).await.len();
            (after >= before + times).then_some(())
        })
        .await;
    }

    /// The times, by its wall clock, of all revisions of the Lease that name it.
    pub(crate) async fn renewals(&self, pod: &str) -> Vec<Timestamp> {
        let leases = self.leases().await;
        let own = leases.iter().filter(|(holder, _)| holder == pod);
        own.map(|(_, renewed)| *renewed).collect()
    }

    /// How long a predecessor's last renewal has stood, at least, when this one took the Lease.
    pub(crate) async fn waited(&self, heir: &str) -> Duration {
        let leases = self.leases().await;
        let taken = leases
            .windows(2)
            .find(|pair| pair[0].0 != heir && pair[1].0 == heir);
        let taken = taken.unwrap();
        let waited = taken[1].1.duration_since(taken[0].1);
        // The wall clock, too, has a rate of its own.
        waited.unsigned_abs() + Duration::from_millis(50)
    }

    /// Holder and renewal of each revision of the Lease.
    async fn leases(&self) -> Vec<(String, Timestamp)> {
        let changes = self.record.changes().await.unwrap();
        let leases = changes
            .into_iter()
            .filter(|change| change.kind == Kind::Lease);
        let spec = |change: Change| {
            let spec = change.object.unwrap()["spec"].take();
            let holder = spec["holderIdentity"].as_str().unwrap().to_owned();
            (holder, spec["renewTime"].as_str().unwrap().parse().unwrap())
        };
        leases.map(spec).collect()
    }

    /// Fails if it was heard to say no since it leads.
    pub(crate) fn never_stopped(&self, leader: &str) {
        let said = self.said.lock().unwrap();
        let own = said.iter().filter(|answer| answer.pod == leader);
        let mut since = own.skip_while(|answer| !answer.leads()).peekable();
        assert!(since.peek().is_some(), "{leader} never led");
        let no = since.find(|answer| !answer.leads());
        assert!(no.is_none(), "{leader} leads no longer: {no:?}");
    }

    /// Checks that these have led, in this order and nobody else: by the record, whose own rules hold,
    /// and by what the candidates said, no two at a time.
    pub(crate) async fn end(self, leaders: &[&str]) {
        let pins = self.record.check().await.unwrap();
        let mut selected: Vec<_> = pins.into_iter().filter_map(|pin| pin.selector).collect();
        selected.dedup();
        assert_eq!(selected, leaders, "selected by the Service");
        let leases = self.leases().await;
        let mut held: Vec<_> = leases.into_iter().map(|(holder, _)| holder).collect();
        held.dedup();
        assert_eq!(held, leaders, "holders of the Lease");
        let said = self.said.lock().unwrap();
        let mut heard = one_at_a_time(&said);
        heard.dedup();
        assert_eq!(heard, leaders, "heard to say that they lead");
    }
}

/// The pods that said that they lead, in the order of their epochs. Each term lasts at least from
/// the first such answer to the last question that got one.
fn one_at_a_time(said: &[Answer]) -> Vec<&str> {
    let mut terms: BTreeMap<u64, Vec<&Answer>> = BTreeMap::new();
    for answer in said.iter().filter(|answer| answer.leads()) {
        let epoch = answer.said["epoch"].as_str().unwrap().parse().unwrap();
        terms.entry(epoch).or_default().push(answer);
    }
    let mut ended: Option<&Answer> = None;
    let mut pods = Vec::new();
    for answers in terms.values() {
        let pod = answers[0].pod.as_str();
        assert!(
            answers.iter().all(|answer| answer.pod == pod),
            "{answers:?}"
        );
        let begun = answers.iter().min_by_key(|answer| answer.received).unwrap();
        assert!(
            ended.is_none_or(|ended| ended.sent <= begun.received),
            "two lead at a time: {ended:?} and {begun:?}"
        );
        ended = answers.iter().copied().max_by_key(|answer| answer.sent);
        pods.push(pod);
    }
    pods
}

async fn ask_always(pod: String, mut line: Line, said: Arc<Mutex<Vec<Answer>>>) {
    loop {
        let sent = Instant::now();
        // It is dead.
        let Ok(answer) = line.ask().await else {
            return;
        };
        said.lock().unwrap().push(Answer {
            pod: pod.clone(),
            sent,
            received: Instant::now(),
            said: answer,
        });
        sleep(Duration::from_millis(20)).await;
    }
}

async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        sleep(Duration::from_millis(50)).await;
    }
}

fn object<T: DeserializeOwned>(manifest: Value) -> T {
    serde_json::from_value(manifest).unwrap()
}
