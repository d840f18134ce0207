//! Every schedule within a bound: two candidates, one Service.

use std::time::Duration;

use simulator::{Budget, Setup};
use stateright::{Checker, Model};

use crate::checker::Election;

#[expect(clippy::print_stderr, reason = "how much was explored is the result")]
fn check(slow: usize, budget: Budget) {
    let setup = Setup {
        pods: 2,
        slow,
        services: 1,
        // A third of the lease: renewal, deadline and expiry fall on steps of their own.
        tick: Duration::from_secs(4),
        budget,
        #[cfg(feature = "seeded-defects")]
        defect: None,
    };
    let checker = Election { setup }.checker().threads(2).spawn_dfs().join();
    checker.assert_properties();
    let states = checker.unique_state_count();
    eprintln!("{slow} slow, {budget:?}: {states} unique states");
    assert!(states > 1_000, "only {states} states: the model is vacuous");
}

#[test]
fn two_candidates_begin_in_any_order() {
    check(2, Budget::without_faults(1));
}

#[test]
fn a_leader_is_slow_for_a_whole_lease() {
    check(1, Budget::without_faults(3));
}

#[test]
fn a_request_is_lost_or_late() {
    check(
        1,
        Budget {
            losses: 1,
            ..Budget::without_faults(1)
        },
    );
}

#[test]
fn a_container_is_restarted() {
    check(
        1,
        Budget {
            crashes: 1,
            ..Budget::without_faults(1)
        },
    );
}

#[test]
fn a_pod_is_removed_while_its_process_lives() {
    check(
        1,
        Budget {
            removals: 1,
            ..Budget::without_faults(0)
        },
    );
}

#[test]
fn a_process_is_asked_to_end() {
    check(
        1,
        Budget {
            stops: 1,
            ..Budget::without_faults(1)
        },
    );
}

#[test]
fn somebody_deletes_the_lease() {
    check(
        1,
        Budget {
            deletions: 1,
            ..Budget::without_faults(1)
        },
    );
}

#[test]
fn somebody_changes_the_service() {
    check(
        1,
        Budget {
            drifts: 1,
            ..Budget::without_faults(1)
        },
    );
}
