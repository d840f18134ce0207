//! A random order of things.

use crate::{Choice, World};

/// Chooses what happens next: a fault now and then, else time, else somebody's turn. For some while
/// one of the candidates gets no turn at all, as if it were frozen.
#[derive(Debug, Clone, Copy, Default)]
pub struct Schedule {
    turns: u32,
    asleep: Option<usize>,
}

impl Schedule {
    /// For so many turns the same candidate sleeps.
    const SLEEP: u32 = 60;

    /// One of the world's choices, by a random number; `None` when nothing can happen any more.
    pub fn pick(&mut self, world: &World, number: u32) -> Option<Choice> {
        if self.turns.is_multiple_of(Self::SLEEP) {
            // Every other time nobody sleeps.
            let sleeper = number as usize % (2 * world.pods());
            self.asleep = (sleeper < world.pods()).then_some(sleeper);
        }
        self.turns += 1;
        let (die, rest) = (number % 16, number as usize / 16);
        let wanted = |choice: &Choice| match die {
            0 => choice.is_fault(),
            1..=3 => *choice == Choice::Tick,
            _ => !choice.is_fault() && *choice != Choice::Tick,
        };
        let mut choices = world.choices();
        let time = choices.contains(&Choice::Tick).then_some(Choice::Tick);
        choices.retain(|choice| {
            let asleep = choice.node().is_some() && choice.node() == self.asleep;
            wanted(choice) && (!asleep || choice.is_fault())
        });
        choices.get(rest % choices.len().max(1)).copied().or(time)
    }
}
