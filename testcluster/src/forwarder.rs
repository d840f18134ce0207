//! Plays a Service's data plane: a TCP proxy in front of the Service's ready endpoints.
//!
//! Must not know: why an endpoint is ready, which one is the leader.

use std::{
    net::{Ipv4Addr, SocketAddr},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Result, ensure};
use futures::{StreamExt as _, future};
use hyper::Method;
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use kube::{
    Api, Client, Resource,
    runtime::{WatchStreamExt as _, reflector, reflector::Store, watcher},
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::task::AbortOnDropHandle;

use crate::{http, loopback::Loopback, steady::Steady};

/// A proxy on a port of 127.0.0.1 for one port of one Service, which need not exist yet. Each new
/// connection goes to the next ready endpoint; without one it is closed at once. Open connections
/// stay where they are. It ends when dropped.
#[derive(Debug)]
pub struct Forwarder {
    address: SocketAddr,
    _task: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct Route {
    port: u16,
    loopback: Arc<Loopback>,
    services: Store<Service>,
    slices: Store<EndpointSlice>,
    turn: AtomicUsize,
}

impl Forwarder {
    /// Starts it on the runtime that calls.
    pub(crate) async fn start(
        client: Client,
        loopback: Arc<Loopback>,
        namespace: &str,
        service: &str,
        port: u16,
    ) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let own = watcher::Config::default().fields(&format!("metadata.name={service}"));
        let (services, follow_service) = follow(Api::namespaced(client.clone(), namespace), own);
        let own =
            watcher::Config::default().labels(&format!("kubernetes.io/service-name={service}"));
        let (slices, follow_slices) = follow(Api::namespaced(client, namespace), own);
        let route = Route {
            port,
            loopback,
            services,
            slices,
            turn: AtomicUsize::new(0),
        };
        let work = future::join3(
            follow_service,
            follow_slices,
            accept(listener, Arc::new(route)),
        );
        let task = tokio::spawn(async move {
            work.await;
        });
        Ok(Self {
            address,
            _task: AbortOnDropHandle::new(task),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:<port>`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// One GET on a connection of its own, as a new client of the Service would send it: the text
    /// of the answer. No endpoint, no answer and an answer other than 2xx are errors.
    pub async fn get(&self, path: &str) -> Result<String> {
        let (status, text) = http::fetch(
            self.address,
            Method::GET,
            path,
            String::new(),
            http::PATIENCE,
        )
        .await?;
        ensure!((200..300).contains(&status), "{path}: {status} {text}");
        Ok(text)
    }
}

/// A store of objects, and the work that keeps it up to date.
fn follow<K>(api: Api<K>, config: watcher::Config) -> (Store<K>, impl Future<Output = ()>)
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Send + Sync + 'static,
    K: serde::de::DeserializeOwned,
{
    let (store, writer) = reflector::store();
    let events = watcher(api, config).backoff(Steady).reflect(writer);
    let work = async move {
        let mut events = pin!(events);
        while let Some(event) = events.next().await {
            if let Err(error) = event {
                tracing::debug!(%error, "a forwarder's watch broke");
            }
        }
    };
    (store, work)
}

async fn accept(listener: TcpListener, route: Arc<Route>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        if let Some(endpoint) = route.next() {
            connections.spawn(forward(client, endpoint));
        }
    }
}

async fn forward(mut client: TcpStream, endpoint: SocketAddr) {
    let carried = async {
        let mut pod = TcpStream::connect(endpoint).await?;
        // A Service delays nothing.
        client.set_nodelay(true)?;
        pod.set_nodelay(true)?;
        copy_bidirectional(&mut client, &mut pod).await
    };
    if let Err(error) = carried.await {
        tracing::debug!(%error, %endpoint, "forwarded connection broke");
    }
}

impl Route {
    /// The endpoint whose turn it is.
    fn next(&self) -> Option<SocketAddr> {
        let service = self.services.state().into_iter().next()?;
        let ports = service.spec.as_ref()?.ports.as_ref()?;
        let port = ports
            .iter()
            .find(|port| port.port == i32::from(self.port))?;
        // An EndpointSlice has the empty name where the Service has none.
        let name = port.name.as_deref().unwrap_or_default();
        let slices = self.slices.state();
        let mut endpoints: Vec<SocketAddr> = slices
            .iter()
            .flat_map(|slice| self.endpoints(slice, name))
            .collect();
        endpoints.sort_unstable();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        endpoints.get(turn.checked_rem(endpoints.len())?).copied()
    }

    fn endpoints(&self, slice: &EndpointSlice, port: &str) -> Vec<SocketAddr> {
        let number = slice
            .ports
            .iter()
            .flatten()
            .find(|other| other.name.as_deref().unwrap_or_default() == port)
            .and_then(|port| u16::try_from(port.port?).ok());
        let Some(number) = number else {
            return Vec::new();
        };
        let ready = slice.endpoints.iter().filter(|endpoint| {
            let conditions = endpoint.conditions.as_ref();
            conditions.and_then(|conditions| conditions.ready) != Some(false)
        });
        ready
            .flat_map(|endpoint| &endpoint.addresses)
            .filter_map(|address| address.parse().ok())
            .map(|ip| self.loopback.socket(ip, number))
            .collect()
    }
}
