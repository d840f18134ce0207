//! Random schedules: whatever the order of turns and faults, the invariants hold, and once nothing
//! goes wrong any more one pod leads and every Service names it.

use std::time::Duration;

use proptest::prelude::*;
use simulator::{Budget, Schedule, Setup, World};

const FAULTS: Budget = Budget {
    ticks: 400,
    losses: 12,
    crashes: 4,
    removals: 3,
    deletions: 2,
    drifts: 3,
    flips: 6,
    stops: 0,
};

fn setup(pods: usize, services: usize) -> Setup {
    Setup {
        pods,
        slow: pods,
        services,
        tick: Duration::from_millis(500),
        budget: FAULTS,
        #[cfg(feature = "seeded-defects")]
        defect: None,
    }
}

/// As many as PROPTEST_CASES says, for a long run.
fn cases() -> u32 {
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => ProptestConfig::default().cases,
        None => 5_000,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases()) })]

    #[test]
    fn invariants_hold_and_the_election_recovers(
        pods in 2_usize..=4,
        services in 1_usize..=2,
        numbers in prop::collection::vec(any::<u32>(), 50..600),
    ) {
        let mut world = World::new(&setup(pods, services));
        let mut schedule = Schedule::default();
        let mut trace = Vec::new();
        for number in numbers {
            let Some(choice) = schedule.pick(&world, number) else { break };
            trace.push((choice, world.apply(choice)));
            prop_assert_eq!(&world.violation, &None, "after {:?}", trace);
        }
        // Two leases, and a lease of patience after lost writes, in steps of half a second.
        world.settle(120);
        prop_assert_eq!(&world.violation, &None, "settling after {:?}", trace);
        prop_assert!(world.is_settled(), "nobody leads after {:?}: {:#?}", trace, world);
    }
}

#[test]
fn without_faults_the_first_leader_stays() {
    let mut world = World::new(&setup(3, 1));
    world.settle(1);
    let first: Vec<_> = world.leaders().into_iter().cloned().collect();
    assert_eq!(first.len(), 1);
    let services = world.server.services.clone();
    // An hour, in steps of half a second.
    world.settle(7_200);
    assert_eq!(
        world.leaders().into_iter().cloned().collect::<Vec<_>>(),
        first
    );
    assert_eq!(
        world.server.services, services,
        "without faults nobody writes the Service"
    );
}
