//! Bodies of admission reviews, as they come in.

use std::convert::Infallible;

use axum::{
    Router,
    body::Bytes,
    http::{Method, Request, Response, StatusCode, header},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use json_patch::Patch;
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tower::{ServiceExt, service_fn};

use super::{Admission, review::LONGEST, router};
use crate::{
    cluster::Cluster,
    controller,
    fuzz::{fuzz, is_line, is_warning, settings},
    known::Known,
    metrics::Metrics,
};

struct Webhook {
    runtime: Runtime,
    router: Router,
}

thread_local! {
    static WEBHOOK: Webhook = Webhook::start();
}

#[test]
fn every_body_gets_a_review_for_an_answer() {
    fuzz("reviews", check);
}

/// Sends a body. The answer is a review with the body's uid, also where something follows that cannot be
/// read; if it patches, the patch applies, and a review of the patched object asks for no more.
fn check(body: &[u8]) {
    let (status, response) = ask(body);
    let Ok(mut review) = serde_json::from_slice::<Value>(body) else {
        // A uid may be found all the same.
        assert_eq!(response["allowed"], false);
        return;
    };
    let uid = review.pointer("/request/uid").and_then(Value::as_str);
    let uid = uid.filter(|uid| uid.len() <= LONGEST).unwrap_or_default();
    assert_eq!(response["uid"], uid);
    let followed = [&*review.to_string(), "}"].concat();
    let (_, unread) = ask(followed.as_bytes());
    assert_eq!(
        (&unread["uid"], &unread["allowed"]),
        (&json!(uid), &json!(false))
    );
    if status != StatusCode::OK {
        return;
    }
    // The API server writes no nulls. Where somebody else does, an update may take a second patch.
    let rounds = if review["request"]["oldObject"].is_null() {
        1
    } else {
        2
    };
    let mut next = patch(&response);
    for _ in 0..rounds {
        let Some(patch) = next else {
            return;
        };
        json_patch::patch(&mut review["request"]["object"], &patch).unwrap();
        let (_, response) = ask(review.to_string().as_bytes());
        assert_eq!(response["allowed"], true);
        next = self::patch(&response);
    }
    assert_eq!(next, None, "it never ends");
}

/// Sends a body, and checks the answer's form.
fn ask(body: &[u8]) -> (StatusCode, Value) {
    let body = Bytes::copy_from_slice(body);
    let (status, headers, answer) = WEBHOOK.with(|webhook| webhook.post(body));
    assert_eq!(headers.get(header::LOCATION), None);
    let mut answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer["apiVersion"], "admission.k8s.io/v1");
    assert_eq!(answer["kind"], "AdmissionReview");
    let response = answer["response"].take();
    // The API server hands on what a review says that has its request's uid.
    if response["uid"] == "" {
        let refusals = [StatusCode::BAD_REQUEST, StatusCode::PAYLOAD_TOO_LARGE];
        assert!(refusals.contains(&status), "{status}");
        assert_eq!(response["allowed"], false);
    } else {
        assert_eq!(status, StatusCode::OK);
    }
    if !response["allowed"].as_bool().unwrap() {
        assert!(is_line(response["status"]["message"].as_str().unwrap()));
        assert_eq!(response.get("patch"), None);
    }
    for warning in response["warnings"].as_array().into_iter().flatten() {
        assert!(is_warning(warning.as_str().unwrap()), "{warning}");
    }
    (status, response)
}

fn patch(response: &Value) -> Option<Patch> {
    let patch = response.get("patch")?.as_str().unwrap();
    assert_eq!(response["patchType"], "JSONPatch");
    Some(serde_json::from_slice(&STANDARD.decode(patch).unwrap()).unwrap())
}

impl Webhook {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let router = runtime.block_on(async {
            let client = Client::new(service_fn(api_server), "default");
            router(Admission {
                cluster: Cluster::new(client),
                known: Known::default().into(),
                settings: settings(true),
                cluster_role: "sidecar".to_owned(),
                // Whom nobody listens to.
                reminder: controller::reminders().0,
                metrics: Metrics::new().into(),
            })
        });
        Self { runtime, router }
    }

    fn post(&self, body: Bytes) -> (StatusCode, axum::http::HeaderMap, Bytes) {
        let request = Request::post("/mutate")
            .header(header::CONTENT_TYPE, "application/json")
            .body(axum::body::Body::from(body))
            .unwrap();
        self.runtime.block_on(async {
            let (parts, body) = self
                .router
                .clone()
                .oneshot(request)
                .await
                .unwrap()
                .into_parts();
            let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
            (parts.status, parts.headers, body)
        })
    }
}

/// An API server that has a Service of each kind, and makes whatever it is asked to.
async fn api_server(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let (status, answer) = if request.method() == Method::POST {
        (StatusCode::CREATED, json!({ "metadata": {} }))
    } else {
        found(request.uri().path())
    };
    let mut response = Response::new(Body::from(answer.to_string().into_bytes()));
    *response.status_mut() = status;
    Ok(response)
}

fn found(path: &str) -> (StatusCode, Value) {
    let name = path.rsplit('/').next().unwrap_or_default();
    let spec = match name {
        "web" => json!({ "selector": { "app": "web" } }),
        "api" => json!({}),
        "headless" => json!({ "clusterIP": "None", "selector": { "app": "api" } }),
        "external" => json!({ "type": "ExternalName" }),
        _ => {
            let status =
                json!({ "kind": "Status", "code": 404, "reason": "NotFound", "message": "" });
            return (StatusCode::NOT_FOUND, status);
        }
    };
    let annotations = json!({ "service-leader-election/claimed": "Deployment/a,StatefulSet/b" });
    let metadata = json!({ "name": name, "annotations": annotations });
    (
        StatusCode::OK,
        json!({ "metadata": metadata, "spec": spec }),
    )
}
