//! The watches of a sidecar, and what the driver hears of them: its pod, its peers, ranked by what
//! is known of their nodes, its Services, its Lease.

use std::collections::BTreeSet;
use std::time::Duration;

use contract::names::LABEL;
use election::Identity;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::debug;

use crate::api::{Api, Kind, Selector};
use crate::clock::Clock;
use crate::peers::{Labelled, Peers};
use crate::strangers::Strangers;
use crate::watch::{Change, Closed, Feed, follow};
use crate::{lease, node, pod, service};

/// What a watch shows. It may be old news.
#[derive(Debug)]
pub(crate) enum News {
    /// The Lease; `None`: it is gone.
    Lease(Option<lease::Object>),
    /// Service number `.0`; `None`: it is forbidden to look.
    Service(usize, Option<service::Sight>),
    /// The own pod; `None`: it is gone.
    Pod(Option<Box<pod::Object>>),
    /// The pods of the election, best-ranked first.
    Peers(Vec<Labelled>),
    /// The names of the pods that may lead by another Lease.
    Strangers(BTreeSet<String>),
    /// What was told of them may be something else by now.
    PeersStale,
    /// It is forbidden to list or to watch these.
    Forbidden(Kind),
}

/// Whom and what to watch.
pub(crate) struct Watched<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) lease: &'a str,
    pub(crate) services: &'a [String],
    pub(crate) container: Option<&'a str>,
    pub(crate) clock: Clock,
    /// The lease's length.
    pub(crate) length: Duration,
}

/// Where watching is forbidden, objects are read so often.
const POLL: Duration = Duration::from_secs(5);
/// News that wait for the driver.
const QUEUE: usize = 16;

/// Starts the watches in `tasks`.
pub(crate) fn start(
    watched: &Watched<'_>,
    api: &Api,
    reopen: &watch::Receiver<u64>,
    tasks: &mut JoinSet<Result<(), Closed>>,
) -> mpsc::Receiver<News> {
    let (out, news) = mpsc::channel(QUEUE);
    let feed = |kind, selector, poll| Feed {
        api: api.clone(),
        kind,
        selector,
        poll,
        optional: false,
        reopen: reopen.clone(),
    };
    let named = |name: &str| Selector::Name(name.to_owned());

    let own = feed(Kind::Pod, named(watched.identity.pod.as_str()), Some(POLL));
    tasks.spawn(follow(own, out.clone(), own_pod));

    let peers = Peers::new(
        watched.lease,
        watched.container,
        watched.clock.clone(),
        watched.length,
    );
    let labelled = feed(Kind::Pod, Selector::Label(LABEL), None);
    let cordoned = Feed {
        optional: true,
        ..feed(Kind::Node, Selector::Field(node::CORDONED), None)
    };
    let (seen, pods) = mpsc::channel(QUEUE);
    tasks.spawn(follow(labelled, seen, Some));
    let (seen, nodes) = mpsc::channel(QUEUE);
    tasks.spawn(follow(cordoned, seen, Some));
    let strangers = Strangers::new(watched.lease);
    tasks.spawn(rank(peers, strangers, pods, nodes, out.clone()));

    for (index, name) in watched.services.iter().enumerate() {
        let service = feed(Kind::Service, named(name), Some(POLL));
        tasks.spawn(follow(service, out.clone(), move |change| {
            one_service(index, change)
        }));
    }

    // The core asks for the Lease by itself when its watch is silent.
    let lease = feed(Kind::Lease, named(watched.lease), None);
    tasks.spawn(follow(lease, out, the_lease));
    news
}

/// Tells of each new ranking, and of strangers before their peers.
async fn rank(
    mut peers: Peers,
    mut strangers: Strangers,
    mut pods: mpsc::Receiver<Change<pod::Object>>,
    mut cordoned: mpsc::Receiver<Change<node::Object>>,
    out: mpsc::Sender<News>,
) -> Result<(), Closed> {
    loop {
        let news = tokio::select! {
            Some(change) = pods.recv() => {
                if let Some(strangers) = strangers.take(&change) {
                    let news = News::Strangers(strangers);
                    out.send(news).await.map_err(|_| Closed)?;
                }
                let stale = matches!(change, Change::Stale).then_some(News::PeersStale);
                peers.take(change).map(News::Peers).or(stale)
            }
            Some(change) = cordoned.recv() => peers.take_cordoned(change).map(News::Peers),
            else => return Err(Closed),
        };
        if let Some(news) = news {
            out.send(news).await.map_err(|_| Closed)?;
        }
    }
}

fn own_pod(change: Change<pod::Object>) -> Option<News> {
    let pod = match change {
        Change::All(mut pods) => pods.pop(),
        Change::Put(pod) => Some(pod),
        Change::Gone(_) => None,
        Change::Stale => return None,
        Change::Unavailable => return Some(News::Forbidden(Kind::Pod)),
    };
    Some(News::Pod(pod.map(Box::new)))
}

fn one_service(index: usize, change: Change<service::Object>) -> Option<News> {
    let object = match change {
        Change::All(mut services) => services.pop(),
        Change::Put(service) => Some(service),
        Change::Gone(_) => None,
        Change::Stale => return None,
        Change::Unavailable => return Some(News::Service(index, None)),
    };
    let sight = match object.map(service::Sight::of) {
        None => service::Sight::missing(),
        Some(Ok(sight)) => sight,
        Some(Err(error)) => {
            debug!(error = %error, "a service that cannot be read");
            return None;
        }
    };
    Some(News::Service(index, Some(sight)))
}

fn the_lease(change: Change<Value>) -> Option<News> {
    let raw = match change {
        Change::All(mut leases) => leases.pop(),
        Change::Put(lease) => Some(lease),
        Change::Gone(_) => None,
        Change::Stale => return None,
        Change::Unavailable => return Some(News::Forbidden(Kind::Lease)),
    };
    match raw.map(lease::Object::parse).transpose() {
        Ok(object) => Some(News::Lease(object)),
        Err(error) => {
            debug!(error = %error, "a lease that cannot be read");
            None
        }
    }
}
