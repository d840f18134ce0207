//! The rules of the repository, as checks.
//!
//! Must not know: what the rules are good for. Each rule is a pure function of what is there, and
//! returns what is wrong, with the place and what to do.

mod files;
mod graph;
mod layers;
mod lockfile;
mod troubleshooting;

use std::fs;

use anyhow::{Context as _, Result, bail};

use testcluster::troubleshooting::PAGE;

use crate::{golden, workspace};

/// Check the rules of the repository: layers, module docs, file sizes, dependencies, made files
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

impl Args {
    pub(crate) async fn run(self) -> Result<()> {
        let Self {} = self;
        check().await
    }
}

/// Fails with everything that is wrong.
pub(crate) async fn check() -> Result<()> {
    let wrong = tokio::task::spawn_blocking(find).await??;
    if wrong.is_empty() {
        println!("every rule of the repository is kept");
        return Ok(());
    }
    bail!("rules of the repository are broken:\n{}", wrong.join("\n"))
}

fn find() -> Result<Vec<String>> {
    let root = workspace::root();
    let graph = graph::Graph::read(&workspace::metadata()?)?;
    let sources = files::read(root)?;
    let lock = fs::read_to_string(root.join("Cargo.lock")).context("Cargo.lock")?;
    let mut wrong = layers::check(&graph);
    for member in graph.members() {
        wrong.extend(files::check_crate(member, &sources));
    }
    wrong.extend(sources.iter().flat_map(files::check_file));
    wrong.extend(lockfile::check(&lock));
    wrong.extend(golden::outdated(root));
    let page = fs::read_to_string(root.join(PAGE)).context(PAGE)?;
    let said = troubleshooting::said(root)?;
    wrong.extend(troubleshooting::check(&page, &said, &sources));
    Ok(wrong)
}
