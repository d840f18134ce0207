//! A server, some candidates, the messages between them, and time.

use std::time::Duration;

use election::{Config, Event, Failure, Holder, Identity, Notice, PodName, PodUid, Target, Timing};

use crate::node::{Behind, Node};
use crate::server::PodObject;
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
    /// Whose clock goes wrong, and how fast it goes, in thousandths of the true rate.
    pub rate: Option<(usize, u32)>,
    /// I3: for how long the Services may name no pod that may serve, while one is there whose
    /// sidecar is not slow. `None`: not judged.
    pub bound: Option<Duration>,
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
    pub(crate) nodes: Vec<Node>,
    /// Whose node stands still, if one does.
    pub(crate) frozen: Option<usize>,
    /// The server does not answer, and its watches are silent.
    pub(crate) outage: bool,
    /// The server does not answer lists of pods yet, and only this one sees its own pod.
    pub(crate) sighted: Option<usize>,
    slow: usize,
    pub(crate) tick: Duration,
    pub(crate) rate: Option<(usize, u32)>,
    bound: Option<Duration>,
    unserved: Duration,
    pub(crate) uids: u16,
}

impl Setup {
    /// So many pods, all of them prompt, one Service, steps of half a second, and nothing goes wrong.
    pub fn quiet(pods: usize) -> Self {
        Self {
            pods,
            slow: 0,
            services: 1,
            tick: Duration::from_millis(500),
            rate: None,
            bound: None,
            budget: Budget::default(),
            #[cfg(feature = "seeded-defects")]
            defect: None,
        }
    }
}

impl World {
    /// Pods `a`, `b`, ... are ready, their sidecars have just started, nobody leads.
    pub fn new(setup: &Setup) -> Self {
        let identities: Vec<Identity> = ('a'..='z').take(setup.pods).filter_map(first_of).collect();
        let pod = |id: &Identity| PodObject {
            identity: id.clone(),
            ready: true,
            leaving: false,
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
            frozen: None,
            outage: false,
            sighted: None,
            slow: setup.slow,
            tick: setup.tick,
            rate: setup.rate,
            bound: setup.bound,
            unserved: Duration::ZERO,
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
            if self.frozen != Some(node) && !it.retired {
                self.choices_of(node, it, &mut choices);
            }
        }
        let prompt = |c: &Choice| c.node().is_some_and(|n| n >= self.slow) && !c.is_fault();
        if let Some(first) = choices.iter().find(|choice| prompt(choice)).copied() {
            choices.retain(|choice| *choice == first || !prompt(choice));
        } else if self.budget.ticks > 0 {
            choices.push(Choice::Tick);
        }
        self.choices_of_others(&mut choices);
        choices
    }

    /// What people and other programs may do.
    fn choices_of_others(&self, choices: &mut Vec<Choice>) {
        let (budget, server) = (&self.budget, &self.server);
        let lease = server.lease.is_some();
        let services = server.services.iter().any(Option::is_some);
        let all = [
            (budget.deletions > 0 && lease, Choice::DeleteLease),
            (budget.drifts > 0 && services, Choice::Drift),
            (budget.recreations > 0 && services, Choice::DeleteServices),
            (budget.unpins > 0 && services, Choice::Unpin),
            (budget.requests > 0 && lease, Choice::Ask),
            (budget.requests > 0 && lease, Choice::Pause),
            (budget.intruders > 0 && lease, Choice::Intrude),
            (!services, Choice::CreateServices),
        ];
        choices.extend(all.into_iter().filter_map(|(may, it)| may.then_some(it)));
    }

    fn choices_of(&self, node: usize, it: &Node, choices: &mut Vec<Choice>) {
        for (message, m) in it.messages.iter().enumerate() {
            choices.extend(match m.answer {
                Some(_) => Some(Choice::Deliver { node, message }),
                None if !self.outage => Some(Choice::Execute { node, message }),
                None => m.awaited.then_some(Choice::GiveUp { node, message }),
            });
            if m.awaited && self.budget.losses > 0 && !self.outage {
                choices.push(Choice::GiveUp { node, message });
            }
            if m.answer.is_none() && m.is_write() && self.budget.duplicates > 0 {
                choices.push(Choice::Duplicate { node, message });
            }
            if m.answer.is_none() && m.awaited && self.budget.refusals > 0 {
                let failures = [Failure::Unknown, Failure::Refused, Failure::Denied];
                choices.extend(failures.map(|failure| Choice::Refuse {
                    node,
                    message,
                    failure,
                }));
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
            // What is leaving goes without being a fault of its own.
            let leaving = self.server.pods.get(node).is_some_and(|pod| pod.leaving);
            let removals = self.budget.removals.max(u16::from(leaving));
            choices.extend(may(removals, Choice::Remove { node }));
            let evictions = if leaving { 0 } else { self.budget.evictions };
            choices.extend(may(evictions, Choice::Evict { node }));
        }
        choices.extend(it.is_due().then_some(Choice::Wake { node }));
        let behind = if self.outage {
            Behind::default()
        } else {
            it.behind
        };
        choices.extend(behind.lease.then_some(Choice::SeeLease { node }));
        choices.extend(behind.services.then_some(Choice::SeeServices { node }));
        let late = self.sighted.is_some_and(|sighted| sighted != node);
        choices.extend((behind.pods && !late).then_some(Choice::SeePods { node }));
        let lists = it.blind && !self.outage && self.sighted.is_none();
        choices.extend(lists.then_some(Choice::ListPeers { node }));
        if it.kept.is_some() {
            choices.push(Choice::SeeKept { node });
        } else {
            choices.extend(may(self.budget.staleness, Choice::Keep { node }));
        }
        let breaks = if it.blind { 0 } else { self.budget.breaks };
        choices.extend(may(breaks, Choice::BreakPeers { node }));
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
            Choice::Duplicate { node, message } => self.duplicate(node, message),
            Choice::Refuse {
                node,
                message,
                failure,
            } => self.refuse(node, message, failure),
            Choice::Keep { node } => self.keep(node),
            Choice::SeeKept { node } => self.see_kept(node),
            Choice::SeeLease { node } => self.see_lease(node),
            Choice::SeeServices { node } => self.see_services(node),
            Choice::SeePods { node } => self.see_pods(node),
            Choice::BreakPeers { node } => self.break_peers(node),
            Choice::ListPeers { node } => self.list_peers(node),
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
            Choice::Evict { node } => self.evict(node),
            Choice::Remove { node } => self.remove(node),
            Choice::Replace { node } => {
                self.with(node, Node::forget);
                self.start(node)
            }
            Choice::Flip { node } => self.flip(node),
            others => self.let_others_act(others),
        };
        if self.server.serves() {
            self.unserved = Duration::ZERO;
        }
        self.violation = self.violation.take().or_else(|| self.two_leaders());
        notices
    }

    fn let_others_act(&mut self, choice: Choice) -> Vec<Notice> {
        let (budget, server) = (&mut self.budget, &mut self.server);
        match choice {
            Choice::DeleteLease => {
                budget.deletions -= 1;
                server.delete_lease();
            }
            Choice::Ask => {
                budget.requests -= 1;
                server.edit_lease(|record| record.switchover_to = Some(Target::Any));
            }
            Choice::Pause => {
                budget.requests -= 1;
                server.edit_lease(|record| record.paused = !record.paused);
            }
            Choice::Intrude => {
                budget.intruders -= 1;
                server.edit_lease(|record| {
                    record.holder = Some(Holder::Foreign("another".to_owned()));
                    record.given_up_by = None;
                });
            }
            Choice::Drift => {
                budget.drifts -= 1;
                server.drift();
            }
            Choice::DeleteServices => {
                budget.recreations -= 1;
                server.delete_services();
            }
            Choice::CreateServices => server.create_services(),
            Choice::Unpin => {
                budget.unpins -= 1;
                server.unpin();
            }
            _ => {}
        }
        self.fall_behind(|behind| {
            behind.lease = true;
            behind.services = true;
        })
    }

    /// How many pods there are.
    pub fn pods(&self) -> usize {
        self.nodes.len()
    }

    /// One step of time.
    pub fn tick(&self) -> Duration {
        self.tick
    }

    /// The pods that answer true at this moment, but for the documented exception: those that were
    /// removed while their process lives.
    pub fn leaders(&self) -> Vec<&Identity> {
        let there = |id: &&Identity| self.server.pods.iter().any(|pod| pod.identity == **id);
        let leaders = self.nodes.iter().filter(|node| node.is_leader());
        let leaders = leaders.map(|node| &node.config.identity);
        leaders.filter(there).collect()
    }

    fn is_removed(&self, node: usize) -> bool {
        let identity = self.nodes.get(node).map(|it| &it.config.identity);
        identity.is_some_and(|id| self.server.pods.iter().all(|pod| pod.identity != *id))
    }

    /// I3: counts for how long traffic has had nowhere to go, although it could.
    pub(crate) fn judge_service(&mut self) {
        let Some(bound) = self.bound else { return };
        let paused = self.server.lease.as_ref();
        let paused = paused.is_some_and(|(lease, _)| lease.record.paused);
        if self.server.serves() || paused || !self.has_prompt_candidate() {
            self.unserved = Duration::ZERO;
            return;
        }
        self.unserved += self.tick;
        if self.unserved > bound && self.violation.is_none() {
            self.violation = Some(Violation::Unserved(self.unserved));
        }
    }

    fn has_prompt_candidate(&self) -> bool {
        let runs = |(i, it): (usize, &Node)| {
            let pod = self.server.pods.get(i);
            let mine = pod.is_some_and(|pod| pod.identity == it.config.identity && pod.may_serve());
            i >= self.slow && it.process.is_some() && mine
        };
        self.nodes.iter().enumerate().any(runs)
    }

    fn two_leaders(&self) -> Option<Violation> {
        match self.leaders().as_slice() {
            [one, other, ..] => Some(Violation::TwoLeaders((*one).clone(), (*other).clone())),
            _ => None,
        }
    }
}

fn first_of(name: char) -> Option<Identity> {
    let pod = PodName::parse(&name.to_string()).ok()?;
    Some(Identity {
        pod,
        uid: PodUid::new("0"),
    })
}
