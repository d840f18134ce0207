//! The Lease lane: what to do next about the Lease, and when.

use std::time::Duration;

use crate::protocol::{Action, How};
use crate::state::{Config, Fight, LeaseCall, Predecessor, Progress, Role, Sight, State, Term};
use crate::step::Turn;
use crate::{Holder, Lease, LeaseRecord, Notice, ServiceView, Version};

/// What the Lease lane would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Intent {
    Read,
    /// Make the Lease, or take it: a quorum must have shown the judged record in this very step.
    Claim(How),
    Renew,
    /// The same leader, a new term.
    Repair,
    Release,
}

impl State {
    /// The next intention of the Lease lane and its time, if the lane is free.
    pub(crate) fn lease_intent(&self, config: &Config) -> Option<(Duration, Intent)> {
        if self.lease_call.is_some() {
            return None;
        }
        match &self.role {
            Role::Leading(term) => Some(self.leader_intent(config, term)),
            Role::Standby => self.standby_intent(config),
        }
    }

    fn leader_intent(&self, config: &Config, term: &Term) -> (Duration, Intent) {
        let soon = self.pace.not_before;
        let renew = (term.renew_at, Intent::Renew);
        if term.confirm {
            return (soon, Intent::Read);
        }
        if term.giving_up.is_some() {
            return (soon, Intent::Release);
        }
        let repair = match term.progress {
            Progress::Renewing => return (soon, Intent::Repair),
            Progress::Fenced { until } => Some(until.max(soon)),
            Progress::Drifted => Some(self.fight.next().max(soon)),
            Progress::Done if self.has_drifted(config, term) => Some(self.fight.next().max(soon)),
            Progress::Done | Progress::Due { .. } => None,
        };
        match repair {
            Some(at) if at <= renew.0 => (at, Intent::Repair),
            _ => renew,
        }
    }

    fn standby_intent(&self, config: &Config) -> Option<(Duration, Intent)> {
        let soon = self.pace.not_before;
        if self.pod.gone || self.pod.leaving || self.stop {
            let mine = self.sight.names(&config.identity) && !self.released;
            return mine.then_some((soon, Intent::Release));
        }
        if !self.pod.candidate {
            return None;
        }
        match &self.sight {
            _ if self.doubt => Some((soon, Intent::Read)),
            Sight::Never => Some((soon, Intent::Read)),
            Sight::Absent { until, .. } => Some((
                (*until + self.rank_delay(config)).max(soon),
                Intent::Claim(How::Vacant),
            )),
            Sight::Seen { lease, since } => {
                let (claim, how) = self.claim(config, lease, *since);
                let check = self.next_check(&lease.record);
                let next = if claim <= check {
                    (claim, Intent::Claim(how))
                } else {
                    (check, Intent::Read)
                };
                Some((next.0.max(soon), next.1))
            }
        }
    }

    /// When this standby may take the Lease, and by what right.
    fn claim(&self, config: &Config, lease: &Lease, since: Duration) -> (Duration, How) {
        let delay = self.rank_delay(config);
        let yields = |at: Duration| at.max(self.pace.yield_until);
        match &lease.record.holder {
            None if self.has_other_candidate(config) => (yields(since + delay), How::Vacant),
            None => (since, How::Vacant),
            Some(Holder::Candidate(id)) if *id == config.identity => (since, How::Resumed),
            Some(holder) => {
                let expiry = yields(since + lease.record.duration + delay);
                match &self.suspect {
                    Some(suspect) if suspect.since + delay < expiry => (
                        suspect.since + delay,
                        How::Evidence(suspect.identity.clone()),
                    ),
                    _ => (expiry, How::Expired(holder.clone())),
                }
            }
        }
    }

    /// The holder's renewals are the watch's heartbeat: when they do not come, ask.
    fn next_check(&self, record: &LeaseRecord) -> Duration {
        (self.contact.last + record.duration / 2).max(self.pace.read_at + record.duration / 6)
    }

    fn has_drifted(&self, config: &Config, term: &Term) -> bool {
        let says = |view: &ServiceView| {
            view.present()
                .is_none_or(|s| s.says(config.identity.pod.as_str(), term.epoch))
        };
        !self.services.iter().flatten().all(says)
    }
}

impl Fight {
    /// The longest pause between two repairs, while somebody keeps undoing them.
    const LONGEST: Duration = Duration::from_mins(1);
    /// Nobody fights any more when the last repair has held for so long.
    const FORGET: Duration = Duration::from_mins(2);

    /// When the next repair may begin: at once, then after 1 s, 2 s, 4 s and so on.
    fn next(&self) -> Duration {
        let pause = match self.rounds {
            0 => Duration::ZERO,
            n => Duration::from_secs(1 << (n - 1).min(6)).min(Self::LONGEST),
        };
        self.last + pause
    }

    fn count(&mut self, now: Duration) {
        let quiet = now.saturating_sub(self.last) > Self::FORGET;
        self.rounds = if quiet {
            1
        } else {
            self.rounds.saturating_add(1).min(8)
        };
        self.last = now;
    }
}

impl Turn<'_> {
    pub(crate) fn run_lease_lane(&mut self) {
        let Some((at, intent)) = self.state.lease_intent(self.config) else {
            return;
        };
        if at > self.now {
            return;
        }
        match intent {
            Intent::Read => self.read_lease(),
            Intent::Renew => self.renew(),
            Intent::Repair => self.repair(),
            Intent::Release => self.release(),
            Intent::Claim(how) => self.claim(how),
        }
    }

    fn read_lease(&mut self) {
        self.state.pace.read_at = self.now;
        self.state.lease_call = Some(LeaseCall::Read);
        self.actions.push(Action::ReadLease);
    }

    fn claim(&mut self, how: How) {
        match &self.state.sight {
            Sight::Absent { .. } => self.begin(how),
            Sight::Seen { .. } if !self.fresh => self.read_lease(),
            Sight::Seen { lease, .. } => match how {
                How::Evidence(identity) => {
                    self.state.lease_call = Some(LeaseCall::ReadPod {
                        lease: lease.clone(),
                    });
                    self.actions.push(Action::ReadPod(identity));
                }
                how => self.begin(how),
            },
            Sight::Never => {}
        }
    }

    /// A quorum said that the holder's pod is gone, after one had shown this Lease.
    pub(crate) fn claim_by_evidence(&mut self, judged: &Lease) {
        let stands = matches!(&self.state.sight, Sight::Seen { lease, .. } if lease == judged);
        let may = self.state.pod.candidate
            && self.state.reason_to_give_up(self.config).is_none()
            && self.state.leading().is_none();
        if let (true, true, Some(id)) = (stands, may, judged.record.candidate()) {
            self.begin(How::Evidence(id.clone()));
        }
    }

    /// Writes the Lease as the first write of a new term.
    fn begin(&mut self, how: How) {
        let me = &self.config.identity;
        let (transitions, term, seen) = match &self.state.sight {
            Sight::Seen { lease, .. } => {
                let changes = i32::from(!lease.record.is_held_by(me));
                let transitions = lease.record.transitions.saturating_add(changes);
                (transitions, lease.record.term, Some(lease.version))
            }
            Sight::Absent { term, .. } => (0, *term, None),
            Sight::Never => return,
        };
        let predecessor = self.predecessor(&how);
        let term = term.max(self.state.term().unwrap_or(0)) + 1;
        let record = LeaseRecord {
            holder: Some(Holder::Candidate(me.clone())),
            given_up_by: None,
            duration: self.config.timing.lease(),
            transitions,
            term,
        };
        self.state.lease_call = Some(LeaseCall::Begin {
            record: record.clone(),
            how,
            sent: self.now,
            predecessor,
        });
        self.write(record, seen);
    }

    fn repair(&mut self) {
        if self
            .state
            .leading()
            .is_some_and(|term| term.progress.repairs())
        {
            self.state.fight.count(self.now);
        }
        self.begin(How::Repair);
    }

    fn renew(&mut self) {
        let Some(term) = self.state.leading() else {
            return;
        };
        let (record, seen) = (term.record(self.config), term.version);
        self.state.lease_call = Some(LeaseCall::Renew { sent: self.now });
        self.write(record, Some(seen));
    }

    /// Empties the holder, so that another candidate need not wait. Only what names this pod.
    fn release(&mut self) {
        let Sight::Seen { lease, .. } = &self.state.sight else {
            self.state.role = Role::Standby;
            return;
        };
        let seen = self
            .state
            .leading()
            .map_or(lease.version, |term| term.version);
        let record = LeaseRecord {
            holder: None,
            given_up_by: Some(self.config.identity.clone()),
            transitions: lease.record.transitions.saturating_add(1),
            ..lease.record.clone()
        };
        self.state.lease_call = Some(LeaseCall::Release {
            record: record.clone(),
        });
        self.write(record, Some(seen));
    }

    fn write(&mut self, record: LeaseRecord, seen: Option<Version>) {
        let timing = &self.config.timing;
        let left = self
            .state
            .valid_until(self.config)
            .map(|end| end.saturating_sub(self.now));
        let timeout = left.map_or(timing.write(), |left| timing.write().min(left));
        self.actions.push(Action::WriteLease {
            record,
            seen,
            timeout,
        });
    }

    /// The write that begins a term is acknowledged.
    pub(crate) fn begin_term(
        &mut self,
        record: &LeaseRecord,
        how: How,
        sent: Duration,
        predecessor: Predecessor,
        version: Version,
    ) {
        let earlier = self.state.leading();
        let repair = earlier.is_some_and(|term| term.progress.repairs());
        let switched = earlier.is_some_and(|term| term.switched);
        let giving_up = earlier.and_then(|term| term.giving_up);
        let predecessor = earlier.map_or(predecessor, |term| term.predecessor.clone());
        self.state.role = Role::Leading(Term {
            number: record.term,
            epoch: version.epoch(),
            version,
            transitions: record.transitions,
            acked: sent,
            renew_at: sent + self.config.timing.renew(),
            confirm: false,
            predecessor,
            switched,
            progress: Progress::Due {
                at: self.now,
                repair,
            },
            giving_up,
        });
        self.state.released = false;
        self.report(Notice::Elected {
            epoch: version.epoch(),
            term: record.term,
            how,
        });
    }

    fn predecessor(&self, how: &How) -> Predecessor {
        match (how, &self.state.sight) {
            (How::Expired(_), _) => Predecessor::Outwaited,
            (How::Evidence(id), _) => Predecessor::AnyBut(id.pod.clone()),
            (How::Vacant, Sight::Seen { lease, .. }) => match &lease.record.given_up_by {
                Some(id) => Predecessor::AnyBut(id.pod.clone()),
                None => Predecessor::Any,
            },
            _ => Predecessor::Any,
        }
    }
}
