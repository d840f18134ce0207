//! The long runs, of which a change is tested with slices.

use anyhow::Result;
use tokio::process::Command;

use crate::{
    steps::Steps,
    workspace::{cargo, run},
};

/// Explore the model whole, run seeds in numbers, and do every harm to the real API server's clients
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many seeded schedules
    #[arg(long, default_value_t = 1_000_000)]
    seeds: u32,
    /// For how many minutes the soak goes on
    #[arg(long, default_value_t = 20)]
    soak: u32,
    /// How often the election tests run
    #[arg(long, default_value_t = 5)]
    repeat: u32,
}

impl Args {
    pub(crate) async fn run(self) -> Result<()> {
        let Self {
            seeds,
            soak,
            repeat,
        } = self;
        let mut steps = Steps::begin();
        let remedy = "the path that breaks an invariant is printed above";
        let mut model = proof("model");
        model.env("MODEL", "full");
        steps
            .step("the whole model", remedy, run(&mut model))
            .await?;
        let remedy = "a defect that nothing notices: which rule became needless?";
        let name = "every seeded defect, by the model and by seeds";
        steps.step(name, remedy, run(&mut proof("defects"))).await?;
        let remedy = "the seed is printed above; SEED=<seed> prints its turns";
        let name = format!("{seeds} seeded schedules");
        let mut schedules = proof("seeds");
        schedules.env("SEEDS", seeds.to_string());
        steps.step(&name, remedy, run(&mut schedules)).await?;
        let remedy = "CASE=<a part of its line> runs one case again";
        let mut faults = cargo();
        faults.args(["test", "--locked", "-p", "testcluster", "--test", "faults"]);
        faults.args(["enumeration", "--", "--nocapture"]);
        let name = "every write of every flow, with every fate";
        let all = run(faults.env("FAULTS", "full"));
        steps.step(name, remedy, all).await?;
        let remedy = "FAULT_SEED=<seed> FAULT_RUNS=1 runs one again";
        for (runs, seconds) in [(30, 60), (1, soak * 60)] {
            let mut random = cargo();
            random.args(["test", "--locked", "-p", "testcluster", "--test", "faults"]);
            random.args(["random", "--", "--nocapture"]);
            random.env("FAULT_RUNS", runs.to_string());
            random.env("FAULT_SECONDS", seconds.to_string());
            let name = format!("random faults: {runs} runs of {seconds} s");
            steps.step(&name, remedy, run(&mut random)).await?;
        }
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
    command.args(["test", "--locked", "--release", "-p", "simulator"]);
    command.args(["--features", "seeded-defects", "--test", "proof", part]);
    command.args(["--", "--nocapture", "--test-threads", "1"]);
    command
}
