//! A world as a model for depth-first search (breadth-first would need gigabytes).

use std::time::Duration;

use election::Timing;
use simulator::{Cause, Choice, Setup, Violation, World};
use stateright::{Model, Property};

use crate::run::{PERIOD, STUMBLE};

/// What every world keeps: I3 within the bound that a setup has, too.
pub(crate) const INVARIANTS: &str = "I1, I2, I3, I6 and I11";

pub(crate) const OUTAGE: &str = "an outage moves nobody";

pub(crate) const HICCUPS: &str = "stumbling keeps nobody from following within three leases";

pub(crate) const FOLLOWED: &str = "a lost leader is followed in the time that its loss allows";

pub(crate) const KNOWN: &str = "who gets unready after an outage waits until it knows who is not";

/// Longer than a lease; and time enough for a renewal afterwards.
const AWAY: Duration = Duration::from_secs(16);
const SETTLE: Duration = Duration::from_secs(8);

/// So long after an outage the pods are not listed yet. Less than a lease.
const LATE: Duration = Duration::from_secs(8);

pub(crate) struct Election {
    setup: Setup,
    /// What is looked for.
    wanted: fn(&Violation) -> bool,
    /// Whether each world in which somebody leads is tried.
    trials: bool,
}

impl Election {
    pub(crate) fn new(setup: Setup) -> Self {
        Self {
            setup,
            wanted: |_| true,
            trials: false,
        }
    }

    /// Each world in which somebody leads is tried: the server is away, or stumbles; the leader is lost.
    pub(crate) fn with_trials(setup: Setup) -> Self {
        Self {
            trials: true,
            ..Self::new(setup)
        }
    }

    /// Only a violation of this kind counts.
    #[cfg(feature = "seeded-defects")]
    pub(crate) fn that_may_break(setup: Setup, wanted: fn(&Violation) -> bool) -> Self {
        Self {
            wanted,
            ..Self::new(setup)
        }
    }
}

/// Whether who leads also does after the server was away.
fn outlasts_an_outage(_: &Election, world: &World) -> bool {
    if !world.is_settled() {
        return true;
    }
    let mut after = world.clone();
    after.lose_the_server(AWAY);
    after.settle(SETTLE);
    after.violation.is_none() && after.leaders() == world.leaders()
}

/// Whether somebody follows a lost leader although the server stumbles.
fn outlasts_hiccups(_: &Election, world: &World) -> bool {
    if !world.is_settled() {
        return true;
    }
    let mut after = world.clone();
    let took = after.recover_through_hiccups(PERIOD, STUMBLE);
    took.is_some_and(|took| took <= 3 * Timing::default().lease())
}

/// Whether somebody follows a leader who is lost in any way, within the bound of that way.
fn is_followed_in_time(_: &Election, world: &World) -> bool {
    if !world.is_settled() {
        return true;
    }
    let mut calm = world.clone();
    calm.settle(SETTLE);
    Cause::ALL.into_iter().all(|cause| {
        let took = calm.clone().recover(cause);
        took.is_some_and(|took| took <= cause.bound(&Timing::default()))
    })
}

/// Whether a leader that gets unready after an outage hands over to who is ready.
fn waits_until_it_knows(_: &Election, world: &World) -> bool {
    if !world.is_settled() {
        return true;
    }
    let mut after = world.clone();
    after.settle(SETTLE);
    let bound = LATE + Cause::Unready.bound(&Timing::default());
    let followed = after.recover_blind(AWAY, LATE);
    followed.is_some_and(|(ready, took)| ready && took <= bound)
}

impl Model for Election {
    type State = World;
    type Action = Choice;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(&self.setup)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Choice>) {
        if world.violation.is_none() {
            actions.extend(world.choices());
        }
    }

    fn next_state(&self, world: &World, choice: Choice) -> Option<World> {
        let mut next = world.clone();
        next.apply(choice);
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let kept = |model: &Self, world: &World| {
            let violation = world.violation.as_ref();
            !violation.is_some_and(model.wanted)
        };
        let led = |_: &Self, world: &World| world.is_settled();
        let mut properties = vec![
            Property::always(INVARIANTS, kept),
            Property::sometimes("somebody leads", led),
        ];
        if self.trials {
            properties.push(Property::always(OUTAGE, outlasts_an_outage));
            properties.push(Property::always(HICCUPS, outlasts_hiccups));
            properties.push(Property::always(FOLLOWED, is_followed_in_time));
            properties.push(Property::always(KNOWN, waits_until_it_knows));
        }
        properties
    }
}
