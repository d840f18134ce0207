//! What users write and what gets injected: names, annotations, patches, RBAC, reasons.
//!
//! Pure. Must not know: the network, clocks, a Kubernetes client, who leads.

pub mod annotations;
pub mod claim;
pub mod epoch;
pub mod facts;
pub mod inject;
pub mod lease;
pub mod names;
pub mod pods;
pub mod rbac;
pub mod reference;
pub mod sidecars;
pub mod unpin;
pub mod values;
pub mod wording;
pub mod workload;
