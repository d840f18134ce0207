//! Who leads, and what the Service says: the protocol as a pure function.
//!
//! [`step`] takes the state, one event and the time, and returns the next state and the actions
//! that the caller performs, each of which it answers with one event. So the model checker, the
//! simulator and the sidecar run the same code.
//!
//! Must not know: clocks (time is a [`Duration`](core::time::Duration) since the caller's start),
//! the network, Kubernetes' types, async.

mod campaign;
mod config;
mod identity;
mod lease;
mod protocol;
mod rival;
mod service;
mod state;
mod step;
mod switch;
mod timing;
mod version;

pub use config::Config;
pub use identity::{Identity, InvalidPodName, PodName, PodUid};
pub use lease::{Holder, Lease, LeaseRecord, Target};
pub use protocol::{Action, Cause, Event, Failure, How, Notice, OwnPod, Peer, PodFate, Why};
pub use service::{Service, ServiceView};
pub use state::State;
pub use step::step;
pub use timing::{InvalidLeaseDuration, Timing};
pub use version::{Epoch, InvalidVersion, Version};

#[cfg(feature = "seeded-defects")]
pub use config::Defect;
