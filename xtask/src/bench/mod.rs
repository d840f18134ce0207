//! Figures, measured on real parts.

mod admission;
mod audit;
mod bed;
mod candidates;
mod failover;
mod figures;
mod idle;
mod plot;
mod process;
mod verdict;

use std::os::unix::process::CommandExt as _;

use anyhow::{Context as _, Result};

use crate::workspace::cargo;

/// Measure the product
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Bench {
    Admission(admission::Args),
    Idle(idle::Args),
    Failover(failover::Args),
}

impl Bench {
    pub(crate) async fn run(self) -> Result<()> {
        if cfg!(debug_assertions) {
            return become_optimized();
        }
        match self {
            Self::Admission(args) => Box::pin(args.run()).await,
            Self::Idle(args) => args.run().await,
            Self::Failover(args) => Box::pin(args.run()).await,
        }
    }
}

/// The clients, the proxies and the peers that run in this process take part in what is measured, so
/// that it is built as they would be: it is replaced by such a build of itself.
fn become_optimized() -> Result<()> {
    println!("Building this command with optimization (minutes, when not done before) ...");
    let mut cargo = cargo();
    let cargo = cargo.as_std_mut();
    cargo.args([
        "run",
        "--quiet",
        "--locked",
        "--release",
        "--package",
        "xtask",
        "--",
    ]);
    cargo.args(std::env::args_os().skip(1));
    Err(cargo.exec()).context("cargo cannot be run")
}
