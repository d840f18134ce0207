//! The sidecar.

use std::process::ExitCode;

use rustls::crypto::ring;
use sidecar::args::Args;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // It fails only where one is installed already.
    ring::default_provider()
        .install_default()
        .unwrap_or_default();
    match Args::read().run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
