//! How long a failover takes, and what an election costs while nothing happens, beside client-go's
//! own leader election on the same API server.
//!
//! Must not know: how a leader is elected, by either.

mod cause;
mod ours;
mod peer;
mod stats;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Result, ensure};
use serde_json::json;
use tokio::time::sleep;

use self::{
    cause::Cause,
    stats::{Row, as_text},
};
use super::{
    bed::Bed,
    candidates::PEERS,
    figures::Figures,
    idle::{self, Idle},
    plot::{Bar, Plot},
};

/// How long until another leads, beside client-go in the same run
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How often each leader is lost in each way
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// Where the figures are put, as JSON and as SVG: FOLDER/failover.json, FOLDER/failover.svg, and
    /// the same of idle
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

/// For how long idle elections of the peer, which ask often, are watched. Those of this product are,
/// for as long as the rounds take.
const WATCHED: Duration = Duration::from_mins(3);

impl Args {
    pub(crate) async fn run(self) -> Result<()> {
        let Self { rounds, out } = self;
        let bed = Bed::make().await?;
        let (story, cluster) = (&bed.story, &bed.cluster);
        let idle = Idle::ours(story, cluster).await?;
        let mut rows = Vec::new();
        for cause in Cause::ALL {
            story.tell(&format!("{rounds} times, {}: this ...", cause.words()));
            let figures = ours::measure(cluster, cause, rounds).await?;
            rows.push(Row::new("this", cause, &figures));
            for (name, timings) in PEERS {
                story.tell(&format!("{rounds} times, {}: {name} ...", cause.words()));
                let figures = peer::measure(cluster, cause, rounds, timings).await?;
                rows.push(Row::new(name, cause, &figures));
            }
        }
        let mut idle = idle.end(cluster).await?;
        let peers = Idle::peers(story, cluster).await?;
        sleep(WATCHED).await;
        idle.extend(peers.end(cluster).await?);

        report(&rows);
        let cheap = idle::report(&idle);
        if let Some(out) = out {
            write(rounds, &rows, &out)?;
            idle::write(&idle, &out)?;
        }
        let late = rows.iter().filter(|row| row.exceeds()).count();
        ensure!(late == 0 && cheap, "a limit is not kept: see OVER above");
        Ok(())
    }
}

/// Puts failover.json and failover.svg into this folder.
fn write(rounds: usize, rows: &[Row], folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let all: Vec<_> = rows.iter().map(Row::json).collect();
    let all = json!({"rounds": rounds, "rows": all});
    let text = serde_json::to_string_pretty(&all)?;
    fs::write(folder.join("failover.json"), format!("{text}\n"))?;
    fs::write(folder.join("failover.svg"), draw(rows))?;
    Ok(())
}

/// Until the Service is switched; for who has none, until the lock is taken.
fn draw(rows: &[Row]) -> String {
    let bar = |row: &Row| {
        let seen = row.switch.or(row.lock)?;
        Some(Bar {
            label: format!("{}: {}", row.cause.words(), row.who),
            ours: row.switch.is_some(),
            end: seen.p95.as_secs_f64(),
            mark: Some(seen.p50.as_secs_f64()),
        })
    };
    let bars: Vec<_> = rows.iter().filter_map(bar).collect();
    let plot = Plot {
        title: "Time from the loss of a leader until another leads",
        explanation: "From the loss of a leader until the Service is switched (client-go: until \
                      the lock is taken); bar: p95, mark: p50",
        unit: " s",
        from: -2,
        to: 2,
    };
    plot.draw(&bars)
}

/// One line for each way and who, in seconds: p50, p95, max.
fn report(rows: &[Row]) {
    println!("\nSeconds from the cause, as p50 / p95 / max:");
    println!(
        "{:<34} {:<18} {:>22} {:>22} {:>22}",
        "", "", "lock taken", "Service switched", "first answer"
    );
    for row in rows {
        let cell = |figures: Option<Figures>| figures.map_or_else(|| "-".to_owned(), as_text);
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
