//! The fence in the API server: what each policy lets through and what it refuses, by tokens that
//! are bound to pods, of generated and of user-written accounts.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, in its helpers too, and says why"
)]

#[path = "../support/mod.rs"]
mod support;

/// What the API server says to changes that are not carried out: one case a line.
macro_rules! cases {
    {
        $stage:ident, $kind:ty, $object:literal;
        $($who:expr, $what:literal, $change:expr => $expected:literal;)*
    } => {
        $($stage.judge::<$kind>(&$who, $what, $object, &$change, $expected).await;)*
    };
    {
        $stage:ident, $kind:ty;
        $($who:expr, $what:literal, $object:literal, $change:expr => $expected:literal;)*
    } => {
        $($stage.judge::<$kind>(&$who, $what, $object, &$change, $expected).await;)*
    };
}

mod leases;
mod pods;
mod race;
mod services;
mod stage;

use tokio::sync::OnceCell;

use support::{Installed, Scene};

async fn scene(prefix: &str) -> Scene {
    static INSTALLED: OnceCell<Installed> = OnceCell::const_new();
    let installed = INSTALLED.get_or_init(Installed::start).await;
    Scene::enter(&installed.cluster, prefix).await
}
