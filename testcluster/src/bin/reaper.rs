//! The reaper.
fn main() {}
