//! The Lease lane: what to do next about the Lease, and when.

use std::time::Duration;

use crate::config::{Config, Defect};
use crate::protocol::{Action, Cause, How, Why};
use crate::state::{Fight, LeaseCall, Predecessor, Progress, Role, Sight, State, Term};
use crate::step::Turn;
use crate::{
    Epoch, Holder, Identity, Lease, LeaseRecord, Notice, ServiceView, Target, Timing, Version,
};

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
        match term.giving_up {
            Some(Why::Unready) => {
                return (soon.max(self.trusts_peers_at(config)), Intent::Release);
            }
            Some(_) => return (soon, Intent::Release),
            None => {}
        }
        // A request that could be obeyed is a reason to give up: this one cannot.
        if self.request().is_some() {
            return (soon, Intent::Renew);
        }
        let repair = match term.progress {
            Progress::Renewing => return (soon, Intent::Repair),
            Progress::Fenced { until } => Some(until.max(soon)),
            Progress::Drifted => Some(self.fight.next().max(soon)),
            Progress::Done if self.has_drifted(config, term) => Some(self.fight.next().max(soon)),
            Progress::Rivalled { .. } if self.rival().is_none() => Some(soon),
            Progress::Done | Progress::Due { .. } | Progress::Rivalled { .. } => None,
        };
        match repair {
            Some(at) if at <= renew.0 => (at, Intent::Repair),
            _ => renew,
        }
    }

    fn standby_intent(&self, config: &Config) -> Option<(Duration, Intent)> {
        let soon = self.pace.not_before;
        if self.pod.gone || self.pod.leaving || self.stop {
            let mine = self.sight.names(&config.identity);
            let mine = mine || config.breaks(Defect::ForeignRelease);
            let free = mine && !self.released && !self.is_paused();
            return free.then_some((soon, Intent::Release));
        }
        if !self.pod.candidate {
            return self.unready_intent(config);
        }
        match &self.sight {
            _ if self.doubt => Some((soon, Intent::Read)),
            Sight::Never => Some((soon, Intent::Read)),
            Sight::Absent { until, .. } => Some((
                (*until + self.rank_delay(config)).max(soon),
                Intent::Claim(How::Vacant),
            )),
            Sight::Seen { lease, since } => {
                let check = self.next_check(&lease.record);
                let next = match self.claim(config, lease, *since) {
                    Some((claim, how)) if claim <= check => (claim, Intent::Claim(how)),
                    _ => (check, Intent::Read),
                };
                Some((next.0.max(soon), next.1))
            }
        }
    }

    /// Who may not lead holds the Lease all the same: a restarted sidecar, or a successor whose pod
    /// has turned unready. A pod that is ready again in a moment goes on.
    fn unready_intent(&self, config: &Config) -> Option<(Duration, Intent)> {
        let mine = self.sight.names(&config.identity) && !self.released && !self.is_paused();
        let since = self
            .unready_since
            .filter(|_| mine && self.has_other_candidate(config))?;
        let at = (since + Timing::SETTLE).max(self.trusts_peers_at(config));
        Some((at.max(self.pace.not_before), Intent::Release))
    }

    /// When this standby may take the Lease, and by what right; `None` while nobody may.
    fn claim(&self, config: &Config, lease: &Lease, since: Duration) -> Option<(Duration, How)> {
        let delay = self.rank_delay(config);
        let yields = |at: Duration| at.max(self.pace.yield_until);
        let record = &lease.record;
        let mine = record.is_held_by(&config.identity);
        match (&record.holder, &record.given_up_by) {
            (_, Some(giver)) if mine && record.is_nomination() => {
                Some((since, How::HandedOver(giver.clone())))
            }
            _ if mine => Some((since, How::Resumed)),
            _ if record.paused => None,
            (None, _) if self.has_other_candidate(config) => {
                Some((yields(since + delay), How::Vacant))
            }
            (None, _) => Some((since, How::Vacant)),
            (Some(holder), _) => {
                let expiry = yields(since + record.duration + delay);
                let evidence = self
                    .suspect
                    .as_ref()
                    .map(|s| (s.since + delay, &s.identity));
                Some(match evidence.filter(|(at, _)| *at < expiry) {
                    Some((at, identity)) => (at, How::Evidence(identity.clone())),
                    None => (expiry, How::Expired(holder.clone())),
                })
            }
        }
    }

    /// The holder's renewals are the watch's heartbeat: when they do not come, ask.
    fn next_check(&self, record: &LeaseRecord) -> Duration {
        let often = record.duration / 6;
        let silence = if self.contact.wary {
            often
        } else {
            record.duration / 2
        };
        (self.contact.last + silence).max(self.pace.read_at + often)
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
        let seen = self.state.sight.version();
        self.state.lease_call = Some(LeaseCall::Read { seen });
        self.actions.push(Action::ReadLease);
    }

    fn claim(&mut self, how: How) {
        match &self.state.sight {
            Sight::Absent { .. } => self.begin(how),
            Sight::Seen { .. }
                if matches!(how, How::Evidence(_))
                    && self.config.breaks(Defect::CachedEvidence) =>
            {
                self.begin(how);
            }
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
        let stands = stands || self.config.breaks(Defect::FresherVersion);
        let reason = self.state.reason_to_give_up(self.config, self.now);
        let may = self.state.pod.candidate && reason.is_none() && self.state.leading().is_none();
        if let (true, true, Some(id)) = (stands, may, judged.record.candidate()) {
            self.begin(How::Evidence(id.clone()));
        }
    }

    /// Writes the Lease as the first write of a new term.
    fn begin(&mut self, how: How) {
        let me = &self.config.identity;
        let (before, term, seen) = match &self.state.sight {
            Sight::Seen { lease, .. } => {
                (Some(&lease.record), lease.record.term, Some(lease.version))
            }
            Sight::Absent { term, .. } => (None, *term, None),
            Sight::Never => return,
        };
        let changes = before.is_some_and(|record| !record.is_held_by(me));
        let transitions = before.map_or(0, |record| record.transitions);
        let request = before.and_then(|record| record.switchover_to.clone());
        let met = |target: &Target| changes && target.is_met_by(me.pod.as_str());
        let record = LeaseRecord {
            holder: Some(Holder::Candidate(me.clone())),
            given_up_by: self.known_out(&how).cloned(),
            duration: self.config.timing.lease(),
            transitions: transitions.saturating_add(i32::from(changes)),
            term: term.max(self.state.term().unwrap_or(0)) + 1,
            switchover_to: request.filter(|target| !met(target)),
            paused: before.is_some_and(|record| record.paused),
        };
        self.state.lease_call = Some(LeaseCall::Begin {
            record: record.clone(),
            how: how.clone(),
            sent: self.now,
            predecessor: self.predecessor(&how),
        });
        self.write(record, seen, Cause::Begin(how));
    }

    fn repair(&mut self) {
        let Role::Leading(term) = &mut self.state.role else {
            return;
        };
        if term.progress.repairs() {
            self.state.fight.count(self.now);
            if self.config.breaks(Defect::CachedConfirmation) {
                term.progress = Progress::Due {
                    at: self.now,
                    repair: true,
                };
                return;
            }
        }
        self.begin(How::Repair);
    }

    fn renew(&mut self) {
        let Some(term) = self.state.leading() else {
            return;
        };
        let before = self.state.sight.record();
        let refused = self.state.request().cloned();
        let request = before.and_then(|record| record.switchover_to.clone());
        let record = LeaseRecord {
            holder: Some(Holder::Candidate(self.config.identity.clone())),
            given_up_by: before
                .and_then(|record| record.given_up_by.clone())
                .filter(|_| !term.switched),
            duration: self.config.timing.lease(),
            transitions: term.transitions,
            term: term.number,
            switchover_to: request.filter(|_| refused.is_none()),
            paused: before.is_some_and(|record| record.paused),
        };
        let seen = term.version;
        self.state.lease_call = Some(LeaseCall::Renew {
            record: record.clone(),
            sent: self.now,
            refused,
        });
        self.write(record, Some(seen), Cause::Renew);
    }

    /// Names the successor, or nobody where nobody may lead: then another candidate need not wait.
    /// Only what names this pod is given up.
    fn release(&mut self) {
        let Sight::Seen { lease, .. } = &self.state.sight else {
            self.state.role = Role::Standby;
            return;
        };
        let term = self.state.leading();
        let seen = term.map_or(lease.version, |term| term.version);
        let why = term.and_then(|term| term.giving_up);
        let why = why.or_else(|| self.state.reason_to_give_up(self.config, self.now));
        // Where a policy denied one sidecar its switch, the next one would hand over as soon.
        let successor = self.state.successor(self.config);
        let successor = successor.filter(|_| !matches!(why, Some(Why::Denied | Why::Stuck)));
        let request = lease.record.switchover_to.clone();
        let met = |target: &Target| {
            successor.is_some_and(|successor| target.is_met_by(successor.pod.as_str()))
        };
        let patience = if self.config.breaks(Defect::HandoverKeepsDuration) {
            self.config.timing.lease()
        } else {
            Timing::HANDOVER
        };
        let heir = |id: &Identity| {
            if self.config.breaks(Defect::HandoverKeepsUid) {
                Holder::Foreign(id.pod.as_str().to_owned())
            } else {
                Holder::Candidate(id.clone())
            }
        };
        let record = LeaseRecord {
            holder: successor.map(heir),
            given_up_by: Some(self.config.identity.clone()),
            duration: successor.map_or(lease.record.duration, |_| patience),
            transitions: lease.record.transitions.saturating_add(1),
            switchover_to: request.filter(|target| !met(target)),
            ..lease.record.clone()
        };
        self.state.lease_call = Some(LeaseCall::Release {
            record: record.clone(),
        });
        self.write(
            record,
            Some(seen),
            Cause::GiveUp(why.unwrap_or(Why::Stopped)),
        );
    }

    fn write(&mut self, record: LeaseRecord, seen: Option<Version>, cause: Cause) {
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
            cause,
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
        if self.state.leading().is_none() {
            self.state.reported_services.clear();
        }
        let earlier = self.state.leading();
        let repair = earlier.is_some_and(|term| term.progress.repairs());
        let switched = earlier.is_some_and(|term| term.switched);
        let waiting = earlier.filter(|term| !term.switched && !term.is_rivalled());
        let since = waiting.map_or(self.now, |term| term.since);
        let giving_up = earlier.and_then(|term| term.giving_up);
        // A leader whose Lease is gone, or was written by another meanwhile, is no longer sure.
        let sure = earlier.filter(|term| term.progress != Progress::Renewing);
        let predecessor = sure.map_or(predecessor, |term| term.predecessor.clone());
        self.state.role = Role::Leading(Term {
            number: record.term,
            epoch: self.epoch_of(record, version),
            version,
            transitions: record.transitions,
            acked: sent,
            renew_at: sent + self.config.timing.renew(),
            confirm: false,
            predecessor,
            switched,
            since,
            progress: Progress::Due {
                at: self.now,
                repair,
            },
            giving_up,
        });
        self.state.released = false;
        self.report(Notice::Elected {
            epoch: self.epoch_of(record, version),
            term: record.term,
            how,
        });
    }

    fn epoch_of(&self, record: &LeaseRecord, version: Version) -> Epoch {
        if self.config.breaks(Defect::TransitionsAsEpoch) {
            return Version::new(u64::try_from(record.transitions).unwrap_or(0) + 1).epoch();
        }
        version.epoch()
    }

    /// Who led before and is known to be out, if the term begins by this right.
    fn known_out<'a>(&'a self, how: &'a How) -> Option<&'a Identity> {
        let record = self.state.sight.record()?;
        match how {
            How::Evidence(id) if !record.is_nomination() => Some(id),
            How::Expired(_) if !record.is_nomination() => None,
            _ => record.given_up_by.as_ref(),
        }
    }

    /// Who comes by a record that stood for a whole lease need fear nobody.
    fn predecessor(&self, how: &How) -> Predecessor {
        match (how, self.known_out(how)) {
            (_, Some(id)) => Predecessor::AnyBut(id.pod.clone()),
            (How::Expired(_), None) => Predecessor::Outwaited,
            _ => Predecessor::Any,
        }
    }
}
