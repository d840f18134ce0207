//! What an election costs while nothing happens: requests to the API server, memory, disk.
//!
//! Must not know: what a sidecar asks for, and why.

use std::{collections::BTreeMap, fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use contract::names;
use jiff::Timestamp;
use testcluster::{Cluster, Options};
use tokio::time::sleep;

use super::{audit, memory::Memory};
use crate::{
    election::{Election, MANIFEST, NAME},
    images,
    story::Story,
};

/// Requests per second of three pods, and of each pod more.
const MOST_AT_THREE: f64 = 0.3;
const MOST_PER_POD: f64 = 0.003;

/// Of an idle sidecar, in MB of 1,000,000 bytes.
const MOST_RESIDENT: f64 = 10.0;
const MOST_ANONYMOUS: f64 = 3.0;

/// How long after the last pod is ready everything has been said that is said once.
const SETTLE: Duration = Duration::from_secs(20);

/// What an idle election asks of the API server, and what a sidecar holds
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// For how many seconds requests are counted, at three pods and again at ten
    #[arg(long, default_value_t = 120)]
    seconds: u32,
}

/// What was measured with so many pods.
#[derive(Debug)]
struct Figures {
    requests: BTreeMap<String, u32>,
    leader: Memory,
    /// The largest of the others.
    standby: Memory,
}

impl Args {
    pub(crate) async fn run(self) -> Result<()> {
        let Self { seconds } = self;
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
        let namespace = cluster.namespace("bench").await?;
        let apply = ["-n", &namespace, "apply", "-f", "-"];
        cluster.kubectl_stdin(&apply, MANIFEST).await?;
        let election = Election::new(&cluster, &namespace)?;
        let three = measure(&story, &cluster, &election, 3, seconds).await?;
        let scale = [
            "-n",
            &namespace,
            "scale",
            "deployment",
            NAME,
            "--replicas=10",
        ];
        cluster.kubectl(&scale).await?;
        let ten = measure(&story, &cluster, &election, 10, seconds).await?;

        println!();
        let kept = [
            report_requests(&three, &ten, seconds),
            report_memory("leader", &[three.leader, ten.leader]),
            report_memory("standby", &[three.standby, ten.standby]),
        ];
        programs.print_sizes()?;
        ensure!(
            !kept.contains(&false),
            "a limit is not kept: see OVER above"
        );
        Ok(())
    }
}

async fn measure(
    story: &Story,
    cluster: &Cluster,
    election: &Election,
    pods: usize,
    seconds: u32,
) -> Result<Figures> {
    election.wait_for_replicas().await?;
    let leader = election.leader_other_than(None).await?;
    story.tell(&format!("{pods} pods are ready. {leader}"));
    sleep(SETTLE).await;
    story.tell(&format!("Counting for {seconds} s ..."));
    let from = Timestamp::now();
    sleep(Duration::from_secs(seconds.into())).await;
    let to = Timestamp::now();
    // The log is written when a request has ended.
    sleep(Duration::from_secs(2)).await;

    let after = election.leader_other_than(None).await?;
    ensure!(
        leader == after,
        "the leader changed while nothing happened: {after}"
    );
    let namespace = &election.namespace;
    let account = names::default_name(NAME);
    let user = format!("system:serviceaccount:{namespace}:{account}");
    let log = fs::read_to_string(cluster.audit_log())?;
    let memory = |pod: &str| {
        let pid = cluster.node().pid(namespace, pod, names::CONTAINER);
        Memory::of(pid.with_context(|| format!("no sidecar runs in pod {pod}"))?)
    };
    let mut standbys = Vec::new();
    for pod in election
        .pods()
        .await?
        .iter()
        .filter(|pod| **pod != leader.pod)
    {
        standbys.push(memory(pod)?);
    }
    ensure!(standbys.len() + 1 == pods, "there are not {pods} pods");
    let largest = standbys.into_iter().max_by_key(|memory| memory.resident);
    Ok(Figures {
        requests: audit::count(&log, &user, from, to),
        leader: memory(&leader.pod)?,
        standby: largest.context("there is no standby")?,
    })
}

fn report_requests(three: &Figures, ten: &Figures, seconds: u32) -> bool {
    let rate = |figures: &Figures| {
        let all: u32 = figures.requests.values().sum();
        f64::from(all) / f64::from(seconds)
    };
    println!("Requests of all sidecars to the API server, in {seconds} s:");
    for (figures, pods) in [(three, 3), (ten, 10)] {
        let each: Vec<_> = figures
            .requests
            .iter()
            .map(|(request, count)| format!("{count} {request}"))
            .collect();
        println!(
            "  {pods:>2} pods: {:.3}/s ({})",
            rate(figures),
            each.join(", ")
        );
    }
    let more = (rate(ten) - rate(three)) / 7.0;
    let kept = [
        compare("at 3 pods", rate(three), MOST_AT_THREE, "/s"),
        compare("each further pod", more, MOST_PER_POD, "/s"),
    ];
    !kept.contains(&false)
}

/// The larger of both sizes of election counts.
fn report_memory(who: &str, seen: &[Memory]) -> bool {
    let largest = |part: fn(&Memory) -> u32| {
        let kilobytes = seen.iter().map(part).max().unwrap_or_default();
        f64::from(kilobytes) * 1024.0 / 1e6
    };
    let resident = format!("memory of the {who}");
    let anonymous = format!("of it anonymous, {who}");
    let kept = [
        compare(
            &resident,
            largest(|memory| memory.resident),
            MOST_RESIDENT,
            " MB",
        ),
        compare(
            &anonymous,
            largest(|memory| memory.anonymous),
            MOST_ANONYMOUS,
            " MB",
        ),
    ];
    !kept.contains(&false)
}

fn compare(what: &str, seen: f64, most: f64, unit: &str) -> bool {
    let kept = seen <= most;
    let verdict = if kept { "ok" } else { "OVER" };
    println!("  {what:<24} {seen:>8.4}{unit}, at most {most}{unit}: {verdict}");
    kept
}
