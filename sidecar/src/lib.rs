//! Labels its pod, takes part in the election, keeps the Service at the leader.
//!
//! Must not know: how it was injected.
