//! Beside another injector it does not matter who is asked first: what comes out is the same.

use std::{convert::Infallible, sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use certs::{Authority, Identity, Rotating, Validity};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    scene,
    support::{SIDECAR, ask, deployment, service},
};

/// Another injector: a sidecar, a volume and an annotation of its own, once.
fn injected(template: &Value) -> Value {
    let mut wanted = template.clone();
    let sidecar = json!({"name": "mesh", "image": "example.org/mesh:1", "restartPolicy": "Always"});
    let volume = json!({"name": "mesh", "emptyDir": {}});
    for (list, item) in [("initContainers", sidecar), ("volumes", volume)] {
        let list = &mut wanted["spec"][list];
        if list.is_null() {
            *list = json!([]);
        }
        let list = list.as_array_mut().unwrap();
        if list.iter().all(|other| other["name"] != "mesh") {
            list.push(item);
        }
    }
    wanted["metadata"]["annotations"]["example.org/mesh"] = json!("yes");
    wanted
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let bytes = request.into_body().collect().await.unwrap().to_bytes();
    let review: Value = serde_json::from_slice(&bytes).unwrap();
    let object = &review["request"]["object"];
    let mut wanted = object.clone();
    wanted["spec"]["template"] = injected(&object["spec"]["template"]);
    let patch = serde_json::to_vec(&json_patch::diff(object, &wanted)).unwrap();
    let answer = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "response": {"uid": review["request"]["uid"], "allowed": true,
            "patchType": "JSONPatch", "patch": BASE64_STANDARD.encode(patch)}});
    Ok(Response::new(Full::from(answer.to_string())))
}

/// The other injector's server: where it is, who vouches for it, and its life.
async fn serve() -> (String, String, AbortOnDropHandle<()>) {
    #[expect(
        clippy::disallowed_methods,
        reason = "the API server judges by the real time"
    )]
    let now = std::time::SystemTime::now();
    let validity = Validity::starting(now, Duration::from_hours(1));
    let authority = Authority::new("mesh", validity).unwrap();
    let leaf = authority.server("mesh", &["127.0.0.1"], validity).unwrap();
    let identity = Arc::new(Rotating::default());
    identity.replace(&Identity::load(&leaf).unwrap());
    let mut config = certs::server_config(identity).unwrap();
    config.alpn_protocols.clear();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let serving = async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(connection(acceptor.clone(), stream));
        }
    };
    let serving = AbortOnDropHandle::new(tokio::spawn(serving));
    (url, authority.pair().certificate.clone(), serving)
}

async fn connection(acceptor: TlsAcceptor, stream: TcpStream) {
    let stream = TokioIo::new(acceptor.accept(stream).await.unwrap());
    let served = http1::Builder::new().serve_connection(stream, service_fn(answer));
    // The API server closes it when it likes.
    served.await.ok();
}

/// Webhooks are asked in the order of their configurations' names.
fn configuration(name: &str, when: &str, url: &str, authority: &str) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [{
            "name": "mesh.example.org",
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "reinvocationPolicy": "IfNeeded",
            "clientConfig": {"url": url, "caBundle": BASE64_STANDARD.encode(authority)},
            "rules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"],
                "resources": ["deployments"]}],
            "objectSelector": {"matchLabels": {"mesh": when}},
        }],
    })
}

#[tokio::test]
async fn the_order_among_other_webhooks_does_not_matter() {
    let scene = scene("beside").await;
    scene.apply(&service("web")).await;
    let (url, authority, _serving) = serve().await;
    let mut templates = Vec::new();
    for (name, when) in [("a-mesh", "first"), ("z-mesh", "last")] {
        scene
            .apply(&configuration(name, when, &url, &authority))
            .await;
        let annotations = json!({"service-leader-election/service": "web"});
        let mut workload = deployment("web", 0, &annotations);
        workload["metadata"]["labels"] = json!({"mesh": when});
        let template = scene
            .eventually("the other injector is asked", async || {
                let tried = ask::try_create(&scene.client, &scene.namespace, &workload).await;
                let mut stored = tried.unwrap().outcome.unwrap();
                let template = stored["spec"]["template"].take();
                template
                    .to_string()
                    .contains("example.org/mesh")
                    .then_some(template)
            })
            .await;
        let delete = ["delete", "mutatingwebhookconfiguration", name];
        scene.kubectl(&delete).await;
        templates.push(template);
    }
    assert_eq!(templates[0], templates[1]);
    let containers = templates[0]["spec"]["initContainers"].as_array().unwrap();
    let names: Vec<_> = containers.iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["mesh", SIDECAR]);
}
