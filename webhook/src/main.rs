//! The webhook.

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;
use webhook::args::Args;

/// A review is read into thousands of small parts, which its answer waits for.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

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
