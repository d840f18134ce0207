//! What users write and what gets injected: names, annotations, patches, RBAC, reasons.
//!
//! Pure. Must not know: the network, clocks, a Kubernetes client, who leads.

pub mod names;
