//! What each choice does to a world.

use election::{Event, Failure, Notice, PodUid, State};

use crate::World;
use crate::check::judge;
use crate::node::{Behind, Message, Node};
use crate::server::Change;

impl World {
    pub(crate) fn execute(&mut self, node: usize, message: usize) -> Vec<Notice> {
        let leaders = self.nodes.iter().filter(|it| it.is_leader());
        let led: Vec<_> = leaders
            .map(|it| (it.config.identity.clone(), it.epoch()))
            .collect();
        let rate = self.rate_of(node);
        let Some(it) = self.nodes.get_mut(node) else {
            return Vec::new();
        };
        let Some(m) = it.messages.get_mut(message) else {
            return Vec::new();
        };
        let others = led.into_iter().filter(|(leader, _)| *leader != m.sender);
        let epoch = others.filter_map(|(_, epoch)| epoch).max();
        let (answer, change) = self.server.execute(&m.request);
        let violation = judge(&self.server, &m.sender, rate, epoch, &change);
        if m.awaited {
            m.answer = Some(answer);
        } else {
            it.messages.remove(message);
        }
        self.violation = self.violation.take().or(violation);
        match change {
            Change::Nothing => Vec::new(),
            Change::Lease { .. } => self.fall_behind(|behind| behind.lease = true),
            Change::Service { .. } => self.fall_behind(|behind| behind.services = true),
        }
    }

    pub(crate) fn deliver(&mut self, node: usize, message: usize) -> Vec<Notice> {
        let Some(it) = self.nodes.get_mut(node) else {
            return Vec::new();
        };
        let m = it.messages.remove(message);
        m.answer.map_or_else(Vec::new, |answer| it.take(answer))
    }

    pub(crate) fn give_up(&mut self, node: usize, message: usize) -> Vec<Notice> {
        // Nobody chooses what an outage does.
        self.budget.losses = self.budget.losses.saturating_sub(1);
        let Some(it) = self.nodes.get_mut(node) else {
            return Vec::new();
        };
        let Some(m) = it.messages.get_mut(message) else {
            return Vec::new();
        };
        let failure = m.failure(Failure::Unknown);
        m.awaited = false;
        if m.answer.is_some() || !m.is_write() {
            it.messages.remove(message);
        }
        it.take(failure)
    }

    /// The message is on its way once more, and nobody waits for that one's answer.
    pub(crate) fn duplicate(&mut self, node: usize, message: usize) -> Vec<Notice> {
        self.budget.duplicates -= 1;
        self.with(node, |it| {
            if let Some(m) = it.messages.get(message).cloned() {
                it.messages.push(Message {
                    awaited: false,
                    ..m
                });
            }
        })
    }

    pub(crate) fn refuse(&mut self, node: usize, message: usize, failure: Failure) -> Vec<Notice> {
        self.budget.refusals -= 1;
        self.with(node, |it| {
            if let Some(m) = it.messages.get_mut(message) {
                m.answer = Some(m.failure(failure));
            }
        })
    }

    pub(crate) fn keep(&mut self, node: usize) -> Vec<Notice> {
        self.budget.staleness -= 1;
        let kept = Box::new(self.server.clone());
        self.with(node, |it| it.kept = Some(kept))
    }

    pub(crate) fn see_kept(&mut self, node: usize) -> Vec<Notice> {
        let Some(kept) = self.nodes.get_mut(node).and_then(|it| it.kept.take()) else {
            return Vec::new();
        };
        let Some(it) = self.nodes.get_mut(node) else {
            return Vec::new();
        };
        it.behind = Behind::all();
        let mut notices = it.see_peers(&kept);
        notices.extend(it.see_services(&kept));
        notices.extend(it.see_lease(&kept));
        notices
    }

    pub(crate) fn see_lease(&mut self, node: usize) -> Vec<Notice> {
        let Some(it) = self.nodes.get_mut(node) else {
            return Vec::new();
        };
        it.behind.lease = false;
        it.see_lease(&self.server)
    }

    pub(crate) fn see_services(&mut self, node: usize) -> Vec<Notice> {
        let Some(it) = self.nodes.get_mut(node) else {
            return Vec::new();
        };
        it.behind.services = false;
        it.see_services(&self.server)
    }

    pub(crate) fn see_pods(&mut self, node: usize) -> Vec<Notice> {
        let Some(it) = self.nodes.get_mut(node) else {
            return Vec::new();
        };
        it.behind.pods = false;
        it.see_pods(&self.server)
    }

    pub(crate) fn break_peers(&mut self, node: usize) -> Vec<Notice> {
        self.budget.breaks = self.budget.breaks.saturating_sub(1);
        self.with(node, |it| it.blind = true);
        self.take(node, Event::PeersStale)
    }

    pub(crate) fn list_peers(&mut self, node: usize) -> Vec<Notice> {
        let Some(it) = self.nodes.get_mut(node) else {
            return Vec::new();
        };
        it.blind = false;
        it.see_peers(&self.server)
    }

    /// All watches of a node catch up.
    pub(crate) fn see(&mut self, node: usize) -> Vec<Notice> {
        let mut notices = self.see_pods(node);
        notices.extend(self.see_services(node));
        notices.extend(self.see_lease(node));
        notices
    }

    pub(crate) fn take(&mut self, node: usize, event: Event) -> Vec<Notice> {
        self.nodes
            .get_mut(node)
            .map_or_else(Vec::new, |it| it.take(event))
    }

    pub(crate) fn with(&mut self, node: usize, change: impl FnOnce(&mut Node)) -> Vec<Notice> {
        if let Some(it) = self.nodes.get_mut(node) {
            change(it);
        }
        Vec::new()
    }

    pub(crate) fn fall_behind(&mut self, change: impl Fn(&mut Behind)) -> Vec<Notice> {
        for node in &mut self.nodes {
            change(&mut node.behind);
        }
        Vec::new()
    }

    pub(crate) fn pass_time(&mut self) -> Vec<Notice> {
        self.budget.ticks -= 1;
        self.server.pass(self.tick);
        let rates: Vec<u32> = (0..self.nodes.len())
            .map(|node| self.rate_of(node))
            .collect();
        for (node, rate) in self.nodes.iter_mut().zip(rates) {
            let span = self.tick * rate / 1000;
            node.process = node
                .process
                .as_ref()
                .map(|state| state.normalise(State::ANCHOR + span));
        }
        self.judge_service();
        Vec::new()
    }

    /// How fast a node's clock goes, in thousandths of the true rate.
    fn rate_of(&self, node: usize) -> u32 {
        let wrong = self.rate.filter(|(wrong, _)| *wrong == node);
        wrong.map_or(1000, |(_, rate)| rate)
    }

    pub(crate) fn evict(&mut self, node: usize) -> Vec<Notice> {
        self.budget.evictions -= 1;
        if let Some(pod) = self.server.pods.get_mut(node) {
            pod.leaving = true;
        }
        self.fall_behind(|behind| behind.pods = true)
    }

    pub(crate) fn remove(&mut self, node: usize) -> Vec<Notice> {
        self.uids += 1;
        let uid = PodUid::new(&format!("{}", self.uids));
        if let Some(pod) = self.server.pods.get_mut(node) {
            if !pod.leaving {
                self.budget.removals -= 1;
            }
            pod.identity.uid = uid;
            pod.leaving = false;
        }
        self.fall_behind(|behind| behind.pods = true)
    }

    pub(crate) fn start(&mut self, node: usize) -> Vec<Notice> {
        let Some(identity) = self.server.pods.get(node).map(|pod| pod.identity.clone()) else {
            return Vec::new();
        };
        self.with(node, |it| it.start(identity));
        self.see(node)
    }

    pub(crate) fn flip(&mut self, node: usize) -> Vec<Notice> {
        self.budget.flips -= 1;
        if let Some(pod) = self.server.pods.get_mut(node) {
            pod.ready = !pod.ready;
        }
        self.fall_behind(|behind| behind.pods = true)
    }
}
