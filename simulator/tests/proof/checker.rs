//! A world as a model for depth-first search (breadth-first would need gigabytes).

use simulator::{Choice, Setup, Violation, World};
use stateright::{Model, Property};

/// The property that no defect may keep.
pub(crate) const INVARIANTS: &str = "I1, I2, I6 and I11";

pub(crate) struct Election {
    setup: Setup,
    /// What is looked for.
    wanted: fn(&Violation) -> bool,
}

impl Election {
    pub(crate) fn new(setup: Setup) -> Self {
        Self {
            setup,
            wanted: |_| true,
        }
    }

    /// Only a violation of this kind counts.
    #[cfg(feature = "seeded-defects")]
    pub(crate) fn that_may_break(setup: Setup, wanted: fn(&Violation) -> bool) -> Self {
        Self { setup, wanted }
    }
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
        vec![
            Property::always(INVARIANTS, |model: &Self, world: &World| {
                !world.violation.as_ref().is_some_and(model.wanted)
            }),
            Property::sometimes("somebody leads", |_, world: &World| world.is_settled()),
        ]
    }
}
