//! What the webhook adds to the creation of a workload, beside the same API server without it.
//!
//! Must not know: how a workload is injected.

mod elsewhere;
mod handler;
mod load;
mod seen;
mod stage;
mod webhook;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};
use clap::builder::RangedU64ValueParser;

use self::{
    load::{create, pod},
    seen::{Seen, Times},
    stage::{PER_NAMESPACE, Stage, Who},
};
use super::{bed::Bed, figures::Figures, verdict::Verdict};
use crate::story::Story;

/// What the webhook adds to a creation, beside the same API server without it
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many Deployments of each kind a single client creates
    #[arg(long, default_value_t = 300, value_parser = some())]
    alone: usize,
    /// How many batches of 250 of each kind 50 clients create
    #[arg(long, default_value_t = 4, value_parser = some())]
    batches: usize,
    /// How many containers each of them has; that by which the handler is timed has ten
    #[arg(long, default_value_t = 1, value_parser = some())]
    containers: usize,
    /// Where the figures are put, as JSON and as SVG: FOLDER/admission.json, FOLDER/admission.svg
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

/// How many clients create at a time where they are many, and how many objects a batch of theirs has.
const CLIENTS: usize = 50;
const BATCH: usize = 250;
/// A client that is alone waits so long after each creation, until what follows from it is done.
const PAUSE: Duration = Duration::from_millis(300);
const NONE: Duration = Duration::ZERO;
/// How many objects that are none of its business are created, of each kind.
const OTHERS: usize = 1_000;
/// How often a webhook is started anew.
const STARTS: usize = 5;

/// One at least: of nothing there are no percentiles.
fn some() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..)
}

impl Args {
    pub(crate) async fn run(self) -> Result<()> {
        let bed = Bed::make().await?;
        let (story, cluster) = (&bed.story, &bed.cluster);
        let stage = Stage::set(cluster).await?;
        let seen = self.measure(story, &stage).await?;
        seen.report();
        if let Some(out) = self.out {
            seen.write(&out)?;
        }
        ensure!(
            seen.verdicts().iter().all(Verdict::is_kept),
            "a limit is not kept: see OVER above"
        );
        Ok(())
    }

    async fn measure(&self, story: &Story, stage: &Stage<'_>) -> Result<Seen> {
        let Self {
            alone,
            batches,
            containers,
            ..
        } = *self;
        let webhook = &stage.webhook;
        // Warms caches and connections, and does not count.
        let warm = stage.deployments(PER_NAMESPACE, containers).await?;
        create(stage.cluster, CLIENTS, NONE, warm.concat()).await?;
        webhook.settle().await?;

        story.tell(&format!(
            "Deployments of {} containers, for the handler ...",
            handler::CONTAINERS
        ));
        let handler = handler::as_asked(stage).await?;
        let handler_without_pause = handler::without_pause(stage).await?;
        story.tell(&format!(
            "{alone} Deployments of each kind by one client ..."
        ));
        let single = by_one(stage, alone, containers).await?;
        story.tell(&format!(
            "{batches} times {BATCH} of each kind by {CLIENTS} clients ..."
        ));
        let many = by_many(stage, batches, containers).await?;
        let deployments = PER_NAMESPACE + handler::CREATED + alone + batches * BATCH;
        stage.check_granted(deployments).await?;
        let memory = webhook.memory().await?;

        story.tell(&format!(
            "{OTHERS} Deployments and {OTHERS} pods without our annotation ..."
        ));
        let reviews_of_others = reviews_of_others(stage, containers).await?;

        story.tell(&format!("{STARTS} webhooks that start anew ..."));
        let mut starts = Vec::new();
        for _ in 0..STARTS {
            starts.push(webhook.start_anew().await?);
        }
        Ok(Seen {
            containers,
            alone: single,
            many,
            handler,
            handler_without_pause,
            reviews_of_others,
            memory,
            deployments,
            start: Figures::of(starts).context("nothing was started")?,
        })
    }
}

/// How often the webhook is asked about Deployments and pods that are none of its business.
async fn reviews_of_others(stage: &Stage<'_>, containers: usize) -> Result<u32> {
    let before = stage.webhook.metrics().await?;
    let mut others = Vec::new();
    for first in (0..OTHERS).step_by(PER_NAMESPACE) {
        let namespace = stage.namespace(Who::Unannotated).await?;
        for number in first..first + PER_NAMESPACE {
            let name = format!("other-{number}");
            others.push(Who::Unannotated.deployment(&namespace, &name, containers));
            others.push(pod(&namespace, &name, containers));
        }
    }
    create(stage.cluster, CLIENTS, NONE, others).await?;
    let after = stage.webhook.metrics().await?;
    Ok(u32::try_from(after.reviews() - before.reviews())?)
}

/// One of each kind in turn, so that whatever else the machine does slows all of them.
async fn by_one(stage: &Stage<'_>, count: usize, containers: usize) -> Result<Times> {
    let each = stage.deployments(count, containers).await?;
    let in_turn = (0..count).flat_map(|number| each.iter().filter_map(move |of| of.get(number)));
    let times = create(stage.cluster, 1, PAUSE, in_turn.cloned().collect()).await?;
    stage.webhook.settle().await?;
    let kinds = Who::ALL.len();
    let of = |turn| times.iter().skip(turn).step_by(kinds).copied().collect();
    Times::of([of(0), of(1), of(2), of(3)])
}

/// A batch of each kind by itself, and each kind first in its turn: who comes later finds more there.
async fn by_many(stage: &Stage<'_>, batches: usize, containers: usize) -> Result<Times> {
    let mut times = [const { Vec::new() }; Who::ALL.len()];
    for batch in 0..batches {
        let mut each: Vec<_> = stage
            .deployments(BATCH, containers)
            .await?
            .into_iter()
            .zip(&mut times)
            .collect();
        stage.webhook.settle().await?;
        let kinds = each.len();
        each.rotate_left(batch % kinds);
        for (objects, times) in each {
            times.extend(create(stage.cluster, CLIENTS, NONE, objects).await?);
            stage.webhook.settle().await?;
        }
    }
    Times::of(times)
}
