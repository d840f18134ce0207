//! The webhook's TLS port, asked directly: over HTTP/1.1 or HTTP/2, or byte by byte.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Result;
use http_body_util::BodyExt as _;
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    client::conn::{http1, http2},
    header::HOST,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::Api;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::support::{Installed, webhook::RELEASE};

pub(crate) type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;

/// Whoever waits longer than this, waits for ever.
const PATIENCE: Duration = Duration::from_mins(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// Where the webhook listens, and how to know it.
pub(crate) struct Wire {
    address: SocketAddr,
    roots: RootCertStore,
}

impl Wire {
    /// To the only pod of the webhook, past its Service.
    pub(crate) async fn to(installed: &Installed) -> Self {
        let cluster = &installed.cluster;
        let name = format!("{RELEASE}-webhook");
        let configurations: Api<MutatingWebhookConfiguration> = Api::all(cluster.client().unwrap());
        let configuration = configurations.get(&name).await.unwrap();
        let webhook = configuration.webhooks.unwrap().remove(0);
        let bundle = webhook.client_config.ca_bundle.unwrap().0;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&bundle) {
            roots.add(certificate.unwrap()).unwrap();
        }
        let pod = installed.webhook_pod().await;
        let address = cluster.node().pod_address(RELEASE, &pod).unwrap();
        Self {
            address: (address, 8443).into(),
            roots,
        }
    }

    /// A connection, in whose protocol the webhook has agreed.
    pub(crate) async fn connect(&self, protocol: Protocol) -> Result<TlsStream<TcpStream>> {
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        let name = match protocol {
            Protocol::Http1 => &b"http/1.1"[..],
            Protocol::Http2 => b"h2",
        };
        config.alpn_protocols = vec![name.to_vec()];
        let stream = TcpStream::connect(self.address).await?;
        let host = ServerName::try_from(format!("{RELEASE}-webhook.{RELEASE}.svc"))?;
        let connector = TlsConnector::from(Arc::new(config));
        let stream = connector.connect(host, stream).await?;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(name));
        Ok(stream)
    }

    /// Sends one request on a connection of its own: the head of the answer, and its text.
    pub(crate) async fn send(
        &self,
        protocol: Protocol,
        mut request: Request<Body>,
    ) -> Result<(Response<()>, String)> {
        let exchange = async {
            let stream = TokioIo::new(self.connect(protocol).await?);
            let answer = match protocol {
                Protocol::Http1 => {
                    let (mut sender, connection) = http1::handshake(stream).await?;
                    request.headers_mut().insert(HOST, "webhook".parse()?);
                    let asked = async { read(sender.send_request(request).await?).await };
                    beside(connection, asked).await?
                }
                Protocol::Http2 => {
                    let executor = TokioExecutor::new();
                    let (mut sender, connection) = http2::handshake(executor, stream).await?;
                    *request.uri_mut() = format!("https://webhook{}", request.uri()).parse()?;
                    let asked = async { read(sender.send_request(request).await?).await };
                    beside(connection, asked).await?
                }
            };
            anyhow::Ok(answer)
        };
        timeout(PATIENCE, exchange).await?
    }
}

async fn read(response: Response<Incoming>) -> Result<(Response<()>, String)> {
    let (head, body) = response.into_parts();
    let bytes = body.collect().await?.to_bytes();
    let text = String::from_utf8(bytes.to_vec())?;
    Ok((Response::from_parts(head, ()), text))
}

/// Drives a connection until there is an answer.
async fn beside<T>(
    connection: impl Future<Output = hyper::Result<()>>,
    asked: impl Future<Output = Result<T>>,
) -> Result<T> {
    let mut asked = std::pin::pin!(asked);
    tokio::select! {
        answer = &mut asked => answer,
        // What has come before the end is still read.
        _ended = connection => asked.await,
    }
}

pub(crate) fn whole(body: impl Into<Bytes>) -> Body {
    http_body_util::Full::new(body.into()).boxed_unsync()
}
