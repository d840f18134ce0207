//! What can happen next.

use election::Failure;

/// One thing that can happen to a world. Nodes and messages are numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Choice {
    /// The server carries a request out.
    Execute {
        /// Whose.
        node: usize,
        /// Which of its messages.
        message: usize,
    },
    /// The answer reaches the candidate.
    Deliver {
        /// Whose.
        node: usize,
        /// Which of its messages.
        message: usize,
    },
    /// The candidate's time-out passes first. The server may carry the request out later.
    GiveUp {
        /// Whose.
        node: usize,
        /// Which of its messages.
        message: usize,
    },
    /// A write reaches the server twice: once now, once later.
    Duplicate {
        /// Whose.
        node: usize,
        /// Which of its messages.
        message: usize,
    },
    /// The server answers with an error, and does not carry the request out.
    Refuse {
        /// Whose.
        node: usize,
        /// Which of its messages.
        message: usize,
        /// As the candidate understands it.
        failure: Failure,
    },
    /// A cache keeps what is true now.
    Keep {
        /// Whose watches it will serve.
        node: usize,
    },
    /// The watches show once more what the cache kept.
    SeeKept {
        /// Whose watches.
        node: usize,
    },
    /// The Lease's watch catches up.
    SeeLease {
        /// Whose watch.
        node: usize,
    },
    /// The Services' watches catch up.
    SeeServices {
        /// Whose watches.
        node: usize,
    },
    /// The pods' watches catch up.
    SeePods {
        /// Whose watches.
        node: usize,
    },
    /// The watch of all pods breaks; that of the own pod goes on.
    BreakPeers {
        /// Whose watch.
        node: usize,
    },
    /// The pods are listed again, and their watch goes on.
    ListPeers {
        /// Whose watch.
        node: usize,
    },
    /// The candidate's timer fires.
    Wake {
        /// Whose.
        node: usize,
    },
    /// Time goes on, for all.
    Tick,
    /// The process dies.
    Crash {
        /// Whose.
        node: usize,
    },
    /// The process starts again.
    Restart {
        /// Whose.
        node: usize,
    },
    /// The pod is removed by force, and another of the same name is made. The old process lives on.
    Remove {
        /// Whose.
        node: usize,
    },
    /// The old process of a removed pod ends, and the new pod's starts.
    Replace {
        /// Whose.
        node: usize,
    },
    /// The pod turns unready, or ready again.
    Flip {
        /// Whose.
        node: usize,
    },
    /// The process is asked to end.
    Stop {
        /// Whose.
        node: usize,
    },
    /// The pod is deleted: it has a deletionTimestamp, and lives on.
    Evict {
        /// Whose.
        node: usize,
    },
    /// Somebody deletes the Lease.
    DeleteLease,
    /// Somebody points the Services at nobody.
    Drift,
    /// Somebody deletes the Services.
    DeleteServices,
    /// Somebody makes the Services again.
    CreateServices,
    /// The controller gives the Services back to their user.
    Unpin,
    /// An operator asks for a switchover to any pod.
    Ask,
    /// An operator pauses the election, or lets it go on.
    Pause,
    /// Another program takes the Lease.
    Intrude,
}

impl Choice {
    /// Whose turn it is, if it is a candidate's.
    pub fn node(&self) -> Option<usize> {
        match *self {
            Self::Execute { node, .. }
            | Self::Deliver { node, .. }
            | Self::GiveUp { node, .. }
            | Self::SeeLease { node }
            | Self::SeeServices { node }
            | Self::SeePods { node }
            | Self::BreakPeers { node }
            | Self::ListPeers { node }
            | Self::Wake { node }
            | Self::Crash { node }
            | Self::Restart { node }
            | Self::Remove { node }
            | Self::Replace { node }
            | Self::Flip { node }
            | Self::Stop { node }
            | Self::Evict { node }
            | Self::Duplicate { node, .. }
            | Self::Refuse { node, .. }
            | Self::Keep { node }
            | Self::SeeKept { node } => Some(node),
            Self::Tick
            | Self::DeleteLease
            | Self::Drift
            | Self::DeleteServices
            | Self::CreateServices
            | Self::Unpin
            | Self::Ask
            | Self::Pause
            | Self::Intrude => None,
        }
    }

    /// Whether this is something going wrong, and not just somebody's turn.
    pub fn is_fault(&self) -> bool {
        match self {
            Self::Execute { .. }
            | Self::Deliver { .. }
            | Self::SeeLease { .. }
            | Self::SeeServices { .. }
            | Self::SeePods { .. }
            | Self::ListPeers { .. }
            | Self::Wake { .. }
            | Self::Restart { .. }
            | Self::Replace { .. }
            | Self::CreateServices
            | Self::Tick => false,
            Self::GiveUp { .. }
            | Self::Crash { .. }
            | Self::Remove { .. }
            | Self::Flip { .. }
            | Self::Stop { .. }
            | Self::Evict { .. }
            | Self::Duplicate { .. }
            | Self::Refuse { .. }
            | Self::Keep { .. }
            | Self::SeeKept { .. }
            | Self::BreakPeers { .. }
            | Self::DeleteLease
            | Self::Drift
            | Self::DeleteServices
            | Self::Unpin
            | Self::Ask
            | Self::Pause
            | Self::Intrude => true,
        }
    }
}
