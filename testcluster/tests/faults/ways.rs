//! The way to the API server: one that is too busy, endpoints that are dead, answers of the past,
//! tokens that are replaced.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hyper::Method;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use serde_json::json;
use testcluster::{Asked, Change, Fate, Kind, Signal};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    scene,
    support::{SIDECAR, Scene},
};

fn renews(asked: &Asked) -> bool {
    asked.method == Method::PUT && asked.resource == "leases"
}

#[tokio::test]
async fn an_api_server_that_is_too_busy_is_left_alone_for_as_long_as_it_asks() {
    const PAUSE: Duration = Duration::from_secs(1);
    let (scene, faults) = scene("many").await;
    let first = scene.elect("web", 2, json!({})).await;
    let times = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&times);
    faults.judge(move |asked| {
        let mut times = seen.lock().unwrap();
        if !renews(asked) || times.len() == 3 {
            return Fate::Pass;
        }
        times.push(Instant::now());
        match times.len() {
            1 => Fate::Answer(429, Some(1)),
            2 => Fate::Answer(503, Some(1)),
            _ => Fate::Pass,
        }
    });
    scene
        .eventually("two renewals were too many", async || {
            (times.lock().unwrap().len() == 3).then_some(())
        })
        .await;
    for pair in times.lock().unwrap().windows(2) {
        assert!(pair[1] - pair[0] >= PAUSE, "{:?}", pair[1] - pair[0]);
    }
    let same = scene.agreed("web", |_| true).await;
    assert_eq!(same, first);
    assert_eq!(scene.leaders("web").await, [first.pod]);
}

/// A third of all connections come to an API server that has died with its machine: nobody refuses
/// them, and nobody answers.
#[tokio::test]
async fn one_of_three_api_endpoints_is_dead() {
    const LEASES: Duration = Duration::from_secs(20);
    let (scene, faults) = scene("endpoints").await;
    let brief = json!({"service-leader-election/lease-duration": "6"});
    faults.judge(|asked| {
        if asked.connection % 3 == 0 {
            Fate::Hang
        } else {
            Fate::Pass
        }
    });
    let first = scene.elect("web", 3, brief).await;
    sleep(LEASES).await;
    scene.kubectl(&["delete", "pod", &first.pod]).await;
    let second = scene.next("web", &first).await;
    assert!(faults.injected() > 0, "nobody met the dead one: vacuous");
    assert_eq!(scene.leaders("web").await, [first.pod, second.pod]);
}

/// Who begins with lists of the past, of a time when nobody led, is told by its watches what has
/// been since, and writes nothing on their strength.
#[tokio::test]
async fn lists_of_an_api_server_that_lags_behind_mislead_nobody() {
    let (scene, faults) = scene("lagging").await;
    let first = scene.elect("web", 3, json!({})).await;
    let lists = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&lists);
    faults.judge(move |asked| {
        *counted.lock().unwrap() += i32::from(asked.is_list());
        Fate::Past
    });
    let standby = scene.pods("web").await;
    let mut standby = standby.iter().map(Pod::name_any);
    let standby = standby.find(|pod| *pod != first.pod).unwrap();
    scene.signal(&standby, Signal::KILL);
    scene
        .eventually("who starts again has listed everything", async || {
            (*lists.lock().unwrap() >= 4).then_some(())
        })
        .await;
    let same = scene.agreed("web", |_| true).await;
    assert_eq!(same, first);
    scene.signal(&first.pod, Signal::TERM);
    let second = scene.next("web", &first).await;
    scene.all_ready("web", 3).await;
    let third = scene.lead("web", &first.pod).await;
    assert_eq!(third.pod, first.pod);
    let leaders = scene.leaders("web").await;
    assert_eq!(leaders.first(), Some(&first.pod));
    assert_eq!(leaders.get(1), Some(&second.pod));
    assert_eq!(leaders.last(), Some(&first.pod));
}

/// After a pause of the API server the pods' list is late, and the one that the leader would name by
/// what it knows turns unready before the leader does.
#[tokio::test]
async fn an_unready_leader_names_nobody_by_what_it_knew_before_the_api_server_was_away() {
    let (scene, faults) = scene("blind").await;
    // The leader waits for one lease: long enough for what follows.
    let long = json!({"service-leader-election/lease-duration": "30"});
    let first = scene.elect("web", 3, long).await;
    let pods = scene.pods("web").await;
    let mut others = pods
        .iter()
        .map(Pod::name_any)
        .filter(|pod| *pod != first.pod);
    let (best, last) = (others.next().unwrap(), others.next().unwrap());
    // Who was unready of late ranks behind.
    scene.set_ready(&last, false).await;
    scene.set_ready(&last, true).await;

    let released = CancellationToken::new();
    let held = Arc::new(AtomicBool::new(false));
    let (token, holds, leader) = (released.clone(), Arc::clone(&held), first.pod.clone());
    let refused = AtomicBool::new(false);
    faults.judge(move |asked| {
        if asked.pod != leader {
            return Fate::Pass;
        }
        if renews(asked) && !refused.swap(true, Ordering::Relaxed) {
            return Fate::Refuse;
        }
        if asked.resource == "pods" && asked.by_label {
            holds.store(true, Ordering::Relaxed);
            return Fate::Hold(token.clone());
        }
        Fate::Pass
    });
    scene
        .eventually("the leader asks for the pods again", async || {
            held.load(Ordering::Relaxed).then_some(())
        })
        .await;
    scene.set_ready(&best, false).await;
    let known = unready_reports(&scene, &first.pod);
    scene.set_ready(&first.pod, false).await;
    scene
        .eventually("the leader knows that it is unready", async || {
            (unready_reports(&scene, &first.pod) > known).then_some(())
        })
        .await;
    released.cancel();
    let second = scene.next("web", &first).await;
    assert_eq!(second.pod, last);
    assert_eq!(scene.leaders("web").await, [first.pod, last]);
    let changes = scene.record.changes().await.unwrap();
    let named = |change: &Change| {
        let lease = change
            .object
            .as_ref()
            .filter(|_| change.kind == Kind::Lease);
        lease.is_some_and(|lease| lease["spec"]["holderIdentity"] == best.as_str())
    };
    assert!(!changes.iter().any(named), "{best} was named while unready");
}

/// How often a sidecar has said that its pod may not lead.
fn unready_reports(scene: &Scene, pod: &str) -> usize {
    let node = scene.cluster.node();
    let logs = node.logs(&scene.namespace, pod, SIDECAR).unwrap();
    logs.matches("\"candidate\":false").count()
}

/// The client reads its token's file anew every minute. An old token is not taken once a new one was
/// seen.
#[tokio::test]
async fn a_replaced_token_is_taken_up_without_a_switch() {
    let (scene, faults) = scene("tokens").await;
    let first = scene.elect("web", 2, json!({})).await;
    let tokens: Arc<Mutex<BTreeMap<String, Vec<String>>>> = Arc::default();
    let seen = Arc::clone(&tokens);
    faults.judge(move |asked| {
        let mut seen = seen.lock().unwrap();
        let known = seen.entry(asked.pod.clone()).or_default();
        let token = asked.token.clone().unwrap();
        if !known.contains(&token) {
            known.push(token.clone());
        }
        if known.last() == Some(&token) {
            Fate::Pass
        } else {
            Fate::Answer(401, None)
        }
    });
    let presented = |count| {
        let tokens = tokens.lock().unwrap();
        tokens
            .get(&first.pod)
            .is_some_and(|known| known.len() == count)
    };
    scene
        .eventually("the leader presents its token", async || {
            presented(1).then_some(())
        })
        .await;
    let node = scene.cluster.node();
    for pod in scene.pods("web").await {
        node.rotate_tokens(&scene.namespace, &pod.name_any())
            .unwrap();
    }
    for _ in 0..30 {
        if presented(2) {
            break;
        }
        sleep(Duration::from_secs(5)).await;
    }
    assert!(presented(2), "the leader goes on with its old token");
    let same = scene.agreed("web", |_| true).await;
    assert_eq!(same, first);
    scene.kubectl(&["delete", "pod", &first.pod]).await;
    let second = scene.next("web", &first).await;
    assert_eq!(scene.leaders("web").await, [first.pod, second.pod]);
}
