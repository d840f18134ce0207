//! Figures, measured on real parts.

mod audit;
mod candidates;
mod failover;
mod idle;
mod plot;
mod process;

use anyhow::Result;

/// Measure the product
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Bench {
    Idle(idle::Args),
    Failover(failover::Args),
}

impl Bench {
    pub(crate) async fn run(self) -> Result<()> {
        match self {
            Self::Idle(args) => args.run().await,
            Self::Failover(args) => Box::pin(args.run()).await,
        }
    }
}
