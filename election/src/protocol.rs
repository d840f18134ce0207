//! The words between the core and its caller: events in, actions out.

use std::time::Duration;

use crate::{Epoch, Holder, Identity, Lease, LeaseRecord, PodName, ServiceView, Target, Version};

/// Something that happened. Each [`Action`] that asks for something is answered by exactly one
/// event, also when the caller gives up waiting.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Event {
    /// Time passed: due at [`State::wake_at`](crate::State::wake_at).
    Tick,
    /// The own pod changed (its watch, or a read).
    Pod(OwnPod),
    /// The pods of the election, best-ranked first, this one included, as a watch shows them.
    Peers(Vec<Peer>),
    /// That watch broke: the peers may be something else by now, until [`Event::Peers`] comes again.
    PeersStale,
    /// The pods that may lead by another Lease, as the watch of the pods shows them: all that a Service of this
    /// election names among them, whoever else.
    Strangers(Vec<PodName>),
    /// The Lease's watch shows this record, or that the Lease is gone. It may be old news.
    LeaseSeen(Option<Lease>),
    /// The watch of Service number `service` shows this. It may be old news.
    ServiceSeen {
        /// Its place in the election's Services, in name order.
        service: usize,
        /// What it says.
        view: ServiceView,
    },
    /// Answer to [`Action::ReadLease`]; `None`: there is no Lease.
    LeaseRead(Result<Option<Lease>, Failure>),
    /// Answer to [`Action::WriteLease`]: the revision of the write.
    LeaseWritten(Result<Version, Failure>),
    /// Answer to [`Action::ReadPod`].
    PodRead(Result<PodFate, Failure>),
    /// Answer to [`Action::ReadServices`]: all of them, in name order.
    ServicesRead(Result<Vec<ServiceView>, Failure>),
    /// Answer to [`Action::WriteService`]: the revision of the write.
    ServiceWritten(Result<Version, Failure>),
    /// The process was asked to end: give up, and do not compete again.
    Stop,
}

/// What the caller must do next, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Action {
    /// Read the Lease from a quorum.
    ReadLease,
    /// Write the Lease. `seen`: only if this is still its revision; `None`: only if there is none.
    WriteLease {
        /// What to write.
        record: LeaseRecord,
        /// The revision of the very record that was judged.
        seen: Option<Version>,
        /// Give up waiting after this.
        timeout: Duration,
        /// What the write is for. For people.
        cause: Cause,
    },
    /// Read this pod from a quorum, after the Lease was read: is it gone?
    ReadPod(Identity),
    /// Read all Services of the election from a quorum.
    ReadServices,
    /// Point Service number `service` at this pod, if this is still its revision.
    WriteService {
        /// Its place in the election's Services, in name order.
        service: usize,
        /// The revision that was read.
        seen: Version,
        /// The epoch to store with it.
        epoch: Epoch,
    },
    /// Tell people.
    Report(Notice),
}

/// What a write of the Lease is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Cause {
    /// A term begins.
    Begin(How),
    /// The leader goes on.
    Renew,
    /// The leader hands over, or gives up to nobody.
    GiveUp(Why),
}

/// Why a request has no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The object is no longer what was judged (409; 422 for a Lease that exists already).
    Conflict,
    /// The API server will not have it: rights are missing.
    Refused,
    /// The API server will not have it: a policy, or validation (422).
    Denied,
    /// No answer, or one that says nothing about the outcome: it may yet be carried out.
    Unknown,
}

/// The own pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct OwnPod {
    /// Ready, labelled, and matched by the selectors of the election's Services.
    pub candidate: bool,
    /// It has a deletionTimestamp.
    pub leaving: bool,
    /// It is gone, or a pod of another UID has its name.
    pub gone: bool,
}

/// A pod of the election.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Which pod.
    pub identity: Identity,
    /// It may lead: ready, labelled, runs the sidecar, not terminating.
    pub candidate: bool,
    /// Its phase is Failed or Succeeded: it will never run again.
    pub finished: bool,
}

/// What a quorum says about the holder's pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PodFate {
    /// It is there.
    Present,
    /// It is not there, another UID has its name, or it has Failed or Succeeded.
    Gone,
}

/// What a person would want to be told.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Notice {
    /// This pod's term began.
    Elected {
        /// The term's epoch.
        epoch: Epoch,
        /// The term's number.
        term: u64,
        /// By what right.
        how: How,
    },
    /// This pod leads no longer.
    Lost(Why),
    /// The Service names this pod now.
    Switched {
        /// Its place in the election's Services.
        service: usize,
        /// The selector's value before.
        from: Option<String>,
        /// The epoch that was stored.
        epoch: Epoch,
    },
    /// Somebody changed the Service, and it names this pod again.
    Restored {
        /// Its place in the election's Services.
        service: usize,
        /// What somebody had written.
        from: Option<String>,
        /// The epoch that was stored.
        epoch: Epoch,
    },
    /// The Service does not exist.
    Missing {
        /// Its place in the election's Services.
        service: usize,
    },
    /// The Service has no selector to switch.
    WithoutSelector {
        /// Its place in the election's Services.
        service: usize,
    },
    /// The Service stores a higher epoch than this term's: nothing was written.
    Fenced {
        /// Its place in the election's Services.
        service: usize,
        /// What it stores.
        stored: Epoch,
        /// This term's.
        ours: Epoch,
    },
    /// A pod of another election leads a Service of this one: nothing is written while it may lead.
    Rivalled {
        /// Its place in the election's Services.
        service: usize,
        /// The other election's leader.
        leader: String,
    },
    /// Another program holds the Lease: this election waits for its expiry.
    ForeignHolder(String),
    /// The API server will not let this pod do its work: rights or a policy.
    Refused,
    /// An operator's request could not be obeyed, and was taken away.
    SwitchoverRefused {
        /// To whom.
        to: Target,
        /// Whether the leader is itself who was asked for; else nobody such is ready.
        leads_already: bool,
    },
}

/// By what right a term began.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum How {
    /// There was no Lease, or it named nobody.
    Vacant,
    /// The Lease named this very pod.
    Resumed,
    /// The leader before named this pod as its successor.
    HandedOver(Identity),
    /// The holder's record stood for its whole length.
    Expired(Holder),
    /// The holder's pod is gone.
    Evidence(Identity),
    /// The same leader goes on with a new epoch, to set a Service right.
    Repair,
}

/// Why this pod leads no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Why {
    /// No renewal was acknowledged before the deadline.
    Deadline,
    /// The Lease names somebody else.
    Replaced,
    /// The process was asked to end.
    Stopped,
    /// The pod is being deleted.
    Leaving,
    /// The pod is gone, or another has its name.
    Gone,
    /// The pod is unready while another candidate is ready.
    Unready,
    /// An operator asked for it.
    Requested,
    /// A policy of the API server denies this pod's switch.
    Denied,
    /// The Services could not be switched for so long that another should try.
    Stuck,
}
