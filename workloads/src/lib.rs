//! Generated workloads, to prove the injector by: what users write, and what they write by mistake.
//!
//! A rig, not a product. A new [`Kind`](contract::workload::Kind) is added in one place, `object`.
//! Must not know: what is injected, where it stands in a workload.

mod annotations;
mod containers;
mod context;
mod object;
mod oddities;
mod pods;
mod shape;
mod situation;
mod template;
mod texts;
mod volumes;

pub use context::Security;
pub use object::{Annotated, template_place, workload};
pub use oddities::spoilt;
pub use pods::{pod, pods};
pub use situation::{facts, settings};
