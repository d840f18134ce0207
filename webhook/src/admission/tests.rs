//! Reviews put to the router, behind which no API server answers.

use axum::http::{Request, Response};
use base64::{Engine, engine::general_purpose::STANDARD};
use kube::{Client, Config, runtime::watcher::Event};
use serde_json::{Value, json};
use testcluster::troubleshooting::documented;
use tower::ServiceExt;

use super::*;
use crate::{controller, fuzz};

fn settings() -> Settings {
    fuzz::settings(true)
}

async fn ask(body: impl Into<Body>) -> (StatusCode, Value) {
    ask_with(settings(), body).await
}

/// Asks a webhook whose API server does not answer.
pub(crate) async fn ask_with(settings: Settings, body: impl Into<Body>) -> (StatusCode, Value) {
    ask_at("/mutate", settings, body).await
}

async fn ask_at(path: &str, settings: Settings, body: impl Into<Body>) -> (StatusCode, Value) {
    ask_knowing(Known::default(), path, settings, body).await
}

async fn ask_knowing(
    known: Known,
    path: &str,
    settings: Settings,
    body: impl Into<Body>,
) -> (StatusCode, Value) {
    drop(rustls::crypto::ring::default_provider().install_default());
    let nobody = Config::new("http://127.0.0.1:1".parse().unwrap());
    let router = router_at(Client::try_from(nobody).unwrap(), known, settings);
    put(router, path, body).await
}

/// The router of a webhook that asks this API server.
fn router_at(client: Client, known: Known, settings: Settings) -> Router {
    let (reminder, _reminders) = controller::reminders();
    router(Admission {
        cluster: Cluster::new(client),
        known: Arc::new(known),
        settings,
        cluster_role: "sidecar".to_owned(),
        reminder,
        metrics: Arc::new(Metrics::new()),
    })
}

async fn put(router: Router, path: &str, body: impl Into<Body>) -> (StatusCode, Value) {
    let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
    let response = router.oneshot(request.body(body.into()).unwrap());
    let response = response.await.unwrap();
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), usize::MAX)
        .await
        .unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

fn review(annotations: &Value) -> String {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "u1",
            "kind": { "group": "apps", "version": "v1", "kind": "Deployment" },
            "namespace": "shop",
            "operation": "CREATE",
            "object": {
                "metadata": { "name": "web", "annotations": annotations },
                "spec": { "template": { "spec": { "containers": [{ "name": "app" }] } } },
            },
        },
    })
    .to_string()
}

#[tokio::test]
async fn an_annotated_workload_is_injected_though_its_service_is_unknown() {
    let annotations = json!({ "service-leader-election/service": "web" });
    let (status, answer) = ask(review(&annotations)).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(answer["response"]["allowed"], true);
    let patch = STANDARD
        .decode(answer["response"]["patch"].as_str().unwrap())
        .unwrap();
    let patch: Value = serde_json::from_slice(&patch).unwrap();
    assert!(patch.to_string().contains("sidecar:1"));
    assert!(
        !answer["response"]["warnings"]
            .to_string()
            .contains("does not exist")
    );
}

#[tokio::test]
async fn what_the_watches_have_shown_is_not_asked_for() {
    let known = Known::default();
    let service = json!({
        "metadata": { "namespace": "shop", "name": "web" }, "spec": { "type": "ExternalName" },
    });
    let labels = json!({ "istio-injection": "enabled" });
    let namespace = json!({ "metadata": { "name": "shop", "labels": labels } });
    for event in [Event::Init, Event::InitApply(service), Event::InitDone] {
        known.note_service(&event);
    }
    for event in [Event::Init, Event::InitApply(namespace), Event::InitDone] {
        known.note_namespace(&event);
    }
    let annotations = json!({ "service-leader-election/service": "web" });
    let (_, answer) = ask_knowing(known, "/mutate", settings(), review(&annotations)).await;
    let response = &answer["response"];
    let warnings = response["warnings"].to_string();
    assert!(warnings.contains("ExternalName"), "{warnings}");
    let patch = STANDARD.decode(response["patch"].as_str().unwrap());
    let patch = String::from_utf8(patch.unwrap()).unwrap();
    assert!(patch.contains("traffic.sidecar.istio.io"), "{patch}");
}

#[tokio::test]
async fn a_bad_value_is_denied_with_what_to_write() {
    let annotations = json!({ "service-leader-election/service": "Web" });
    let (status, answer) = ask(review(&annotations)).await;
    assert_eq!(status, StatusCode::OK);
    let response = &answer["response"];
    assert_eq!(
        (&response["uid"], &response["allowed"]),
        (&json!("u1"), &json!(false))
    );
    let message = response["status"]["message"].as_str().unwrap();
    assert!(message.contains("write at most 63"), "{message}");
}

fn review_of_a_pod() -> Value {
    let annotations = json!({ "service-leader-election/service": "web" });
    let mut review: Value = serde_json::from_str(&review(&annotations)).unwrap();
    let request = &mut review["request"];
    request["kind"] = json!({ "group": "", "version": "v1", "kind": "Pod" });
    request["object"]["spec"] = json!({ "containers": [{ "name": "app" }] });
    review
}

#[tokio::test]
async fn pods_that_wait_for_their_account_hold_up_no_other_review() {
    const PODS: usize = 20;
    let (asks, mut asked) = tokio::sync::mpsc::unbounded_channel();
    // It says nothing of accounts, and of the rest that it is not there.
    let answer = move |request: Request<kube::client::Body>| {
        let asks = asks.clone();
        async move {
            if request.uri().path().contains("/serviceaccounts/") {
                asks.send(()).unwrap();
                std::future::pending::<()>().await;
            }
            let absent = json!({ "kind": "Status", "status": "Failure", "code": 404, "reason": "", "message": "" });
            let body = kube::client::Body::from(absent.to_string().into_bytes());
            let response = Response::builder().status(404).body(body);
            Ok::<_, std::convert::Infallible>(response.unwrap())
        }
    };
    let client = Client::new(tower::service_fn(answer), "shop");
    let router = router_at(client, Known::default(), settings());
    let mut pods = tokio::task::JoinSet::new();
    for _ in 0..PODS {
        let (router, body) = (router.clone(), review_of_a_pod().to_string());
        pods.spawn(async move { put(router, "/mutate", body).await });
    }
    for _ in 0..PODS {
        tokio::select! {
            asked = asked.recv() => asked.unwrap(),
            Some(told) = pods.join_next() => panic!("{told:?}"),
        }
    }
    let annotations = json!({ "service-leader-election/service": "web" });
    let (_, answer) = put(router, "/mutate", review(&annotations)).await;
    assert_eq!(answer["response"]["allowed"], true);
    assert!(pods.try_join_next().is_none(), "a pod was told something");
}

#[tokio::test]
async fn a_pod_whose_account_cannot_be_made_is_kept_out_with_what_to_do() {
    let mut review = review_of_a_pod();
    let (status, answer) = ask(review.to_string()).await;
    assert_eq!(status, StatusCode::OK);
    let response = &answer["response"];
    assert_eq!(
        (&response["allowed"], &response["status"]["code"]),
        (&json!(false), &json!(503))
    );
    let message = response["status"]["message"].as_str().unwrap();
    documented("pod-account-not-made", message).unwrap();
    let asked = "get ServiceAccount shop/service-leader-election-web";
    assert!(message.contains(asked), "{message}");

    review["request"]["dryRun"] = json!(true);
    let (_, answer) = ask(review.to_string()).await;
    assert_eq!(answer["response"]["allowed"], true);
}

#[tokio::test]
async fn a_job_is_let_in_as_it_is_with_a_word_why() {
    let annotations = json!({ "service-leader-election/service": "web" });
    let review = review(&annotations)
        .replace("\"apps\"", "\"batch\"")
        .replace("\"Deployment\"", "\"Job\"");
    let (status, answer) = ask(review).await;
    assert_eq!(status, StatusCode::OK);
    let response = &answer["response"];
    assert_eq!(response["allowed"], true);
    assert_eq!(response.get("patch"), None);
    let warning = response["warnings"][0].as_str().unwrap();
    assert!(warning.contains("use a Deployment"), "{warning}");
}

#[tokio::test]
async fn where_words_are_asked_for_nothing_is_denied() {
    let annotations = json!({ "service-leader-election/service": "Web" });
    let denied = review(&annotations);
    let (status, answer) = ask_at("/words", settings(), denied.clone()).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(answer["response"], json!({ "uid": "u1", "allowed": true }));

    let maps = format!("[{}]", vec![r#"{"a":1}"#; 100_000].join(","));
    let too_much = denied.replace(r#""app""#, &maps);
    let malformed = denied.replace("\"CREATE\"", "\"PATCH\"");
    for (body, failure) in [
        (too_much, StatusCode::PAYLOAD_TOO_LARGE),
        (malformed, StatusCode::BAD_REQUEST),
    ] {
        let (status, answer) = ask_at("/words", settings(), body).await;
        assert_eq!(status, failure);
        assert_eq!(answer["response"]["uid"], "u1");
    }
}

#[tokio::test]
async fn every_failure_is_a_well_formed_review() {
    let annotations = json!({ "service-leader-election/service": "web" });
    let review = review(&annotations);
    let named = StatusCode::OK;
    let long = [&review, &*" ".repeat(16 << 20)].concat();
    let lists = [&*"[".repeat(10_000), &*"]".repeat(10_000)].concat();
    let deep = review.replace(r#""app""#, &lists);
    let maps = format!("[{}]", vec![r#"{"a":1}"#; 100_000].join(","));
    let broad = review.replace(r#""app""#, &maps);
    for (body, status, uid, words) in [
        (String::new(), StatusCode::BAD_REQUEST, "", "is not JSON"),
        (
            review.replace("u1", ""),
            StatusCode::BAD_REQUEST,
            "",
            "no request.uid",
        ),
        (
            review[..review.len() - 1].to_owned(),
            named,
            "u1",
            "EOF while parsing",
        ),
        (deep, named, "u1", "recursion limit exceeded"),
        (long, named, "u1", "longer than 16 MiB"),
        (broad, named, "u1", "too many parts"),
    ] {
        let (found, answer) = ask(body).await;
        assert_eq!(found, status, "{words}");
        assert_eq!(answer["kind"], "AdmissionReview");
        let response = &answer["response"];
        assert_eq!(
            (&response["uid"], &response["allowed"]),
            (&json!(uid), &json!(false))
        );
        let message = response["status"]["message"].as_str().unwrap();
        assert!(message.contains(words), "{message}");
    }
}
