//! One modelled API server, for model checking and for seeded runs in virtual time, both of the
//! real election core.
//!
//! A [`World`] is a server, some candidates and the messages between them. What can happen next is
//! a list of [`Choice`]s: a model checker takes them all, a seeded run takes one at random. The
//! invariants are checked after each ([`Violation`]).
//!
//! Must not know: the network, the real clock, how the sidecar talks to a real API server.

mod budget;
mod check;
mod choice;
mod node;
mod schedule;
mod server;
mod settle;
mod turns;
mod upkeep;
mod world;

pub use budget::Budget;
pub use check::Violation;
pub use choice::Choice;
pub use schedule::Schedule;
pub use server::{PodObject, Request, Server};
pub use settle::Cause;
pub use world::{Setup, World};
