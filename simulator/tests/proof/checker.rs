//! A world as a model for depth-first search (breadth-first would need gigabytes).

use simulator::{Choice, Setup, World};
use stateright::{Model, Property};

/// The property that no defect may keep.
pub(crate) const INVARIANTS: &str = "I1, I2, I6 and I11";

pub(crate) struct Election {
    pub(crate) setup: Setup,
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
            Property::always(INVARIANTS, |_, world: &World| world.violation.is_none()),
            Property::sometimes("somebody leads", |_, world: &World| world.is_settled()),
        ]
    }
}
