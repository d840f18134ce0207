//! Candidates whose clocks go wrong, each on a machine of its own, on the real API server.
//!
//! In each test every revision of Service and Lease is recorded, and every candidate is asked all the
//! time whether it leads: at the end both must tell of the same leaders, one at a time.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in its helpers too"
)]

mod machine;
mod scene;

use std::time::Duration;

use machine::Clock;
use scene::Scene;

const HOUR: i64 = 3600;

#[tokio::test]
async fn a_clock_at_another_rate_moves_nobody_and_counts_the_lease_of_a_dead_leader() {
    tokio::join!(at_rates(0.7, 1.4), at_rates(1.4, 0.7));
}

async fn at_rates(leader: f64, standby: f64) {
    const LEASE: u64 = 8;
    let scene = Scene::enter("rates", LEASE).await;
    let a = scene.start("a", Clock::at(leader)).await;
    scene.leads("a").await;
    let _b = scene.start("b", Clock::at(standby)).await;
    scene.follows("b", "a").await;
    scene.renewed("a", 6).await;
    a.die();
    scene.leads("b").await;
    let waited = scene.waited("b").await.mul_f64(standby);
    assert!(waited >= Duration::from_secs(LEASE), "{waited:?}");
    scene.end(&["a", "b"]).await;
}

#[tokio::test]
async fn a_wall_clock_that_is_set_by_an_hour_moves_nobody() {
    let scene = Scene::enter("wall", 6).await;
    let a = scene.start("a", Clock::at(1.0)).await;
    scene.leads("a").await;
    let b = scene.start("b", Clock::at(1.0)).await;
    scene.follows("b", "a").await;
    for hour in [HOUR, -HOUR] {
        a.clock.set_wall(hour);
        b.clock.set_wall(-hour);
        scene.renewed("a", 3).await;
    }
    let times = scene.renewals("a").await;
    let (first, last) = (times.iter().min().unwrap(), times.iter().max().unwrap());
    let apart = last.duration_since(*first).as_secs();
    assert!(apart > HOUR, "the Lease tells of {apart} s only");
    scene.never_stopped("a");
    a.die();
    scene.leads("b").await;
    scene.end(&["a", "b"]).await;
}

#[tokio::test]
async fn a_leader_whose_clock_leaps_leads_by_a_new_term_only() {
    let scene = Scene::enter("leap", 5).await;
    let a = scene.start("a", Clock::at(1.0)).await;
    scene.leads("a").await;
    let _b = scene.start("b", Clock::at(1.0)).await;
    scene.follows("b", "a").await;
    let mut line = a.call().await.unwrap();
    let before = line.ask().await.unwrap();
    assert_eq!(before["isLeader"], true);
    a.clock.leap(HOUR);
    let after = line.ask().await.unwrap();
    let still = after["isLeader"] == true && after["epoch"] == before["epoch"];
    assert!(!still, "{after}");
    scene
        .says("a", |said| {
            said["isLeader"] == true && said["epoch"] != before["epoch"]
        })
        .await;
    scene.renewed("a", 2).await;
    scene.end(&["a"]).await;
}

#[tokio::test]
async fn a_leader_that_was_suspended_says_no_at_once_writes_nothing_and_competes_again() {
    let scene = Scene::enter("leader", 5).await;
    let a = scene.start("a", Clock::at(1.0)).await;
    scene.leads("a").await;
    let b = scene.start("b", Clock::at(1.0)).await;
    scene.follows("b", "a").await;
    let mut line = a.call().await.unwrap();
    assert_eq!(line.ask().await.unwrap()["isLeader"], true);

    let suspended = a.suspend().await;
    let answer = tokio::spawn(async move { line.ask().await });
    scene.leads("b").await;
    assert!(!answer.is_finished(), "it is not suspended");
    a.clock.leap(HOUR);
    suspended.resume();
    let answer = answer.await.unwrap().unwrap();
    assert_eq!(answer["isLeader"], false, "{answer}");
    assert_eq!(answer["confirmed"], false, "{answer}");

    scene.follows("a", "b").await;
    scene.renewed("b", 2).await;
    b.die();
    scene.leads("a").await;
    scene.end(&["a", "b", "a"]).await;
}

#[tokio::test]
async fn a_standby_that_was_suspended_takes_no_lease_that_was_renewed_meanwhile() {
    const LEASE: u64 = 5;
    let scene = Scene::enter("standby", LEASE).await;
    let a = scene.start("a", Clock::at(1.0)).await;
    scene.leads("a").await;
    let b = scene.start("b", Clock::at(1.0)).await;
    scene.follows("b", "a").await;
    let mut line = b.call().await.unwrap();
    assert_eq!(line.ask().await.unwrap()["confirmed"], true);

    let suspended = b.suspend().await;
    let answer = tokio::spawn(async move { line.ask().await });
    scene.renewed("a", 2).await;
    assert!(!answer.is_finished(), "it is not suspended");
    b.clock.leap(HOUR);
    suspended.resume();
    let answer = answer.await.unwrap().unwrap();
    assert_eq!(answer["confirmed"], false, "{answer}");

    scene.follows("b", "a").await;
    scene.renewed("a", 3).await;
    scene.never_stopped("a");
    a.die();
    scene.leads("b").await;
    let waited = scene.waited("b").await;
    assert!(waited >= Duration::from_secs(LEASE), "{waited:?}");
    scene.end(&["a", "b"]).await;
}
