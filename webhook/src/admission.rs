//! `POST /mutate`: one admission review in, one out, whatever happens. `POST /words` is the same for
//! whom nothing may be refused.
//!
//! Must not know: how a decision is made, that the answers travel over TLS.

mod account;
mod body;
pub(crate) mod facts;
#[cfg(test)]
mod fuzz;
mod review;
mod room;
mod sent;
#[cfg(test)]
pub(crate) mod tests;
mod uid;
mod unread;

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, header},
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

use self::{
    review::{Answer, Refused, Review},
    room::{Room, Share, Turn},
    unread::Unread,
};
use crate::{clock, cluster::Cluster, controller::Reminder, known::Known, metrics::Metrics};

/// What an admission needs.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) cluster: Cluster,
    pub(crate) known: Arc<Known>,
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
    let room = Arc::new(Room::default());
    Router::new()
        .route("/mutate", post(mutate))
        .route("/words", post(words))
        .with_state((admission, room))
        .route("/healthz", get(|| async { "ok\n" }))
        .method_not_allowed_fallback(async || elsewhere(StatusCode::METHOD_NOT_ALLOWED))
        .fallback(async || elsewhere(StatusCode::NOT_FOUND))
}

/// Nobody is sent on from here: a redirect of an admission review could lead anywhere.
fn elsewhere(status: StatusCode) -> (StatusCode, &'static str) {
    (
        status,
        "reviews are answered at /mutate and /words, by POST\n",
    )
}

/// Answers with a decision. What cannot be judged is denied.
async fn mutate(
    State((admission, room)): State<(Arc<Admission>, Arc<Room>)>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    match Box::pin(review(&admission, &room, &headers, body)).await {
        Ok(answer) => answer.into_response(),
        Err(refused) => refused.into_response(),
    }
}

/// Answers with words at most: what would be denied is let in, and what cannot be judged is a call that
/// failed, for which nobody waits.
async fn words(
    State((admission, room)): State<(Arc<Admission>, Arc<Room>)>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    match Box::pin(review(&admission, &room, &headers, body)).await {
        Ok(answer) => answer.let_in().into_response(),
        Err(refused) => refused.into_failure(),
    }
}

async fn review(
    admission: &Admission,
    room: &Room,
    headers: &HeaderMap,
    body: Body,
) -> Result<Answer, Refused> {
    let mut bytes = Vec::new();
    let read = read(headers, body, room, &mut bytes).await;
    let began = clock::instant();
    let mut waits = Waits::default();
    let (outcome, answered) = match read {
        Ok((body, mut turn)) => match Review::read(&bytes) {
            Ok(review) => {
                drop((bytes, body));
                let (outcome, answer) = admission.answer(review, &mut turn, &mut waits).await;
                (outcome, Ok(answer))
            }
            Err(refused) => ("malformed", Err(refused)),
        },
        Err(unread) => ("unread", Err(Refused::unread(&unread, &bytes))),
    };
    if let Err(refused) = &answered {
        tracing::warn!(uid = refused.uid, error = refused.message, "not a review");
    }
    admission
        .metrics
        .admission(outcome, began.elapsed(), waits.0);
    answered
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

/// A body in `bytes`, as far as it goes, with room for it and for what is made of it.
async fn read(
    headers: &HeaderMap,
    body: Body,
    room: &Room,
    bytes: &mut Vec<u8>,
) -> Result<(Share, Turn), Unread> {
    let body = body::read(headers, body, room, bytes).await?;
    let turn = room.for_tree(bytes).await?;
    Ok((body, turn))
}

impl Admission {
    async fn answer(
        &self,
        review: Review,
        turn: &mut Turn,
        waits: &mut Waits,
    ) -> (&'static str, Answer) {
        let span = tracing::info_span!(
            "admission",
            uid = review.uid,
            kind = review.kind,
            ns = review.namespace,
            name = review.name,
            operation = review.operation,
        );
        self.judge(review, turn, waits).instrument(span).await
    }

    async fn judge(
        &self,
        review: Review,
        turn: &mut Turn,
        waits: &mut Waits,
    ) -> (&'static str, Answer) {
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
                .time(self.make_account(&review, &request, &decision, turn))
                .await
        {
            tracing::warn!(error = message, "no account");
            return ("no-account", Answer::unavailable(&review.uid, &message));
        }
        if !review.dry_run {
            let former = request
                .old
                .and_then(|old| annotations::services(old.get("metadata")));
            for services in services.iter().chain(&former) {
                self.reminder.admitted(&review.namespace, services);
            }
        }
        decided(&review, decision)
    }

    async fn facts(&self, review: &Review, kind: Kind, named: &Services) -> Facts {
        let namespace = &review.namespace;
        let mut facts = facts::facts(&self.cluster, &self.known, namespace, named).await;
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
        turn: &mut Turn,
    ) -> Result<(), String> {
        let mut pod = request.object.clone();
        json_patch::patch(&mut pod, &decision.patch).map_err(|error| error.to_string())?;
        let member = account::member(&pod);
        drop(pod);
        let Some(member) = member else {
            return Ok(());
        };
        // The API server may take seconds, and what others have to be told does not depend on it.
        turn.end();
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
        // `Connection` and length are hyper's.
        (
            [(header::CACHE_CONTROL, "no-store")],
            Json(self.into_review()),
        )
            .into_response()
    }
}

impl IntoResponse for Refused {
    /// A denial that the API server hands on to the user, if it can tell which request it is for;
    /// else, and where the same request may be answered another time, a call that failed.
    fn into_response(self) -> Response {
        let another_time = [StatusCode::REQUEST_TIMEOUT, StatusCode::SERVICE_UNAVAILABLE];
        let is_final = !self.uid.is_empty() && !another_time.contains(&self.status);
        if is_final {
            Answer::denied(&self.uid, &self.message).into_response()
        } else {
            self.into_failure()
        }
    }
}

impl Refused {
    /// A call that failed.
    fn into_failure(self) -> Response {
        (self.status, Answer::denied(&self.uid, &self.message)).into_response()
    }
}
