//! Every write of every flow meets with every fate: the sidecar dies before it, or after it, or its
//! reply is lost. Complete, not sampled: what is written is learnt from a run without faults.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{StreamExt as _, stream};
use testcluster::{Asked, Fate, Faults, Signal};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use crate::{
    flow::Flow,
    scene,
    support::{self, Leader, SIDECAR, Scene},
};

/// Who writes: who led before, or another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Leader,
    Other,
}

/// A write of a flow: the how manieth of its kind by its writer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Write {
    role: Role,
    method: String,
    resource: String,
    number: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    CrashBefore,
    CrashAfter,
    ReplyLost,
}

const FAULTS: [Fault; 3] = [Fault::CrashBefore, Fault::CrashAfter, Fault::ReplyLost];

/// So often a case is run until its write comes.
const TRIES: u32 = 3;

/// Counts writes as they come.
#[derive(Debug, Default)]
struct Counter {
    counts: BTreeMap<(Role, String, String), u32>,
}

impl Counter {
    fn count(&mut self, leader: Option<&str>, asked: &Asked) -> Write {
        let role = if leader == Some(asked.pod.as_str()) {
            Role::Leader
        } else {
            Role::Other
        };
        let (method, resource) = (asked.method.to_string(), asked.resource.clone());
        let count = self
            .counts
            .entry((role, method.clone(), resource.clone()))
            .or_default();
        *count += 1;
        Write {
            role,
            method,
            resource,
            number: *count,
        }
    }
}

/// How a run of a flow went.
async fn run(flow: Flow, faults_at: Option<(&Write, Fault)>) -> Outcome {
    let (scene, faults) = scene("each").await;
    let crashes = faults_at.is_some_and(|(_, fault)| fault != Fault::ReplyLost);
    let annotations = flow.annotations(crashes);
    let (seen, fired) = if flow == Flow::First {
        let watched = watch_writes(&scene, &faults, None, faults_at);
        scene.elect("web", 2, annotations).await;
        watched
    } else {
        let leader = scene.elect("web", 2, annotations).await;
        scene.costs_most("web", &leader.pod).await;
        let watched = watch_writes(&scene, &faults, Some(&leader.pod), faults_at);
        go(flow, &scene, &leader).await;
        watched
    };
    // What follows a switch, off its way: ownership handed back, deletion cost, new pods' labels.
    let settled = scene.agreed("web", |_| true).await;
    scene.costs_most("web", &settled.pod).await;
    faults.clear();
    if faults_at.is_some() && !*fired.borrow() {
        // Not every run has every write: a renewal, say.
        let mut late = fired.clone();
        timeout(Duration::from_secs(1), late.wait_for(|fired| *fired))
            .await
            .ok();
    }
    scene.record.check().await.unwrap();
    Outcome {
        writes: seen.lock().unwrap().clone(),
        fired: *fired.borrow(),
    }
}

async fn go(flow: Flow, scene: &Scene, leader: &Leader) {
    flow.begin(scene, leader).await;
    if flow.moves() {
        // Who stands still, or is gone, is not asked.
        let services = || async { scene.service("web").await.unwrap() };
        scene
            .eventually("another pod has the Service", async || {
                let pod = support::selector(&services().await).remove(support::KEY);
                pod.filter(|pod| *pod != leader.pod)
            })
            .await;
    } else {
        sleep(Duration::from_millis(500)).await;
    }
    flow.end(scene, leader).await;
    scene.all_ready("web", 2).await;
}

struct Outcome {
    writes: Vec<Write>,
    fired: bool,
}

/// Keeps every write, and lets one of them meet its fate.
fn watch_writes(
    scene: &Scene,
    faults: &Faults,
    leader: Option<&str>,
    faults_at: Option<(&Write, Fault)>,
) -> (Arc<Mutex<Vec<Write>>>, watch::Receiver<bool>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (fire, fired) = watch::channel(false);
    let counter = Mutex::new(Counter::default());
    let (writes, leader) = (Arc::clone(&seen), leader.map(str::to_owned));
    let target = faults_at.map(|(write, fault)| (write.clone(), fault));
    let (node, namespace) = (scene.cluster.node().clone(), scene.namespace.clone());
    faults.judge(move |asked| {
        if !asked.is_write() {
            return Fate::Pass;
        }
        let write = counter.lock().unwrap().count(leader.as_deref(), asked);
        writes.lock().unwrap().push(write.clone());
        let Some((_, fault)) = target.as_ref().filter(|(wanted, _)| *wanted == write) else {
            return Fate::Pass;
        };
        fire.send_replace(true);
        let (node, namespace, pod) = (node.clone(), namespace.clone(), asked.pod.clone());
        // A process that is gone already needs no killing.
        let kill = move || drop(node.signal(&namespace, &pod, SIDECAR, Signal::KILL));
        match fault {
            Fault::CrashBefore => {
                kill();
                Fate::Refuse
            }
            Fault::CrashAfter => Fate::LoseReply(Arc::new(kill)),
            Fault::ReplyLost => Fate::LoseReply(Arc::new(|| ())),
        }
    });
    (seen, fired)
}

/// The whole enumeration takes minutes: a slice of it runs with every change.
fn flows() -> Vec<Flow> {
    if std::env::var_os("FAULTS").is_some_and(|wanted| wanted == "full") {
        Flow::ALL.to_vec()
    } else {
        vec![Flow::Deleted]
    }
}

/// `CASE` picks the cases whose text has it, to see one again.
fn is_wanted(case: &str) -> bool {
    let wanted = std::env::var_os("CASE");
    wanted.is_none_or(|wanted| case.contains(&*wanted.to_string_lossy()))
}

#[tokio::test]
async fn every_write_of_every_flow_may_fail_in_every_way() {
    let learnt: Vec<(Flow, Vec<Write>)> = stream::iter(flows())
        .map(|flow| async move {
            let mut writes = run(flow, None).await.writes;
            writes.sort();
            writes.dedup();
            assert!(
                !writes.is_empty(),
                "{flow:?} wrote nothing: this proves nothing"
            );
            (flow, writes)
        })
        .buffered(3)
        .collect()
        .await;
    let cases: Vec<(Flow, Write, Fault)> = learnt
        .iter()
        .flat_map(|(flow, writes)| {
            let all = writes
                .iter()
                .flat_map(|write| FAULTS.map(|fault| (write, fault)));
            all.map(|(write, fault)| (*flow, write.clone(), fault))
        })
        .filter(|case| is_wanted(&format!("{case:?}")))
        .collect();
    let total = cases.len();
    let fired: Vec<bool> = stream::iter(cases)
        .map(|(flow, write, fault)| async move {
            let mut fired = false;
            // Not every run has every write.
            for _ in 0..TRIES {
                fired = run(flow, Some((&write, fault))).await.fired;
                if fired {
                    break;
                }
            }
            eprintln!("{flow:?}: {write:?}: {fault:?}: fired {fired}");
            fired
        })
        .buffer_unordered(3)
        .collect()
        .await;
    let hits = fired.iter().filter(|fired| **fired).count();
    for (flow, writes) in &learnt {
        eprintln!("{flow:?}: {} writes", writes.len());
    }
    eprintln!("{total} cases of a write and its fate, {hits} of which met it");
    // A write that came once need not come again, such as one that its writer's end may outrun.
    assert!(
        hits * 4 >= total * 3,
        "{hits} of {total} faults were injected: vacuous"
    );
}
