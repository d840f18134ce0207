//! Seeded runs: requests meet random fates, and every few seconds something happens to a pod.
//!
//! `FAULT_RUNS=30 FAULT_SECONDS=60` runs so many, so long; `FAULT_SEED=7` begins with that seed. A
//! soak is one run of many seconds: then the sidecars' memory must stay flat, too.

use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt as _, api::DeleteParams};
use serde_json::json;
use testcluster::{Asked, Fate, Faults, Signal};
use tokio::time::{Instant, sleep};

use crate::{
    scene,
    support::{KEY, SIDECAR, Scene, selector},
};

/// The numbers of a seed. The constants of Knuth's MMIX generator; its high bits are the better ones.
#[derive(Debug, Clone, Copy)]
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        let length = u64::try_from(all.len()).unwrap().max(1);
        all.get(usize::try_from(self.below(length)).unwrap())
    }
}

fn setting(name: &str, usual: u64) -> u64 {
    let text = std::env::var_os(name).and_then(|text| text.to_str()?.parse().ok());
    text.unwrap_or(usual)
}

/// One request in four does not simply go through.
fn fate(numbers: &mut Numbers, asked: &Asked) -> Fate {
    if numbers.below(4) != 0 {
        return Fate::Pass;
    }
    match numbers.below(10) {
        0 | 1 => Fate::Refuse,
        2 | 3 => Fate::LoseReply(Arc::new(|| ())),
        4 => Fate::Answer(500, None),
        5 => Fate::Answer(503, None),
        6 => Fate::Answer(429, Some(1)),
        7 if asked.watch => Fate::Answer(410, None),
        7 if asked.is_list() => Fate::Past,
        7 => Fate::Answer(409, None),
        8 if !asked.watch => Fate::Hang,
        _ => Fate::Delay(Duration::from_millis(numbers.below(2_000))),
    }
}

/// Something happens to a pod, or to all watches.
async fn happen(scene: &Scene, faults: &Faults, numbers: &mut Numbers) -> &'static str {
    let pods = scene.pods("web").await;
    let names: Vec<String> = pods.iter().map(Pod::name_any).collect();
    let Some(pod) = numbers.of(&names) else {
        return "nothing";
    };
    let node = scene.cluster.node();
    let api: Api<Pod> = Api::namespaced(scene.client.clone(), &scene.namespace);
    // What is gone or starts again by now is left alone.
    match numbers.below(6) {
        0 => {
            node.signal(&scene.namespace, pod, SIDECAR, Signal::KILL)
                .ok();
            "a sidecar is killed"
        }
        1 => {
            node.signal(&scene.namespace, pod, SIDECAR, Signal::TERM)
                .ok();
            "a sidecar is asked to end"
        }
        2 => {
            api.delete(pod, &DeleteParams::default()).await.ok();
            "a pod is deleted"
        }
        3 => {
            let force = DeleteParams::default().grace_period(0);
            api.delete(pod, &force).await.ok();
            "a pod is force-deleted"
        }
        4 => {
            if node.freeze(&scene.namespace, pod).is_ok() {
                sleep(Duration::from_secs(7)).await;
                node.thaw(&scene.namespace, pod).ok();
            }
            "a pod stands still for 7 s"
        }
        _ => {
            faults.stall_watches(true);
            sleep(Duration::from_secs(4)).await;
            faults.stall_watches(false);
            "watches stall for 4 s"
        }
    }
}

/// The anonymous memory of each sidecar that runs, in kB.
async fn anonymous(scene: &Scene) -> Vec<u64> {
    let pods = scene.pods("web").await;
    let node = scene.cluster.node();
    let processes = pods
        .iter()
        .filter_map(|pod| node.pid(&scene.namespace, &pod.name_any(), SIDECAR));
    processes
        .filter_map(|pid| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let line = status.lines().find(|line| line.starts_with("RssAnon"))?;
            line.split_whitespace().nth(1)?.parse().ok()
        })
        .collect()
}

async fn run(seed: u64, span: Duration) -> (u64, usize) {
    let (scene, faults) = scene("random").await;
    eprintln!("seed {seed} in {}", scene.namespace);
    let brief = json!({"service-leader-election/lease-duration": "5",
        "service-leader-election/log-level": "info"});
    scene.elect("web", 3, brief).await;
    let judged = Mutex::new(Numbers(seed));
    faults.judge(move |asked| fate(&mut judged.lock().unwrap(), asked));
    let mut numbers = Numbers(seed ^ 0x5eed);
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    let mut memory = Vec::new();
    let end = Instant::now() + span;
    while Instant::now() < end {
        *counts
            .entry(happen(&scene, &faults, &mut numbers).await)
            .or_default() += 1;
        sleep(Duration::from_millis(1_000 + numbers.below(3_000))).await;
        memory.extend(anonymous(&scene).await.into_iter().max());
    }
    // Whatever happened, at last it happens to the leader.
    let last = selector(&scene.service("web").await.unwrap()).remove(KEY);
    let pods: Api<Pod> = Api::namespaced(scene.client.clone(), &scene.namespace);
    let last = last.unwrap();
    pods.delete(&last, &DeleteParams::default()).await.ok();
    sleep(Duration::from_secs(1)).await;
    let injected = faults.injected();
    faults.clear();
    scene.all_ready("web", 3).await;
    scene.agreed("web", |leader| leader.pod != last).await;
    let switches = scene.leaders("web").await.len() - 1;
    eprintln!("seed {seed}: {injected} requests harmed, {switches} switches, {counts:?}");
    judge_memory(&memory, span);
    (injected, switches)
}

/// Over a long run: the last third's largest is not far above the first third's.
fn judge_memory(samples: &[u64], span: Duration) {
    if span < Duration::from_mins(10) {
        return;
    }
    let third = samples.len() / 3;
    let median = |part: &[u64]| {
        let mut part = part.to_vec();
        part.sort_unstable();
        part[part.len() / 2]
    };
    let (first, last) = (median(&samples[..third]), median(&samples[2 * third..]));
    eprintln!("anonymous memory, median of the largest: {first} kB at first, {last} kB at last");
    assert!(
        last * 4 <= first * 5,
        "memory grows: {first} kB, then {last} kB"
    );
}

#[tokio::test]
async fn random_faults_break_nothing() {
    let (runs, seconds) = (setting("FAULT_RUNS", 2), setting("FAULT_SECONDS", 15));
    let first = setting("FAULT_SEED", 1);
    let outcomes: Vec<(u64, usize)> = stream::iter(first..first + runs)
        .map(|seed| run(seed, Duration::from_secs(seconds)))
        .buffer_unordered(3)
        .collect()
        .await;
    let injected: u64 = outcomes.iter().map(|(injected, _)| injected).sum();
    let switches: usize = outcomes.iter().map(|(_, switches)| switches).sum();
    eprintln!("{runs} runs of {seconds} s: {injected} requests harmed, {switches} switches");
    assert!(injected > 5 * runs, "too few requests were harmed: vacuous");
    let runs = usize::try_from(runs).unwrap();
    assert!(switches >= runs, "too few switches: vacuous");
}
