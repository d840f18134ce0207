//! The long runs: more schedules than a change is tested with, and the same election tests again.

use anyhow::Result;

use crate::{
    steps::Steps,
    workspace::{cargo, run},
};

/// Run random schedules in numbers, and the election tests on the API server again and again
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many random schedules
    #[arg(long, default_value_t = 200_000)]
    cases: u32,
    /// How often the election tests run
    #[arg(long, default_value_t = 5)]
    repeat: u32,
}

impl Args {
    pub(crate) async fn run(self) -> Result<()> {
        let Self { cases, repeat } = self;
        let mut steps = Steps::begin();
        let mut schedules = cargo();
        schedules
            .args(["test", "--locked", "-p", "simulator", "schedules"])
            .env("PROPTEST_CASES", cases.to_string());
        let name = format!("{cases} random schedules");
        let remedy = "the shortest schedule that breaks an invariant is printed above";
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
