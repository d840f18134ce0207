//! Everything that a change must pass, in the order in which it is told soonest what is wrong.

use anyhow::Result;
use testcluster::Tool;

use crate::{
    chart,
    steps::Steps,
    tidy,
    workspace::{cargo, has, run},
};

/// Run everything that CI runs
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

impl Args {
    pub(crate) async fn run(self) -> Result<()> {
        let Self {} = self;
        let mut steps = Steps::begin();
        steps.step("format", "run `cargo fmt`", format()).await?;
        steps.step("lints", SOURCE, lints()).await?;
        steps.step("documentation", SOURCE, documentation()).await?;
        steps
            .step("repository rules", SOURCE, tidy::check())
            .await?;
        if has("cargo", &["deny", "--version"]).await {
            let mut check = cargo();
            check.args(["deny", "check"]);
            let remedy = "see deny.toml for what may come into the tree and why";
            steps.step("dependencies", remedy, run(&mut check)).await?;
        } else {
            println!("\n== dependencies: not checked, for there is no cargo-deny on this machine");
        }
        let remedy = "the rig needs Go 1.26 or newer and network access for its first build";
        steps.step("control plane", remedy, control_plane()).await?;
        steps
            .step("chart", "correct charts/ as it says", chart::check())
            .await?;
        let remedy = "the failed tests are named above; `cargo test -p CRATE NAME` runs one";
        let mut tests = cargo();
        tests.args(["test", "--workspace", "--locked"]);
        steps.step("tests", remedy, run(&mut tests)).await?;
        let remedy = "a check does not notice a defect that it is there for";
        steps
            .step("seeded defects", remedy, run(&mut seeded_defects("test")))
            .await?;
        steps.end("cargo xtask test: everything passed");
        Ok(())
    }
}

const SOURCE: &str = "correct the source as it says";

async fn format() -> Result<()> {
    run(cargo().args(["fmt", "--all", "--check"])).await
}

async fn lints() -> Result<()> {
    const DENY: [&str; 3] = ["--", "-D", "warnings"];
    let everything = ["clippy", "--workspace", "--all-targets", "--locked"];
    run(cargo().args(everything).args(DENY)).await?;
    run(seeded_defects("clippy").arg("--all-targets").args(DENY)).await
}

async fn documentation() -> Result<()> {
    let everything = ["doc", "--workspace", "--no-deps", "--locked"];
    run(cargo().args(everything).env("RUSTDOCFLAGS", "-D warnings")).await
}

fn seeded_defects(what: &str) -> tokio::process::Command {
    let mut command = cargo();
    command.args([
        what,
        "-p",
        "simulator",
        "--locked",
        "--features",
        "seeded-defects",
    ]);
    command
}

/// What the rig runs, built once into the user's cache directory.
async fn control_plane() -> Result<()> {
    use Tool::{ApiServer, ControllerManager, Etcd, Helm, Kubectl};
    for tool in [Etcd, ApiServer, ControllerManager, Kubectl, Helm] {
        println!("{}", tool.path().await?.display());
    }
    Ok(())
}
