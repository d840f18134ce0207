//! Each rule taken out is noticed: the same seeded runs, and the same model, with a defect, come to a
//! failure of the kind that the rule is there to prevent.

use election::Defect;
use simulator::{Budget, Cause, Setup, Violation};
use stateright::{Checker, Model};

use crate::{
    checker::{Election, FOLLOWED, HICCUPS, INVARIANTS, KNOWN, OUTAGE},
    model::{Bound, TRIED, TWO, time},
    run::{Failure, Run},
};

/// The most seeds that a defect may survive.
const LIMIT: u64 = 20_000;

/// What fails first that is `expected`, and at which seed. What else a defect breaks on the way does
/// not count.
#[expect(clippy::print_stderr, clippy::panic, reason = "the seed is the result")]
fn notices(defect: Defect, expected: impl Fn(&Failure) -> bool) {
    let mut others = 0;
    for seed in 0..LIMIT {
        match Run::new(seed, Some(defect)).go() {
            Err(failure) if expected(&failure) => {
                eprintln!("{defect:?}: seed {seed}: {failure:?}");
                return;
            }
            Err(_) => others += 1,
            Ok(_) => {}
        }
    }
    panic!("{defect:?} survived {LIMIT} seeds, {others} of which failed otherwise");
}

fn stale(failure: &Failure) -> bool {
    matches!(failure, Failure::Broken(violation) if falls(violation))
}

fn early(failure: &Failure) -> bool {
    matches!(failure, Failure::Broken(violation) if hastens(violation))
}

fn two_leaders(failure: &Failure) -> bool {
    matches!(failure, Failure::Broken(violation) if doubles(violation))
}

/// A new Lease counts from nought again, and the stored epoch is above all that follow.
fn stuck(failure: &Failure) -> bool {
    matches!(
        failure,
        Failure::Leaderless | Failure::Broken(Violation::Livelock)
    )
}

macro_rules! noticed {
    ($($name:ident: $defect:ident by $expected:expr;)*) => {$(
        #[test]
        fn $name() {
            notices(Defect::$defect, $expected);
        }
    )*};
}

noticed! {
    a_switch_without_compare_and_swap: CompareAndSwap by stale;
    a_switch_without_the_epoch_check: EpochCheck by stale;
    transitions_for_an_epoch: TransitionsAsEpoch by stuck;
    a_repair_by_a_confirmation_of_the_past: CachedConfirmation by stale;
    a_new_term_that_writes_nothing: WriteInNewTerm by stale;
    expiry_without_the_observed_clock: ObservedClock by early;
    expiry_by_a_wall_clock: WallClock by early;
    a_release_of_anothers_lease: ForeignRelease by early;
    evidence_from_a_cache: CachedEvidence by early;
    a_version_fresher_than_the_judged_one: FresherVersion by early;
    a_leader_without_a_deadline: Deadline by two_leaders;
    a_leader_after_its_handover: LeadsAfterHandover by two_leaders;
    an_outage_that_counts_towards_expiry: OutageAsExpiry by
        |failure| matches!(failure, Failure::MovedByOutage);
    an_outage_that_resets_the_observation: OutageResets by
        |failure| matches!(failure, Failure::LateThroughHiccups(_));
    a_handover_that_leaves_the_old_uid: HandoverKeepsUid by
        |failure| matches!(failure, Failure::Late(Cause::Evicted | Cause::Stopped | Cause::Unready, _));
    a_handover_for_a_whole_lease: HandoverKeepsDuration by
        |failure| matches!(failure, Failure::Late(Cause::EvictedToSilence, _));
    a_handover_by_a_broken_watch: StalePeers by
        |failure| matches!(failure, Failure::LedUnready);
}

/// A counterexample in the model: a violation of this kind, within this bound.
#[expect(
    clippy::print_stderr,
    reason = "the length of the way there is the result"
)]
fn refutes(defect: Defect, property: &'static str, model: Election) {
    let checker = model.checker().spawn_dfs().join();
    let path = checker.assert_any_discovery(property);
    let violation = path.last_state().violation.clone();
    let last = violation.map_or_else(|| property.to_owned(), |violation| format!("{violation:?}"));
    let states = checker.unique_state_count();
    let steps = path.into_actions().len();
    eprintln!("{defect:?}: against {last}, after {steps} steps, {states} states explored");
}

fn with(defect: Defect, bound: Bound) -> Setup {
    Setup {
        defect: Some(defect),
        ..bound.setup()
    }
}

fn falls(violation: &Violation) -> bool {
    matches!(
        violation,
        Violation::EpochFell { .. } | Violation::StaleSwitch { .. }
    )
}

fn hastens(violation: &Violation) -> bool {
    matches!(violation, Violation::LeaseTakenEarly { .. })
}

fn doubles(violation: &Violation) -> bool {
    matches!(violation, Violation::TwoLeaders(..))
}

fn starves(violation: &Violation) -> bool {
    matches!(violation, Violation::Unserved(_) | Violation::Livelock)
}

macro_rules! refuted {
    ($($name:ident: $defect:ident in $bound:expr, by $wanted:expr;)*) => {
        mod refuted {
            use super::*;
            $(#[test]
            fn $name() {
                let defect = Defect::$defect;
                let model = Election::that_may_break(with(defect, $bound), $wanted);
                refutes(defect, INVARIANTS, model);
            })*
        }
    };
}

const LATE: Budget = Budget {
    losses: 1,
    ..time(4)
};

#[test]
fn an_outage_that_counts_towards_expiry_in_the_model() {
    let model = Election::with_trials(with(Defect::OutageAsExpiry, TRIED));
    refutes(Defect::OutageAsExpiry, OUTAGE, model);
}

#[test]
fn an_outage_that_resets_the_observation_in_the_model() {
    let model = Election::with_trials(with(Defect::OutageResets, TRIED));
    refutes(Defect::OutageResets, HICCUPS, model);
}

#[test]
fn a_handover_for_a_whole_lease_in_the_model() {
    let model = Election::with_trials(with(Defect::HandoverKeepsDuration, TRIED));
    refutes(Defect::HandoverKeepsDuration, FOLLOWED, model);
}

#[test]
fn a_handover_by_a_broken_watch_in_the_model() {
    let model = Election::with_trials(with(Defect::StalePeers, TRIED));
    refutes(Defect::StalePeers, KNOWN, model);
}

/// A bound within which I3 is broken by a defect, and by nothing else.
#[test]
fn without_a_defect_somebody_is_served_in_time() {
    for bound in [LEASE_DELETED, HANDED_OVER] {
        let model = Election::new(bound.setup());
        let checker = model.checker().threads(2).spawn_dfs().join();
        checker.assert_no_discovery(INVARIANTS);
    }
}

const LEASE_DELETED: Bound = Bound {
    slow: 0,
    unserved: 28,
    budget: Budget {
        deletions: 1,
        evictions: 1,
        ..time(12)
    },
    ..TWO
};

const HANDED_OVER: Bound = Bound {
    slow: 0,
    tick: 1,
    unserved: 1,
    budget: Budget {
        evictions: 1,
        ..time(8)
    },
    ..TWO
};

refuted! {
    a_switch_without_compare_and_swap: CompareAndSwap in Bound { budget: LATE, ..TWO }, by falls;
    a_switch_without_the_epoch_check: EpochCheck
        in Bound { budget: Budget { stops: 1, deletions: 1, ..time(0) }, ..TWO }, by falls;
    a_repair_by_a_confirmation_of_the_past: CachedConfirmation
        in Bound { budget: Budget { drifts: 1, ..time(4) }, ..TWO }, by falls;
    a_new_term_that_writes_nothing: WriteInNewTerm
        in Bound { budget: Budget { stops: 1, ..time(4) }, ..TWO }, by falls;
    transitions_for_an_epoch: TransitionsAsEpoch in LEASE_DELETED, by starves;
    expiry_without_the_observed_clock: ObservedClock in Bound { budget: time(4), ..TWO }, by hastens;
    expiry_by_a_wall_clock: WallClock in Bound { budget: time(4), ..TWO }, by hastens;
    a_release_of_anothers_lease: ForeignRelease
        in Bound { budget: Budget { stops: 1, ..time(4) }, ..TWO }, by hastens;
    evidence_from_a_cache: CachedEvidence
        in Bound { budget: Budget { removals: 1, staleness: 1, ..time(1) }, ..TWO }, by hastens;
    a_version_fresher_than_the_judged_one: FresherVersion
        in Bound { pods: 3, budget: Budget { removals: 1, ..time(0) }, ..TWO }, by hastens;
    a_leader_without_a_deadline: Deadline in Bound { budget: time(4), ..TWO }, by doubles;
    a_leader_after_its_handover: LeadsAfterHandover
        in Bound { budget: Budget { evictions: 1, ..time(1) }, ..TWO }, by doubles;
    a_handover_that_leaves_the_old_uid: HandoverKeepsUid in HANDED_OVER, by starves;
}
