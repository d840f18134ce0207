//! Admission and the controller.
//!
//! Must not know: who leads.
