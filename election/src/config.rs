//! What does not change while a candidate lives; and the rules that a test may take out.

use crate::{Identity, Timing};

/// What does not change while a candidate lives.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Config {
    /// This pod.
    pub identity: Identity,
    /// The lease's length, and what follows from it.
    pub timing: Timing,
    /// How many Services the election switches. They are numbered in name order.
    pub services: usize,
    /// The rule that this candidate breaks.
    #[cfg(feature = "seeded-defects")]
    pub defect: Option<Defect>,
}

/// One rule of the protocol taken out, to show that a check notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(
    not(feature = "seeded-defects"),
    allow(unreachable_pub, reason = "exported for tests")
)]
pub enum Defect {
    /// The Service is written whatever its revision is by now.
    CompareAndSwap,
    /// The Service is written also when it stores a higher epoch.
    EpochCheck,
    /// A standby counts from its first sight of the Lease, not from the record's last change.
    ObservedClock,
    /// A new term leaves a Service alone that names this pod already.
    WriteInNewTerm,
    /// A leader goes on answering true after its deadline.
    Deadline,
    /// The epoch is `leaseTransitions`, which begins anew with a new Lease.
    TransitionsAsEpoch,
    /// Expiry is judged by the times in the Lease and a wall clock that is half a lease ahead.
    WallClock,
    /// A repair goes on under the epoch that was confirmed before.
    CachedConfirmation,
    /// Who stops empties the Lease, whoever holds it.
    ForeignRelease,
    /// A span without answers counts towards the holder's expiry.
    OutageAsExpiry,
    /// A read that failed lets the observation begin anew.
    OutageResets,
    /// A pod that the watch does not show is taken for gone, without asking a quorum.
    CachedEvidence,
    /// The acquiring write carries the version at hand, not the one that was judged.
    FresherVersion,
    /// A handover names the successor, and leaves the UID of the one before.
    HandoverKeepsUid,
    /// A handover leaves the lease's whole length to a successor who may stay silent.
    HandoverKeepsDuration,
    /// A leader answers true after it wrote the handover.
    LeadsAfterHandover,
    /// A leader that gets unready hands over by what a broken watch has shown of the others.
    StalePeers,
}

impl Config {
    /// A candidate that keeps every rule.
    pub fn new(identity: Identity, timing: Timing, services: usize) -> Self {
        Self {
            identity,
            timing,
            services,
            #[cfg(feature = "seeded-defects")]
            defect: None,
        }
    }

    #[cfg(feature = "seeded-defects")]
    pub(crate) fn breaks(&self, rule: Defect) -> bool {
        self.defect == Some(rule)
    }

    #[cfg(not(feature = "seeded-defects"))]
    #[allow(
        clippy::unused_self,
        reason = "the same call with and without the feature"
    )]
    pub(crate) fn breaks(&self, _rule: Defect) -> bool {
        false
    }
}
