//! The status endpoint: what the application can ask. Nothing on it changes state.
//!
//! Must not know: Kubernetes, how anything is decided. Each answer compares the validity of the
//! leadership with the clock, so that a driver that is late cannot make it lie.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

use crate::clock::Clock;
use crate::metrics::{CONTENT_TYPE, Metrics, Now};

/// What the driver knows, as it published it last.
#[derive(Debug, Clone, Default)]
pub(crate) struct Snapshot {
    /// Whom the Lease names.
    pub(crate) leader: Option<String>,
    /// This pod leads, and may say so until then.
    pub(crate) leads_until: Option<Duration>,
    /// The last acknowledged renewal was sent then.
    pub(crate) renewed: Option<Duration>,
    /// The epoch that stands, as far as is known here.
    pub(crate) epoch: Option<String>,
    /// The term that the Lease counts.
    pub(crate) term: Option<u64>,
    /// The Lease was last heard of then.
    pub(crate) contact: Option<Duration>,
    pub(crate) fenced: bool,
    /// The driver means to do something by then.
    pub(crate) due: Option<Duration>,
}

/// What the endpoint answers from.
#[derive(Clone)]
pub(crate) struct Status {
    pub(crate) clock: Clock,
    pub(crate) lease: Duration,
    pub(crate) snapshot: watch::Receiver<Snapshot>,
    pub(crate) metrics: Metrics,
    /// One for each stream that may be open.
    pub(crate) streams: Arc<Semaphore>,
}

/// So many streams may be open at once: an application has one or a few.
pub(crate) const STREAMS: usize = 64;
/// A stream looks so often whether a validity has lapsed.
const LOOK: Duration = Duration::from_secs(1);

/// The endpoint cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken, or not this machine's.
    #[error("cannot listen on {address}: choose another address or port by --listen")]
    Listen {
        /// What was asked for.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It stopped serving.
    #[error("the status endpoint ended")]
    Serve(#[source] std::io::Error),
}

/// Binds the address. `[::]` takes IPv4 too, and becomes `0.0.0.0` where there is no IPv6.
pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    let everywhere = address.ip() == Ipv6Addr::UNSPECIFIED;
    let bound = match TcpListener::bind(address).await {
        Err(error) if everywhere && error.kind() != std::io::ErrorKind::AddrInUse => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        bound => bound,
    };
    bound.map_err(|source| Error::Listen { address, source })
}

/// Serves until it is dropped.
pub(crate) async fn serve(listener: TcpListener, status: Status) -> Result<(), Error> {
    let routes = Router::new()
        .route("/", get(name))
        .route("/healthz", get(healthz))
        .route("/leader", get(leader))
        .route("/leader/stream", get(stream))
        .route("/metrics", get(metrics))
        .route("/ready", get(ready))
        .with_state(Arc::new(status));
    axum::serve(listener, routes).await.map_err(Error::Serve)
}

/// The answer of `/`, as the leader-elector of 2016 gave it.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Name {
    name: String,
}

/// The answer of `/leader`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Leadership {
    /// Whom the Lease names; null: nobody, or not known yet.
    leader: Option<String>,
    is_leader: bool,
    /// As Kubernetes writes revisions: a decimal in a string.
    epoch: Option<String>,
    term: Option<u64>,
    /// Only on the leader: until when it may say so without another renewal.
    valid_until: Option<String>,
    /// Whether the API server has confirmed this lately: within the validity on the leader, within
    /// the lease's length elsewhere.
    confirmed: bool,
}

impl Status {
    fn leads(&self, now: Duration) -> bool {
        self.snapshot
            .borrow()
            .leads_until
            .is_some_and(|end| now < end)
    }

    fn is_stuck(&self, now: Duration) -> bool {
        self.snapshot
            .borrow()
            .due
            .is_some_and(|due| now > due + self.lease)
    }

    fn leader(&self, now: Duration) -> Leadership {
        let snapshot = self.snapshot.borrow();
        let left = snapshot.leads_until.and_then(|end| end.checked_sub(now));
        let left = left.filter(|left| !left.is_zero());
        let heard = snapshot
            .contact
            .is_some_and(|at| now.saturating_sub(at) < self.lease);
        Leadership {
            leader: snapshot.leader.clone(),
            is_leader: left.is_some(),
            epoch: snapshot.epoch.clone(),
            term: snapshot.term,
            valid_until: left
                .and_then(|left| self.clock.wall().checked_add(left).ok())
                .map(|end| format!("{end:.3}")),
            confirmed: left.is_some() || (heard && snapshot.leads_until.is_none()),
        }
    }

    /// When the answer changes although nothing happens, if it does.
    fn lapses_in(&self, now: Duration) -> Option<Duration> {
        let snapshot = self.snapshot.borrow();
        let heard = snapshot.contact.map(|at| at + self.lease);
        let ends = [snapshot.leads_until, heard].into_iter().flatten();
        ends.filter_map(|end| end.checked_sub(now))
            .filter(|left| !left.is_zero())
            .min()
    }

    fn figures(&self, now: Duration) -> Now {
        let snapshot = self.snapshot.borrow();
        let age = |since: Option<Duration>| since.map(|at| now.saturating_sub(at).as_secs_f64());
        Now {
            leads: snapshot.leads_until.is_some_and(|end| now < end),
            fenced: snapshot.fenced,
            renewal_age: age(snapshot.renewed),
            contact_age: age(snapshot.contact),
        }
    }
}

async fn name(State(status): State<Arc<Status>>) -> Json<Name> {
    Json(Name {
        name: status.snapshot.borrow().leader.clone().unwrap_or_default(),
    })
}

async fn leader(State(status): State<Arc<Status>>) -> Json<Leadership> {
    Json(status.leader(status.clock.now()))
}

/// One answer of `/leader` at once, and another whenever it is another, but for its validity.
async fn stream(State(status): State<Arc<Status>>) -> Response {
    let Ok(permit) = Arc::clone(&status.streams).try_acquire_owned() else {
        let text = "too many streams are open: close some\n";
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    };
    let listener = Listener {
        changes: status.snapshot.clone(),
        status,
        told: None,
        _permit: permit,
    };
    let events = futures::stream::unfold(listener, async |mut it| {
        let answer = it.next().await?;
        let event = Event::default().json_data(answer);
        Some((event, it))
    });
    Sse::new(events)
        .keep_alive(KeepAlive::default())
        .into_response()
}

/// One open stream.
struct Listener {
    status: Arc<Status>,
    changes: watch::Receiver<Snapshot>,
    told: Option<Leadership>,
    _permit: OwnedSemaphorePermit,
}

impl Listener {
    /// The next answer that is another than the last one; `None`: the driver has ended.
    async fn next(&mut self) -> Option<Leadership> {
        loop {
            self.changes.borrow_and_update();
            let now = self.status.clock.now();
            let answer = self.status.leader(now);
            let same = |told: &Leadership| {
                let valid_until = answer.valid_until.clone();
                let told = Leadership {
                    valid_until,
                    ..told.clone()
                };
                told == answer
            };
            if !self.told.as_ref().is_some_and(same) {
                self.told = Some(answer.clone());
                return Some(answer);
            }
            // A millisecond more: at its very end a validity has not lapsed yet. A second at most:
            // the timer stands still while the machine is suspended, and the validity does not.
            let lapse = self.status.lapses_in(now);
            let lapse = lapse.map(|left| left + Duration::from_millis(1));
            let wait = lapse.map_or(Duration::from_hours(1), |left| left.min(LOOK));
            if let Ok(Err(_)) = timeout(wait, self.changes.changed()).await {
                return None;
            }
        }
    }
}

async fn ready(State(status): State<Arc<Status>>) -> (StatusCode, &'static str) {
    if status.leads(status.clock.now()) {
        (StatusCode::OK, "leader\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not the leader\n")
    }
}

async fn healthz(State(status): State<Arc<Status>>) -> (StatusCode, &'static str) {
    if status.is_stuck(status.clock.now()) {
        (StatusCode::SERVICE_UNAVAILABLE, "the election is stuck\n")
    } else {
        (StatusCode::OK, "ok\n")
    }
}

async fn metrics(State(status): State<Arc<Status>>) -> impl IntoResponse {
    let text = status.metrics.encode(status.figures(status.clock.now()));
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::System;

    const LEASE: Duration = Duration::from_secs(12);

    fn status(snapshot: Snapshot) -> Status {
        let (_, receiver) = watch::channel(snapshot);
        Status {
            clock: Clock::start(Arc::new(System)),
            lease: LEASE,
            snapshot: receiver,
            metrics: Metrics::new("web"),
            streams: Arc::new(Semaphore::new(STREAMS)),
        }
    }

    fn listener(status: Status) -> Listener {
        let permit = Arc::clone(&status.streams).try_acquire_owned().unwrap();
        Listener {
            changes: status.snapshot.clone(),
            status: Arc::new(status),
            told: None,
            _permit: permit,
        }
    }

    #[tokio::test]
    async fn a_stream_tells_of_changes_and_of_a_validity_that_lapses_by_itself() {
        let (sender, receiver) = watch::channel(Snapshot::default());
        let mut status = status(Snapshot::default());
        status.snapshot = receiver;
        let clock = status.clock.clone();
        let mut listener = listener(status);
        let first = listener.next().await.unwrap();
        assert!(!first.is_leader);
        let leads = |until: Duration| Snapshot {
            leader: Some("web-0".to_owned()),
            leads_until: Some(until),
            contact: Some(clock.now()),
            ..Snapshot::default()
        };
        sender.send_replace(leads(clock.now() + seconds(60)));
        assert!(listener.next().await.unwrap().is_leader);
        // A renewal is no news; the end of the validity is, without the driver.
        sender.send_replace(leads(clock.now() + Duration::from_millis(50)));
        assert!(!listener.next().await.unwrap().is_leader);
        drop(sender);
        assert_eq!(listener.next().await, None);
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_leader_stops_saying_so_at_its_deadline_without_the_driver() {
        let status = status(Snapshot {
            leader: Some("web-0".to_owned()),
            leads_until: Some(seconds(8)),
            contact: Some(seconds(0)),
            ..Snapshot::default()
        });
        assert!(status.leads(seconds(7)));
        let late = status.leader(seconds(8));
        assert!(!status.leads(seconds(8)));
        let expected = Leadership {
            leader: Some("web-0".to_owned()),
            is_leader: false,
            epoch: None,
            term: None,
            valid_until: None,
            confirmed: false,
        };
        assert_eq!(late, expected);
    }

    #[test]
    fn a_standby_that_heard_of_the_lease_confirms_its_leader() {
        let status = status(Snapshot {
            contact: Some(seconds(5)),
            ..Snapshot::default()
        });
        assert!(status.leader(seconds(16)).confirmed);
        assert!(!status.leader(seconds(17)).confirmed);
    }

    #[test]
    fn a_driver_is_stuck_when_it_is_late_by_more_than_a_lease() {
        let status = status(Snapshot {
            due: Some(seconds(4)),
            ..Snapshot::default()
        });
        assert!(!status.is_stuck(seconds(16)));
        assert!(status.is_stuck(seconds(17)));
    }
}
