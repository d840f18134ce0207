//! One modelled API server, for model checking and for seeded runs in virtual time.
//!
//! Must not know: the network, the real clock, how the drivers talk to a real API server.
