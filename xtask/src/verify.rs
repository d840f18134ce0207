//! The long runs: more schedules than a change is tested with, and the same election tests again.

use anyhow::Result;
use tokio::process::Command;

use crate::{
    steps::Steps,
    workspace::{cargo, run},
};

/// Explore the model whole, run seeds in numbers, and the election tests again and again
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many seeded schedules
    #[arg(long, default_value_t = 1_000_000)]
    seeds: u32,
    /// How often the election tests run
    #[arg(long, default_value_t = 5)]
    repeat: u32,
}

impl Args {
    pub(crate) async fn run(self) -> Result<()> {
        let Self { seeds, repeat } = self;
        let mut steps = Steps::begin();
        let remedy = "the path that breaks an invariant is printed above";
        let mut model = proof("model");
        model.env("MODEL", "full");
        steps
            .step("the whole model", remedy, run(&mut model))
            .await?;
        let remedy = "the seed is printed above; SEED=<seed> prints its turns";
        let name = format!("{seeds} seeded schedules");
        let mut schedules = proof("seeds");
        schedules.env("SEEDS", seeds.to_string());
        steps.step(&name, remedy, run(&mut schedules)).await?;
        for time in 1..=repeat {
            let mut tests = cargo();
            tests.args([
                "test",
                "--locked",
                "-p",
                "testcluster",
                "--test",
                "election",
            ]);
            let name = format!("election tests, {time} of {repeat}");
            let remedy = "the record of the failed test is printed above";
            steps.step(&name, remedy, run(&mut tests)).await?;
        }
        steps.end("cargo xtask verify: everything passed");
        Ok(())
    }
}

/// A part of the simulator's proof, in a release build, one test after the other.
fn proof(part: &str) -> Command {
    let mut command = cargo();
    command.args(["test", "--locked", "--release", "-p", "simulator", "--test"]);
    command.args(["proof", part, "--", "--nocapture", "--test-threads", "1"]);
    command
}
