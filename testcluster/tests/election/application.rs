//! What an application can ask its sidecar, and what it is told.

use std::{net::Ipv4Addr, time::Duration};

use axum::{Router, http::Uri};
use http_body_util::BodyExt as _;
use hyper::{Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::{coordination::v1::Lease, core::v1::Pod};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use testcluster::{Cluster, troubleshooting::documented};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    net::{
        TcpListener, TcpSocket, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::{
    scene,
    support::{KEY, Scene},
};

const STATUS: u16 = 28086;
const LEASE: &str = "service-leader-election-web";
/// A sidecar waits so long for its application.
const BOUND: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_mins(1);

/// The applications' own port. The rig's pods share 127.0.0.1, so there is one for all of them.
struct Application {
    port: u16,
    calls: mpsc::UnboundedReceiver<Call>,
    /// Calls that came before the one that was waited for: on a busy machine one overtakes another.
    early: Vec<Call>,
    _server: JoinSet<()>,
}

/// A call to it.
#[derive(Debug)]
struct Call {
    path: String,
    body: Value,
    /// Whom the Lease named, and whether the caller said that it led, well before the caller gave
    /// up waiting for the answer.
    meanwhile: Option<(String, Value)>,
}

impl Application {
    async fn start(scene: &Scene, answers: bool) -> Self {
        let (heard, calls) = mpsc::unbounded_channel();
        let (client, cluster) = (scene.client.clone(), scene.cluster);
        let namespace = scene.namespace.clone();
        let hear = async move |uri: Uri, body: String| {
            let body: Value = serde_json::from_str(&body).unwrap();
            let pod = body["leader"].as_str().unwrap();
            let meanwhile = look(&client, cluster, &namespace, pod).await;
            let path = uri.path().to_owned();
            let call = Call {
                path,
                body,
                meanwhile,
            };
            heard.send(call).unwrap();
            if !answers {
                std::future::pending::<()>().await;
            }
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut server = JoinSet::new();
        let app = Router::new().fallback(hear);
        server.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            port,
            calls,
            early: Vec::new(),
            _server: server,
        }
    }

    async fn next(&mut self, path: &str) -> Call {
        loop {
            if let Some(found) = self.early.iter().position(|call| call.path == path) {
                return self.early.remove(found);
            }
            let call = timeout(PATIENCE, self.calls.recv()).await;
            assert!(call.is_ok(), "no {path} in time, but {:?}", self.early);
            self.early.extend(call.unwrap());
        }
    }

    fn annotations(&self) -> Value {
        json!({
            "service-leader-election/notify-port": self.port.to_string(),
            "service-leader-election/lease-duration": "300",
        })
    }
}

/// Looks after a while, in which a caller that did not wait would have gone on.
async fn look(
    client: &Client,
    cluster: &Cluster,
    namespace: &str,
    pod: &str,
) -> Option<(String, Value)> {
    let begun = Instant::now();
    sleep(BOUND / 5).await;
    let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let holder = leases.get(LEASE).await.ok()?.spec?.holder_identity?;
    let says = cluster.node().get(namespace, pod, STATUS, "/leader").await;
    let says: Value = serde_json::from_str(&says.ok()?.1).ok()?;
    (begun.elapsed() < BOUND / 2).then(|| (holder, says["isLeader"].clone()))
}

#[tokio::test]
async fn the_application_is_told_before_the_lease_is_handed_over() {
    let scene = scene("told").await;
    let mut application = Application::start(&scene, true).await;
    let mut leader = scene.elect("web", 2, application.annotations()).await;
    let told = application.next("/promote").await.body;
    let expected = json!({
        "leader": leader.pod, "isLeader": true, "epoch": leader.epoch.to_string(), "term": told["term"],
        "why": "the lease named nobody",
    });
    assert_eq!(told, expected);
    // A look that took too long, on a busy machine, proves nothing: then once more.
    let mut judged = false;
    for _ in 0..5 {
        scene.kubectl(&["delete", "pod", &leader.pod]).await;
        let demoted = application.next("/demote").await;
        // On a busy machine the signal may come before the watch shows the deletion: then once more.
        let why = demoted.body["why"].as_str().unwrap();
        let by_watch = why == "the pod is being deleted";
        assert!(by_watch || why == "the process was asked to end", "{why}");
        let expected = json!({
            "leader": leader.pod, "isLeader": false, "epoch": leader.epoch.to_string(),
            "term": demoted.body["term"], "why": why,
        });
        assert_eq!(demoted.body, expected);
        let before = leader.pod.clone();
        leader = scene.next("web", &leader).await;
        let promoted = application.next("/promote").await.body;
        assert_eq!(promoted["leader"], leader.pod);
        assert_eq!(promoted["epoch"], leader.epoch.to_string());
        assert_eq!(promoted["why"], format!("{before} handed over"));
        if let Some(meanwhile) = demoted.meanwhile
            && by_watch
        {
            assert_eq!(meanwhile, (before, json!(false)));
            judged = true;
            break;
        }
        scene.all_ready("web", 2).await;
    }
    assert!(
        judged,
        "no look and no watch was fast enough: this proves nothing"
    );
    scene.record.check().await.unwrap();
}

#[tokio::test]
async fn an_application_that_never_answers_holds_nobody_up() {
    let scene = scene("silent").await;
    let mut application = Application::start(&scene, false).await;
    let first = scene.elect("web", 2, application.annotations()).await;
    application.next("/promote").await;
    scene
        .documented_log("log-application-silent", &first.pod)
        .await;
    scene.kubectl(&["delete", "pod", &first.pod]).await;
    application.next("/demote").await;
    let second = scene.next("web", &first).await;
    assert_eq!(scene.leaders("web").await, [first.pod, second.pod]);
}

#[tokio::test]
async fn a_port_on_which_nobody_listens_is_told() {
    let scene = scene("deaf").await;
    // Bound, so that nobody else listens there either.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let port = socket.local_addr().unwrap().port().to_string();
    let annotations = json!({"service-leader-election/notify-port": port});
    let leader = scene.elect("web", 1, annotations).await;
    scene
        .documented_log("log-application-not-there", &leader.pod)
        .await;
}

#[tokio::test]
async fn an_open_connection_stays_at_the_pod_that_leads_no_longer() {
    let scene = scene("open").await;
    let forwarder = scene.cluster.forward(&scene.namespace, "web", 80).await;
    let forwarder = forwarder.unwrap();
    let first = scene.elect("web", 2, json!({})).await;
    scene
        .eventually("the leader answers", async || {
            let answer = forwarder.get("/").await.ok();
            answer.filter(|pod| *pod == first.pod)
        })
        .await;
    let stream = TcpStream::connect(forwarder.address()).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    let mut connections = JoinSet::new();
    connections.spawn(connection);
    let mut ask = async || {
        let request = Request::get("/").header("host", "web");
        let answer = sender.send_request(request.body(String::new()).unwrap());
        let body = answer.await.unwrap().into_body().collect().await.unwrap();
        String::from_utf8(body.to_bytes().to_vec()).unwrap()
    };
    assert_eq!(ask().await, first.pod);
    let lease = format!("lease/{LEASE}");
    let request = format!("{KEY}/switchover-to=any");
    scene.kubectl(&["annotate", &lease, &request]).await;
    scene.next("web", &first).await;
    assert_eq!(ask().await, first.pod);
    let node = scene.cluster.node();
    let answer = node
        .get(&scene.namespace, &first.pod, STATUS, "/leader")
        .await;
    documented("application-still-gets-requests", &answer.unwrap().1).unwrap();
}

#[tokio::test]
async fn an_application_with_the_sidecars_account_may_not_do_more() {
    let scene = scene("account").await;
    let account = format!("--as=system:serviceaccount:{}:{KEY}-web", scene.namespace);
    let list = ["-n", &scene.namespace, "get", "configmaps", &account];
    let error = scene.cluster.kubectl(&list).await.unwrap_err();
    documented("application-may-not", &format!("{error:#}")).unwrap();
}

/// An open `/leader/stream`.
struct Stream {
    status: String,
    lines: Lines<BufReader<OwnedReadHalf>>,
    _sender: OwnedWriteHalf,
}

impl Stream {
    async fn open(scene: &Scene, pod: &str) -> Self {
        let node = scene.cluster.node();
        let address = node.pod_address(&scene.namespace, pod).unwrap();
        let connection = TcpStream::connect((address, STATUS)).await.unwrap();
        let (reader, mut sender) = connection.into_split();
        let request = b"GET /leader/stream HTTP/1.1\r\nHost: sidecar\r\n\r\n";
        sender.write_all(request).await.unwrap();
        let mut lines = BufReader::new(reader).lines();
        let status = timeout(PATIENCE, lines.next_line()).await.unwrap();
        let status = status.unwrap().unwrap();
        Self {
            status,
            lines,
            _sender: sender,
        }
    }

    /// The next event.
    async fn next(&mut self) -> Value {
        let next = async {
            loop {
                let line = self.lines.next_line().await.unwrap();
                let line = line.unwrap();
                if let Some(data) = line.strip_prefix("data: ") {
                    return serde_json::from_str(data).unwrap();
                }
            }
        };
        timeout(PATIENCE, next).await.unwrap()
    }

    /// Events until there is one that says so.
    async fn until(&mut self, leads: bool) -> Value {
        loop {
            let event = self.next().await;
            if event["isLeader"] == leads {
                return event;
            }
        }
    }
}

#[tokio::test]
async fn a_stream_tells_who_leads_and_who_no_longer() {
    let scene = scene("stream").await;
    let first = scene.elect("web", 2, json!({})).await;
    let pods = scene.pods("web").await;
    let mut names = pods.iter().map(Pod::name_any);
    let other = names.find(|pod| *pod != first.pod).unwrap();
    let mut old = Stream::open(&scene, &first.pod).await;
    let mut new = Stream::open(&scene, &other).await;
    let event = old.next().await;
    assert_eq!(event["isLeader"], true);
    assert_eq!(event["leader"], first.pod);
    assert_eq!(event["epoch"], first.epoch.to_string());
    let event = new.next().await;
    assert_eq!(event["isLeader"], false);
    assert_eq!(event["leader"], first.pod);

    let lease = format!("lease/{LEASE}");
    let request = format!("{KEY}/switchover-to=any");
    scene.kubectl(&["annotate", &lease, &request]).await;
    old.until(false).await;
    let event = new.until(true).await;
    let second = scene.next("web", &first).await;
    assert_eq!(event["leader"], second.pod);
    assert_eq!(event["epoch"], second.epoch.to_string());
}

#[tokio::test]
async fn no_more_than_64_streams_are_open_at_once() {
    let scene = scene("streams").await;
    let leader = scene.elect("web", 1, json!({})).await;
    let mut open = Vec::new();
    for _ in 0..64 {
        let mut stream = Stream::open(&scene, &leader.pod).await;
        assert_eq!(stream.status, "HTTP/1.1 200 OK");
        assert_eq!(stream.next().await["isLeader"], true);
        open.push(stream);
    }
    let refused = Stream::open(&scene, &leader.pod).await;
    assert_eq!(refused.status, "HTTP/1.1 503 Service Unavailable");
    drop(open);
    scene
        .eventually("one may be opened again", async || {
            let stream = Stream::open(&scene, &leader.pod).await;
            (stream.status == "HTTP/1.1 200 OK").then_some(())
        })
        .await;
}

#[tokio::test]
async fn metrics_tell_of_one_leader_and_how_long_its_switch_took() {
    let scene = scene("metrics").await;
    let leader = scene.elect("web", 3, json!({})).await;
    let master = format!("leader_election_master_status{{name=\"{LEASE}\"}}");
    for pod in scene.pods("web").await {
        let pod = pod.name_any();
        let node = scene.cluster.node();
        let answer = node.get(&scene.namespace, &pod, STATUS, "/metrics").await;
        let text = answer.unwrap().1;
        let figure = |name: &str| -> f64 {
            let lines = text.lines().filter_map(|line| line.strip_prefix(name));
            let values: Vec<_> = lines.filter_map(|rest| rest.strip_prefix(' ')).collect();
            assert_eq!(values.len(), 1, "{name} in\n{text}");
            values[0].parse().unwrap()
        };
        let leads = f64::from(u8::from(pod == leader.pod));
        let switches = "service_leader_election_switch_duration_seconds_count";
        let same = |found: f64, wanted: f64| assert!((found - wanted).abs() < 0.5, "{text}");
        same(figure(&master), leads);
        same(figure(switches), leads);
        same(figure("service_leader_election_switches_total"), leads);
        assert!(figure("process_resident_memory_bytes") > 1e6);
        assert!(figure("process_cpu_seconds_total") > 0.0);
        assert!(figure("process_start_time_seconds") > 1.7e9);
    }
}
