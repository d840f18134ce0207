//! Elections end to end: the real API server, the webhook installed by the chart, real sidecars.
//!
//! In each test every revision of the Service is recorded and checked: once pinned, it never
//! selects two pods, its epoch never goes down, and each epoch is a Lease write of the pod that
//! the Service names.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, in its helpers too, and says why"
)]

#[path = "../support/mod.rs"]
mod support;

mod application;
mod changed;
mod contended;
mod drain;
mod failover;
mod faults;
mod forbidden;
mod kinds;
mod objects;
mod operator;
mod ownership;
mod pods;
mod rights;
mod unpin;
mod workloads;

use tokio::sync::OnceCell;

use support::{Installed, Scene};

async fn scene(prefix: &str) -> Scene {
    static INSTALLED: OnceCell<Installed> = OnceCell::const_new();
    let installed = INSTALLED.get_or_init(Installed::start).await;
    Scene::enter(&installed.cluster, prefix).await
}
