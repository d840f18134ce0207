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

use anyhow::Result;

/// Measure the product
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Bench {
    Admission(admission::Args),
    Idle(idle::Args),
    Failover(failover::Args),
}

impl Bench {
    pub(crate) async fn run(self) -> Result<()> {
        match self {
            Self::Admission(args) => Box::pin(args.run()).await,
            Self::Idle(args) => args.run().await,
            Self::Failover(args) => Box::pin(args.run()).await,
        }
    }
}
