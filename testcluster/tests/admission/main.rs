//! Admission as the API server, and whoever else reaches the webhook's port, meets it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, in its helpers too, and says why"
)]

#[path = "../support/mod.rs"]
mod support;

mod beside;
mod dry_run;
mod large;
mod malformed;
mod unannotated;
mod wire;

use serde_json::Value;
use testcluster::Cluster;
use tokio::sync::OnceCell;

use crate::support::{Installed, Scene};

/// What the API server has stored of an un-annotated Deployment before the webhook was there, step by step.
static BEFORE: OnceCell<Vec<Value>> = OnceCell::const_new();

async fn installed() -> &'static Installed {
    static INSTALLED: OnceCell<Installed> = OnceCell::const_new();
    let before = async |cluster: &Cluster| {
        let stored = unannotated::stored_step_by_step(cluster, "before").await?;
        BEFORE.get_or_init(async || stored).await;
        Ok(())
    };
    INSTALLED
        .get_or_init(async || Installed::after(&[], before).await.unwrap())
        .await
}

async fn scene(prefix: &str) -> Scene {
    Scene::enter(&installed().await.cluster, prefix).await
}
