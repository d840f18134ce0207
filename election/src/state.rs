//! What one candidate remembers between two events.
//!
//! Every instant is a [`Duration`] since the caller's start, on a clock that goes on in suspend.

use std::time::Duration;

use crate::config::{Config, Defect};
use crate::protocol::{How, OwnPod, Peer, Why};
use crate::{
    Epoch, Holder, Identity, Lease, LeaseRecord, PodName, ServiceView, Target, Timing, Version,
};

/// The state of one candidate. Made by [`State::new`], changed only by [`step`](crate::step).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    pub(crate) pod: OwnPod,
    /// Since when the own pod, as far as it is known, may not lead.
    pub(crate) unready_since: Option<Duration>,
    pub(crate) peers: Vec<Peer>,
    /// Since when the peers' watch is broken, later by each outage.
    pub(crate) stale_since: Option<Duration>,
    /// The pods that may lead by another Lease.
    pub(crate) strangers: Vec<PodName>,
    pub(crate) stop: bool,
    /// A standby that gives up releases a Lease in its own name once.
    pub(crate) released: bool,
    pub(crate) sight: Sight,
    /// A watch says that the Lease is not what was seen: read it.
    pub(crate) doubt: bool,
    pub(crate) contact: Contact,
    pub(crate) suspect: Option<Suspect>,
    /// A quorum said that this pod, of which the peers' watch says nothing, is there.
    pub(crate) absolved: Option<Identity>,
    pub(crate) pace: Pace,
    pub(crate) lease_call: Option<LeaseCall>,
    pub(crate) service_call: Option<ServiceCall>,
    pub(crate) services: Vec<Option<ServiceView>>,
    pub(crate) fight: Fight,
    pub(crate) role: Role,
    /// The holder of whom people were told that it is another program.
    pub(crate) reported_foreign: Option<String>,
    /// The Services of which people were told in this pod's reign that they cannot be switched.
    pub(crate) reported_services: Vec<Option<ServiceView>>,
}

/// What is known of the Lease.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Sight {
    Never,
    /// There is none. It may be made at `until`. `term`: the last one seen.
    Absent {
        until: Duration,
        term: u64,
    },
    /// `since`: when this very record was first seen, later by each outage.
    Seen {
        lease: Lease,
        since: Duration,
    },
}

/// When the Lease was last heard of, and whether a read has failed since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Contact {
    pub(crate) last: Duration,
    pub(crate) failing: bool,
    /// A read has failed since the record changed: ask more often, or each span that does not
    /// count would be as long as the silence before it.
    pub(crate) wary: bool,
}

/// The holder, whose pod the peers' watch does not show.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Suspect {
    pub(crate) identity: Identity,
    pub(crate) since: Duration,
}

/// How fast requests follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Pace {
    /// The Lease was last asked for then.
    pub(crate) read_at: Duration,
    /// No request before.
    pub(crate) not_before: Duration,
    /// Requests that failed in a row.
    pub(crate) failures: u8,
    /// Writes in a row that met another revision.
    pub(crate) conflicts: u8,
    /// No claim to a Lease that expired before.
    pub(crate) yield_until: Duration,
}

/// Repairs of the Services, for a back-off when somebody fights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Fight {
    pub(crate) rounds: u8,
    pub(crate) last: Duration,
}

/// The request of the Lease lane that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum LeaseCall {
    Read {
        /// The revision in sight when it was sent.
        seen: Option<Version>,
    },
    ReadPod {
        lease: Lease,
    },
    Begin {
        record: LeaseRecord,
        how: How,
        sent: Duration,
        /// Judged when it was sent: the watch may show this very write before it is answered.
        predecessor: Predecessor,
    },
    Renew {
        record: LeaseRecord,
        sent: Duration,
        /// An operator's request that cannot be obeyed, taken away by this write.
        refused: Option<Target>,
    },
    Release {
        record: LeaseRecord,
    },
}

/// The request of the Service lane that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum ServiceCall {
    Read { epoch: Epoch },
    Write { epoch: Epoch, queue: Queue },
}

/// The Services that are still to be written, the one under way first.
pub(crate) type Queue = Vec<(usize, crate::Service)>;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    Standby,
    Leading(Term),
}

/// One term of this pod.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Term {
    pub(crate) number: u64,
    pub(crate) epoch: Epoch,
    /// The Lease's revision after this pod's last acknowledged write.
    pub(crate) version: Version,
    pub(crate) transitions: i32,
    /// The moment before the last acknowledged write was sent.
    pub(crate) acked: Duration,
    pub(crate) renew_at: Duration,
    /// Read the Lease before anything else is written.
    pub(crate) confirm: bool,
    pub(crate) predecessor: Predecessor,
    /// Every Service that exists has named this pod since it leads.
    pub(crate) switched: bool,
    /// Since when this pod holds the Lease and has yet to switch.
    pub(crate) since: Duration,
    pub(crate) progress: Progress,
    pub(crate) giving_up: Option<Why>,
}

/// Who may believe to lead still, when a term begins: a Lease that was deleted is no more to be
/// seen, but its holder answers true until its deadline.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Predecessor {
    /// Nobody: no other record has stood for a whole lease.
    Outwaited,
    /// Nobody from this time on.
    Until(Duration),
    /// Anybody but this pod, which is gone or gave up.
    AnyBut(PodName),
    /// Anybody.
    Any,
}

/// How far a term has come with the Services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Progress {
    /// Read them at this time, and write them.
    Due { at: Duration, repair: bool },
    /// They say what this term wrote, unless their watch shows otherwise.
    Done,
    /// Somebody changed what this term had written: begin a new term.
    Drifted,
    /// One stores a higher epoch: begin a new term at this time, and look again.
    Fenced { until: Duration },
    /// The leader of another election has one: begin a new term when it may lead no more, and look
    /// again at this time, in case the watch does not show that.
    Rivalled { look_at: Duration },
    /// The Lease is gone, or its term is not this one: begin a new term.
    Renewing,
}

impl State {
    /// The state of a candidate that knows nothing yet.
    pub fn new(now: Duration) -> Self {
        Self {
            pod: OwnPod::default(),
            unready_since: None,
            peers: Vec::new(),
            stale_since: None,
            strangers: Vec::new(),
            stop: false,
            released: false,
            sight: Sight::Never,
            doubt: false,
            contact: Contact {
                last: now,
                failing: false,
                wary: false,
            },
            suspect: None,
            absolved: None,
            pace: Pace {
                read_at: now,
                not_before: now,
                failures: 0,
                conflicts: 0,
                yield_until: now,
            },
            lease_call: None,
            service_call: None,
            services: Vec::new(),
            fight: Fight {
                rounds: 0,
                last: now,
            },
            role: Role::Standby,
            reported_foreign: None,
            reported_services: Vec::new(),
        }
    }

    /// Whether this pod may act as the leader at this very moment: it holds the Lease, its Services
    /// name it, it gives nothing up, and its deadline has not passed.
    pub fn is_leader(&self, config: &Config, now: Duration) -> bool {
        self.leading().is_some_and(|term| {
            let valid = now < term.valid_until(config) || config.breaks(Defect::Deadline);
            let stays = term.giving_up.is_none() || config.breaks(Defect::LeadsAfterHandover);
            term.switched && stays && valid
        })
    }

    /// Until when this pod's leadership is valid, if it holds the Lease.
    pub fn valid_until(&self, config: &Config) -> Option<Duration> {
        self.leading().map(|term| term.valid_until(config))
    }

    /// The epoch of this pod's term, if it holds the Lease.
    pub fn epoch(&self) -> Option<Epoch> {
        self.leading().map(|term| term.epoch)
    }

    /// The number of this pod's term, if it holds the Lease.
    pub fn term(&self) -> Option<u64> {
        self.leading().map(|term| term.number)
    }

    /// Whom the Lease named when it was last seen.
    pub fn holder(&self) -> Option<&Holder> {
        self.sight.record()?.holder.as_ref()
    }

    /// When the Lease was last heard of.
    pub fn last_contact(&self) -> Duration {
        self.contact.last
    }

    /// Whether a Service stores a higher epoch than this term's, or another election has it, so that it may
    /// not be written.
    pub fn is_fenced(&self) -> bool {
        self.leading().is_some_and(|term| term.progress.is_fenced())
    }

    /// Whether a process that was asked to end has nothing left to do.
    pub fn is_finished(&self, config: &Config) -> bool {
        self.stop
            && self.lease_call.is_none()
            && matches!(self.role, Role::Standby)
            && (self.released || !self.sight.names(&config.identity))
    }

    /// Whether the Lease names this pod, as far as is known, though nobody paused the election: of a pod
    /// that has ended, nobody has answered that it was given up.
    pub fn is_still_held(&self, config: &Config) -> bool {
        !self.is_paused() && self.sight.names(&config.identity)
    }

    pub(crate) fn leading(&self) -> Option<&Term> {
        match &self.role {
            Role::Leading(term) => Some(term),
            Role::Standby => None,
        }
    }

    /// Why this pod should not lead, if there is a reason. While the election is paused, a leader
    /// goes on as long as its process does.
    pub(crate) fn reason_to_give_up(&self, config: &Config, now: Duration) -> Option<Why> {
        let stays = self.is_paused();
        match () {
            () if self.pod.gone => Some(Why::Gone),
            () if self.stop => Some(Why::Stopped),
            () if self.pod.leaving && !stays => Some(Why::Leaving),
            () if self.unready_at(config).is_some_and(|at| at <= now) => Some(Why::Unready),
            () if self.may_obey(config) => Some(Why::Requested),
            () => None,
        }
    }

    /// When who leads should give up for being unready, if another may lead.
    pub(crate) fn unready_at(&self, config: &Config) -> Option<Duration> {
        let may_stay = self.pod.candidate || self.is_paused();
        let another = !may_stay && self.has_other_candidate(config);
        another.then(|| self.trusts_peers_at(config))
    }

    /// When an unready pod hands over by what it knows of the others: the one that it would name may
    /// have turned unready, too, while their watch was broken. A watch that stays broken is waited for
    /// as long as a holder of whom nothing is heard. Who is about to end cannot wait: a successor named
    /// in error is passed over in two seconds, a leader that ends without a word in a whole lease.
    pub(crate) fn trusts_peers_at(&self, config: &Config) -> Duration {
        let ends = self.stop || self.pod.leaving || self.pod.gone;
        let waits = !ends && !config.breaks(Defect::StalePeers);
        let stale = self.stale_since.filter(|_| waits);
        stale.map_or(Duration::ZERO, |since| since + config.timing.lease())
    }

    /// When a leader that has yet to switch should let another try.
    pub(crate) fn stuck_at(&self, config: &Config) -> Option<Duration> {
        let term = self.leading()?;
        let waits = !term.switched && !term.is_rivalled() && term.giving_up.is_none();
        let another = waits && !self.is_paused() && self.has_other_candidate(config);
        another.then_some(term.since + config.timing.stuck())
    }

    /// Whether an operator wants everything to stay as it is.
    pub(crate) fn is_paused(&self) -> bool {
        self.sight.record().is_some_and(|record| record.paused)
    }

    /// What an operator asks of this pod, which leads.
    pub(crate) fn request(&self) -> Option<&Target> {
        let switched = self.leading().is_some_and(|term| term.switched);
        self.sight
            .record()?
            .switchover_to
            .as_ref()
            .filter(|_| switched)
    }

    fn may_obey(&self, config: &Config) -> bool {
        let successor = self.successor(config);
        self.request()
            .zip(successor)
            .is_some_and(|(target, id)| target.is_met_by(id.pod.as_str()))
    }

    /// To whom this pod would hand over: whom an operator asked for, if that one may lead, else the
    /// best-ranked candidate.
    pub(crate) fn successor(&self, config: &Config) -> Option<&Identity> {
        let peers = self.peers.iter().filter(|peer| peer.candidate);
        let others = peers
            .map(|peer| &peer.identity)
            .filter(|id| **id != config.identity);
        let target = self.sight.record().and_then(|r| r.switchover_to.as_ref());
        let asked = target.and_then(|t| others.clone().find(|id| t.is_met_by(id.pod.as_str())));
        asked.or_else(|| others.clone().next())
    }

    pub(crate) fn has_other_candidate(&self, config: &Config) -> bool {
        self.successor(config).is_some()
    }

    /// How much longer than the best-ranked standby this one waits.
    pub(crate) fn rank_delay(&self, config: &Config) -> Duration {
        let record = self.sight.record();
        let out = record.and_then(|record| record.candidate().or(record.given_up_by.as_ref()));
        let standbys = self
            .peers
            .iter()
            .filter(|p| p.candidate && Some(&p.identity) != out);
        let better = standbys
            .take_while(|p| p.identity != config.identity)
            .count();
        let steps = u32::try_from(better).unwrap_or(u32::MAX);
        Timing::RANK_STEP
            .saturating_mul(steps)
            .min(Timing::RANK_LIMIT)
    }

    /// The same state with every instant moved as if it were [`State::ANCHOR`] now, and ages over
    /// [`State::OLDEST`] cut: so that a model checker, which compares states, need not count time.
    #[must_use]
    pub fn normalise(&self, now: Duration) -> Self {
        let mut state = self.clone();
        state.for_each_instant(|t| {
            let oldest = Self::ANCHOR.saturating_sub(Self::OLDEST);
            *t = (*t + Self::ANCHOR).saturating_sub(now).max(oldest);
        });
        state
    }

    /// What [`State::normalise`] makes of now.
    pub const ANCHOR: Duration = Duration::from_hours(24);
    /// The highest age that [`State::normalise`] keeps: twice the longest lease.
    pub const OLDEST: Duration = Duration::from_mins(10);

    fn for_each_instant(&mut self, mut change: impl FnMut(&mut Duration)) {
        match &mut self.sight {
            Sight::Seen { since, .. } => change(since),
            Sight::Absent { until, .. } => change(until),
            Sight::Never => {}
        }
        if let Some(since) = &mut self.unready_since {
            change(since);
        }
        if let Some(since) = &mut self.stale_since {
            change(since);
        }
        if let Some(suspect) = &mut self.suspect {
            change(&mut suspect.since);
        }
        if let Some(LeaseCall::Begin { sent, .. } | LeaseCall::Renew { sent, .. }) =
            &mut self.lease_call
        {
            change(sent);
        }
        if let Role::Leading(term) = &mut self.role {
            change(&mut term.acked);
            change(&mut term.renew_at);
            if !term.switched {
                change(&mut term.since);
            }
            if let Predecessor::Until(until) = &mut term.predecessor {
                change(until);
            }
            if let Progress::Due { at, .. }
            | Progress::Fenced { until: at }
            | Progress::Rivalled { look_at: at } = &mut term.progress
            {
                change(at);
            }
        }
        change(&mut self.contact.last);
        change(&mut self.pace.read_at);
        change(&mut self.pace.not_before);
        change(&mut self.pace.yield_until);
        change(&mut self.fight.last);
    }
}

impl Predecessor {
    /// Whether this pod may believe to lead still.
    pub(crate) fn may_be(&self, pod: &str) -> bool {
        match self {
            Self::Outwaited | Self::Until(_) => false,
            Self::AnyBut(known) => known.as_str() != pod,
            Self::Any => true,
        }
    }
}

impl Progress {
    /// Whether the next term of this leader is there to set right what somebody changed.
    pub(crate) fn repairs(self) -> bool {
        matches!(self, Self::Done | Self::Drifted)
    }
}

impl Sight {
    pub(crate) fn version(&self) -> Option<Version> {
        match self {
            Self::Seen { lease, .. } => Some(lease.version),
            Self::Never | Self::Absent { .. } => None,
        }
    }

    pub(crate) fn record(&self) -> Option<&LeaseRecord> {
        match self {
            Self::Seen { lease, .. } => Some(&lease.record),
            Self::Never | Self::Absent { .. } => None,
        }
    }

    pub(crate) fn names(&self, identity: &Identity) -> bool {
        matches!(self, Self::Seen { lease, .. } if lease.record.is_held_by(identity))
    }
}

impl Term {
    pub(crate) fn valid_until(&self, config: &Config) -> Duration {
        self.acked + config.timing.deadline()
    }
}
