//! One candidate on a machine of its own: a clock, a thread, a runtime.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
        mpsc as blocking,
    },
    thread,
    time::Duration,
};

use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use sidecar::{Settings, System, Time};
use tokio::{
    net::TcpStream,
    runtime::Builder,
    sync::{mpsc, oneshot},
};

/// The clocks of one machine.
#[derive(Debug)]
pub(crate) struct Clock {
    rate: f64,
    /// Seconds by which it has leapt.
    leapt: AtomicI64,
    /// Seconds by which the wall clock is wrong.
    wall: AtomicI64,
}

impl Clock {
    /// It goes at this rate of the true one, and the wall clock is right.
    pub(crate) fn at(rate: f64) -> Arc<Self> {
        Arc::new(Self {
            rate,
            leapt: AtomicI64::new(0),
            wall: AtomicI64::new(0),
        })
    }

    /// Leaps forward by seconds, as `CLOCK_BOOTTIME` does in suspend.
    pub(crate) fn leap(&self, seconds: i64) {
        self.leapt.fetch_add(seconds, Relaxed);
    }

    /// Sets the wall clock so many seconds ahead of the true time.
    pub(crate) fn set_wall(&self, seconds: i64) {
        self.wall.store(seconds, Relaxed);
    }
}

impl Time for Clock {
    fn since_boot(&self) -> Duration {
        let leapt = self.leapt.load(Relaxed).unsigned_abs();
        System.since_boot().mul_f64(self.rate) + Duration::from_secs(leapt)
    }

    fn wall(&self) -> Timestamp {
        System.wall() + SignedDuration::from_secs(self.wall.load(Relaxed))
    }
}

/// A running candidate. Dropped, it is dead at once, and its pod stays.
pub(crate) struct Machine {
    pub(crate) clock: Arc<Clock>,
    endpoint: SocketAddr,
    suspensions: mpsc::UnboundedSender<Suspension>,
    thread: thread::JoinHandle<()>,
}

/// Where the machine's one thread waits.
struct Suspension {
    begun: oneshot::Sender<()>,
    end: blocking::Receiver<()>,
}

/// A suspended machine, until it is resumed or this is dropped.
#[must_use]
pub(crate) struct Suspended(blocking::Sender<()>);

impl Suspended {
    pub(crate) fn resume(self) {
        self.0.send(()).unwrap();
    }
}

impl Machine {
    pub(crate) fn start(settings: Settings, clock: Arc<Clock>) -> Self {
        let endpoint = settings.listen;
        let (suspensions, wanted) = mpsc::unbounded_channel();
        let thread = thread::Builder::new().name(settings.pod.as_str().to_owned());
        let run = move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                // A task, so that its endpoint may be resumed before its driver.
                let candidate = sidecar::run(settings, futures::stream::pending());
                let candidate = tokio::spawn(candidate);
                tokio::select! {
                    ended = candidate => panic!("ended by itself: {ended:?}"),
                    () = suspend_when(wanted) => {}
                }
            });
        };
        Self {
            clock,
            endpoint,
            suspensions,
            thread: thread.spawn(run).unwrap(),
        }
    }

    /// Ends it as a node without power ends.
    pub(crate) fn die(self) {
        drop(self.suspensions);
        self.thread.join().unwrap();
    }

    /// Returns when nothing of it runs any more.
    pub(crate) async fn suspend(&self) -> Suspended {
        let (begun, begins) = oneshot::channel();
        let (resume, end) = blocking::channel();
        self.suspensions.send(Suspension { begun, end }).unwrap();
        begins.await.unwrap();
        Suspended(resume)
    }

    /// A connection to its status endpoint, if that listens.
    pub(crate) async fn call(&self) -> Option<Line> {
        let stream = TcpStream::connect(self.endpoint).await.ok()?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        Some(Line(sender))
    }
}

/// Blocks the whole runtime: tasks, timers and connections.
async fn suspend_when(mut wanted: mpsc::UnboundedReceiver<Suspension>) {
    while let Some(Suspension { begun, end }) = wanted.recv().await {
        begun.send(()).ok();
        end.recv().ok();
    }
}

/// An address that nobody listens on.
pub(crate) fn free_address() -> SocketAddr {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    free.local_addr().unwrap()
}

/// A connection to a status endpoint.
pub(crate) struct Line(http1::SendRequest<Empty<Bytes>>);

impl Line {
    /// What it answers to `/leader`.
    pub(crate) async fn ask(&mut self) -> hyper::Result<Value> {
        let request = Request::get("/leader").header("host", "localhost");
        let request = request.body(Empty::new()).unwrap();
        let answer = self.0.send_request(request).await?;
        let body = answer.into_body().collect().await?.to_bytes();
        Ok(serde_json::from_slice(&body).unwrap())
    }
}
