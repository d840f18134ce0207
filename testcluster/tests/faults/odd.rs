//! Odd worlds: what else the way to the API server, or the API server itself, may do.

use std::sync::{Arc, Mutex};

use hyper::Method;
use serde_json::json;
use testcluster::{Asked, Fate, Signal, troubleshooting::documented};
use tokio_util::sync::CancellationToken;

use crate::{
    scene,
    support::{KEY, Scene, selector, service},
};

async fn has_the_service(scene: &Scene, other_than: &str) -> String {
    scene
        .eventually("another pod has the Service", async || {
            let service = scene.service("web").await.unwrap();
            let pod = selector(&service).remove(KEY);
            pod.filter(|pod| pod != other_than)
        })
        .await
}

fn is_switch(asked: &Asked) -> bool {
    asked.method == Method::PATCH && asked.resource == "services"
}

/// A leader's switch is under way for so long that another leads before it arrives: what only a
/// compare-and-swap can refuse.
#[tokio::test]
async fn a_delayed_switch_of_an_old_leader_is_refused() {
    let (scene, faults) = scene("delayed").await;
    let brief = json!({"service-leader-election/lease-duration": "5"});
    let first = scene.elect("web", 3, brief).await;
    // The next pod to lead is held up as it switches, and stands still.
    let released = CancellationToken::new();
    let held = Arc::new(Mutex::new(None));
    let (token, holder, old) = (released.clone(), Arc::clone(&held), first.pod.clone());
    faults.judge(move |asked| {
        let mut holder = holder.lock().unwrap();
        if is_switch(asked) && asked.pod != old && holder.is_none() {
            *holder = Some(asked.pod.clone());
            return Fate::Hold(token.clone());
        }
        Fate::Pass
    });
    scene.kubectl(&["delete", "pod", &first.pod]).await;
    let slow = scene
        .eventually("a successor is about to switch", async || {
            held.lock().unwrap().clone()
        })
        .await;
    let node = scene.cluster.node();
    node.freeze(&scene.namespace, &slow).unwrap();
    let third = scene
        .eventually("a third pod has the Service", async || {
            let service = scene.service("web").await.unwrap();
            let pod = selector(&service).remove(KEY)?;
            (pod != first.pod && pod != slow).then_some(pod)
        })
        .await;
    let before = scene.record.sync().await.unwrap();
    released.cancel();
    node.thaw(&scene.namespace, &slow).unwrap();
    let last = scene.agreed("web", |_| true).await;
    assert_eq!(last.pod, third);
    let after = scene.service("web").await.unwrap();
    assert_eq!(
        selector(&after).get(KEY),
        Some(&third),
        "since revision {before}"
    );
    assert_eq!(scene.leaders("web").await, [first.pod, third]);
    assert_eq!(faults.injected(), 1);
}

/// The same answer to every write of the Lease for a while, and then the same leader goes on.
async fn the_leader_outlives(prefix: &str, fate: Fate) {
    let (scene, faults) = scene(prefix).await;
    let brief = json!({"service-leader-election/lease-duration": "6"});
    let first = scene.elect("web", 2, brief).await;
    let counted = Arc::new(Mutex::new(0));
    let count = Arc::clone(&counted);
    faults.judge(move |asked| {
        let mut count = count.lock().unwrap();
        if asked.resource == "leases" && asked.method == Method::PUT && *count < 2 {
            *count += 1;
            return fate.clone();
        }
        Fate::Pass
    });
    scene
        .eventually("two renewals failed", async || {
            (*counted.lock().unwrap() == 2).then_some(())
        })
        .await;
    let same = scene.agreed("web", |_| true).await;
    assert_eq!(same.pod, first.pod);
    assert_eq!(scene.leaders("web").await, [first.pod]);
}

#[tokio::test]
async fn renewals_answered_429_are_tried_again() {
    the_leader_outlives("many", Fate::Answer(429, Some(1))).await;
}

#[tokio::test]
async fn renewals_answered_500_are_tried_again() {
    the_leader_outlives("broken", Fate::Answer(500, None)).await;
}

#[tokio::test]
async fn renewals_answered_503_are_tried_again() {
    the_leader_outlives("busy", Fate::Answer(503, None)).await;
}

#[tokio::test]
async fn renewals_that_hang_are_tried_again() {
    the_leader_outlives("hang", Fate::Hang).await;
}

#[tokio::test]
async fn renewals_whose_reply_is_lost_are_tried_again() {
    the_leader_outlives("lost", Fate::LoseReply(Arc::new(|| ()))).await;
}

/// Reads work, and no write of the Lease does: the leader gives up at its deadline, nobody can
/// follow, and traffic stays where it is.
#[tokio::test]
async fn while_no_lease_can_be_written_the_service_stays_and_nobody_claims_to_lead() {
    let (scene, faults) = scene("readonly").await;
    let brief = json!({"service-leader-election/lease-duration": "5"});
    let first = scene.elect("web", 2, brief).await;
    faults.judge(|asked| match asked.resource.as_str() {
        "leases" if asked.method == Method::PUT => Fate::Answer(500, None),
        _ => Fate::Pass,
    });
    scene
        .eventually("the leader's own answer turns false", async || {
            let says = scene.says(&first.pod).await.unwrap();
            (says["isLeader"] == false).then_some(())
        })
        .await;
    let service = scene.service("web").await.unwrap();
    assert_eq!(selector(&service).get(KEY), Some(&first.pod));
    faults.clear();
    scene.agreed("web", |_| true).await;
    scene.record.check().await.unwrap();
}

/// Nobody can tell a silent watch from a quiet world but by asking.
#[tokio::test]
async fn watches_that_stall_silently_delay_a_takeover_and_do_not_prevent_it() {
    let (scene, faults) = scene("stalled").await;
    let brief = json!({"service-leader-election/lease-duration": "5"});
    let first = scene.elect("web", 2, brief).await;
    faults.stall_watches(true);
    let node = scene.cluster.node();
    node.freeze(&scene.namespace, &first.pod).unwrap();
    let second = has_the_service(&scene, &first.pod).await;
    faults.stall_watches(false);
    node.thaw(&scene.namespace, &first.pod).unwrap();
    let last = scene.agreed("web", |_| true).await;
    assert_eq!(last.pod, second);
    assert_eq!(scene.leaders("web").await, [first.pod, second]);
}

/// Lists and watches answer 410 for a while, as after a compaction: reads by name go on.
#[tokio::test]
async fn watches_that_are_gone_are_opened_anew() {
    let (scene, faults) = scene("compacted").await;
    let first = scene.elect("web", 2, json!({})).await;
    let counted = Arc::new(Mutex::new(0));
    let count = Arc::clone(&counted);
    faults.judge(move |asked| {
        let mut count = count.lock().unwrap();
        if asked.watch && *count < 8 {
            *count += 1;
            return Fate::Answer(410, None);
        }
        Fate::Pass
    });
    // A sidecar that starts opens its watches, and so does one that hears of nothing.
    scene.signal(&first.pod, Signal::TERM);
    let second = scene.next("web", &first).await;
    scene
        .eventually("watches were gone", async || {
            (*counted.lock().unwrap() == 8).then_some(())
        })
        .await;
    scene.kubectl(&["delete", "pod", &second.pod]).await;
    scene.next("web", &second).await;
    scene.record.check().await.unwrap();
}

/// Between a switch and the hand-back the selector is the sidecar's own.
#[tokio::test]
async fn an_apply_before_the_selector_is_handed_back_meets_a_conflict_and_goes_through_after() {
    let (scene, faults) = scene("conflict").await;
    let released = CancellationToken::new();
    let held = Arc::new(Mutex::new(0));
    let (token, writes) = (released.clone(), Arc::clone(&held));
    faults.judge(move |asked| {
        let mut writes = writes.lock().unwrap();
        *writes += u32::from(is_switch(asked));
        if is_switch(asked) && *writes > 1 {
            return Fate::Hold(token.clone());
        }
        Fate::Pass
    });
    let leader = scene.elect("web", 1, json!({})).await;
    scene
        .eventually("the hand-back is under way", async || {
            (*held.lock().unwrap() > 1).then_some(())
        })
        .await;
    let apply = ["-n", &scene.namespace, "apply", "--server-side", "-f", "-"];
    let manifest = service("web").to_string();
    let refused = scene.cluster.kubectl_stdin(&apply, &manifest).await;
    let refused = format!("{:#}", refused.unwrap_err());
    documented("service-conflict", &refused).unwrap();
    released.cancel();
    scene
        .eventually("the apply meets no conflict", async || {
            let applied = scene.cluster.kubectl_stdin(&apply, &manifest).await;
            applied.ok().map(drop)
        })
        .await;
    let same = scene.agreed("web", |_| true).await;
    assert_eq!(same.pod, leader.pod);
}
