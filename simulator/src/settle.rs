//! How a world comes to rest, and how long traffic waits for it.

use std::time::Duration;

use election::{Identity, Timing};

use crate::node::Behind;
use crate::{Budget, Choice, Violation, World};

/// What takes a leader away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Its pod is deleted.
    Evicted,
    /// Its pod is deleted, and the pod that it names as its successor says nothing.
    EvictedToSilence,
    /// Its process is asked to end.
    Stopped,
    /// Its application is unready.
    Unready,
    /// Its pod is gone, and its process says nothing any more.
    Removed,
    /// Its process dies, and starts again.
    Restarted,
    /// Its node is lost: nothing is heard of it any more.
    Lost,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Evicted,
        Self::EvictedToSilence,
        Self::Stopped,
        Self::Unready,
        Self::Removed,
        Self::Restarted,
        Self::Lost,
    ];

    /// I3: how long it may take until another leads, or the same again.
    pub fn bound(self, timing: &Timing) -> Duration {
        let second = Duration::from_secs(1);
        match self {
            Self::Evicted | Self::Stopped | Self::Unready | Self::Removed | Self::Restarted => {
                second
            }
            Self::EvictedToSilence => 3 * second,
            Self::Lost => timing.lease() + second,
        }
    }
}

impl World {
    /// One step of time while a recovery is measured.
    pub const STEP: Duration = Duration::from_millis(100);
    /// More turns than this without a step of time are no progress.
    const LIVELY: u32 = 20_000;

    /// Nothing goes wrong any more: every pod is ready, nothing stands still, and everything that
    /// can happen happens at once, for so long.
    pub fn settle(&mut self, span: Duration) {
        self.budget = Budget::default();
        self.frozen = None;
        self.outage = false;
        self.sighted = None;
        for (pod, node) in self.server.pods.iter_mut().zip(&self.nodes) {
            pod.ready = !node.retired;
        }
        for node in 0..self.nodes.len() {
            if self.server.pods.get(node).is_some_and(|pod| pod.leaving) {
                drop(self.apply(Choice::Remove { node }));
            }
        }
        let lease = self.server.lease.as_ref();
        if lease.is_some_and(|(lease, _)| lease.record.paused) {
            self.server.edit_lease(|record| record.paused = false);
        }
        self.fall_behind(|behind| *behind = Behind::all());
        self.run(span, |_| false);
    }

    /// Lets everything happen that is no fault until `done`: how much time that took; `None`: it
    /// was not done after `limit`.
    fn run(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> Option<Duration> {
        let mut passed = Duration::ZERO;
        let mut turns = 0;
        while self.violation.is_none() {
            self.budget.ticks = 1;
            let choices = self.choices();
            let mut turn = choices.iter().filter(|choice| {
                **choice != Choice::Tick && (!choice.is_fault() || self.is_part_of_outage(choice))
            });
            if let Some(choice) = turn.next() {
                turns += 1;
                if turns > Self::LIVELY {
                    self.violation = Some(Violation::Livelock);
                }
                drop(self.apply(*choice));
                continue;
            }
            turns = 0;
            if done(self) {
                return Some(passed);
            }
            if passed >= limit {
                return None;
            }
            passed += self.tick;
            drop(self.apply(Choice::Tick));
        }
        None
    }

    fn is_part_of_outage(&self, choice: &Choice) -> bool {
        self.outage && matches!(choice, Choice::GiveUp { .. })
    }

    /// All clocks go right. Observations that are under way were made by the wrong ones.
    pub fn set_clocks_right(&mut self) {
        self.rate = None;
    }

    /// A settled world, whose clocks go right, loses its leader: how long until there is one again. `None`: for longer than
    /// thrice a lease.
    pub fn recover(&mut self, cause: Cause) -> Option<Duration> {
        let node = self.leading_node()?;
        self.budget = Budget {
            removals: 1,
            evictions: 1,
            flips: 1,
            stops: 1,
            crashes: 1,
            ..Budget::default()
        };
        let choice = match cause {
            Cause::Evicted => Some(Choice::Evict { node }),
            Cause::EvictedToSilence => {
                // Ranked as the server lists them.
                self.frozen = (0..self.nodes.len()).find(|other| *other != node);
                Some(Choice::Evict { node })
            }
            Cause::Stopped => Some(Choice::Stop { node }),
            Cause::Unready => Some(Choice::Flip { node }),
            Cause::Removed => {
                self.frozen = Some(node);
                Some(Choice::Remove { node })
            }
            Cause::Restarted => Some(Choice::Crash { node }),
            Cause::Lost => {
                self.frozen = Some(node);
                None
            }
        };
        if let Some(choice) = choice {
            drop(self.apply(choice));
        }
        let (frozen, restarts) = (self.frozen, cause == Cause::Restarted);
        self.measure(3 * Timing::default().lease(), |world| {
            let leads = world.leading_node();
            let another = leads != Some(node) || restarts;
            world.is_settled() && another && leads != frozen
        })
    }

    /// As [`World::run`], in steps of time that tell more.
    pub(crate) fn measure(
        &mut self,
        limit: Duration,
        done: impl Fn(&Self) -> bool,
    ) -> Option<Duration> {
        let tick = std::mem::replace(&mut self.tick, Self::STEP);
        let took = self.run(limit, done);
        self.tick = tick;
        took
    }

    /// The server is away for so long: what was sent to it meanwhile is lost.
    pub fn lose_the_server(&mut self, span: Duration) {
        self.outage = true;
        self.run(span, |_| false);
        self.end_the_outage();
    }

    fn end_the_outage(&mut self) {
        self.outage = false;
        for node in &mut self.nodes {
            node.messages.retain(|message| message.awaited);
        }
        self.fall_behind(|behind| *behind = Behind::all());
    }

    /// The server is away for so long, and when the leader leads again it answers lists of pods only
    /// after `late`. Meanwhile the pod that the leader would name has turned unready, and the leader's
    /// application does now: whether the next leader's is ready, and how long it took. `None`: for
    /// longer than thrice a lease.
    pub fn recover_blind(&mut self, away: Duration, late: Duration) -> Option<(bool, Duration)> {
        let node = self.leading_node()?;
        // Ranked as the server lists them.
        let next = (0..self.nodes.len()).find(|other| *other != node)?;
        for blind in 0..self.nodes.len() {
            drop(self.break_peers(blind));
        }
        self.outage = true;
        self.run(away, |_| false);
        self.server.pods.get_mut(next)?.ready = false;
        self.sighted = Some(node);
        self.end_the_outage();
        let limit = 3 * Timing::default().lease();
        self.measure(limit, |world| {
            world.is_settled() && world.leading_node() == Some(node)
        })?;
        self.server.pods.get_mut(node)?.ready = false;
        self.fall_behind(|behind| behind.pods = true);
        let another = |world: &Self| world.is_settled() && world.leading_node() != Some(node);
        let took = self.measure(late, another).or_else(|| {
            self.sighted = None;
            Some(late + self.measure(limit, another)?)
        })?;
        let leader = self.leading_node()?;
        let ready = self.server.pods.get(leader)?.may_serve();
        self.sighted = None;
        Some((ready, took))
    }

    /// The leader's node is lost, and after each `period` the server is away for the time of a
    /// `stumble`: how long until there is a leader again.
    pub fn recover_through_hiccups(
        &mut self,
        period: Duration,
        stumble: Duration,
    ) -> Option<Duration> {
        let node = self.leading_node()?;
        self.frozen = Some(node);
        let mut passed = Duration::ZERO;
        let limit = 5 * Timing::default().lease();
        while passed < limit {
            let led = |world: &Self| world.is_settled() && world.leading_node() != Some(node);
            if let Some(took) = self.measure(period, led) {
                return Some(passed + took);
            }
            self.lose_the_server(stumble);
            passed += period + stumble;
        }
        None
    }

    /// Whether one pod leads, holds the Lease, and every Service names it.
    pub fn is_settled(&self) -> bool {
        let [leader] = self.leaders()[..] else {
            return false;
        };
        let pod = Some(leader.pod.as_str());
        let named = |s: &election::Service| s.selected.as_deref() == pod;
        self.server.holder() == Some(leader) && self.server.services.iter().flatten().all(named)
    }

    pub(crate) fn leading_node(&self) -> Option<usize> {
        let leads = |identity: &Identity| self.leaders() == [identity];
        self.nodes
            .iter()
            .position(|node| leads(&node.config.identity))
    }
}
