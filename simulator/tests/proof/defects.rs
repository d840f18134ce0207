//! Each rule taken out is noticed: the same random schedules, with a defect, break an invariant.

use std::time::Duration;

use election::Defect;
use simulator::{Budget, Schedule, Setup, Violation, World};

/// The most schedules that a defect may survive.
const LIMIT: u64 = 2_000_000;

/// The first invariant that breaks, and after how many schedules.
fn break_one(defect: Option<Defect>, limit: u64) -> Option<(Violation, u64)> {
    (1..=limit).find_map(|seed| Some((run(defect, seed)?, seed)))
}

fn run(defect: Option<Defect>, seed: u64) -> Option<Violation> {
    let budget = Budget {
        losses: 4,
        crashes: 2,
        removals: 4,
        deletions: 2,
        drifts: 2,
        flips: 8,
        ..Budget::without_faults(200)
    };
    let mut world = World::new(&Setup {
        pods: 2 + usize::from(seed.is_multiple_of(2)),
        slow: 2,
        services: 1,
        tick: Duration::from_millis(500),
        budget,
        defect,
    });
    let mut schedule = Schedule::default();
    let mut numbers = seed;
    for _ in 0..600 {
        // The constants of Knuth's MMIX generator; its high bits are the better ones.
        numbers = numbers
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let number = u32::try_from(numbers >> 32).unwrap_or(0);
        let Some(choice) = schedule.pick(&world, number) else {
            break;
        };
        world.apply(choice);
        if world.violation.is_some() {
            return world.violation;
        }
    }
    None
}

#[test]
fn no_rule_taken_out_breaks_nothing() {
    assert_eq!(break_one(None, 5_000), None);
}

#[test]
fn a_switch_without_compare_and_swap_is_noticed() {
    let found = break_one(Some(Defect::CompareAndSwap), LIMIT);
    assert!(
        matches!(found, Some((Violation::EpochFell { .. }, _))),
        "{found:?}"
    );
}

#[test]
fn a_switch_without_the_epoch_check_is_noticed() {
    let found = break_one(Some(Defect::EpochCheck), LIMIT);
    assert!(
        matches!(found, Some((Violation::EpochFell { .. }, _))),
        "{found:?}"
    );
}

#[test]
fn expiry_without_the_observed_clock_is_noticed() {
    let found = break_one(Some(Defect::ObservedClock), LIMIT);
    let expected = Some(());
    let early = |v| {
        matches!(
            v,
            Violation::LeaseTakenEarly { .. } | Violation::TwoLeaders(..)
        )
    };
    assert_eq!(
        found.clone().and_then(|(v, _)| early(v).then_some(())),
        expected,
        "{found:?}"
    );
}

#[test]
fn a_new_term_that_writes_nothing_is_noticed() {
    let found = break_one(Some(Defect::WriteInNewTerm), LIMIT);
    assert!(
        matches!(found, Some((Violation::StaleSwitch { .. }, _))),
        "{found:?}"
    );
}

#[test]
fn a_leader_without_a_deadline_is_noticed() {
    let found = break_one(Some(Defect::Deadline), LIMIT);
    assert!(
        matches!(found, Some((Violation::TwoLeaders(..), _))),
        "{found:?}"
    );
}
