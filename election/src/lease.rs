//! What a Lease says.

use std::time::Duration;

use crate::{Identity, Timing, Version};

/// Whom a Lease names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Holder {
    /// A sidecar: `holderIdentity` and our annotation agree.
    Candidate(Identity),
    /// Another program: our annotation is missing, or names another pod. Its `holderIdentity`.
    Foreign(String),
}

impl Holder {
    /// `holderIdentity`: a sidecar's is its pod's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Candidate(identity) => identity.pod.as_str(),
            Self::Foreign(name) => name,
        }
    }
}

/// The fields of a Lease that the protocol reads and writes. The others (`acquireTime`,
/// `renewTime`, the user's labels) are for people, and the caller's to keep.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LeaseRecord {
    /// Nobody when it was given up and nobody was there to take it.
    pub holder: Option<Holder>,
    /// Who led before and is known to be out: it gave the Lease up, or its pod is gone. Stands until
    /// the holder has switched and renews, so that a holder that stumbles on the way, and starts
    /// again, need not wait for it either.
    pub given_up_by: Option<Identity>,
    /// For how long the holder asked, within bounds ([`Timing::granted`](crate::Timing::granted)).
    pub duration: Duration,
    /// `leaseTransitions`: rises whenever the holder changes, emptying included.
    pub transitions: i32,
    /// Our annotation: counts the terms, so that a write which begins one is never a no-op.
    pub term: u64,
    /// An operator's request to hand over. The write that answers it takes it away.
    pub switchover_to: Option<Target>,
    /// An operator's wish that nobody takes over or hands over, save by request. Read, never written.
    pub paused: bool,
}

/// To whom an operator wants the Lease handed over.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// The best-ranked candidate besides the leader.
    Any,
    /// The pod of this name.
    Pod(String),
}

/// A Lease as it was read: the record, and the revision to compare with before it is replaced.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lease {
    /// What it says.
    pub record: LeaseRecord,
    /// Its `resourceVersion`.
    pub version: Version,
}

impl Target {
    /// Whether handing over to this pod is what was asked for.
    pub fn is_met_by(&self, pod: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Pod(name) => name == pod,
        }
    }
}

impl LeaseRecord {
    /// Whether this very pod holds the Lease.
    pub fn is_held_by(&self, identity: &Identity) -> bool {
        self.candidate() == Some(identity)
    }

    /// Whether the holder is a successor that was named, and has yet to say a word.
    pub fn is_nomination(&self) -> bool {
        self.given_up_by.is_some() && self.holder.is_some() && self.duration <= Timing::HANDOVER
    }

    /// The sidecar that holds the Lease, if one does.
    pub fn candidate(&self) -> Option<&Identity> {
        match &self.holder {
            Some(Holder::Candidate(identity)) => Some(identity),
            Some(Holder::Foreign(_)) | None => None,
        }
    }
}
