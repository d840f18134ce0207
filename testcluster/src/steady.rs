//! How the rig's own watches come back after an outage: soon, and always as soon.

use std::time::Duration;

use kube::runtime::utils::Backoff;

/// A fifth of a second between attempts.
#[derive(Debug)]
pub(crate) struct Steady;

impl Iterator for Steady {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(Duration::from_millis(200))
    }
}

impl Backoff for Steady {
    fn reset(&mut self) {}
}
