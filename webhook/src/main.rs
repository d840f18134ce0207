//! The webhook.

use std::process::ExitCode;

use clap::Parser;
use webhook::args::Args;

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    if rustls::crypto::ring::default_provider()
        .install_default()
        .is_err()
    {
        return ExitCode::FAILURE;
    }
    Args::parse().run().await
}
