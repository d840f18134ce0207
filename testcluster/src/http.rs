//! One HTTP request on a connection of its own: probes, requests "to a Service", etcd's gateway.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result};
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
    let connection = AbortOnDropHandle::new(tokio::spawn(async move {
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
    let response = sender
        .send_request(request)
        .await
        .with_context(|| format!("no answer from {address}"))?;
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
