//! Tells the application, by a POST to its own port on 127.0.0.1, that it leads, or is about to
//! lead no longer.
//!
//! Must not know: how anybody came to lead. Nothing waits for longer than [`BOUND`], and no answer
//! changes anything.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

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

/// The application may take so long; a planned handover waits for it.
pub(crate) const BOUND: Duration = Duration::from_secs(1);

/// The application was not told.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("nobody listens on 127.0.0.1 there: correct --notify-port")]
    Connect(#[from] std::io::Error),
    #[error("the request was not answered")]
    Http(#[from] hyper::Error),
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

/// A call that may be waited for by more than one.
pub(crate) type Call = Shared<BoxFuture<'static, ()>>;

/// The application's port, and the call that is under way.
#[derive(Default)]
pub(crate) struct Notify {
    port: Option<u16>,
    leads: bool,
    call: Option<Call>,
}

impl Notify {
    /// `None`: the application does not want to be told.
    pub(crate) fn new(port: Option<u16>) -> Self {
        Self {
            port,
            ..Self::default()
        }
    }

    /// Starts a call, if this pod leads and did not, or the other way round.
    pub(crate) fn tell(&mut self, told: Told) {
        let Some(port) = self.port else { return };
        if std::mem::replace(&mut self.leads, told.leads) == told.leads {
            return;
        }
        let before = self.call.take();
        let call = async move {
            if let Some(before) = before {
                before.await;
            }
            match timeout(BOUND, post(port, &told)).await {
                Ok(Ok(status)) => debug!(
                    port,
                    status = status.as_u16(),
                    leads = told.leads,
                    "application told"
                ),
                Ok(Err(error)) => warn!(port, error = %error, "the application was not told"),
                Err(_) => warn!(port, "the application did not answer in time"),
            }
        };
        self.call = Some(call.boxed().shared());
    }

    /// The call that is under way: what a handover waits for.
    pub(crate) fn call(&self) -> Option<Call> {
        self.call.clone()
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

/// One request on a connection of its own, and the status of the answer. No redirect is followed.
async fn post(port: u16, told: &Told) -> Result<StatusCode, Error> {
    let path = if told.leads { "/promote" } else { "/demote" };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::post(path)
        .header(header::HOST, address.to_string())
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONNECTION, "close")
        .body(Full::new(Bytes::from(body(told).to_string())))?;
    // The connection ends with the answer, which ends it for the request too.
    let (answer, _) = tokio::join!(sender.send_request(request), connection);
    Ok(answer?.status())
}

fn body(told: &Told) -> Value {
    json!({
        "leader": told.leader,
        "isLeader": told.leads,
        "epoch": told.epoch,
        "term": told.term,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{Json, Router, http::Uri};
    use tokio::{net::TcpListener, sync::mpsc};

    fn told(leads: bool) -> Told {
        Told {
            leader: Some("web-0".to_owned()),
            leads,
            epoch: Some("57".to_owned()),
            term: Some(3),
        }
    }

    #[tokio::test]
    async fn the_application_hears_of_each_change_once() {
        let (heard, mut calls) = mpsc::unbounded_channel();
        let hear = move |uri: Uri, Json(body): Json<Value>| {
            let heard = heard.clone();
            async move {
                heard.send((uri.path().to_owned(), body)).unwrap();
                StatusCode::NO_CONTENT
            }
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let app = Router::new().fallback(hear);
        let server = tokio::spawn(async move { axum::serve(listener, app).await });
        let mut notify = Notify::new(Some(port));
        notify.tell(told(false));
        assert!(notify.call().is_none(), "it did not lead before either");
        for (leads, path) in [(true, "/promote"), (false, "/demote")] {
            notify.tell(told(leads));
            notify.tell(told(leads));
            notify.done().await;
            let expected = (path.to_owned(), body(&told(leads)));
            assert_eq!(calls.try_recv(), Ok(expected));
        }
        assert!(calls.try_recv().is_err(), "once");
        server.abort();
    }

    #[tokio::test]
    async fn an_application_that_does_not_answer_is_waited_for_within_the_bound() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let mut notify = Notify::new(Some(listener.local_addr().unwrap().port()));
        notify.tell(told(true));
        let done = timeout(30 * BOUND, notify.done()).await;
        assert!(done.is_ok());
    }
}
