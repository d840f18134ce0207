//! Elections under faults that are injected between each sidecar and the real API server.
//!
//! `FAULTS=full cargo test --release -p testcluster --test faults -- --nocapture` runs the complete
//! enumeration, and prints what it ran.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, in its helpers too, and says why"
)]

#[path = "../support/mod.rs"]
mod support;

mod enumeration;
mod flow;
mod odd;
mod random;
mod ways;

use testcluster::Faults;
use tokio::sync::OnceCell;

use support::{Installed, Scene};

/// A recorded namespace, and what may be done to its pods' requests.
async fn scene(prefix: &str) -> (Scene, Faults) {
    static INSTALLED: OnceCell<Installed> = OnceCell::const_new();
    let installed = INSTALLED.get_or_init(Installed::with_faults).await;
    let scene = Scene::enter(&installed.cluster, prefix).await;
    let faults = installed.cluster.faults(&scene.namespace).unwrap();
    (scene, faults)
}
