//! The TLS port: accepts, shakes hands, serves HTTP/1.1 and HTTP/2, and drains.
//!
//! Must not know: what is served, where the certificate comes from.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use contract::wording::in_one_line;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::metrics::Metrics;

/// A client that has not finished its handshake by then is a burden.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// The same for a request's headers; an idle connection is closed after as long. The API server closes one after
/// 90 s (Go's `DefaultTransport`), and has to be the first: what it sends meanwhile would be lost.
const HEADERS: Duration = Duration::from_mins(2);
/// How often an idle HTTP/2 connection is asked whether it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How many connections are open at once. Further ones wait in the system's queue.
const MOST_CONNECTIONS: usize = 256;
/// How many requests are under way on one HTTP/2 connection.
const MOST_STREAMS: u32 = 256;
/// How much of its bodies is taken from an HTTP/2 connection before anybody reads it.
const WINDOW: u32 = 256 << 10;
/// How long requests under way may take once the port is closed.
const FINISH: Duration = Duration::from_secs(10);
/// After a failed accept, such as for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Opens a port. Where the machine has no IPv6, `[::]` means every IPv4 address.
pub(crate) async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Err(_no_ipv6) if address.is_ipv6() && address.ip().is_unspecified() => {
            TcpListener::bind((std::net::Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        bound => bound,
    }
}

/// Serves until `stop`, then lets the requests under way finish, within a bound.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    router: Router,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) {
    let acceptor = TlsAcceptor::from(tls);
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_ended) = connections.join_next() => continue,
            accepted = accept(&listener, &room) => accepted,
        };
        let Some((permit, stream, peer)) = accepted else {
            continue;
        };
        let (acceptor, router) = (acceptor.clone(), router.clone());
        let (metrics, stop) = (Arc::clone(&metrics), stop.clone());
        let connection = async move {
            let _permit = permit;
            let _counted = metrics.connection();
            if let Err(error) = handle(stream, acceptor, router, stop).await {
                if matches!(
                    error,
                    ConnectionError::Handshake(_) | ConnectionError::Slow(_)
                ) {
                    metrics.handshake_failed();
                }
                tracing::debug!(error = in_one_line(&error), "connection failed");
            }
        };
        connections.spawn(connection.instrument(tracing::debug_span!("connection", %peer)));
    }
    drop(listener);
    let finished = timeout(FINISH, async {
        while connections.join_next().await.is_some() {}
    });
    if finished.await.is_err() {
        tracing::warn!(connections = connections.len(), "connections cut");
        connections.shutdown().await;
    }
}

type Accepted = (tokio::sync::OwnedSemaphorePermit, TcpStream, SocketAddr);

/// Takes a connection once there is room for it. None: try again.
async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> Option<Accepted> {
    let permit = Arc::clone(room).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => Some((permit, stream, peer)),
        Err(error) => {
            tracing::warn!(error = in_one_line(&error), "cannot accept");
            tokio::time::sleep(PAUSE).await;
            None
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    #[error("handshake")]
    Handshake(#[source] std::io::Error),
    #[error("no handshake within {} s", HANDSHAKE.as_secs())]
    Slow(#[source] tokio::time::error::Elapsed),
    #[error("{0}")]
    Http(Box<dyn std::error::Error + Send + Sync>),
}

async fn handle(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    router: Router,
    stop: CancellationToken,
) -> Result<(), ConnectionError> {
    stream
        .set_nodelay(true)
        .map_err(ConnectionError::Handshake)?;
    let stream = timeout(HANDSHAKE, acceptor.accept(stream))
        .await
        .map_err(ConnectionError::Slow)?
        .map_err(ConnectionError::Handshake)?;
    // By the agreed protocol, not by the first bytes: those may never come.
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_concurrent_streams(MOST_STREAMS);
    let builder = if http2 {
        builder.http2_only()
    } else {
        builder.http1_only()
    };
    let connection =
        builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        served = connection.as_mut() => return served.map_err(ConnectionError::Http),
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    connection.await.map_err(ConnectionError::Http)
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use certs::{Authority, Identity, Rotating, Validity};
    use rustls::{ClientConfig, RootCertStore, pki_types};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        sync::Notify,
    };
    use tokio_rustls::{TlsConnector, client::TlsStream};

    use super::*;
    use crate::clock;

    struct Server {
        address: SocketAddr,
        authority: String,
        stop: CancellationToken,
        running: tokio::task::JoinHandle<()>,
    }

    async fn start(router: Router) -> Server {
        let validity = Validity::starting(clock::time_of_day(), Duration::from_hours(1));
        let authority = Authority::new("test", validity).unwrap();
        let leaf = authority.server("leaf", &["127.0.0.1"], validity).unwrap();
        let identity = Arc::new(Rotating::default());
        identity.replace(&Identity::load(&leaf).unwrap());
        let tls = Arc::new(certs::server_config(identity).unwrap());
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let metrics = Arc::new(Metrics::new());
        let running = tokio::spawn(serve(listener, tls, router, metrics, stop.clone()));
        Server {
            address,
            authority: authority.pair().certificate.clone(),
            stop,
            running,
        }
    }

    impl Server {
        async fn connect(&self) -> TlsStream<TcpStream> {
            use pki_types::pem::PemObject;
            let mut roots = RootCertStore::empty();
            let der = pki_types::CertificateDer::from_pem_slice(self.authority.as_bytes());
            roots.add(der.unwrap()).unwrap();
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let client = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
            let stream = TcpStream::connect(self.address).await.unwrap();
            let name = pki_types::ServerName::from(self.address.ip());
            TlsConnector::from(Arc::new(client))
                .connect(name, stream)
                .await
                .unwrap()
        }
    }

    #[tokio::test]
    async fn a_request_under_way_is_answered_after_the_port_has_closed() {
        let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (begins, waits) = (Arc::clone(&begun), Arc::clone(&go_on));
        let slow = move || async move {
            begins.notify_one();
            waits.notified().await;
            "done"
        };
        let server = start(Router::new().route("/", get(slow))).await;
        let mut stream = server.connect().await;
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .unwrap();
        begun.notified().await;
        server.stop.cancel();
        while TcpStream::connect(server.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        go_on.notify_one();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("done"),
            "{answer}"
        );
        server.running.await.unwrap();
    }

    #[tokio::test]
    async fn a_client_that_says_nothing_holds_up_no_other() {
        let server = start(Router::new().route("/", get(|| async { "done" }))).await;
        let _silent = TcpStream::connect(server.address).await.unwrap();
        let mut stream = server.connect().await;
        let request = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("done"), "{answer}");
    }
}
