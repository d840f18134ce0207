//! Every chore of the repository is `cargo xtask NAME`.
//!
//! Must not know: how the product works inside. It sees what a user sees: commands, objects of the
//! API, answers.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "chores talk to the person who runs them"
)]

mod bench;
mod chart;
mod demo;
mod election;
mod golden;
mod images;
mod steps;
mod story;
mod test;
mod tidy;
mod verify;
mod workspace;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser as _;
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};

/// Every chore of this repository
#[derive(Debug, clap::Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Chore {
    Demo(demo::Args),
    Test(test::Args),
    Tidy(tidy::Args),
    Golden(golden::Args),
    Images(images::Args),
    #[command(subcommand)]
    Bench(bench::Bench),
    Verify(verify::Args),
}

impl Chore {
    async fn run(self) -> Result<()> {
        match self {
            Self::Demo(args) => args.run().await,
            Self::Test(args) => args.run().await,
            Self::Tidy(args) => args.run().await,
            Self::Golden(args) => args.run().await,
            Self::Images(args) => args.run().await,
            Self::Bench(bench) => bench.run().await,
            Self::Verify(args) => args.run().await,
        }
    }
}

fn main() -> ExitCode {
    let chore = Chore::parse();
    let result = Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| {
            let result = runtime.block_on(until_interrupted(chore));
            runtime.shutdown_background();
            result
        });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without the backtrace that RUST_BACKTRACE asks of the tests.
            eprintln!("\ncargo xtask: {error}");
            for cause in error.chain().skip(1) {
                eprintln!("    because: {cause}");
            }
            ExitCode::FAILURE
        }
    }
}

/// An interrupted chore is dropped, and with it the processes and folders that it holds.
async fn until_interrupted(chore: Chore) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::select! {
        result = Box::pin(chore.run()) => result,
        _ = interrupt.recv() => bail!("interrupted"),
        _ = terminate.recv() => bail!("terminated"),
        _ = hangup.recv() => bail!("the terminal has gone"),
    }
}
