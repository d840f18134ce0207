//! The modelled API server, by which the protocol is proved, answers as the real one does: the same
//! requests to both, the real one asked as the sidecar asks it, and every answer compared.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use election::{
    Action, Cause, Event, Holder, How, Identity, LeaseRecord, PodName, PodUid, ServiceView, Version,
};
use kube::Config;
use kube::config::KubeConfigOptions;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config as Runs, RngAlgorithm, TestRng, TestRunner};
use simulator::{PodObject, Request, Server};
use testcluster::{Cluster, Options};

use crate::api::Api;
use crate::clock::{Clock, System};
use crate::lanes::{self, Found, Names};
use crate::lease;
use crate::metrics::Metrics;

const SERVICES: usize = 2;

/// One thing that a candidate asks, or that somebody else does. Revisions differ between the servers,
/// so they are meant by what the candidate has seen of the object.
#[derive(Debug, Clone)]
enum Step {
    ReadLease,
    WriteLease {
        holder: Option<usize>,
        seen: Seen,
    },
    /// Each that the pod's name ever had, and one that it never had.
    ReadPods,
    ReadServices,
    WriteService {
        service: usize,
        seen: Seen,
        epoch: u64,
    },
    DeleteLease,
    PauseLease,
    RemakePod,
    Drift,
    DeleteServices,
    CreateServices,
}

#[derive(Debug, Clone, Copy)]
enum Seen {
    Nothing,
    Latest,
    Earlier,
}

fn seen() -> impl Strategy<Value = Seen> {
    prop_oneof![
        1 => Just(Seen::Nothing),
        4 => Just(Seen::Latest),
        2 => Just(Seen::Earlier),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::ReadLease),
        6 => (prop::option::of(0..2_usize), seen())
            .prop_map(|(holder, seen)| Step::WriteLease { holder, seen }),
        1 => Just(Step::ReadPods),
        4 => Just(Step::ReadServices),
        6 => (0..SERVICES, seen(), 1..4_u64)
            .prop_map(|(service, seen, epoch)| Step::WriteService { service, seen, epoch }),
        1 => Just(Step::DeleteLease),
        1 => Just(Step::PauseLease),
        1 => Just(Step::RemakePod),
        1 => Just(Step::Drift),
        1 => Just(Step::DeleteServices),
        1 => Just(Step::CreateServices),
    ]
}

fn identity(pod: &str, uid: &str) -> Identity {
    Identity {
        pod: PodName::parse(pod).unwrap(),
        uid: PodUid::new(uid),
    }
}

/// Either server.
trait Side {
    async fn ask(&mut self, request: Request) -> Event;
    /// What somebody else does.
    async fn change(&mut self, step: &Step);
    /// Every pod that there ever was, in this order, and one that never was.
    fn pods(&self) -> Vec<Identity>;
}

struct Modelled {
    server: Server,
    pods: Vec<Identity>,
    /// It does not compare revisions before it writes a Service.
    careless: bool,
}

impl Modelled {
    fn new(careless: bool) -> Self {
        let first = identity("web", "0");
        let pod = PodObject {
            identity: first.clone(),
            ready: false,
            leaving: false,
        };
        Self {
            server: Server::new(SERVICES, vec![pod]),
            pods: vec![first],
            careless,
        }
    }
}

impl Side for Modelled {
    async fn ask(&mut self, mut request: Request) -> Event {
        if self.careless
            && let Request::WriteService { seen, .. } = &mut request
        {
            *seen = Version::new(0);
        }
        self.server.answer(&request)
    }

    async fn change(&mut self, step: &Step) {
        match step {
            Step::DeleteLease => self.server.delete_lease(),
            Step::PauseLease => self.server.edit_lease(|record| record.paused = true),
            Step::Drift => self.server.drift(),
            Step::DeleteServices => self.server.delete_services(),
            Step::CreateServices => self.server.create_services(),
            Step::RemakePod => {
                let next = identity("web", &self.pods.len().to_string());
                self.server.pods[0].identity = next.clone();
                self.pods.push(next);
            }
            _ => unreachable!("{step:?} is a candidate's"),
        }
    }

    fn pods(&self) -> Vec<Identity> {
        let mut pods = self.pods.clone();
        pods.push(identity("web", "never"));
        pods
    }
}

struct Real<'a> {
    cluster: &'a Cluster,
    api: Api,
    names: Arc<Names>,
    /// Every Lease that was read or written, by its revision.
    leases: BTreeMap<Version, lease::Object>,
    pods: Vec<Identity>,
}

impl<'a> Real<'a> {
    /// In a namespace of its own.
    async fn new(cluster: &'a Cluster) -> Self {
        let namespace = cluster.namespace("conformance").await.unwrap();
        let options = KubeConfigOptions::default();
        let kubeconfig = kube::config::Kubeconfig::read_from(cluster.kubeconfig()).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options);
        let config = config.await.unwrap();
        let names = Names {
            pod: PodName::parse("web").unwrap(),
            lease: "web".to_owned(),
            services: (0..SERVICES).map(|i| format!("web-{i}")).collect(),
        };
        let mut real = Self {
            cluster,
            api: Api::new(config, &namespace, Metrics::new("web")).unwrap(),
            names: names.into(),
            leases: BTreeMap::new(),
            pods: Vec::new(),
        };
        real.make_services().await;
        real.make_pod().await;
        real
    }

    async fn kubectl(&self, arguments: &[&str]) -> String {
        let mut all = vec!["-n", self.api.namespace()];
        all.extend(arguments);
        self.cluster.kubectl(&all).await.unwrap().stdout
    }

    async fn apply(&self, manifest: &str) {
        let apply = ["-n", self.api.namespace(), "apply", "-f", "-"];
        self.cluster.kubectl_stdin(&apply, manifest).await.unwrap();
    }

    async fn make_services(&self) {
        let manifests = self.names.services.iter().map(|name| {
            format!(
                "{{apiVersion: v1, kind: Service, metadata: {{name: {name}}}, \
                 spec: {{selector: {{app: web}}, ports: [{{port: 80}}]}}}}\n---\n"
            )
        });
        self.apply(&manifests.collect::<String>()).await;
    }

    /// It is never scheduled, so that nothing else happens to it.
    async fn make_pod(&mut self) {
        self.apply(
            "{apiVersion: v1, kind: Pod, metadata: {name: web}, \
             spec: {schedulerName: nobody, containers: [{name: web, image: web}]}}",
        )
        .await;
        let uid = ["get", "pod", "web", "-o", "jsonpath={.metadata.uid}"];
        let uid = self.kubectl(&uid).await;
        self.pods.push(identity("web", &uid));
    }
}

impl Side for Real<'_> {
    async fn ask(&mut self, request: Request) -> Event {
        let (api, names) = (self.api.clone(), Arc::clone(&self.names));
        let clock = Clock::start(Arc::new(System));
        let answer = match request {
            Request::ReadLease => {
                lanes::ask_for_the_lease(Action::ReadLease, api, names, None, clock).await
            }
            Request::WriteLease { record, seen } => {
                let known = seen.and_then(|seen| self.leases.get(&seen).cloned());
                let action = Action::WriteLease {
                    record,
                    seen,
                    timeout: Duration::from_secs(5),
                    cause: Cause::Begin(How::Vacant),
                };
                lanes::ask_for_the_lease(action, api, names, known, clock).await
            }
            Request::ReadPod(pod) => {
                lanes::ask_for_the_lease(Action::ReadPod(pod), api, names, None, clock).await
            }
            Request::ReadServices => {
                lanes::ask_for_services(Action::ReadServices, api, names).await
            }
            Request::WriteService {
                service,
                seen,
                epoch,
                pod: _,
            } => {
                let action = Action::WriteService {
                    service,
                    seen,
                    epoch,
                };
                lanes::ask_for_services(action, api, names).await
            }
        };
        if let Found::Lease(Some(object)) | Found::Written(object) = answer.found {
            self.leases.insert(object.lease().version, object);
        }
        answer.event
    }

    async fn change(&mut self, step: &Step) {
        let names = Arc::clone(&self.names);
        match step {
            Step::DeleteLease => {
                let delete = ["delete", "lease", "web", "--ignore-not-found"];
                drop(self.kubectl(&delete).await);
            }
            Step::PauseLease => {
                let found = ["get", "lease", "web", "--ignore-not-found", "-o", "name"];
                if !self.kubectl(&found).await.is_empty() {
                    let paused = format!("{}=true", contract::names::lease_annotation::PAUSED);
                    let annotate = ["annotate", "lease", "web", "--overwrite", &paused];
                    drop(self.kubectl(&annotate).await);
                }
            }
            Step::RemakePod => {
                let delete = ["delete", "pod", "web", "--force", "--grace-period=0"];
                drop(self.kubectl(&delete).await);
                self.make_pod().await;
            }
            Step::Drift => {
                let patch = format!(
                    "{{\"spec\": {{\"selector\": {{\"{}\": \"nobody\"}}}}}}",
                    contract::names::LABEL
                );
                for name in &names.services {
                    let found = ["get", "service", name, "--ignore-not-found", "-o", "name"];
                    if !self.kubectl(&found).await.is_empty() {
                        drop(
                            self.kubectl(&["patch", "service", name, "-p", &patch])
                                .await,
                        );
                    }
                }
            }
            Step::DeleteServices => {
                for name in &names.services {
                    let delete = ["delete", "service", name, "--ignore-not-found"];
                    drop(self.kubectl(&delete).await);
                }
            }
            // What is there already has what the manifest says, and stays.
            Step::CreateServices => self.make_services().await,
            _ => unreachable!("{step:?} is a candidate's"),
        }
    }

    fn pods(&self) -> Vec<Identity> {
        let mut pods = self.pods.clone();
        pods.push(identity("web", "never"));
        pods
    }
}

/// The revisions that a candidate has seen of each object; the Lease is the last.
struct Revisions([Vec<Version>; SERVICES + 1]);

const LEASE: usize = SERVICES;

impl Revisions {
    fn meant(&self, object: usize, seen: Seen) -> Option<Version> {
        let revisions = &self.0[object];
        match seen {
            Seen::Nothing => None,
            Seen::Latest => revisions.last().copied(),
            Seen::Earlier => revisions.iter().rev().nth(1).copied(),
        }
    }

    /// An answer without its revisions, each of which is said by its place in what was seen.
    fn note(&mut self, service: usize, event: Event) -> String {
        match event {
            Event::LeaseRead(Ok(Some(lease))) => {
                let place = self.place(LEASE, lease.version);
                format!("{:?} at {place}", lease.record)
            }
            Event::LeaseWritten(Ok(version)) => {
                format!("Lease written, {}", self.place(LEASE, version))
            }
            Event::ServiceWritten(Ok(version)) => {
                format!("Service written, {}", self.place(service, version))
            }
            Event::ServicesRead(Ok(views)) => {
                let each = views.iter().enumerate().map(|(i, view)| match view {
                    ServiceView::Present(s) => {
                        let place = self.place(i, s.version);
                        format!("{:?} {:?} {} at {place}", s.selected, s.leader, s.epoch)
                    }
                    view => format!("{view:?}"),
                });
                each.collect::<Vec<_>>().join("; ")
            }
            event => format!("{event:?}"),
        }
    }

    fn place(&mut self, object: usize, version: Version) -> String {
        let revisions = &mut self.0[object];
        let known = revisions.iter().position(|seen| *seen == version);
        let place = known.unwrap_or_else(|| {
            revisions.push(version);
            revisions.len() - 1
        });
        let after = revisions[..place].iter().all(|seen| *seen < version);
        format!("revision {place}, after all before: {after}")
    }
}

/// What a server answers to these steps.
async fn play(side: &mut impl Side, steps: &[Step]) -> Vec<String> {
    let holders = [identity("a", "ua"), identity("b", "ub")];
    let mut revisions = Revisions(std::array::from_fn(|_| Vec::new()));
    let first = LeaseRecord {
        holder: None,
        given_up_by: None,
        duration: Duration::from_secs(12),
        transitions: 0,
        term: 0,
        switchover_to: None,
        paused: false,
    };
    // By revision: what is not written comes from the record that was judged.
    let mut records = BTreeMap::new();
    let mut told = Vec::new();
    for step in steps {
        match *step {
            Step::ReadLease => {
                let event = side.ask(Request::ReadLease).await;
                if let Event::LeaseRead(Ok(Some(lease))) = &event {
                    records.insert(lease.version, lease.record.clone());
                }
                told.push(revisions.note(0, event));
            }
            Step::WriteLease { holder, seen } => {
                let seen = revisions.meant(LEASE, seen);
                let judged = seen.and_then(|seen| records.get(&seen));
                let mut record = judged.unwrap_or(&first).clone();
                record.holder = holder.map(|i| Holder::Candidate(holders[i].clone()));
                record.term += 1;
                record.transitions += 1;
                let write = Request::WriteLease {
                    record: record.clone(),
                    seen,
                };
                let event = side.ask(write).await;
                if let Event::LeaseWritten(Ok(version)) = event {
                    records.insert(version, record);
                }
                told.push(revisions.note(0, event));
            }
            Step::ReadPods => {
                for pod in side.pods() {
                    told.push(revisions.note(0, side.ask(Request::ReadPod(pod)).await));
                }
            }
            Step::ReadServices => {
                told.push(revisions.note(0, side.ask(Request::ReadServices).await));
            }
            Step::WriteService {
                service,
                seen,
                epoch,
            } => {
                // A candidate writes what it has read, and nothing else.
                if let Some(seen) = revisions.meant(service, seen) {
                    let write = Request::WriteService {
                        service,
                        seen,
                        epoch: Version::new(epoch).epoch(),
                        pod: PodName::parse("web").unwrap(),
                    };
                    told.push(revisions.note(service, side.ask(write).await));
                }
            }
            ref change => side.change(change).await,
        }
    }
    told
}

/// Lists of steps, the same in every run.
fn lists(count: usize) -> Vec<Vec<Step>> {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Runs::default(), rng);
    let strategy = prop::collection::vec(step(), 30..60);
    let mut list = || strategy.new_tree(&mut runner).unwrap().current();
    (0..count).map(|_| list()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_modelled_server_answers_as_the_real_one_does() {
    let cluster = Cluster::start(Options::default()).await.unwrap();
    let (mut answers, mut conflicts, mut noticed) = (0, 0, 0);
    for steps in lists(25) {
        let mut real = Real::new(&cluster).await;
        let expected = play(&mut real, &steps).await;
        let modelled = play(&mut Modelled::new(false), &steps).await;
        for (number, (modelled, real)) in modelled.iter().zip(&expected).enumerate() {
            assert_eq!(modelled, real, "answer {number} to {steps:#?}");
        }
        assert_eq!(modelled.len(), expected.len());
        answers += expected.len();
        let refused = expected.iter().filter(|told| told.contains("Conflict"));
        conflicts += refused.count();
        // The comparison bites: a server that does not compare revisions is found out.
        let careless = play(&mut Modelled::new(true), &steps).await;
        noticed += usize::from(careless != expected);
    }
    assert!(
        answers > 500 && conflicts > 50 && noticed > 10,
        "{answers} answers, {conflicts} conflicts, {noticed} notices: the suite is vacuous"
    );
}
