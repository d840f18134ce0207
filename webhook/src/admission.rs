//! `POST /mutate`: one admission review in, one out, whatever happens.
//!
//! Must not know: how a decision is made, that the answers travel over TLS.

mod account;
mod review;
pub(crate) mod services;

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use contract::{
    annotations::{self, Services},
    facts::Facts,
    inject::{self, Decision, Request, Settings},
    workload::Kind,
};
use tracing::Instrument;

use self::review::{Answer, Review};
use crate::{clock, cluster::Cluster, controller::Reminder, metrics::Metrics};

/// The largest review. An object has up to 3 MiB, and an update brings two of them.
const MOST_BYTES: usize = 16 << 20;

/// How long a review's body may take. The API server itself waits for 5 s.
const BODY: Duration = Duration::from_secs(5);

/// What an admission needs.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) cluster: Cluster,
    pub(crate) settings: Settings,
    /// The chart's ClusterRole for sidecars.
    pub(crate) cluster_role: String,
    /// Tells the controller what was made here.
    pub(crate) reminder: Reminder,
    pub(crate) metrics: Arc<Metrics>,
}

/// What is served on the TLS port.
pub(crate) fn router(admission: Admission) -> Router {
    let admission = Arc::new(admission);
    Router::new()
        .route("/mutate", post(mutate).with_state(admission))
        .route("/healthz", get(|| async { "ok\n" }))
}

async fn mutate(State(admission): State<Arc<Admission>>, body: Body) -> Response {
    let read = tokio::time::timeout(BODY, axum::body::to_bytes(body, MOST_BYTES)).await;
    let Ok(Ok(bytes)) = read else {
        let answer = Answer::denied("", "the review cannot be read or is too long");
        return (StatusCode::PAYLOAD_TOO_LARGE, answer).into_response();
    };
    let began = clock::instant();
    let mut waits = Waits::default();
    let (status, outcome, answer) = match Review::read(&bytes) {
        Ok(review) => {
            let span = tracing::info_span!(
                "admission",
                uid = review.uid,
                kind = review.kind,
                ns = review.namespace,
                name = review.name,
                operation = review.operation,
            );
            let judged = admission.judge(review, &mut waits);
            let (outcome, answer) = judged.instrument(span).await;
            (StatusCode::OK, outcome, answer)
        }
        Err(refused) => {
            tracing::warn!(uid = refused.uid, error = refused.message, "not a review");
            let answer = Answer::denied(&refused.uid, &refused.message);
            (StatusCode::BAD_REQUEST, "malformed", answer)
        }
    };
    let response = (status, answer).into_response();
    let took = began.elapsed();
    admission.metrics.admission(outcome, took, waits.0);
    response
}

/// How long the API server was waited for.
#[derive(Debug, Default)]
struct Waits(Duration);

impl Waits {
    async fn time<T>(&mut self, request: impl Future<Output = T>) -> T {
        let began = clock::instant();
        let answer = request.await;
        self.0 += began.elapsed();
        answer
    }
}

impl Admission {
    async fn judge(&self, review: Review, waits: &mut Waits) -> (&'static str, Answer) {
        if let Some((kind, object)) = review.ending() {
            return decided(&review, inject::decide_ending(kind, object));
        }
        let Some(request) = review.subject() else {
            // The configuration sends us nothing of the kind; if somebody's does, it is let in.
            tracing::warn!("none of our business");
            return ("ignored", Answer::allowed(&review.uid));
        };
        let services = annotations::services(request.object.get("metadata"));
        let facts = match &services {
            Some(services) => {
                waits
                    .time(self.facts(&review, request.kind, services))
                    .await
            }
            None => Facts::default(),
        };
        let request = Request {
            facts: &facts,
            ..request
        };
        let decision = match inject::decide(&request, &self.settings) {
            Ok(decision) => decision,
            Err(denied) => {
                tracing::info!(error = denied.message, dry_run = review.dry_run, "denied");
                return ("denied", Answer::denied(&review.uid, &denied.message));
            }
        };
        if request.kind == Kind::Pod
            && !review.dry_run
            && let Err(message) = waits
                .time(self.make_account(&review, &request, &decision))
                .await
        {
            tracing::warn!(error = message, "no account");
            return ("no-account", Answer::unavailable(&review.uid, &message));
        }
        if let Some(services) = services.filter(|_| !review.dry_run) {
            self.reminder.admitted(&review.namespace, &services);
        }
        decided(&review, decision)
    }

    async fn facts(&self, review: &Review, kind: Kind, named: &Services) -> Facts {
        let namespace = &review.namespace;
        let mut facts = services::facts(&self.cluster, namespace, named).await;
        if kind == Kind::Pod
            && review.dry_run
            && account::is_missing(&self.cluster, namespace, named.first().as_str()).await
        {
            facts.note_missing_account();
        }
        facts
    }

    /// Makes the account of a pod that is let in. An error is what its creator is told.
    async fn make_account(
        &self,
        review: &Review,
        request: &Request<'_>,
        decision: &Decision,
    ) -> Result<(), String> {
        let mut pod = request.object.clone();
        json_patch::patch(&mut pod, &decision.patch).map_err(|error| error.to_string())?;
        let Some(member) = account::member(&pod) else {
            return Ok(());
        };
        let namespace = &review.namespace;
        match account::make(&self.cluster, &self.cluster_role, namespace, &member).await {
            Ok(false) => Ok(()),
            Ok(true) => {
                tracing::info!(account = member.account, "account made");
                self.reminder.made(namespace, member.claim.election());
                Ok(())
            }
            Err(error) => {
                // Some of it may have been made.
                self.reminder.made(namespace, member.claim.election());
                Err(error.message(&member.account))
            }
        }
    }
}

fn decided(review: &Review, decision: Decision) -> (&'static str, Answer) {
    let reason = decision.reason.as_str();
    tracing::info!(
        reason,
        operations = decision.patch.0.len(),
        warnings = decision.warnings.len(),
        dry_run = review.dry_run,
        "admitted"
    );
    (reason, Answer::decided(&review.uid, decision))
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        // `Connection` and length are hyper's; a redirect is never sent.
        (
            [(header::CACHE_CONTROL, "no-store")],
            Json(self.into_review()),
        )
            .into_response()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use axum::http::Request;
    use base64::{Engine, engine::general_purpose::STANDARD};
    use contract::inject::PullPolicy;
    use kube::{Client, Config};
    use serde_json::{Value, json};
    use testcluster::troubleshooting::documented;
    use tower::ServiceExt;

    use super::*;
    use crate::controller;

    async fn ask(body: impl Into<Body>) -> (StatusCode, Value) {
        let settings = Settings {
            image: "sidecar:1".to_owned(),
            pull_policy: PullPolicy::default(),
            native: true,
            run_as_user: None,
        };
        ask_with(settings, body).await
    }

    /// Asks a webhook whose API server does not answer.
    pub(crate) async fn ask_with(settings: Settings, body: impl Into<Body>) -> (StatusCode, Value) {
        drop(rustls::crypto::ring::default_provider().install_default());
        let nobody = Config::new("http://127.0.0.1:1".parse().unwrap());
        let cluster = Cluster::new(Client::try_from(nobody).unwrap());
        let (reminder, _reminders) = controller::reminders();
        let router = router(Admission {
            cluster,
            settings,
            cluster_role: "sidecar".to_owned(),
            reminder,
            metrics: Arc::new(Metrics::new()),
        });
        let request = Request::post("/mutate").body(body.into()).unwrap();
        let response = router.oneshot(request).await.unwrap();
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

    #[tokio::test]
    async fn a_pod_whose_account_cannot_be_made_is_kept_out_with_what_to_do() {
        let annotations = json!({ "service-leader-election/service": "web" });
        let mut review: Value = serde_json::from_str(&review(&annotations)).unwrap();
        let request = &mut review["request"];
        request["kind"] = json!({ "group": "", "version": "v1", "kind": "Pod" });
        request["object"]["spec"] = json!({ "containers": [{ "name": "app" }] });
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
    async fn every_failure_is_a_well_formed_review() {
        let long = " ".repeat(MOST_BYTES + 1);
        for (body, status) in [
            (String::new(), StatusCode::BAD_REQUEST),
            ("[".repeat(10_000), StatusCode::BAD_REQUEST),
            (long, StatusCode::PAYLOAD_TOO_LARGE),
        ] {
            let (found, answer) = ask(body).await;
            assert_eq!(found, status);
            assert_eq!(answer["kind"], "AdmissionReview");
            assert_eq!(answer["response"]["allowed"], false);
        }
    }
}
