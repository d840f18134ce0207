//! Plays an application: an HTTP server that answers with its pod's name.
//!
//! Configured by environment: `TESTCLUSTER_LISTEN` (socket addresses, separated by commas),
//! `HOSTNAME` (the answer), `TERM_DELAY_MS` (how long it goes on serving after SIGTERM). `/healthz`
//! is always 200; `/ready` is 200 until `POST /ready?ok=false`. Must not know: elections.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use axum::{Router, extract::RawQuery, http::StatusCode, routing::get};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};

#[expect(
    clippy::disallowed_methods,
    reason = "a container's configuration is its environment"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    let name = variable("HOSTNAME").unwrap_or_default();
    let delay = match variable("TERM_DELAY_MS") {
        Some(text) => Duration::from_millis(text.parse().context("TERM_DELAY_MS")?),
        None => Duration::ZERO,
    };
    let app = router(name);
    let mut servers = JoinSet::new();
    for address in variable("TESTCLUSTER_LISTEN")
        .unwrap_or_default()
        .split(',')
    {
        let address: SocketAddr = address
            .parse()
            .with_context(|| format!("TESTCLUSTER_LISTEN has {address:?}"))?;
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address}"))?;
        let app = app.clone();
        servers.spawn(async move { axum::serve(listener, app).await });
    }
    tokio::select! {
        _ = terminated.recv() => tokio::time::sleep(delay).await,
        Some(ended) = servers.join_next() => ended??,
    }
    Ok(())
}

fn router(name: String) -> Router {
    let ready = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&ready);
    let answer = async move || {
        if ready.load(Ordering::Relaxed) {
            (StatusCode::OK, "ready")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "not ready")
        }
    };
    let set = async move |RawQuery(query): RawQuery| match query.as_deref() {
        Some("ok=true") => {
            switch.store(true, Ordering::Relaxed);
            StatusCode::NO_CONTENT
        }
        Some("ok=false") => {
            switch.store(false, Ordering::Relaxed);
            StatusCode::NO_CONTENT
        }
        _ => StatusCode::BAD_REQUEST,
    };
    Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/ready", get(answer).post(set))
        .fallback(async move || name.clone())
}
