//! What people do on purpose, in order: a rollout, a scale-down, a drain are made of these.

use std::time::Duration;

use election::Timing;

use crate::{Budget, Choice, World};

impl World {
    /// The pod that leads, by its place, if one leads alone.
    pub fn leading(&self) -> Option<usize> {
        self.leading_node()
    }

    /// A settled world's pods at these places are deleted in one go, and each goes on for a while: how
    /// long until one of the others leads, or the same as before. `None`: for longer than thrice a
    /// lease.
    pub fn evict_all(&mut self, nodes: &[usize]) -> Option<Duration> {
        for node in nodes {
            self.budget = Budget {
                evictions: 1,
                ..Budget::default()
            };
            drop(self.apply(Choice::Evict { node: *node }));
        }
        self.measure(3 * Timing::default().lease(), |world| {
            let leads = world.leading_node();
            world.is_settled() && leads.is_some_and(|leads| !nodes.contains(&leads))
        })
    }

    /// A pod that was deleted is gone, its process too, and none takes its place.
    pub fn retire(&mut self, node: usize) {
        drop(self.apply(Choice::Remove { node }));
        self.with(node, |it| {
            it.forget();
            it.retired = true;
        });
        if let Some(pod) = self.server.pods.get_mut(node) {
            pod.ready = false;
        }
    }
}
