//! Why things happened, in words: the same in the log, in Events, and in the Lease.
//!
//! Must not know: who is told.

use election::{Cause, Holder, How, Notice, Why};

/// By what right a term began.
pub(crate) fn right(how: &How) -> String {
    match how {
        How::Vacant => "the lease named nobody".to_owned(),
        How::Resumed => "the lease named this pod".to_owned(),
        How::HandedOver(before) => format!("{} handed over", before.pod),
        How::Expired(Holder::Candidate(before)) => format!("the lease of {} expired", before.pod),
        How::Expired(Holder::Foreign(before)) => format!("the lease of {before} expired"),
        How::Evidence(before) => format!("pod {} is gone", before.pod),
        How::Repair => "the same leader goes on with a new epoch".to_owned(),
    }
}

/// Why a pod leads no longer.
pub(crate) fn cause(why: Why) -> &'static str {
    match why {
        Why::Deadline => "no renewal was acknowledged before the deadline",
        Why::Replaced => "the lease names another",
        Why::Stopped => "the process was asked to end",
        Why::Leaving => "the pod is being deleted",
        Why::Gone => "the pod is gone",
        Why::Unready => "the pod is unready, and another is ready",
        Why::Requested => "an operator asked for it",
        Why::Denied => "a policy of the API server denies this pod the switch",
        Why::Stuck => "the service could not be switched for two leases",
    }
}

/// Why a pod may say now that it leads, or may say so no longer, where this is what a notice tells.
pub(crate) fn of_notice(notice: &Notice) -> Option<(bool, String)> {
    match notice {
        // The same leader goes on: it leads by the right of its earlier term.
        Notice::Elected {
            how: How::Repair, ..
        } => None,
        Notice::Elected { how, .. } => Some((true, right(how))),
        Notice::Lost(why) => Some((false, cause(*why).to_owned())),
        Notice::Fenced { .. } => Some((false, "a service stores a higher epoch".to_owned())),
        Notice::Rivalled { .. } => Some((false, "another election has a service".to_owned())),
        _ => None,
    }
}

/// What a write of the Lease is for, where it changes hands.
pub(crate) fn of_change(of: &Cause) -> Option<String> {
    match of {
        Cause::Begin(how) => Some(right(how)),
        Cause::GiveUp(why) => Some(cause(*why).to_owned()),
        Cause::Renew => None,
    }
}
