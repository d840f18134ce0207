//! What an election costs while nothing happens: requests to the API server, memory, processor
//! time; beside client-go's.
//!
//! Must not know: what a candidate asks for, and why.

mod row;
mod watched;

use std::{path::PathBuf, time::Duration};

use anyhow::{Result, ensure};
use testcluster::Cluster;
use tokio::time::sleep;

pub(super) use self::row::{Row, write};
use self::watched::Watched;
use super::{
    bed::Bed,
    candidates::PEERS,
    plot::{Bar, Plot},
    verdict::Verdict,
};
use crate::story::Story;

/// So many candidates.
const SIZES: [usize; 3] = [3, 10, 30];

/// How long after the last candidate is there everything has been said that is said once.
const SETTLE: Duration = Duration::from_secs(20);

/// What an idle election asks of the API server, and what a sidecar holds
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// For how many seconds requests are counted
    #[arg(long, default_value_t = 1800)]
    seconds: u32,
    /// Where the figures are put, as JSON and as SVG: FOLDER/idle.json, FOLDER/idle.svg
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

impl Args {
    pub(crate) async fn run(self) -> Result<()> {
        let Self { seconds, out } = self;
        let bed = Bed::make().await?;
        let (story, cluster) = (&bed.story, &bed.cluster);
        let ours = Idle::ours(story, cluster).await?;
        let peers = Idle::peers(story, cluster).await?;
        story.tell(&format!("Counting for {seconds} s ..."));
        sleep(Duration::from_secs(seconds.into())).await;
        let mut rows = ours.end(cluster).await?;
        rows.extend(peers.end(cluster).await?);
        if let Some(out) = &out {
            write(&rows, out)?;
        }
        let kept = report(&rows);
        bed.programs.print_sizes()?;
        ensure!(kept, "a limit is not kept: see OVER above");
        Ok(())
    }
}

/// Elections in which nothing happens, and which are watched.
pub(super) struct Idle {
    elections: Vec<Watched>,
}

impl Idle {
    /// This product's, of each size.
    pub(super) async fn ours(story: &Story, cluster: &Cluster) -> Result<Self> {
        let mut elections = Vec::new();
        for pods in SIZES {
            story.tell(&format!("An election of {pods} pods ..."));
            elections.push(Watched::ours(cluster, pods).await?);
        }
        Self::begin(elections).await
    }

    /// client-go's, of each size and timing.
    pub(super) async fn peers(story: &Story, cluster: &Cluster) -> Result<Self> {
        let mut elections = Vec::new();
        for (who, timings) in PEERS {
            for pods in SIZES {
                story.tell(&format!("An election of {pods} candidates of {who} ..."));
                elections.push(Watched::peer(cluster, who, pods, timings).await?);
            }
        }
        Self::begin(elections).await
    }

    async fn begin(mut elections: Vec<Watched>) -> Result<Self> {
        sleep(SETTLE).await;
        for election in &mut elections {
            election.begin()?;
        }
        Ok(Self { elections })
    }

    /// What was seen since the beginning.
    pub(super) async fn end(self, cluster: &Cluster) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        for election in self.elections {
            rows.push(election.end(cluster).await?);
        }
        Ok(rows)
    }
}

/// Prints the rows, and says whether every limit of this product is kept.
pub(super) fn report(rows: &[Row]) -> bool {
    println!("\nWhile nothing happens:");
    println!(
        "{:<20} {:>10} {:>11} {:>12} {:>13} {:>12}  requests",
        "", "candidates", "requests/s", "resident MB", "anonymous MB", "CPU s/hour"
    );
    for row in rows {
        println!("{row}");
    }
    let verdicts = row::verdicts(rows);
    for verdict in &verdicts {
        println!("  {verdict}");
    }
    verdicts.iter().all(Verdict::is_kept)
}

/// Requests per second of each election.
fn draw(rows: &[Row]) -> String {
    let bars: Vec<_> = rows
        .iter()
        .map(|row| Bar {
            label: format!("{} candidates: {}", row.candidates, row.who),
            ours: row.is_ours(),
            end: row.rate(),
            mark: None,
        })
        .collect();
    let plot = Plot {
        title: "Requests of an idle election",
        explanation: "Requests per second to the API server, of all candidates together",
        unit: "/s",
        from: -2,
        to: 2,
    };
    plot.draw(&bars)
}
