//! Labels its pod, takes part in the election, keeps the Service at the leader.
//!
//! A library, so that one process can run many candidates ([`run`]), and a thin binary
//! ([`args::Args`]). The module `driver` alone owns clock and I/O; who leads is decided in `election`.
//!
//! Must not know: how it was injected.

pub mod args;

mod api;
mod clock;
#[cfg(test)]
mod conformance;
mod deletion_cost;
mod driver;
mod events;
mod feeds;
mod hand_back;
mod history;
mod http;
mod known;
mod lanes;
mod lease;
mod log;
mod metrics;
mod node;
mod notices;
mod notify;
mod own_pod;
mod peers;
mod pod;
mod process;
mod reasons;
mod run;
mod service;
mod stopwatch;
mod strangers;
mod watch;

pub use clock::{System, Time};
pub use http::Error as HttpError;
pub use run::{Error, Settings, run};
