//! An injector of somebody else's: a mutating webhook that patches whatever it is asked about.
//!
//! Must not know: what it is compared with.

use std::{convert::Infallible, sync::Arc, time::Duration};

use anyhow::Result;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use certs::{Authority, Identity, Rotating, Validity};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use json_patch::Patch;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

/// The server. It ends with this.
#[derive(Debug)]
pub struct Injector {
    url: String,
    authority: String,
    _serving: AbortOnDropHandle<()>,
}

impl Injector {
    /// Answers each review with what `mutate` has for its object.
    pub async fn serve<F>(mutate: F) -> Result<Self>
    where
        F: Fn(&Value) -> Patch + Send + Sync + 'static,
    {
        #[expect(
            clippy::disallowed_methods,
            reason = "the API server judges by the real time"
        )]
        let now = std::time::SystemTime::now();
        let validity = Validity::starting(now, Duration::from_hours(1));
        let authority = Authority::new("injector", validity)?;
        let leaf = authority.server("injector", &["127.0.0.1"], validity)?;
        let identity = Arc::new(Rotating::default());
        identity.replace(&Identity::load(&leaf)?);
        let acceptor = TlsAcceptor::from(Arc::new(certs::server_config(identity)?));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("https://{}/", listener.local_addr()?);
        let mutate = Arc::new(mutate);
        let serving = async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(connection(acceptor.clone(), stream, Arc::clone(&mutate)));
            }
        };
        Ok(Self {
            url,
            authority: authority.pair().certificate.clone(),
            _serving: AbortOnDropHandle::new(tokio::spawn(serving)),
        })
    }

    /// The `clientConfig` of a webhook.
    pub fn client_config(&self) -> Value {
        json!({ "url": self.url, "caBundle": BASE64_STANDARD.encode(&self.authority) })
    }
}

async fn connection<F>(acceptor: TlsAcceptor, stream: TcpStream, mutate: Arc<F>)
where
    F: Fn(&Value) -> Patch + Send + Sync + 'static,
{
    // The API server sends at once what it has.
    drop(stream.set_nodelay(true));
    let Ok(stream) = acceptor.accept(stream).await else {
        return;
    };
    let service = service_fn(move |request| answer(request, Arc::clone(&mutate)));
    let served = Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
    // The API server closes it when it likes.
    drop(served);
}

async fn answer<F>(
    request: Request<Incoming>,
    mutate: Arc<F>,
) -> Result<Response<Full<Bytes>>, Infallible>
where
    F: Fn(&Value) -> Patch,
{
    let bytes = request.into_body().collect().await;
    let bytes = bytes
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    let review: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let request = review.get("request");
    let object = request.and_then(|request| request.get("object"));
    let patch = mutate(object.unwrap_or(&Value::Null)).to_string();
    let answer = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {
            "uid": request.and_then(|request| request.get("uid")),
            "allowed": true,
            "patchType": "JSONPatch",
            "patch": BASE64_STANDARD.encode(patch),
        },
    });
    Ok(Response::new(Full::from(answer.to_string())))
}
