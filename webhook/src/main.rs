//! The webhook.
fn main() {}
