//! One event in, the next state and the actions out.
//!
//! First the event is taken into the state, then each lane that is free is asked what it would do
//! next, and when. The same answers give [`State::wake_at`], so that a caller who sleeps until then
//! misses nothing.

use std::time::Duration;

use crate::config::{Config, Defect};
use crate::protocol::{Action, Event, Failure, Notice, OwnPod, Peer, PodFate, Why};
use crate::state::{LeaseCall, Progress, Role, Sight, State, Suspect, Term};
use crate::{Holder, Lease, LeaseRecord, ServiceView, Target, Timing, Version};

/// Takes `event` into `state` at `now`, and says what to do about it.
///
/// `now` counts from the caller's start, on a clock that goes on in suspend, and never goes back.
pub fn step(config: &Config, state: State, event: Event, now: Duration) -> (State, Vec<Action>) {
    let mut turn = Turn {
        config,
        state,
        now,
        fresh: false,
        actions: Vec::new(),
    };
    turn.take(event);
    turn.expire();
    turn.yield_to_a_rival();
    turn.give_up();
    turn.run_lease_lane();
    turn.run_service_lane();
    (turn.state, turn.actions)
}

impl State {
    /// When to send [`Event::Tick`], if nothing else happens before. `None`: only an event helps.
    pub fn wake_at(&self, config: &Config) -> Option<Duration> {
        let deadline = self.leading().map(|term| term.valid_until(config));
        let lease = self.lease_intent(config).map(|(at, _)| at);
        let stays = self.leading().is_some_and(|term| term.giving_up.is_none());
        let unready = self.unready_at(config).filter(|_| stays);
        [
            deadline,
            lease,
            self.switch_at(),
            self.stuck_at(config),
            unready,
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

/// One call of [`step`].
pub(crate) struct Turn<'a> {
    pub(crate) config: &'a Config,
    pub(crate) state: State,
    pub(crate) now: Duration,
    /// The Lease in sight is the answer of a quorum, in this very step.
    pub(crate) fresh: bool,
    pub(crate) actions: Vec<Action>,
}

impl Turn<'_> {
    fn take(&mut self, event: Event) {
        match event {
            Event::Tick => {}
            Event::Stop => self.state.stop = true,
            Event::Pod(pod) => self.take_pod(pod),
            Event::Peers(peers) => self.take_peers(peers),
            Event::PeersStale => {
                self.state.stale_since.get_or_insert(self.now);
            }
            Event::Strangers(strangers) => self.take_strangers(strangers),
            Event::LeaseSeen(lease) => self.take_lease_seen(lease),
            Event::LeaseRead(answer) => self.take_lease_read(answer),
            Event::LeaseWritten(answer) => self.take_lease_written(answer),
            Event::PodRead(answer) => self.take_pod_read(answer),
            Event::ServiceSeen { service, view } => self.take_service_seen(service, view),
            Event::ServicesRead(answer) => self.take_services_read(answer),
            Event::ServiceWritten(answer) => self.take_service_written(answer),
        }
    }

    fn take_pod(&mut self, pod: OwnPod) {
        let since = self.state.unready_since.unwrap_or(self.now);
        self.state.unready_since = (!pod.candidate).then_some(since);
        self.state.pod = pod;
    }

    fn take_peers(&mut self, peers: Vec<Peer>) {
        let absolved = self.state.absolved.take();
        self.state.absolved = absolved.filter(|id| peers.iter().all(|p| p.identity != *id));
        self.state.peers = peers;
        self.state.stale_since = None;
        self.suspect_the_holder();
    }

    fn take_lease_seen(&mut self, lease: Option<Lease>) {
        self.hear();
        match (lease, &mut self.state.role) {
            (None, Role::Leading(term)) => term.confirm = true,
            (None, Role::Standby) => {
                self.state.doubt |= matches!(self.state.sight, Sight::Seen { .. });
            }
            (Some(lease), _) if !self.state.sight.is_older_than(lease.version) => {}
            (Some(lease), Role::Leading(term)) => {
                if !lease.record.is_held_by(&self.config.identity) {
                    self.see(lease);
                    self.lose(Why::Replaced);
                } else if self.state.lease_call.is_none() {
                    term.confirm = true;
                }
            }
            (Some(lease), Role::Standby) => self.see(lease),
        }
    }

    fn take_lease_read(&mut self, answer: Result<Option<Lease>, Failure>) {
        let call = self.state.lease_call.take();
        let Ok(lease) = answer else {
            self.take_silence();
            return;
        };
        self.hear();
        self.state.pace.failures = 0;
        self.state.doubt = false;
        if self.is_outrun(call, lease.as_ref()) {
            match &mut self.state.role {
                Role::Leading(term) => term.confirm = true,
                Role::Standby => self.state.doubt = true,
            }
            return;
        }
        self.fresh = true;
        let known = match (&self.state.sight, &lease) {
            (Sight::Seen { lease: seen, .. }, Some(read)) => seen.version == read.version,
            _ => false,
        };
        match lease {
            Some(_) if known => {}
            Some(lease) => self.see(lease),
            None => self.see_absence(),
        }
        self.confirm_the_term();
    }

    /// Whether the watch has shown more since this was read: then what was read says nothing.
    fn is_outrun(&self, call: Option<LeaseCall>, read: Option<&Lease>) -> bool {
        let in_sight = self.state.sight.version();
        match (read, call) {
            (Some(read), _) => in_sight > Some(read.version),
            (None, Some(LeaseCall::Read { seen })) => in_sight.is_some() && in_sight != seen,
            (None, _) => false,
        }
    }

    /// The Lease was just read: is this pod's term still what it says?
    fn confirm_the_term(&mut self) {
        let Role::Leading(term) = &mut self.state.role else {
            return;
        };
        term.confirm = false;
        match &self.state.sight {
            Sight::Seen { lease, .. } if lease.record.is_held_by(&self.config.identity) => {
                term.version = lease.version;
                term.transitions = lease.record.transitions;
                if lease.record.term != term.number {
                    term.number = term.number.max(lease.record.term);
                    term.progress = Progress::Renewing;
                }
            }
            Sight::Seen { .. } => self.lose(Why::Replaced),
            Sight::Absent { .. } | Sight::Never => term.progress = Progress::Renewing,
        }
    }

    fn take_lease_written(&mut self, answer: Result<Version, Failure>) {
        let call = self.state.lease_call.take();
        if matches!(answer, Err(Failure::Refused | Failure::Denied)) {
            self.report(Notice::Refused);
        }
        match (call, answer) {
            (
                Some(LeaseCall::Begin {
                    record,
                    how,
                    sent,
                    predecessor,
                }),
                Ok(version),
            ) => {
                self.begin_term(&record, how, sent, predecessor, version);
                self.see_own_write(record, version);
            }
            (Some(LeaseCall::Begin { .. }), Err(Failure::Unknown)) => {
                self.state.pace.yield_until = self.now + self.config.timing.patience();
                self.slow_down();
            }
            (
                Some(LeaseCall::Renew {
                    record,
                    sent,
                    refused,
                }),
                Ok(version),
            ) => self.take_renewal(record, sent, refused, version),
            (Some(LeaseCall::Renew { .. }), Err(failure)) if failure != Failure::Conflict => {
                let again = self.now + Timing::RETRY;
                self.state.pace.not_before = again;
                if let Role::Leading(term) = &mut self.state.role {
                    term.renew_at = again;
                }
            }
            (Some(LeaseCall::Release { record }), Ok(version)) => {
                self.see_own_write(record, version);
                self.state.released = true;
                self.state.role = Role::Standby;
            }
            (Some(LeaseCall::Release { .. }), Err(failure)) if failure != Failure::Conflict => {
                self.state.released |= matches!(self.state.role, Role::Standby);
                self.slow_down();
            }
            (_, Err(Failure::Conflict)) => self.take_conflict(),
            (_, Err(_)) => self.slow_down(),
            (_, Ok(_)) => {}
        }
    }

    /// The Lease is not what was judged: read it, at once the first time.
    fn take_conflict(&mut self) {
        match &mut self.state.role {
            Role::Leading(term) => term.confirm = true,
            Role::Standby => self.state.doubt = true,
        }
        let pace = &mut self.state.pace;
        let pause = Timing::RETRY * u32::from(pace.conflicts.min(5));
        pace.conflicts = pace.conflicts.saturating_add(1);
        pace.not_before = pace.not_before.max(self.now + pause);
    }

    fn take_renewal(
        &mut self,
        record: LeaseRecord,
        sent: Duration,
        refused: Option<Target>,
        version: Version,
    ) {
        let Role::Leading(term) = &mut self.state.role else {
            // The term ended while this was under way: what the Lease says now is to be read.
            self.state.doubt = true;
            return;
        };
        term.acked = sent;
        term.version = version;
        term.renew_at = sent + self.config.timing.renew();
        self.see_own_write(record, version);
        if let Some(to) = refused {
            let leads_already = to == Target::Pod(self.config.identity.pod.as_str().to_owned());
            self.report(Notice::SwitchoverRefused { to, leads_already });
        }
    }

    fn take_pod_read(&mut self, answer: Result<PodFate, Failure>) {
        let Some(LeaseCall::ReadPod { lease }) = self.state.lease_call.take() else {
            return;
        };
        match answer {
            Ok(PodFate::Gone) => self.claim_by_evidence(&lease),
            Ok(PodFate::Present) => {
                self.state.absolved = lease.record.candidate().cloned();
                self.state.suspect = None;
            }
            Err(_) => self.take_silence(),
        }
    }

    /// A read failed.
    fn take_silence(&mut self) {
        self.state.contact.failing = true;
        self.state.contact.wary = true;
        self.slow_down();
    }

    /// The API server answered about the Lease. A span without answers does not count towards the
    /// holder's expiry: the holder had none either. Nor towards the wait for a broken watch.
    fn hear(&mut self) {
        let contact = &mut self.state.contact;
        let outage = self.now.saturating_sub(contact.last);
        let failed = std::mem::replace(&mut contact.failing, false);
        contact.last = self.now;
        if !failed {
            return;
        }
        let outage = match () {
            () if self.config.breaks(Defect::OutageAsExpiry) => Duration::ZERO,
            () if self.config.breaks(Defect::OutageResets) => self.now,
            () => outage,
        };
        match &mut self.state.sight {
            Sight::Seen { since: t, .. } | Sight::Absent { until: t, .. } => *t += outage,
            Sight::Never => {}
        }
        if let Sight::Seen { since, .. } = &mut self.state.sight {
            *since = (*since).min(self.now);
        }
        if let Some(since) = &mut self.state.stale_since {
            *since = (*since + outage).min(self.now);
        }
    }

    /// Another record stands: observation starts.
    fn see(&mut self, lease: Lease) {
        if let Some(Holder::Foreign(name)) = &lease.record.holder
            && self.state.reported_foreign.as_ref() != Some(name)
        {
            self.state.reported_foreign = Some(name.clone());
            self.report(Notice::ForeignHolder(name.clone()));
        }
        self.state.contact.wary = false;
        let since = match &self.state.sight {
            Sight::Seen { since, .. } if self.config.breaks(Defect::ObservedClock) => *since,
            _ if self.config.breaks(Defect::WallClock) => {
                self.now.saturating_sub(lease.record.duration / 2)
            }
            _ => self.now,
        };
        self.state.sight = Sight::Seen { lease, since };
        self.suspect_the_holder();
    }

    fn see_own_write(&mut self, record: LeaseRecord, version: Version) {
        self.hear();
        self.state.pace.failures = 0;
        self.state.doubt = false;
        self.state.sight = Sight::Seen {
            lease: Lease { record, version },
            since: self.now,
        };
        self.suspect_the_holder();
    }

    /// A quorum says that there is no Lease: the last holder may make it again at once, the others
    /// wait out what they had observed.
    fn see_absence(&mut self) {
        self.state.sight = match &self.state.sight {
            Sight::Absent { .. } => return,
            Sight::Never => Sight::Absent {
                until: self.now,
                term: 0,
            },
            Sight::Seen { lease, since } => {
                let mine = lease.record.is_held_by(&self.config.identity);
                let free = mine || lease.record.holder.is_none();
                let until = if free {
                    self.now
                } else {
                    *since + lease.record.duration
                };
                Sight::Absent {
                    until,
                    term: lease.record.term,
                }
            }
        };
        self.suspect_the_holder();
    }

    /// The peers' watch does not show the holder's pod, or shows that it will never run again: that
    /// is reason enough to ask.
    fn suspect_the_holder(&mut self) {
        let holder = match &self.state.sight {
            Sight::Seen { lease, .. } => lease.record.candidate(),
            Sight::Never | Sight::Absent { .. } => None,
        };
        let runs = |peer: &Peer| Some(&peer.identity) == holder && !peer.finished;
        let known = self.state.peers.is_empty() || self.state.peers.iter().any(runs);
        let suspect = holder.filter(|id| {
            !known && **id != self.config.identity && Some(*id) != self.state.absolved.as_ref()
        });
        let earlier = self.state.suspect.take();
        self.state.suspect = suspect.map(|id| match earlier {
            Some(earlier) if earlier.identity == *id => earlier,
            _ => Suspect {
                identity: id.clone(),
                since: self.now,
            },
        });
    }

    /// A request failed: wait, a little longer each time.
    pub(crate) fn slow_down(&mut self) {
        let leads = matches!(self.state.role, Role::Leading(_));
        let pace = &mut self.state.pace;
        let factor = if leads { 1 } else { 1 << pace.failures.min(4) };
        pace.failures = pace.failures.saturating_add(1);
        pace.not_before = self.now + (Timing::RETRY * factor).min(self.config.timing.poll());
    }

    pub(crate) fn report(&mut self, notice: Notice) {
        self.actions.push(Action::Report(notice));
    }

    /// At the deadline the local answer turns false first; what the network allows comes later.
    fn expire(&mut self) {
        let valid_until = self.state.valid_until(self.config);
        let keeps = self.config.breaks(Defect::Deadline);
        if valid_until.is_some_and(|end| self.now >= end) && !keeps {
            self.lose(Why::Deadline);
        }
    }

    fn give_up(&mut self) {
        let stuck = self.state.stuck_at(self.config);
        if stuck.is_some_and(|at| at <= self.now) {
            self.step_back(Why::Stuck);
        }
        let Some(why) = self.state.reason_to_give_up(self.config, self.now) else {
            return;
        };
        if self.state.is_paused() && matches!(why, Why::Gone | Why::Stopped) {
            self.state.released = true;
            self.lose(why);
        } else {
            self.step_back(why);
        }
    }

    /// The answer turns false now; the Lease lane then hands over.
    pub(crate) fn step_back(&mut self, why: Why) {
        let patience = self.now + self.config.timing.lease();
        let Role::Leading(
            term @ Term {
                giving_up: None, ..
            },
        ) = &mut self.state.role
        else {
            return;
        };
        term.giving_up = Some(why);
        if matches!(why, Why::Unready | Why::Denied | Why::Stuck) {
            self.state.pace.yield_until = patience;
        }
        self.report(Notice::Lost(why));
    }

    fn lose(&mut self, why: Why) {
        if let Role::Leading(term) = std::mem::replace(&mut self.state.role, Role::Standby)
            && term.giving_up.is_none()
        {
            self.report(Notice::Lost(why));
        }
    }

    fn take_service_seen(&mut self, service: usize, view: ServiceView) {
        self.state.services.resize(self.config.services, None);
        let Some(known) = self.state.services.get(service) else {
            return;
        };
        let old_news = match (known, &view) {
            (Some(ServiceView::Present(known)), ServiceView::Present(seen)) => {
                seen.version <= known.version
            }
            _ => false,
        };
        if old_news {
            return;
        }
        let epoch = view.present().map(|s| s.epoch);
        if self.state.leading().is_some() {
            self.report_what_cannot_be_switched(service, &view);
        }
        if let Some(known) = self.state.services.get_mut(service) {
            *known = Some(view);
        }
        if let Role::Leading(term) = &mut self.state.role
            && matches!(term.progress, Progress::Fenced { .. })
            && epoch.is_some_and(|stored| stored <= term.epoch)
        {
            term.progress = Progress::Due {
                at: self.now,
                repair: true,
            };
        }
    }
}

impl Sight {
    fn is_older_than(&self, version: Version) -> bool {
        match self {
            Self::Seen { lease, .. } => lease.version < version,
            Self::Never | Self::Absent { .. } => true,
        }
    }
}
