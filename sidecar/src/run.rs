//! One candidate from start to end: its tasks, and how they are joined.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use election::{Config, Identity, PodName, PodUid, Timing};
use futures::{Stream, StreamExt as _};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use crate::api::{Api, Error as ApiError, Kind};
use crate::clock::{Clock, Time};
use crate::driver::{Driver, Ending, Parts};
use crate::feeds::{Watched, start};
use crate::http::{self, Snapshot, Status};
use crate::lanes::Names;
use crate::metrics::Metrics;
use crate::notices::Herald;
use crate::notify::Notify;
use crate::own_pod::Own;
use crate::{events, pod};

/// Who takes part in which election.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How the API server is reached.
    pub cluster: kube::Config,
    /// The namespace of pod, Lease and Services.
    pub namespace: String,
    /// This pod.
    pub pod: PodName,
    /// Its UID; looked up where it is not given.
    pub uid: Option<PodUid>,
    /// The Lease's name.
    pub lease: String,
    /// The Services' names, each once, in order.
    pub services: Vec<String>,
    /// The lease's length.
    pub timing: Timing,
    /// The container whose readiness counts, where it is not the whole pod's.
    pub container: Option<String>,
    /// The status endpoint's address.
    pub listen: SocketAddr,
    /// The application's own port, if it wants to be told that it leads, or no longer.
    pub notify_port: Option<u16>,
    /// What the time is read from.
    pub time: Arc<dyn Time>,
}

/// Why a candidate ended otherwise than it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no way to the API server.
    #[error("no client can be made of the kubeconfig or the service account")]
    Client(#[source] kube::Error),
    /// The status endpoint.
    #[error(transparent)]
    Http(#[from] http::Error),
    /// One of the tasks ended, which none should.
    #[error("the task {0:?} ended by itself")]
    Task(&'static str),
    /// A second signal came, or the API server did not answer in time.
    #[error("ended before everything was given up")]
    Aborted,
}

/// After the end of the election, Events that wait get so much time.
const LAST_EVENTS: Duration = Duration::from_secs(1);

/// Takes part in the election until `stop` yields: once to give up in order, twice to end at once.
pub async fn run(settings: Settings, stop: impl Stream<Item = ()> + Unpin) -> Result<(), Error> {
    let Settings {
        cluster,
        namespace,
        pod,
        uid,
        lease,
        services,
        timing,
        container,
        listen,
        notify_port,
        time,
    } = settings;
    let clock = Clock::start(time);
    let metrics = Metrics::new(&lease);
    let api = Api::new(cluster, &namespace, metrics.clone()).map_err(Error::Client)?;
    let (snapshot, answers) = watch::channel(Snapshot::default());
    let status = Status {
        clock: clock.clone(),
        lease: timing.lease(),
        snapshot: answers,
        metrics: metrics.clone(),
        streams: Arc::new(Semaphore::new(http::STREAMS)),
    };
    let listener = http::listen(listen).await?;
    let mut endpoint = Task(tokio::spawn(http::serve(listener, status)));

    let mut stop = stop;
    let uid = tokio::select! {
        uid = find_uid(&api, &pod, uid) => uid,
        _ = stop.next() => return Ok(()),
        ended = &mut endpoint.0 => return Err(because(ended)),
    };
    let identity = Identity {
        pod: pod.clone(),
        uid,
    };
    info!(ns = namespace, name = %pod, uid = %identity.uid, lease, ?services, "taking part");

    let (queue, waiting) = events::queue();
    let publish = events::publish(api.clone(), pod.as_str().to_owned(), clock.clone(), waiting);
    let mut publisher = Task(tokio::spawn(publish));
    let (reopen, reopened) = watch::channel(0);
    let mut followers = JoinSet::new();
    let watched = Watched {
        identity: &identity,
        lease: &lease,
        services: &services,
        container: container.as_deref(),
        clock: clock.clone(),
        length: timing.lease(),
    };
    let news = start(&watched, &api, &reopened, &mut followers);
    let names = Arc::new(Names {
        pod,
        lease,
        services,
    });
    let config = Config::new(identity.clone(), timing, names.services.len());
    let driver = Driver::new(Parts {
        config,
        clock,
        notify: Notify::new(notify_port, metrics.clone()),
        herald: Herald::new(
            Arc::clone(&names),
            &namespace,
            identity.uid.as_str(),
            queue,
            metrics.clone(),
        ),
        own: Own::new(identity, container),
        api,
        names,
        metrics,
        snapshot,
        reopen,
        news,
    });
    let ending = tokio::select! {
        ending = driver.run(stop) => ending,
        ended = &mut endpoint.0 => return Err(because(ended)),
        _ = followers.join_next() => return Err(Error::Task("watch")),
        _ = &mut publisher.0 => return Err(Error::Task("events")),
    };
    // The driver is gone, and with it the queue: what waits is written, and then it ends.
    followers.shutdown().await;
    if timeout(LAST_EVENTS, &mut publisher.0).await.is_err() {
        debug!("Kubernetes Events were left unwritten");
    }
    match ending {
        Ending::Finished => Ok(()),
        Ending::Aborted => Err(Error::Aborted),
    }
}

/// A task that ends with its owner.
struct Task<T>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn because(ended: Result<Result<(), http::Error>, tokio::task::JoinError>) -> Error {
    match ended {
        Ok(Err(error)) => Error::Http(error),
        Ok(Ok(())) | Err(_) => Error::Task("status endpoint"),
    }
}

/// The UID of the own pod: as it was given, or as the API server has it, however long that takes.
async fn find_uid(api: &Api, pod: &PodName, given: Option<PodUid>) -> PodUid {
    const LONGEST: Duration = Duration::from_secs(5);
    if let Some(uid) = given {
        return uid;
    }
    let mut pause = Timing::RETRY;
    let mut complained = None;
    loop {
        let answer = api
            .get::<pod::Object>(Kind::Pod, pod.as_str(), Timing::REQUEST)
            .await;
        let (code, error) = match answer {
            Ok(Some(found)) => return PodUid::new(&found.metadata.uid),
            Ok(None) => (
                Some(404),
                "there is no pod of this name in the namespace".to_owned(),
            ),
            Err(error) => (ApiError::code(&error), error.chain()),
        };
        if complained != Some(code) {
            complained = Some(code);
            warn!(ns = api.namespace(), name = %pod, error, "waiting to find the own pod");
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST);
    }
}
