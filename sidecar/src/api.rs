//! Requests to the API server: each with a time-out, each counted, and their errors understood by
//! code, never by text.
//!
//! An API server that is too busy says for how long (429 or 503 with Retry-After). Its answer is kept
//! back for so long, but no longer than the request may take: to the core it comes as late as one
//! that timed out, so that a leader has as many tries before its deadline.
//!
//! kube's client speaks HTTP/1.1 only (its connector offers no ALPN), and that must stay so: every
//! watch then has a connection of its own, and none can hold up a renewal as streams that share
//! one HTTP/2 connection and its flow control can.
//!
//! Must not know: what is asked for, and why.

use std::sync::Arc;
use std::time::Duration;

use contract::wording::in_one_line;
use election::Failure;
use futures::{StreamExt as _, stream::BoxStream};
use http::StatusCode;
use http::header::RETRY_AFTER;
use http_body_util::BodyExt as _;
use kube::api::{GetParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::client::Body;
use kube::core::{Request, Status};
use kube::{Client, Config};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::metrics::{Metrics, Outcome};

/// The client of one namespace.
#[derive(Clone)]
pub(crate) struct Api {
    config: Arc<Config>,
    client: Client,
    namespace: Arc<str>,
    metrics: Metrics,
}

/// A resource that the sidecar asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Lease,
    Service,
    Pod,
    Event,
    /// Of the whole cluster. Only its metadata is asked for: a node's status is long.
    Node,
}

/// A request without a result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{request}: no answer within {timeout:?}")]
    TimedOut { request: String, timeout: Duration },
    #[error("{request}")]
    Failed {
        request: String,
        #[source]
        source: Box<kube::Error>,
    },
}

/// Which objects of a kind.
#[derive(Debug, Clone)]
pub(crate) enum Selector {
    /// The one of this name: what a Role limited by resourceNames allows.
    Name(String),
    /// All that carry this label.
    Label(&'static str),
    /// All with this value in a field: `path=value`.
    Field(&'static str),
}

/// The answer to a list.
#[derive(Debug, Deserialize)]
pub(crate) struct List<T> {
    pub(crate) metadata: ListMeta,
    #[serde(default = "Vec::new")]
    pub(crate) items: Vec<T>,
}

/// The revision of a list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListMeta {
    pub(crate) resource_version: String,
}

impl Api {
    pub(crate) fn new(
        mut config: Config,
        namespace: &str,
        metrics: Metrics,
    ) -> Result<Self, kube::Error> {
        // The core decides what is tried again, and when.
        config.default_retry = false;
        config.connect_timeout = Some(Duration::from_secs(2));
        // Watches are silent for long; every other request has its own time-out.
        config.read_timeout = None;
        config.write_timeout = Some(Duration::from_secs(10));
        let client = Client::try_from(config.clone())?;
        Ok(Self {
            config: Arc::new(config),
            client,
            namespace: namespace.into(),
            metrics,
        })
    }

    /// The same API by connections of its own, so that the next request does not go into one that
    /// is dead and does not know it.
    pub(crate) fn on_new_connections(&self) -> Self {
        let client = Client::try_from(Config::clone(&self.config));
        let client = client.unwrap_or_else(|_| self.client.clone());
        Self {
            client,
            ..self.clone()
        }
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Reads one object from a quorum; `None`: there is none.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        kind: Kind,
        name: &str,
        timeout: Duration,
    ) -> Result<Option<T>, Error> {
        let request = self.path(kind).get(name, &GetParams::default());
        let answer = self.ask(kind, "get", name, request, timeout).await;
        match answer {
            Err(error) if error.code() == Some(404) => Ok(None),
            answer => answer.map(Some),
        }
    }

    /// Writes a whole object to its name.
    pub(crate) async fn put(
        &self,
        kind: Kind,
        name: &str,
        object: &Value,
        timeout: Duration,
    ) -> Result<Value, Error> {
        let manager = Some(contract::names::PRODUCT.to_owned());
        let params = PostParams {
            field_manager: manager,
            ..PostParams::default()
        };
        let request = self
            .path(kind)
            .replace(name, &params, object.to_string().into_bytes());
        self.ask(kind, "update", name, request, timeout).await
    }

    /// A JSON merge patch.
    pub(crate) async fn merge<T: DeserializeOwned>(
        &self,
        kind: Kind,
        name: &str,
        patch: &Value,
        timeout: Duration,
    ) -> Result<T, Error> {
        let manager = Some(contract::names::PRODUCT.to_owned());
        let params = PatchParams {
            field_manager: manager,
            ..PatchParams::default()
        };
        let request = self.path(kind).patch(name, &params, &Patch::Merge(patch));
        self.ask(kind, "patch", name, request, timeout).await
    }

    /// Makes an object.
    pub(crate) async fn create(
        &self,
        kind: Kind,
        object: &Value,
        timeout: Duration,
    ) -> Result<(), Error> {
        let request = self
            .path(kind)
            .create(&PostParams::default(), object.to_string().into_bytes());
        self.ask::<Value>(kind, "create", "", request, timeout)
            .await
            .map(drop)
    }

    /// Reads all that are selected from a quorum.
    pub(crate) async fn list<T: DeserializeOwned>(
        &self,
        kind: Kind,
        selector: &Selector,
        timeout: Duration,
    ) -> Result<List<T>, Error> {
        let params = match selector {
            Selector::Name(name) => ListParams::default().fields(&by_name(name)),
            Selector::Label(key) => ListParams::default().labels(key),
            Selector::Field(value) => ListParams::default().fields(value),
        };
        let path = self.path(kind);
        let request = match kind {
            Kind::Node => path.list_metadata(&params),
            _ => path.list(&params),
        };
        self.ask(kind, "list", "", request, timeout).await
    }

    /// Follows what is selected from this revision on, for so many seconds. `timeout` is for the
    /// first byte of the answer only.
    pub(crate) async fn watch<T: Clone + DeserializeOwned + Send + 'static>(
        &self,
        kind: Kind,
        selector: &Selector,
        version: &str,
        seconds: u32,
        timeout: Duration,
    ) -> Result<BoxStream<'static, Result<WatchEvent<T>, kube::Error>>, Error> {
        let params = match selector {
            Selector::Name(name) => WatchParams::default().fields(&by_name(name)),
            Selector::Label(key) => WatchParams::default().labels(key),
            Selector::Field(value) => WatchParams::default().fields(value),
        };
        let (path, params) = (self.path(kind), params.timeout(seconds));
        let request = match kind {
            Kind::Node => path.watch_metadata(&params, version),
            _ => path.watch(&params, version),
        };
        let answer = async {
            let request = request.map_err(kube::Error::BuildRequest)?;
            self.client.request_events::<T>(request).await
        };
        let stream = self.count(kind, "watch", "", answer, timeout).await?;
        Ok(stream.boxed())
    }

    fn path(&self, kind: Kind) -> Request {
        let (group, plural) = kind.path();
        Request::new(match kind {
            Kind::Node => format!("{group}/{plural}"),
            _ => format!("{group}/namespaces/{}/{plural}", self.namespace),
        })
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        kind: Kind,
        verb: &'static str,
        name: &str,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
        timeout: Duration,
    ) -> Result<T, Error> {
        let mut retry_after = None;
        let asked = Instant::now();
        let answer = async {
            let request = request.map_err(kube::Error::BuildRequest)?;
            let response = self.client.send(request.map(Body::from)).await?;
            retry_after = pause_wanted(&response);
            parse(response).await
        };
        let answer = self.count(kind, verb, name, answer, timeout).await;
        if let Some(pause) = retry_after {
            let left = timeout.saturating_sub(asked.elapsed());
            sleep(pause.min(left)).await;
        }
        answer
    }

    async fn count<T>(
        &self,
        kind: Kind,
        verb: &'static str,
        name: &str,
        answer: impl Future<Output = Result<T, kube::Error>>,
        timeout: Duration,
    ) -> Result<T, Error> {
        let request = || match kind {
            Kind::Node => format!("{verb} {}", kind.name()),
            _ => format!("{verb} {} {}/{name}", kind.name(), self.namespace),
        };
        let result = match tokio::time::timeout(timeout, answer).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(source)) => Err(Error::Failed {
                request: request(),
                source: Box::new(source),
            }),
            Err(_) => Err(Error::TimedOut {
                request: request(),
                timeout,
            }),
        };
        let outcome = result.as_ref().map_or_else(Error::outcome, |_| Outcome::ok);
        self.metrics.request(kind.name(), verb, outcome);
        result
    }
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Lease => "lease",
            Self::Service => "service",
            Self::Pod => "pod",
            Self::Event => "event",
            Self::Node => "node",
        }
    }

    fn path(self) -> (&'static str, &'static str) {
        match self {
            Self::Lease => ("/apis/coordination.k8s.io/v1", "leases"),
            Self::Service => ("/api/v1", "services"),
            Self::Pod => ("/api/v1", "pods"),
            Self::Event => ("/apis/events.k8s.io/v1", "events"),
            Self::Node => ("/api/v1", "nodes"),
        }
    }
}

impl Error {
    /// The HTTP code of a Status, if the API server answered with one.
    pub(crate) fn code(&self) -> Option<u16> {
        match self {
            Self::Failed { source, .. } => status_code(source),
            Self::TimedOut { .. } => None,
        }
    }

    /// What the core makes of it.
    pub(crate) fn failure(&self) -> Failure {
        match self.code() {
            Some(409) => Failure::Conflict,
            Some(403) => Failure::Refused,
            Some(422) => Failure::Denied,
            _ => Failure::Unknown,
        }
    }

    /// Whether the connection, and not the API server, may be to blame.
    pub(crate) fn is_silence(&self) -> bool {
        self.code().is_none()
    }

    /// The whole chain in one line, for a log.
    pub(crate) fn chain(&self) -> String {
        match self {
            Self::Failed { request, source } => match source.as_ref() {
                // kube's own text repeats the whole Status.
                kube::Error::Api(status) => {
                    format!("{request}: {}: {}", status.code, status.message)
                }
                source => format!("{request}: {}", in_one_line(source)),
            },
            Self::TimedOut { .. } => self.to_string(),
        }
    }

    fn outcome(&self) -> Outcome {
        match (self, self.code()) {
            (Self::TimedOut { .. }, _) => Outcome::timeout,
            (_, Some(404)) => Outcome::not_found,
            (_, Some(409)) => Outcome::conflict,
            (_, Some(403 | 422)) => Outcome::refused,
            _ => Outcome::error,
        }
    }
}

/// For how long an API server that is too busy wants to be left alone.
fn pause_wanted<B>(response: &http::Response<B>) -> Option<Duration> {
    let busy = [
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::SERVICE_UNAVAILABLE,
    ];
    let header = response.headers().get(RETRY_AFTER);
    let header = header.filter(|_| busy.contains(&response.status()))?;
    // The other form, a date, is no API server's.
    header.to_str().ok()?.parse().ok().map(Duration::from_secs)
}

/// The object, or the Status that came in its place.
async fn parse<T: DeserializeOwned>(response: http::Response<Body>) -> Result<T, kube::Error> {
    let code = response.status();
    let bytes = response.into_body().collect().await?.to_bytes();
    if code.is_success() {
        return serde_json::from_slice(&bytes).map_err(kube::Error::SerdeError);
    }
    let status = serde_json::from_slice::<Status>(&bytes).ok();
    let status = status.filter(|status| status.code != 0).unwrap_or_else(|| {
        let text = String::from_utf8_lossy(&bytes);
        Status::failure(text.trim(), "NoStatus").with_code(code.as_u16())
    });
    Err(kube::Error::Api(status.boxed()))
}

/// The HTTP code of a Status.
pub(crate) fn status_code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

fn by_name(name: &str) -> String {
    format!("metadata.name={name}")
}

#[cfg(test)]
mod tests {
    use super::{Duration, Error, Failure, RETRY_AFTER, Status, parse, pause_wanted};
    use kube::client::Body;

    fn answered(code: u16) -> Error {
        let status = Status::failure("any text", "AnyReason").with_code(code);
        Error::Failed {
            request: "update lease x/y".to_owned(),
            source: Box::new(kube::Error::Api(status.boxed())),
        }
    }

    #[test]
    fn a_failure_is_told_by_its_code() {
        for (code, meant) in [
            (409, Failure::Conflict),
            (403, Failure::Refused),
            (422, Failure::Denied),
            (404, Failure::Unknown),
            (429, Failure::Unknown),
            (500, Failure::Unknown),
            (503, Failure::Unknown),
        ] {
            assert_eq!(answered(code).failure(), meant, "{code}");
        }
    }

    fn response(code: u16, retry_after: Option<&str>, body: &str) -> http::Response<Body> {
        let mut response = http::Response::builder().status(code);
        if let Some(value) = retry_after {
            response = response.header(RETRY_AFTER, value);
        }
        response.body(Body::from(body.as_bytes().to_vec())).unwrap()
    }

    #[test]
    fn who_is_too_busy_says_for_how_long() {
        let second = Some(Duration::from_secs(1));
        for (code, header, wanted) in [
            (429, Some("1"), second),
            (503, Some("1"), second),
            (429, None, None),
            (429, Some("Wed, 25 Nov 2026 00:00:00 GMT"), None),
            (429, Some("-1"), None),
            (500, Some("1"), None),
            (200, Some("1"), None),
        ] {
            let pause = pause_wanted(&response(code, header, ""));
            assert_eq!(pause, wanted, "{code} {header:?}");
        }
    }

    #[tokio::test]
    async fn an_answer_that_is_no_status_keeps_its_code() {
        // As the API server's priority and fairness writes it.
        let busy = response(
            429,
            Some("1"),
            "Too many requests, please try again later.\n",
        );
        let error = parse::<serde_json::Value>(busy).await.unwrap_err();
        let kube::Error::Api(status) = error else {
            panic!("{error}");
        };
        assert_eq!(status.code, 429);
        assert_eq!(status.message, "Too many requests, please try again later.");
    }
}
