//! Admission and the controller: injects the sidecar, grants it its rights, gives Services back.
//!
//! Must not know: who leads.

pub mod args;

mod admission;
mod certificates;
mod clock;
mod cluster;
mod controller;
#[cfg(test)]
mod fuzz;
mod health;
mod known;
mod listener;
mod log;
mod metrics;
mod offline;
mod run;
