//! The controller: rights for the sidecars of annotated workloads and pods; Services given back when
//! these go.
//!
//! Level-triggered: events only say what to look at. Must not know: what an admission decided.

mod election;
mod herald;
mod index;
mod pods;
mod queue;
mod rounds;
mod service;

use std::{pin::Pin, sync::Arc, time::Duration};

use contract::{annotations::Services, names, wording::in_one_line, workload::Kind};
use futures::{Stream, StreamExt, stream::select_all};
use kube::{
    api::{DynamicObject, ObjectMeta},
    runtime::watcher::{self, Event},
};
use serde_json::{Value, json};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use self::{
    herald::Herald,
    index::{Index, Key, Work},
    queue::{Outcome, Queue},
    rounds::Spread,
};
use crate::{
    clock,
    cluster::{Cluster, Metadata, RequestError, Resource, Selection},
    known::Known,
    metrics::Metrics,
};

/// How many reconciliations are under way at once.
const AT_ONCE: usize = 4;
/// How long after an admission has made something it is looked at, whether its pod was stored or not:
/// longer than the API server takes over any request.
const AFTER_ADMISSION: Duration = Duration::from_mins(2);
/// How many reminders may lie there unread.
const REMINDERS: usize = 1024;

/// Tells the controller what an admission has done.
#[derive(Debug)]
pub(crate) struct Reminder(mpsc::Sender<Reminded>);

/// Reminders as the controller reads them.
#[derive(Debug)]
pub(crate) struct Reminders(mpsc::Receiver<Reminded>);

#[derive(Debug)]
enum Reminded {
    /// What this is of was let in by this replica, which therefore is the first to see to it.
    Admitted(Key),
    /// Something was made for this, whether its pod is stored or not.
    Made(Key),
}

impl Reminder {
    /// An object that claims these Services was let in.
    pub(crate) fn admitted(&self, namespace: &str, services: &Services) {
        for key in index::keys(namespace, services) {
            self.tell(Reminded::Admitted(key));
        }
    }

    /// Something was made for the election of those that name this Service first.
    pub(crate) fn made(&self, namespace: &str, service: &str) {
        self.tell(Reminded::Made(Key::Election {
            namespace: namespace.to_owned(),
            service: service.to_owned(),
        }));
    }

    fn tell(&self, reminded: Reminded) {
        if let Err(error) = self.0.try_send(reminded) {
            tracing::warn!(error = in_one_line(&error), "not reminded");
        }
    }
}

/// Where reminders go in, and where they come out.
pub(crate) fn reminders() -> (Reminder, Reminders) {
    let (sender, receiver) = mpsc::channel(REMINDERS);
    (Reminder(sender), Reminders(receiver))
}

/// What reconciliations need.
#[derive(Debug)]
pub(crate) struct Controller {
    cluster: Cluster,
    /// What the watches show is noted there.
    known: Arc<Known>,
    cluster_role: String,
    metrics: Arc<Metrics>,
    herald: Herald,
}

/// How a reconciliation ended that did not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Progress {
    /// All is as it ought to be.
    Done,
    /// This pod has to go first, at which a look is cheap.
    Soon(String),
    /// Pods have to go first, this one for example, and a look lists those of the namespace.
    Later(String),
    /// Pods of before still need rights that are to go, and a look lists those of the namespace.
    Kept,
}

/// A reconciliation that has ended.
#[derive(Debug)]
struct Ended {
    key: Key,
    result: Result<Progress, RequestError>,
    /// Whose rights are to be looked at since.
    revoked: Vec<Key>,
}

type Events = Pin<Box<dyn Stream<Item = Result<Event<Value>, watcher::Error>> + Send>>;

impl Controller {
    pub(crate) fn new(
        cluster: Cluster,
        known: Arc<Known>,
        cluster_role: String,
        metrics: Arc<Metrics>,
    ) -> Self {
        let herald = Herald::new(cluster.client());
        Self {
            cluster,
            known,
            cluster_role,
            metrics,
            herald,
        }
    }

    /// Reconciles until `stop`.
    pub(crate) async fn run(self, mut reminders: Reminders, stop: CancellationToken) {
        let controller = Arc::new(self);
        let of = |kind| {
            let events = controller.watch_metadata(Resource::Workload(kind), claimants(kind));
            events.map(move |event| (kind, event))
        };
        let mut workloads = select_all(Kind::ALL.map(of));
        let mut services = controller.watch_services();
        let mut namespaces = controller.watch_metadata(Resource::Namespace, Selection::default());
        let mut rounds = controller.rounds().boxed();
        let spread = Spread::default();
        let mut index = Index::default();
        let mut queue = Queue::default();
        let mut running: JoinSet<Ended> = JoinSet::new();
        loop {
            if index.is_complete() {
                while running.len() < AT_ONCE
                    && let Some(key) = queue.start(clock::instant())
                {
                    let work = index.work(&key);
                    if index.is_settled(&work) {
                        queue.finish(key, Outcome::Done, clock::instant());
                        continue;
                    }
                    let overdue = queue.is_overdue(&key, clock::instant());
                    let controller = Arc::clone(&controller);
                    let span = tracing::info_span!("reconcile", ?key);
                    running.spawn(controller.end(key, work, overdue).instrument(span));
                }
            }
            let due = queue
                .next_due()
                .filter(|_| index.is_complete() && running.len() < AT_ONCE);
            tokio::select! {
                () = stop.cancelled() => break,
                Some((kind, event)) = workloads.next() => {
                    if let Some(event) = noted(event, kind.as_str()) {
                        let let_in = is_written(&event);
                        let keys = index.workload(kind, metadata(event));
                        schedule(&mut queue, &index, keys, let_in);
                    }
                }
                Some(event) = services.next() => {
                    if let Some(event) = noted(event, "Service") {
                        controller.known.note_service(&event);
                        let is_written = is_written(&event);
                        let keys = index.service(metadata(event));
                        let (marks, terms): (Vec<_>, Vec<_>) =
                            keys.into_iter().partition(Key::is_of_service);
                        let marked = |key: &&Key| is_written && index.is_settled(&index.work(key));
                        let now = clock::instant();
                        for key in marks.iter().filter(marked) {
                            queue.leave(&key.rights(), now);
                        }
                        // Nobody has let a Service in: it is marked by whoever sees it, after the rights.
                        let follows = |key: &Key| index.is_claimed(key) && queue.is_on(&key.rights(), now);
                        let marks: Vec<_> = marks.into_iter().filter(|key| !follows(key)).collect();
                        queue.extend(marks, now);
                        schedule(&mut queue, &index, terms, false);
                    }
                }
                Some(event) = namespaces.next() => {
                    if let Some(event) = noted(event, "Namespace") {
                        controller.known.note_namespace(&event);
                    }
                }
                Some(made) = rounds.next() => {
                    // Something may have been made just now, for a pod that is not stored yet.
                    let begin = clock::instant() + AFTER_ADMISSION;
                    for key in index.all().into_iter().chain(made) {
                        let at = begin + spread.moment(&key);
                        queue.remind(key, at);
                    }
                }
                Some(reminded) = reminders.0.recv() => match reminded {
                    Reminded::Admitted(key) => queue.admitted(key, clock::instant()),
                    Reminded::Made(key) => {
                        queue.remind(key, clock::instant() + AFTER_ADMISSION);
                    }
                },
                Some(ended) = running.join_next() => match ended {
                    Ok(Ended { key, result, revoked }) => {
                        queue.extend(revoked, clock::instant());
                        let mark = key.service();
                        if result.is_ok() && !key.is_of_service() && index.is_claimed(&mark) {
                            // By its mark the other replicas see that the rights are there.
                            queue.extend([mark], clock::instant());
                        }
                        let outcome = controller.outcome(&key, result);
                        queue.finish(key, outcome, clock::instant());
                        controller.metrics.unpins_pending(queue.waiting());
                    }
                    Err(error) => {
                        tracing::error!(error = in_one_line(&error), "lost");
                    }
                },
                () = sleep_until(due) => {}
            }
        }
        running.shutdown().await;
    }

    /// `overdue`: it has waited long, and for what is to be said.
    async fn end(self: Arc<Self>, key: Key, work: Work, overdue: bool) -> Ended {
        let mut revoked = Vec::new();
        let result = self.reconcile(&work, overdue, &mut revoked).await;
        Ended {
            key,
            result,
            revoked,
        }
    }

    async fn reconcile(
        &self,
        work: &Work,
        overdue: bool,
        revoked: &mut Vec<Key>,
    ) -> Result<Progress, RequestError> {
        match work {
            Work::Election {
                namespace,
                service,
                claims,
            } => self.reconcile_election(namespace, service, claims).await,
            Work::Service {
                namespace,
                service,
                claims,
            } => {
                let progress = self
                    .reconcile_service(namespace, service, claims, revoked)
                    .await?;
                if let (true, Progress::Soon(pod) | Progress::Later(pod)) = (overdue, &progress) {
                    self.say_unpin_waits(namespace, service, pod).await?;
                }
                Ok(progress)
            }
        }
    }

    fn outcome(&self, key: &Key, result: Result<Progress, RequestError>) -> Outcome {
        match result {
            Ok(Progress::Done) => {
                self.metrics.reconciled("done");
                Outcome::Done
            }
            Ok(Progress::Soon(_)) => {
                self.metrics.reconciled("waiting");
                Outcome::Soon
            }
            Ok(Progress::Later(_) | Progress::Kept) => {
                self.metrics.reconciled("waiting");
                Outcome::Later
            }
            Err(error) if error.is_conflict() => {
                self.metrics.reconciled("conflict");
                Outcome::Failed
            }
            Err(error) => {
                self.metrics.reconciled("failed");
                tracing::warn!(error = in_one_line(&error), ?key, "not reconciled");
                Outcome::Failed
            }
        }
    }

    fn watch_metadata(&self, resource: Resource, which: Selection) -> Events {
        let value = |object: Metadata| value(object.metadata, &Value::Null);
        let events = self.cluster.watch(resource, which);
        events
            .map(move |event| event.map(|event| map(event, value)))
            .boxed()
    }

    fn watch_services(&self) -> Events {
        let value = |service: DynamicObject| {
            let spec = service.data.get("spec").unwrap_or(&Value::Null);
            value(service.metadata, spec)
        };
        let events = self.cluster.watch(Resource::Service, Selection::default());
        events
            .map(move |event| event.map(|event| map(event, value)))
            .boxed()
    }
}

/// Which objects of a kind may claim Services. Of pods those that were injected by themselves, until
/// they have ended, so that there is nothing to keep of all the others.
fn claimants(kind: Kind) -> Selection {
    match kind {
        Kind::Pod => Selection {
            labels: Some(format!("{}={}", names::POD_LABEL, names::POD_LABEL_VALUE)),
            ..not_ended()
        },
        _ => Selection::default(),
    }
}

/// The pods that have not ended.
fn not_ended() -> Selection {
    Selection {
        fields: Some("status.phase!=Succeeded,status.phase!=Failed"),
        ..Selection::default()
    }
}

/// Every replica sees to everything, but what is claimed and was let in just now was let in by one of them, which is
/// on it.
fn schedule(queue: &mut Queue, index: &Index, keys: Vec<Key>, let_in: bool) {
    let now = clock::instant();
    let (claimed, given_up): (Vec<_>, Vec<_>) =
        keys.into_iter().partition(|key| index.is_claimed(key));
    let is_marked_after = |key: &Key| key.is_of_service() && claimed.contains(&key.rights());
    let claimed: Vec<_> = claimed
        .iter()
        .filter(|key| !is_marked_after(key))
        .cloned()
        .collect();
    if let_in {
        queue.extend_in_turn(claimed, now);
    } else {
        queue.extend_behind(claimed, now);
    }
    queue.extend(given_up, now);
}

/// Whether an object was written just now, and is not one that a watch lists as it begins.
fn is_written<T>(event: &Event<T>) -> bool {
    matches!(event, Event::Apply(_))
}

/// What a watch brought. A broken one starts again by itself.
fn noted(event: Result<Event<Value>, watcher::Error>, kind: &'static str) -> Option<Event<Value>> {
    event
        .inspect_err(|error| {
            tracing::warn!(error = in_one_line(error), kind, "watch broke");
        })
        .ok()
}

/// What is looked at of an object: its metadata, less the longest part, and its spec.
fn value(mut metadata: ObjectMeta, spec: &Value) -> Value {
    metadata.managed_fields = None;
    json!({ "metadata": metadata, "spec": spec })
}

fn metadata(event: Event<Value>) -> Event<Value> {
    map(event, |mut object| {
        object
            .get_mut("metadata")
            .map(Value::take)
            .unwrap_or_default()
    })
}

fn map<A, B>(event: Event<A>, to: impl Fn(A) -> B) -> Event<B> {
    match event {
        Event::Apply(object) => Event::Apply(to(object)),
        Event::Delete(object) => Event::Delete(to(object)),
        Event::Init => Event::Init,
        Event::InitApply(object) => Event::InitApply(to(object)),
        Event::InitDone => Event::InitDone,
    }
}

async fn sleep_until(due: Option<std::time::Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::http::{Request, Response};
    use contract::names::annotation;
    use kube::{Client, client::Body};
    use tower::service_fn;

    use super::*;

    /// A controller whose API server answers each request by such a status and object.
    pub(super) fn answered_by(
        answer: impl Fn(&Request<Body>) -> (u16, Value) + Send + 'static,
    ) -> Controller {
        let answer = move |request: Request<Body>| {
            let (status, answer) = answer(&request);
            let body = Body::from(answer.to_string().into_bytes());
            let response = Response::builder().status(status).body(body).unwrap();
            async { Ok::<_, Infallible>(response) }
        };
        let cluster = Cluster::new(Client::new(service_fn(answer), "shop"));
        let metrics = Arc::new(Metrics::new());
        Controller::new(cluster, Arc::default(), "sidecar".to_owned(), metrics)
    }

    #[test]
    fn a_service_is_marked_after_the_rights_of_those_that_name_it_first() {
        let [web, api] = ["web", "api"].map(|service| Key::Service {
            namespace: "shop".to_owned(),
            service: service.to_owned(),
        });
        let mut index = Index::default();
        let keys = index.workload(
            Kind::Deployment,
            Event::Apply(json!({
                "name": "web", "namespace": "shop", "uid": "u1", "generation": 1,
                "annotations": { annotation::SERVICE: "web,api" },
            })),
        );
        assert!(keys.contains(&web));
        let mut queue = Queue::default();
        schedule(&mut queue, &index, keys, false);
        let now = clock::instant();
        let started: Vec<_> = std::iter::from_fn(|| queue.start(now)).collect();
        assert_eq!(started, [web.rights(), api]);
    }
}
