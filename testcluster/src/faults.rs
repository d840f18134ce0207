//! A proxy between the pods and the API server, which does to each request what a test says.
//!
//! The pods' kubeconfigs name the proxy, by a path that tells which pod is asking; their tokens go
//! through as they are. Must not know: what is asked for, and why.

use std::{
    collections::HashMap,
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use futures::TryStreamExt as _;
use http_body_util::{BodyExt as _, BodyStream, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response,
    body::{Bytes, Incoming},
    header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER},
    http::response,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use kube::{Client, Config, client::Body};
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

/// What a pod asks of the API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The pod.
    pub pod: String,
    /// GET, PUT, PATCH, POST or DELETE.
    pub method: Method,
    /// The resource's plural.
    pub resource: String,
    /// The object's name; empty for lists and watches.
    pub name: String,
    /// Whether it asks for objects by their labels.
    pub by_label: bool,
    /// Whether the answer goes on for ever.
    pub watch: bool,
    /// The number of the connection by which it came.
    pub connection: u64,
    /// The bearer token that came with it.
    pub token: Option<String>,
}

impl Asked {
    /// Whether it changes something, Events apart.
    pub fn is_write(&self) -> bool {
        self.method != Method::GET && self.resource != "events"
    }

    /// Whether it asks for all objects that there are.
    pub fn is_list(&self) -> bool {
        self.method == Method::GET && self.name.is_empty() && !self.watch
    }
}

/// What becomes of a request.
#[derive(Clone)]
pub enum Fate {
    /// It goes through.
    Pass,
    /// It goes through after this.
    Delay(Duration),
    /// It goes through once the token is cancelled, also when nobody waits for it any more.
    Hold(CancellationToken),
    /// Nobody ever answers; the API server does not hear of it.
    Hang,
    /// The connection is closed; the API server does not hear of it.
    Refuse,
    /// The API server carries it out; then this happens, and the connection is closed.
    LoseReply(Arc<dyn Fn() + Send + Sync>),
    /// A Status of this code comes in the API server's place, with a Retry-After of so many seconds.
    Answer(u16, Option<u32>),
    /// The first answer to this list ever comes again, as from an API server that lags behind. Other
    /// requests go through.
    Past,
}

impl fmt::Debug for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass => "pass",
            Self::Delay(_) => "delay",
            Self::Hold(_) => "hold",
            Self::Hang => "hang",
            Self::Refuse => "refuse",
            Self::LoseReply(_) => "lose the reply",
            Self::Answer(..) => "answer",
            Self::Past => "past",
        })
    }
}

type Judge = Arc<dyn Fn(&Asked) -> Fate + Send + Sync>;

/// The faults of one namespace, from [`crate::Cluster::faults`] on until it is dropped.
#[derive(Debug)]
pub struct Faults {
    namespace: String,
    rules: Arc<Rules>,
}

impl Faults {
    /// From now on this decides about every request from the namespace.
    pub fn judge(&self, judge: impl Fn(&Asked) -> Fate + Send + Sync + 'static) {
        let judge: Judge = Arc::new(judge);
        self.rules
            .with(&self.namespace, |rule| rule.judge = Some(judge));
    }

    /// From now on everything goes through, and watches go on.
    pub fn clear(&self) {
        self.rules.with(&self.namespace, |rule| rule.judge = None);
        self.stall_watches(false);
    }

    /// Watches, those that are open too, show nothing more, and nobody is told.
    pub fn stall_watches(&self, stalled: bool) {
        self.rules
            .with(&self.namespace, |rule| rule.stalled.send_replace(stalled));
    }

    /// How many requests did not simply go through.
    pub fn injected(&self) -> u64 {
        self.rules.with(&self.namespace, |rule| {
            rule.injected.load(Ordering::Relaxed)
        })
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        self.clear();
    }
}

struct Rule {
    judge: Option<Judge>,
    stalled: watch::Sender<bool>,
    injected: Arc<AtomicU64>,
    /// The first answer to each list, by its path.
    firsts: Firsts,
}

type Firsts = Arc<Mutex<HashMap<String, Bytes>>>;

#[derive(Default)]
struct Rules {
    by_namespace: Mutex<HashMap<String, Rule>>,
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rules")
    }
}

impl Rules {
    fn with<T>(&self, namespace: &str, act: impl FnOnce(&mut Rule) -> T) -> T {
        let mut all = locked(&self.by_namespace);
        act(all.entry(namespace.to_owned()).or_insert_with(|| Rule {
            judge: None,
            stalled: watch::channel(false).0,
            injected: Arc::default(),
            firsts: Arc::default(),
        }))
    }
}

/// The running proxy.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    rules: Arc<Rules>,
    _task: AbortOnDropHandle<()>,
}

impl Proxy {
    /// Starts it on the runtime that calls. `config`: how the API server is reached; who asks is
    /// each request's own business.
    pub(crate) async fn start(mut config: Config) -> Result<Self> {
        config.auth_info = kube::config::AuthInfo::default();
        config.read_timeout = None;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let rules = Arc::new(Rules::default());
        let served = Arc::clone(&rules);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            let mut number = 0;
            while let Ok((stream, _)) = listener.accept().await {
                let (rules, config) = (Arc::clone(&served), config.clone());
                number += 1;
                connections.spawn(serve(stream, number, rules, config));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self {
            address,
            rules,
            _task: AbortOnDropHandle::new(task),
        })
    }

    /// The server that a pod's kubeconfig names.
    pub(crate) fn url(&self, namespace: &str, pod: &str) -> String {
        format!("http://{}/{namespace}/{pod}", self.address)
    }

    pub(crate) fn faults(&self, namespace: &str) -> Faults {
        Faults {
            namespace: namespace.to_owned(),
            rules: Arc::clone(&self.rules),
        }
    }
}

/// One connection of a pod's. An error closes it without an answer.
async fn serve(stream: TcpStream, number: u64, rules: Arc<Rules>, config: Config) {
    let Ok(client) = Client::try_from(config) else {
        return;
    };
    let service = service_fn(move |request| {
        let (rules, client) = (Arc::clone(&rules), client.clone());
        async move { answer(request, number, &rules, client).await }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a pod's connection ended");
    }
}

type Answer = Response<UnsyncBoxBody<Bytes, anyhow::Error>>;

async fn answer(
    request: Request<Incoming>,
    connection: u64,
    rules: &Rules,
    client: Client,
) -> Result<Answer> {
    let (namespace, asked, request) = read(request, connection).await?;
    let (judge, stalled, injected, firsts) = rules.with(&namespace, |rule| {
        let injected = Arc::clone(&rule.injected);
        let firsts = Arc::clone(&rule.firsts);
        (
            rule.judge.clone(),
            rule.stalled.subscribe(),
            injected,
            firsts,
        )
    });
    let fate = judge.map_or(Fate::Pass, |judge| judge(&asked));
    if !matches!(fate, Fate::Pass) {
        injected.fetch_add(1, Ordering::Relaxed);
    }
    match fate {
        Fate::Pass => {}
        Fate::Delay(pause) => sleep(pause).await,
        Fate::Hold(released) => {
            // A task of its own: the pod may have given up and closed the connection by then.
            let sent = tokio::spawn(async move {
                released.cancelled().await;
                client.send(request).await
            });
            return Ok(pass_on(sent.await??, asked.watch, stalled));
        }
        Fate::Hang => std::future::pending().await,
        Fate::Refuse => return Err(anyhow!("refused, as the test wants it")),
        Fate::LoseReply(then) => {
            client.send(request).await?;
            then();
            return Err(anyhow!("the reply is lost, as the test wants it"));
        }
        Fate::Answer(code, retry_after) => return status(code, retry_after),
        Fate::Past => {
            if let Some(first) = locked(&firsts).get(&path_of(&request)) {
                return json_answer(Response::builder(), first.clone());
            }
        }
    }
    if asked.is_list() {
        return list(request, &client, &firsts).await;
    }
    Ok(pass_on(client.send(request).await?, asked.watch, stalled))
}

/// A list goes through, and its answer is kept if it is the first of its path.
async fn list(request: Request<Body>, client: &Client, firsts: &Firsts) -> Result<Answer> {
    let path = path_of(&request);
    let (head, body) = client.send(request).await?.into_parts();
    let bytes = body.collect().await?.to_bytes();
    if head.status.is_success() {
        locked(firsts).entry(path).or_insert_with(|| bytes.clone());
    }
    Ok(Response::from_parts(head, whole(bytes)))
}

fn path_of<B>(request: &Request<B>) -> String {
    request.uri().to_string()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Who asks for what, and the request as the API server is to see it.
async fn read(
    request: Request<Incoming>,
    connection: u64,
) -> Result<(String, Asked, Request<Body>)> {
    let (mut head, body) = request.into_parts();
    let whole = head.uri.path_and_query().context("no path")?.as_str();
    let mut parts = whole.trim_start_matches('/').splitn(3, '/');
    let mut part = || {
        parts
            .next()
            .context("no pod in the path")
            .map(str::to_owned)
    };
    let (namespace, pod, rest) = (part()?, part()?, part()?);
    let path = rest.split('?').next().unwrap_or_default();
    // .../namespaces/<namespace>/<resource>[/<name>]
    let mut words = path
        .split('/')
        .skip_while(|word| *word != "namespaces")
        .skip(2);
    let asked = Asked {
        pod,
        method: head.method.clone(),
        resource: words.next().unwrap_or_default().to_owned(),
        name: words.next().unwrap_or_default().to_owned(),
        by_label: rest.contains("labelSelector="),
        watch: rest.contains("watch=true"),
        connection,
        token: head.headers.get(AUTHORIZATION).and_then(token),
    };
    head.uri = format!("/{rest}").parse()?;
    head.headers.remove(HOST);
    head.headers.remove(CONNECTION);
    let body = body.collect().await?.to_bytes();
    let request = Request::from_parts(head, Body::from(body.to_vec()));
    Ok((namespace, asked, request))
}

fn token(header: &HeaderValue) -> Option<String> {
    let token = header.to_str().ok()?.strip_prefix("Bearer ")?;
    Some(token.to_owned())
}

/// The API server's answer; a watch's stands still while watches are stalled.
fn pass_on(response: Response<Body>, watch: bool, stalled: watch::Receiver<bool>) -> Answer {
    let (head, body) = response.into_parts();
    let frames = futures::TryStreamExt::map_err(BodyStream::new(body), anyhow::Error::from);
    let frames = frames.and_then(move |frame| {
        let mut stalled = stalled.clone();
        async move {
            if watch {
                // Nobody stalls it any more when the rules are gone.
                stalled.wait_for(|stalled| !*stalled).await.ok();
            }
            Ok(frame)
        }
    });
    Response::from_parts(head, StreamBody::new(frames).boxed_unsync())
}

fn status(code: u16, retry_after: Option<u32>) -> Result<Answer> {
    let text = json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
        "message": "as the test wants it", "reason": "Testing", "code": code,
    });
    let mut response = Response::builder().status(code);
    if let Some(seconds) = retry_after {
        response = response.header(RETRY_AFTER, seconds);
    }
    json_answer(response, Bytes::from(text.to_string()))
}

fn json_answer(response: response::Builder, body: Bytes) -> Result<Answer> {
    let response = response.header(CONTENT_TYPE, "application/json");
    Ok(response.body(whole(body))?)
}

fn whole(bytes: Bytes) -> UnsyncBoxBody<Bytes, anyhow::Error> {
    let body = http_body_util::Full::new(bytes);
    body.map_err(|never| match never {}).boxed_unsync()
}
