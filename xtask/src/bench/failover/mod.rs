//! How long a failover takes, beside client-go's own leader election on the same API server.
//!
//! Must not know: how a leader is elected, by either.

mod cause;
mod ours;
mod peer;
mod plot;
mod stats;

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Result, ensure};
use serde_json::json;
use testcluster::{Cluster, Options};

use self::{
    cause::Cause,
    stats::{Figures, Row},
};
use crate::{images, story::Story};

/// How long until another leads, beside client-go in the same run
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How often each leader is lost in each way
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// Where the figures are put, as JSON and as SVG: FOLDER/failover.json, FOLDER/failover.svg
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

/// The timings of client-go: its usual ones, and those that take over as late as ours.
const PEERS: [(&str, [u32; 3]); 2] = [
    ("client-go 15/10/2", [15, 10, 2]),
    ("client-go 12/8/2", [12, 8, 2]),
];

impl Args {
    pub(crate) async fn run(self) -> Result<()> {
        let Self { rounds, out } = self;
        let programs = images::build().await?;
        let story = Story::begin();
        story.tell("Starting a cluster whose webhook and sidecars are those of the images ...");
        let cluster = Cluster::start(Options {
            sidecar: Some(programs.sidecar.clone()),
            webhook: Some(programs.webhook.clone()),
            ..Options::default()
        });
        let cluster = cluster.await?;
        let _webhook = cluster.install_chart(&[]).await?;
        let mut rows = Vec::new();
        for cause in Cause::ALL {
            story.tell(&format!("{rounds} times, {}: this ...", cause.words()));
            let figures = ours::measure(&cluster, cause, rounds).await?;
            rows.push(Row::new("this", cause, &figures));
            for (name, timings) in PEERS {
                story.tell(&format!("{rounds} times, {}: {name} ...", cause.words()));
                let figures = peer::measure(&cluster, cause, rounds, timings).await?;
                rows.push(Row::new(name, cause, &figures));
            }
        }
        report(&rows);
        if let Some(out) = out {
            fs::create_dir_all(&out)?;
            let all: Vec<_> = rows.iter().map(Row::json).collect();
            let all = json!({"rounds": rounds, "rows": all});
            fs::write(
                out.join("failover.json"),
                format!("{}\n", serde_json::to_string_pretty(&all)?),
            )?;
            fs::write(out.join("failover.svg"), plot::draw(&rows))?;
        }
        let late = rows.iter().filter(|row| row.exceeds()).count();
        ensure!(late == 0, "{late} limits are not kept: see OVER above");
        Ok(())
    }
}

/// One line for each way and who, in seconds: p50, p95, max.
fn report(rows: &[Row]) {
    println!("\nSeconds from the cause, as p50 / p95 / max:");
    println!(
        "{:<34} {:<18} {:>22} {:>22} {:>22}",
        "", "", "lock taken", "Service switched", "first answer"
    );
    for row in rows {
        let cell = |figures: Option<Figures>| {
            figures.map_or_else(|| "-".to_owned(), |figures| figures.to_string())
        };
        println!(
            "{:<34} {:<18} {:>22} {:>22} {:>22} {}",
            row.cause.words(),
            row.who,
            cell(row.lock),
            cell(row.switch),
            cell(row.answer),
            row.verdict()
        );
    }
}

/// From the cause to what was seen of it.
#[derive(Debug, Clone, Copy)]
struct Times {
    lock: Duration,
    /// Only where there is a Service.
    switch: Option<Duration>,
    answer: Option<Duration>,
}
