//! Tells the application, by a POST to its own port on 127.0.0.1, that it leads, or is about to
//! lead no longer.
//!
//! Must not know: how anybody came to lead. Nothing waits for longer than [`BOUND`], and no answer
//! changes anything.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use contract::wording::in_one_line;
use election::{Action, Cause};
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use http::{Request, StatusCode, header};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::{debug, warn};

use crate::metrics::{Metrics, Outcome};
use crate::reasons;

/// The application may take so long; a planned handover waits for it, and no longer.
pub(crate) const BOUND: Duration = Duration::from_secs(1);

/// The application was not told.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot connect to the application's port on 127.0.0.1")]
    Connect(#[from] std::io::Error),
    #[error("the request was not answered")]
    Http(#[from] hyper::Error),
    #[error("the connection was closed without an answer")]
    Closed,
    #[error("the request cannot be made")]
    Request(#[from] http::Error),
}

/// What the application is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) leader: Option<String>,
    pub(crate) leads: bool,
    pub(crate) epoch: Option<String>,
    pub(crate) term: Option<u64>,
}

type Call = Shared<BoxFuture<'static, ()>>;

/// The application's port, and the call that is under way.
pub(crate) struct Notify {
    port: Option<u16>,
    metrics: Metrics,
    leads: bool,
    /// Why this pod leads, and why it does not.
    right: String,
    cause: String,
    call: Option<Call>,
}

impl Notify {
    /// `None`: the application does not want to be told.
    pub(crate) fn new(port: Option<u16>, metrics: Metrics) -> Self {
        Self {
            port,
            metrics,
            leads: false,
            right: String::new(),
            cause: String::new(),
            call: None,
        }
    }

    /// Remembers the reasons that the core gives.
    pub(crate) fn heed(&mut self, actions: &[Action]) {
        for action in actions {
            if let Action::Report(notice) = action {
                match reasons::of_notice(notice) {
                    Some((true, right)) => self.right = right,
                    Some((false, cause)) => self.cause = cause,
                    None => {}
                }
            }
        }
    }

    /// Starts a call, if this pod leads and did not, or the other way round.
    pub(crate) fn tell(&mut self, told: &Told) {
        let Some(port) = self.port else { return };
        if std::mem::replace(&mut self.leads, told.leads) == told.leads {
            return;
        }
        let (path, why) = if told.leads {
            ("promote", &self.right)
        } else {
            ("demote", &self.cause)
        };
        let body = body(told, why).to_string();
        let (before, metrics) = (self.call.take(), self.metrics.clone());
        let call = async move {
            // The application hears of things in their order.
            if let Some(before) = before {
                before.await;
            }
            metrics.notification(path, call(port, path, body).await);
        };
        self.call = Some(call.boxed().shared());
    }

    /// What this action has to wait for: a planned handover until the application knows, or until
    /// the bound is over.
    pub(crate) fn before(&self, action: &Action) -> Option<BoxFuture<'static, ()>> {
        let Action::WriteLease {
            cause: Cause::GiveUp(_),
            ..
        } = action
        else {
            return None;
        };
        let call = self.call.clone()?;
        // Who does not answer in time is complained of by the call itself.
        Some(timeout(BOUND, call).map(Result::unwrap_or_default).boxed())
    }

    /// Waits for the call; for ever, if there is none.
    pub(crate) async fn done(&mut self) {
        let Some(call) = &self.call else {
            return futures::future::pending().await;
        };
        call.clone().await;
        self.call = None;
    }
}

async fn call(port: u16, path: &'static str, body: String) -> Outcome {
    match timeout(BOUND, post(port, path, body)).await {
        Ok(Ok(status)) if status.is_success() => {
            debug!(port, path, "the application was told");
            Outcome::ok
        }
        Ok(Ok(status)) => {
            let status = status.as_u16();
            warn!(port, path, status, "the application would not be told");
            Outcome::error
        }
        Ok(Err(error)) => {
            let error = in_one_line(&error);
            warn!(
                port,
                path, error, "the application was not told: correct --notify-port, or listen there"
            );
            Outcome::error
        }
        Err(_) => {
            warn!(port, path, "the application did not answer in time");
            Outcome::timeout
        }
    }
}

/// One request on a connection of its own, and the status of the answer. No redirect is followed,
/// and what the answer says besides is not waited for.
async fn post(port: u16, path: &str, body: String) -> Result<StatusCode, Error> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::post(format!("/{path}"))
        .header(header::HOST, address.to_string())
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONNECTION, "close")
        .body(Full::new(Bytes::from(body)))?;
    let mut answer = pin!(sender.send_request(request));
    let answer = tokio::select! {
        biased;
        answer = &mut answer => answer,
        ended = connection => {
            ended?;
            answer.now_or_never().ok_or(Error::Closed)?
        }
    };
    Ok(answer?.status())
}

fn body(told: &Told, why: &str) -> Value {
    json!({
        "leader": told.leader,
        "isLeader": told.leads,
        "epoch": told.epoch,
        "term": told.term,
        "why": why,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{Json, Router, body::Body, http::Uri};
    use election::{Epoch, How, LeaseRecord, Notice, Timing, Why};
    use futures::StreamExt as _;
    use tokio::{net::TcpListener, sync::mpsc, task::JoinSet};

    type Heard = mpsc::UnboundedReceiver<(String, Value)>;

    fn told(leads: bool) -> Told {
        Told {
            leader: Some("web-0".to_owned()),
            leads,
            epoch: Some("57".to_owned()),
            term: Some(3),
        }
    }

    fn reasons() -> [Action; 3] {
        let elected = |how| Notice::Elected {
            epoch: Epoch::NONE,
            term: 3,
            how,
        };
        [
            Action::Report(elected(How::Vacant)),
            Action::Report(elected(How::Repair)),
            Action::Report(Notice::Lost(Why::Leaving)),
        ]
    }

    fn giving_up() -> Action {
        Action::WriteLease {
            record: LeaseRecord {
                holder: None,
                given_up_by: None,
                duration: Timing::HANDOVER,
                transitions: 1,
                term: 3,
                switchover_to: None,
                paused: false,
            },
            seen: None,
            timeout: BOUND,
            cause: Cause::GiveUp(Why::Leaving),
        }
    }

    /// An application that answers with this status, and a body that never ends.
    async fn application(status: StatusCode, tasks: &mut JoinSet<()>) -> (Notify, Heard, Metrics) {
        let (heard, calls) = mpsc::unbounded_channel();
        let hear = move |uri: Uri, Json(body): Json<Value>| {
            let heard = heard.clone();
            async move {
                heard.send((uri.path().to_owned(), body)).unwrap();
                let first = futures::stream::once(async { Ok::<_, std::io::Error>("told") });
                let body = Body::from_stream(first.chain(futures::stream::pending()));
                (status, [(header::LOCATION, "/elsewhere")], body)
            }
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let app = Router::new().fallback(hear);
        tasks.spawn(async move { axum::serve(listener, app).await.unwrap() });
        let metrics = Metrics::new("web");
        let mut notify = Notify::new(Some(port), metrics.clone());
        notify.heed(&reasons());
        (notify, calls, metrics)
    }

    fn count(metrics: &Metrics, path: &str, outcome: &str) -> bool {
        let now = crate::metrics::Now {
            leads: false,
            fenced: false,
            renewal_age: None,
            contact_age: None,
        };
        let labels = format!("{{path=\"{path}\",outcome=\"{outcome}\"}} 1");
        metrics.encode(now).contains(&labels)
    }

    #[tokio::test]
    async fn the_application_hears_of_each_change_once_and_why() {
        let mut tasks = JoinSet::new();
        let (mut notify, mut calls, metrics) = application(StatusCode::OK, &mut tasks).await;
        notify.tell(&told(false));
        assert!(
            notify.before(&giving_up()).is_none(),
            "it did not lead before either"
        );
        for (leads, path, why) in [
            (true, "promote", "the lease named nobody"),
            (false, "demote", "the pod is being deleted"),
        ] {
            notify.tell(&told(leads));
            notify.tell(&told(leads));
            notify.done().await;
            let expected = (format!("/{path}"), body(&told(leads), why));
            assert_eq!(calls.try_recv(), Ok(expected));
            assert!(count(&metrics, path, "ok"));
        }
        assert!(calls.try_recv().is_err(), "once");
    }

    #[tokio::test]
    async fn a_redirect_is_not_followed() {
        let mut tasks = JoinSet::new();
        let redirect = StatusCode::TEMPORARY_REDIRECT;
        let (mut notify, mut calls, metrics) = application(redirect, &mut tasks).await;
        notify.tell(&told(true));
        notify.done().await;
        assert_eq!(calls.recv().await.unwrap().0, "/promote");
        assert!(calls.try_recv().is_err(), "once");
        assert!(count(&metrics, "promote", "error"));
    }

    #[tokio::test]
    async fn calls_come_in_order_and_a_handover_waits_for_one_bound_only() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let metrics = Metrics::new("web");
        let mut notify = Notify::new(Some(port), metrics.clone());
        notify.tell(&told(true));
        notify.tell(&told(false));
        // The silent application takes the first bound, and the handover waits no longer.
        assert!(notify.before(&Action::ReadLease).is_none());
        notify.before(&giving_up()).unwrap().await;
        assert!(!count(&metrics, "demote", "timeout"));
        notify.done().await;
        assert!(count(&metrics, "promote", "timeout"));
        assert!(count(&metrics, "demote", "timeout"));
    }

    #[tokio::test]
    async fn nobody_who_listens_is_no_reason_to_wait() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let metrics = Metrics::new("web");
        let mut notify = Notify::new(Some(port), metrics.clone());
        notify.tell(&told(true));
        notify.done().await;
        assert!(count(&metrics, "promote", "error"));
    }
}
