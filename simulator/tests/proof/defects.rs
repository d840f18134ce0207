//! Each rule taken out is noticed: the same seeded runs, with a defect, come to a failure of the
//! kind that the rule is there to prevent.

use election::Defect;
use simulator::{Cause, Violation};

use crate::run::{Failure, Run};

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
    matches!(
        failure,
        Failure::Broken(Violation::EpochFell { .. } | Violation::StaleSwitch { .. })
    )
}

fn early(failure: &Failure) -> bool {
    matches!(failure, Failure::Broken(Violation::LeaseTakenEarly { .. }))
}

fn two_leaders(failure: &Failure) -> bool {
    matches!(failure, Failure::Broken(Violation::TwoLeaders(..)))
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
}
