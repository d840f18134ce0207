//! The invariants, judged from what the server stores and from what the candidates answer.

use std::time::Duration;

use election::{Epoch, Holder, Identity, Lease};

use crate::server::{Change, Server};

/// An invariant that does not hold. The numbers are the design's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Violation {
    /// I1: a switch points a Service at a pod that is no candidate of the election.
    SelectsStranger(String),
    /// I2: a stored epoch went down, or stood while a Service was switched.
    EpochFell {
        /// What was stored.
        from: Epoch,
        /// What was written.
        to: Epoch,
    },
    /// I2: a switch took effect although somebody led with a higher epoch by then.
    StaleSwitch {
        /// The leader's epoch.
        led: Epoch,
        /// What was written.
        to: Epoch,
    },
    /// I6: a Lease held by another was taken before it had expired, and its pod is there.
    LeaseTakenEarly {
        /// Whose it was.
        holder: Holder,
        /// How long the record had stood.
        age: Duration,
    },
    /// A Lease was taken although an operator had paused the election.
    TakenWhilePaused(Holder),
    /// I11: two pods answer that they lead.
    TwoLeaders(Identity, Identity),
    /// I3: a candidate was ready for so long, and a Service named none.
    Unserved(Duration),
    /// The candidates keep asking, and time does not go on.
    Livelock,
}

/// Judges what a request of `writer` changed, whose clock goes at `rate` thousandths of the true
/// one, while somebody led with the epoch `led`.
pub(crate) fn judge(
    server: &Server,
    writer: &Identity,
    rate: u32,
    led: Option<Epoch>,
    change: &Change,
) -> Option<Violation> {
    match change {
        Change::Service { before, after } => {
            let known = |name: &str| server.pods.iter().any(|p| p.identity.pod.as_str() == name);
            let stranger = after.selected.clone().filter(|name| !known(name));
            let to = after.epoch;
            let fell = Violation::EpochFell {
                from: before.epoch,
                to,
            };
            let stale = led
                .filter(|led| *led > to)
                .map(|led| Violation::StaleSwitch { led, to });
            (to <= before.epoch)
                .then_some(fell)
                .or(stale)
                .or_else(|| stranger.map(Violation::SelectsStranger))
        }
        Change::Lease {
            before: Some((before, age)),
        } => judge_taking(server, writer, before, *age * rate / 1000),
        Change::Lease { before: None } | Change::Nothing => None,
    }
}

fn judge_taking(
    server: &Server,
    writer: &Identity,
    before: &Lease,
    age: Duration,
) -> Option<Violation> {
    let holder = before.record.holder.clone()?;
    let gone = match &holder {
        Holder::Candidate(id) if id == writer => return None,
        Holder::Candidate(id) => server.pods.iter().all(|pod| pod.identity != *id),
        Holder::Foreign(_) => false,
    };
    if before.record.paused {
        return Some(Violation::TakenWhilePaused(holder));
    }
    let early = age < before.record.duration && !gone;
    early.then_some(Violation::LeaseTakenEarly { holder, age })
}
