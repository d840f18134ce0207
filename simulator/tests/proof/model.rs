//! Every schedule within a bound.
//!
//! `MODEL=full cargo test --release -p simulator model -- --nocapture --test-threads 1` explores the
//! larger bounds too, and prints what was explored.

use std::time::Duration;

use simulator::{Budget, Setup};
use stateright::{Checker, Model};

use crate::checker::Election;

/// One bound. Of `pods` candidates the first `slow` get their turn at any time or never; the others
/// act at once, one thing after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound {
    pub(crate) pods: usize,
    pub(crate) slow: usize,
    pub(crate) services: usize,
    /// How long a step of time is, in seconds.
    pub(crate) tick: u64,
    /// I3, in seconds: for so long traffic may have nowhere to go while a prompt candidate is ready.
    /// Says something only where more time than that passes.
    pub(crate) unserved: u64,
    pub(crate) budget: Budget,
}

pub(crate) const TWO: Bound = Bound {
    pods: 2,
    slow: 1,
    services: 1,
    // A third of the lease: renewal, deadline and expiry fall on steps of their own.
    tick: 4,
    unserved: 12,
    budget: QUIET,
};

const QUIET: Budget = time(0);

pub(crate) const fn time(ticks: u16) -> Budget {
    Budget {
        ticks,
        losses: 0,
        crashes: 0,
        removals: 0,
        deletions: 0,
        drifts: 0,
        flips: 0,
        stops: 0,
        evictions: 0,
        duplicates: 0,
        refusals: 0,
        staleness: 0,
        breaks: 0,
        recreations: 0,
        unpins: 0,
        requests: 0,
        intruders: 0,
    }
}

impl Bound {
    pub(crate) fn setup(self) -> Setup {
        Setup {
            slow: self.slow,
            services: self.services,
            tick: Duration::from_secs(self.tick),
            bound: Some(Duration::from_secs(self.unserved)),
            budget: self.budget,
            ..Setup::quiet(self.pods)
        }
    }
}

fn check(name: &str, bound: Bound) {
    explore(name, bound, Election::new(bound.setup()));
}

#[expect(clippy::print_stderr, reason = "how much was explored is the result")]
fn explore(name: &str, bound: Bound, model: Election) {
    let checker = model.checker().threads(2).spawn_dfs().join();
    checker.assert_properties();
    let states = checker.unique_state_count();
    eprintln!("{name}: {states} unique states, {bound:?}");
    assert!(states > 100, "only {states} states: the model is vacuous");
}

/// Each world in which somebody leads is tried.
pub(crate) const TRIED: Bound = Bound {
    pods: 3,
    slow: 0,
    unserved: 20,
    budget: Budget {
        losses: 1,
        stops: 1,
        ..time(4)
    },
    ..TWO
};

#[test]
fn outages_and_losses_are_outlasted_in_time() {
    let model = Election::with_trials(TRIED.setup());
    explore("outages_and_losses_are_outlasted_in_time", TRIED, model);
}

/// Bounds that a change is tested with, and larger ones for a long run.
macro_rules! explored {
    ($($name:ident: $slice:expr, full $full:expr;)*) => {$(
        #[test]
        fn $name() {
            let full = std::env::var_os("MODEL").is_some_and(|value| value == "full");
            check(stringify!($name), if full { $full } else { $slice });
        }
    )*};
}

explored! {
    candidates_begin_in_any_order:
        Bound { slow: 2, budget: time(1), ..TWO },
        full Bound { slow: 2, budget: time(2), ..TWO };
    a_leader_is_slow_for_a_whole_lease:
        Bound { budget: time(3), ..TWO },
        full Bound { unserved: 16, budget: time(4), ..TWO };
    a_request_is_lost_or_late:
        Bound { budget: Budget { losses: 1, ..time(1) }, ..TWO },
        full Bound { budget: Budget { losses: 2, ..time(3) }, ..TWO };
    a_write_arrives_twice:
        Bound { budget: Budget { duplicates: 1, ..time(1) }, ..TWO },
        full Bound { budget: Budget { duplicates: 1, losses: 1, ..time(2) }, ..TWO };
    a_request_is_refused:
        Bound { budget: Budget { refusals: 1, ..time(1) }, ..TWO },
        full Bound { budget: Budget { refusals: 2, ..time(2) }, ..TWO };
    a_watch_shows_the_past:
        Bound { budget: Budget { staleness: 1, ..time(1) }, ..TWO },
        full Bound { budget: Budget { staleness: 1, ..time(3) }, ..TWO };
    a_container_is_restarted:
        Bound { budget: Budget { crashes: 1, ..time(1) }, ..TWO },
        full Bound { budget: Budget { crashes: 2, ..time(1) }, ..TWO };
    a_pod_is_removed_while_its_process_lives:
        Bound { budget: Budget { removals: 1, ..time(0) }, ..TWO },
        full Bound { budget: Budget { removals: 1, ..time(1) }, ..TWO };
    a_pod_is_deleted:
        Bound { budget: Budget { evictions: 1, ..time(0) }, ..TWO },
        full Bound { budget: Budget { evictions: 1, ..time(1) }, ..TWO };
    a_process_is_asked_to_end:
        Bound { budget: Budget { stops: 1, ..time(1) }, ..TWO },
        full Bound { budget: Budget { stops: 1, losses: 1, ..time(2) }, ..TWO };
    an_application_is_unready:
        Bound { budget: Budget { flips: 1, ..time(1) }, ..TWO },
        full Bound { budget: Budget { flips: 2, ..time(1) }, ..TWO };
    a_watch_of_the_pods_breaks:
        Bound { budget: Budget { breaks: 1, flips: 1, ..time(0) }, ..TWO },
        full Bound { tick: 6, budget: Budget { breaks: 1, flips: 1, ..time(2) }, ..TWO };
    somebody_deletes_the_lease:
        Bound { budget: Budget { deletions: 1, ..time(1) }, ..TWO },
        full Bound { budget: Budget { deletions: 2, ..time(1) }, ..TWO };
    somebody_changes_the_service:
        Bound { budget: Budget { drifts: 1, ..time(1) }, ..TWO },
        full Bound { budget: Budget { drifts: 2, ..time(1) }, ..TWO };
    somebody_makes_the_service_again:
        Bound { budget: Budget { recreations: 1, ..time(1) }, ..TWO },
        full Bound { budget: Budget { recreations: 1, ..time(3) }, ..TWO };
    the_controller_unpins:
        Bound { budget: Budget { unpins: 1, ..time(1) }, ..TWO },
        full Bound { budget: Budget { unpins: 1, ..time(3) }, ..TWO };
    an_operator_asks:
        Bound { budget: Budget { requests: 1, ..time(1) }, ..TWO },
        full Bound { budget: Budget { requests: 1, ..time(3) }, ..TWO };
    another_program_takes_the_lease:
        Bound { budget: Budget { intruders: 1, ..time(1) }, ..TWO },
        full Bound { budget: Budget { intruders: 1, ..time(3) }, ..TWO };
    two_services_and_a_lost_request:
        Bound { services: 2, budget: Budget { losses: 1, ..time(1) }, ..TWO },
        full Bound { services: 2, budget: Budget { losses: 2, drifts: 1, ..time(1) }, ..TWO };
    prompt_candidates_follow_a_deleted_pod_within_a_step:
        Bound { pods: 3, slow: 0, unserved: 4, budget: Budget { evictions: 1, ..time(3) }, ..TWO },
        full Bound { pods: 4, slow: 0, unserved: 4, budget: Budget { evictions: 1, ..time(5) }, ..TWO };
    prompt_candidates_follow_a_removed_pod_within_a_step:
        Bound { pods: 3, slow: 0, unserved: 4, budget: Budget { removals: 1, ..time(3) }, ..TWO },
        full Bound { pods: 4, slow: 0, unserved: 4, budget: Budget { removals: 1, ..time(5) }, ..TWO };
    prompt_candidates_follow_an_unready_application_within_a_step:
        Bound { pods: 3, slow: 0, unserved: 4, budget: Budget { flips: 1, ..time(3) }, ..TWO },
        full Bound { pods: 4, slow: 0, unserved: 4, budget: Budget { flips: 1, ..time(5) }, ..TWO };
    prompt_candidates_follow_a_lost_request_within_three_steps:
        Bound { slow: 0, unserved: 12, budget: Budget { losses: 1, evictions: 1, ..time(4) }, ..TWO },
        full Bound { pods: 3, slow: 0, unserved: 12, budget: Budget { losses: 1, evictions: 1, ..time(6) }, ..TWO };
    three_candidates_and_a_deleted_pod:
        Bound { pods: 3, budget: Budget { evictions: 1, ..time(0) }, ..TWO },
        full Bound { pods: 3, budget: Budget { evictions: 1, ..time(1) }, ..TWO };
    three_candidates_and_a_removed_pod:
        Bound { pods: 3, budget: Budget { removals: 1, ..time(0) }, ..TWO },
        full Bound { pods: 3, budget: Budget { removals: 1, losses: 1, ..time(0) }, ..TWO };
}
