//! A server, some candidates, the messages between them, and time.

use std::time::Duration;

use election::{Config, Event, Identity, Notice, PodName, PodUid, State, Timing};

use crate::check::judge;
use crate::node::{Behind, Node};
use crate::server::{Change, PodObject};
use crate::{Budget, Choice, Server, Violation};

/// How a world begins.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    /// How many pods.
    pub pods: usize,
    /// How many of them are slow: their turn comes at any time, or never. What the others can do
    /// they do before time goes on, one thing after the other.
    pub slow: usize,
    /// How many Services.
    pub services: usize,
    /// One step of time.
    pub tick: Duration,
    /// What may go wrong.
    pub budget: Budget,
    /// The rule that every candidate breaks.
    #[cfg(feature = "seeded-defects")]
    pub defect: Option<election::Defect>,
}

/// All there is, at one moment. Two equal worlds have the same future.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    /// What is stored.
    pub server: Server,
    /// What may still go wrong.
    pub budget: Budget,
    /// The first invariant that did not hold.
    pub violation: Option<Violation>,
    nodes: Vec<Node>,
    slow: usize,
    tick: Duration,
    uids: u16,
}

impl World {
    /// Pods `a`, `b`, ... are ready, their sidecars have just started, nobody leads.
    pub fn new(setup: &Setup) -> Self {
        let identities: Vec<Identity> = ('a'..='z').take(setup.pods).filter_map(first_of).collect();
        let pod = |id: &Identity| PodObject {
            identity: id.clone(),
            ready: true,
        };
        let node = |id: Identity| {
            #[cfg_attr(
                not(feature = "seeded-defects"),
                allow(unused_mut, reason = "see below")
            )]
            let mut config = Config::new(id, Timing::default(), setup.services);
            #[cfg(feature = "seeded-defects")]
            {
                config.defect = setup.defect;
            }
            Node::new(config)
        };
        let mut world = Self {
            server: Server::new(setup.services, identities.iter().map(pod).collect()),
            budget: setup.budget,
            violation: None,
            nodes: identities.into_iter().map(node).collect(),
            slow: setup.slow,
            tick: setup.tick,
            uids: 0,
        };
        for node in 0..world.nodes.len() {
            world.see(node);
        }
        world
    }

    /// Everything that can happen next.
    pub fn choices(&self) -> Vec<Choice> {
        let mut choices = Vec::new();
        for (node, it) in self.nodes.iter().enumerate() {
            self.choices_of(node, it, &mut choices);
        }
        let prompt = |c: &Choice| c.node().is_some_and(|n| n >= self.slow) && !c.is_fault();
        if let Some(first) = choices.iter().find(|choice| prompt(choice)).copied() {
            choices.retain(|choice| *choice == first || !prompt(choice));
        } else if self.budget.ticks > 0 {
            choices.push(Choice::Tick);
        }
        if self.budget.deletions > 0 && self.server.lease.is_some() {
            choices.push(Choice::DeleteLease);
        }
        if self.budget.drifts > 0 {
            choices.push(Choice::Drift);
        }
        choices
    }

    fn choices_of(&self, node: usize, it: &Node, choices: &mut Vec<Choice>) {
        for (message, m) in it.messages.iter().enumerate() {
            choices.push(match m.answer {
                Some(_) => Choice::Deliver { node, message },
                None => Choice::Execute { node, message },
            });
            if m.awaited && self.budget.losses > 0 {
                choices.push(Choice::GiveUp { node, message });
            }
        }
        let may = |budget: u16, choice: Choice| (budget > 0).then_some(choice);
        if it.process.is_none() {
            let removed = self.is_removed(node);
            choices.push(if removed {
                Choice::Replace { node }
            } else {
                Choice::Restart { node }
            });
            return;
        }
        if self.is_removed(node) {
            choices.push(Choice::Replace { node });
        } else {
            choices.extend(may(self.budget.removals, Choice::Remove { node }));
        }
        choices.extend(it.is_due().then_some(Choice::Wake { node }));
        choices.extend(it.behind.lease.then_some(Choice::SeeLease { node }));
        choices.extend(it.behind.services.then_some(Choice::SeeServices { node }));
        choices.extend(it.behind.pods.then_some(Choice::SeePods { node }));
        choices.extend(may(self.budget.crashes, Choice::Crash { node }));
        choices.extend(may(self.budget.flips, Choice::Flip { node }));
        choices.extend(may(self.budget.stops, Choice::Stop { node }));
    }

    /// Lets one thing happen: what the candidates would tell people.
    pub fn apply(&mut self, choice: Choice) -> Vec<Notice> {
        let notices = match choice {
            Choice::Execute { node, message } => self.execute(node, message),
            Choice::Deliver { node, message } => self.deliver(node, message),
            Choice::GiveUp { node, message } => self.give_up(node, message),
            Choice::SeeLease { node } => self.see_lease(node),
            Choice::SeeServices { node } => self.see_services(node),
            Choice::SeePods { node } => self.see_pods(node),
            Choice::Wake { node } => self.take(node, Event::Tick),
            Choice::Stop { node } => {
                self.budget.stops -= 1;
                self.take(node, Event::Stop)
            }
            Choice::Tick => self.pass_time(),
            Choice::Crash { node } => {
                self.budget.crashes -= 1;
                self.with(node, Node::forget)
            }
            Choice::Restart { node } => self.start(node),
            Choice::Remove { node } => self.remove(node),
            Choice::Replace { node } => {
                self.with(node, Node::forget);
                self.start(node)
            }
            Choice::Flip { node } => self.flip(node),
            Choice::DeleteLease => {
                self.budget.deletions -= 1;
                self.server.delete_lease();
                self.fall_behind(|behind| behind.lease = true)
            }
            Choice::Drift => {
                self.budget.drifts -= 1;
                self.server.drift();
                self.fall_behind(|behind| behind.services = true)
            }
        };
        self.violation = self.violation.take().or_else(|| self.two_leaders());
        notices
    }

    /// How many pods there are.
    pub fn pods(&self) -> usize {
        self.nodes.len()
    }

    /// The pods that answer true at this moment.
    pub fn leaders(&self) -> Vec<&Identity> {
        let leaders = self.nodes.iter().filter(|node| node.is_leader());
        leaders.map(|node| &node.config.identity).collect()
    }

    fn two_leaders(&self) -> Option<Violation> {
        // The documented exception: a leader whose pod was removed while its process lives.
        let there = |id: &&Identity| self.server.pods.iter().any(|pod| pod.identity == **id);
        let leaders: Vec<&Identity> = self.leaders().into_iter().filter(there).collect();
        match leaders.as_slice() {
            [one, other, ..] => Some(Violation::TwoLeaders((*one).clone(), (*other).clone())),
            _ => None,
        }
    }

    fn execute(&mut self, node: usize, message: usize) -> Vec<Notice> {
        let leaders = self.nodes.iter().filter(|it| it.is_leader());
        let led: Vec<_> = leaders
            .map(|it| (it.config.identity.clone(), it.epoch()))
            .collect();
        let Some(it) = self.nodes.get_mut(node) else {
            return Vec::new();
        };
        let Some(m) = it.messages.get_mut(message) else {
            return Vec::new();
        };
        let others = led.into_iter().filter(|(leader, _)| *leader != m.sender);
        let epoch = others.filter_map(|(_, epoch)| epoch).max();
        let (answer, change) = self.server.execute(&m.request);
        let violation = judge(&self.server, &m.sender, epoch, &change);
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

    fn deliver(&mut self, node: usize, message: usize) -> Vec<Notice> {
        let Some(it) = self.nodes.get_mut(node) else {
            return Vec::new();
        };
        let m = it.messages.remove(message);
        m.answer.map_or_else(Vec::new, |answer| it.take(answer))
    }

    fn give_up(&mut self, node: usize, message: usize) -> Vec<Notice> {
        self.budget.losses -= 1;
        let Some(it) = self.nodes.get_mut(node) else {
            return Vec::new();
        };
        let Some(m) = it.messages.get_mut(message) else {
            return Vec::new();
        };
        let failure = m.failure();
        m.awaited = false;
        if m.answer.is_some() || !m.is_write() {
            it.messages.remove(message);
        }
        it.take(failure)
    }

    fn see_lease(&mut self, node: usize) -> Vec<Notice> {
        let lease = self.server.lease.as_ref().map(|(lease, _)| lease.clone());
        self.with(node, |it| it.behind.lease = false);
        self.take(node, Event::LeaseSeen(lease))
    }

    fn see_services(&mut self, node: usize) -> Vec<Notice> {
        self.with(node, |it| it.behind.services = false);
        let views = self.server.views().into_iter().enumerate();
        let seen = views.map(|(service, view)| Event::ServiceSeen { service, view });
        seen.collect::<Vec<_>>()
            .into_iter()
            .flat_map(|event| self.take(node, event))
            .collect()
    }

    fn see_pods(&mut self, node: usize) -> Vec<Notice> {
        let Some(it) = self.nodes.get_mut(node) else {
            return Vec::new();
        };
        it.behind.pods = false;
        it.see_pods(&self.server)
    }

    /// All watches of a node catch up.
    fn see(&mut self, node: usize) -> Vec<Notice> {
        let mut notices = self.see_pods(node);
        notices.extend(self.see_services(node));
        notices.extend(self.see_lease(node));
        notices
    }

    fn take(&mut self, node: usize, event: Event) -> Vec<Notice> {
        self.nodes
            .get_mut(node)
            .map_or_else(Vec::new, |it| it.take(event))
    }

    fn with(&mut self, node: usize, change: impl FnOnce(&mut Node)) -> Vec<Notice> {
        if let Some(it) = self.nodes.get_mut(node) {
            change(it);
        }
        Vec::new()
    }

    fn fall_behind(&mut self, change: impl Fn(&mut Behind)) -> Vec<Notice> {
        for node in &mut self.nodes {
            change(&mut node.behind);
        }
        Vec::new()
    }

    fn pass_time(&mut self) -> Vec<Notice> {
        self.budget.ticks -= 1;
        self.server.pass(self.tick);
        for node in &mut self.nodes {
            node.process = node
                .process
                .as_ref()
                .map(|state| state.normalise(State::ANCHOR + self.tick));
        }
        Vec::new()
    }

    fn is_removed(&self, node: usize) -> bool {
        let identity = self.nodes.get(node).map(|it| &it.config.identity);
        identity.is_some_and(|id| self.server.pods.iter().all(|pod| pod.identity != *id))
    }

    fn remove(&mut self, node: usize) -> Vec<Notice> {
        self.budget.removals -= 1;
        self.uids += 1;
        let uid = PodUid::new(&format!("{}", self.uids));
        if let Some(pod) = self.server.pods.get_mut(node) {
            pod.identity.uid = uid;
        }
        self.fall_behind(|behind| behind.pods = true)
    }

    fn start(&mut self, node: usize) -> Vec<Notice> {
        let Some(identity) = self.server.pods.get(node).map(|pod| pod.identity.clone()) else {
            return Vec::new();
        };
        self.with(node, |it| it.start(identity));
        self.see(node)
    }

    fn flip(&mut self, node: usize) -> Vec<Notice> {
        self.budget.flips -= 1;
        if let Some(pod) = self.server.pods.get_mut(node) {
            pod.ready = !pod.ready;
        }
        self.fall_behind(|behind| behind.pods = true)
    }

    /// Nothing goes wrong any more: every pod is ready, and everything that can happen happens at
    /// once, for `ticks` steps of time.
    pub fn settle(&mut self, ticks: u16) {
        self.budget = Budget::without_faults(ticks);
        for pod in &mut self.server.pods {
            pod.ready = true;
        }
        self.fall_behind(|behind| behind.pods = true);
        while self.violation.is_none() {
            let choices = self.choices();
            let prompt = choices
                .iter()
                .find(|choice| !matches!(choice, Choice::Tick));
            match prompt.or(choices.first()) {
                Some(choice) => drop(self.apply(*choice)),
                None => break,
            }
        }
    }

    /// Whether one pod leads, holds the Lease, and every Service names it.
    pub fn is_settled(&self) -> bool {
        let [leader] = self.leaders()[..] else {
            return false;
        };
        let pod = Some(leader.pod.as_str());
        let named = |s: &election::Service| s.selected.as_deref() == pod;
        self.server.holder() == Some(leader) && self.server.services.iter().all(named)
    }
}

fn first_of(name: char) -> Option<Identity> {
    let pod = PodName::parse(&name.to_string()).ok()?;
    Some(Identity {
        pod,
        uid: PodUid::new("0"),
    })
}
