//! One HTTP request on a connection of its own: probes, requests "to a Service", etcd's gateway.

use std::{net::SocketAddr, pin::pin, time::Duration};

use anyhow::{Context as _, Result};
use futures::FutureExt as _;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Method, Request, Response,
    body::{Bytes, Incoming},
    client::conn::http1,
    header::{CONNECTION, HOST},
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

/// A response whose connection lives as long as it does.
pub(crate) struct Answer {
    pub(crate) response: Response<Incoming>,
    _connection: AbortOnDropHandle<()>,
}

/// Sends a request on a fresh connection and returns when the response's head has come.
pub(crate) async fn send(
    address: SocketAddr,
    method: Method,
    path: &str,
    body: String,
) -> Result<Answer> {
    let stream = TcpStream::connect(address)
        .await
        .with_context(|| format!("cannot connect to {address}"))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut connection = AbortOnDropHandle::new(tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection ended");
        }
    }));
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, address.to_string())
        .header(CONNECTION, "close")
        .body(Full::new(Bytes::from(body)))?;
    let mut answer = pin!(sender.send_request(request));
    let response = tokio::select! {
        response = &mut answer => Some(response),
        // A request that is handed over just as its connection ends is never answered.
        _ = &mut connection => answer.now_or_never(),
    };
    let response = response.transpose()?;
    let response = response.with_context(|| format!("no answer from {address}"))?;
    Ok(Answer {
        response,
        _connection: connection,
    })
}

/// Sends a request and returns status and text.
pub(crate) async fn fetch(
    address: SocketAddr,
    method: Method,
    path: &str,
    body: String,
    within: Duration,
) -> Result<(u16, String)> {
    let exchange = async {
        let answer = send(address, method, path, body).await?;
        let status = answer.response.status().as_u16();
        let text = answer.response.into_body().collect().await?.to_bytes();
        Ok((status, String::from_utf8_lossy(&text).into_owned()))
    };
    tokio::time::timeout(within, exchange)
        .await
        .with_context(|| format!("no answer from {address} within {within:?}"))?
}

/// How long a test's own request may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_connection_that_is_closed_at_once_is_an_error_at_once() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let closing = AbortOnDropHandle::new(tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                drop(client);
            }
        }));
        for _ in 0..10_000 {
            let exchange = fetch(address, Method::GET, "/", String::new(), PATIENCE);
            let error = exchange.await.unwrap_err().to_string();
            assert!(!error.contains("within"), "{error}");
        }
        drop(closing);
    }
}
