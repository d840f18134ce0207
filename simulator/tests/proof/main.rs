//! What the modelled API server proves: every schedule within small bounds, seeded schedules beyond
//! them, and that both notice when a rule of the protocol is taken out.

mod checker;
#[cfg(feature = "seeded-defects")]
mod defects;
mod model;
mod quiet;
mod run;
mod seeds;
