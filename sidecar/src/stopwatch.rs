//! How long a pod that holds the Lease takes until its Services name it.
//!
//! Must not know: clocks, who leads.

use std::time::Duration;

/// Runs from the moment when this pod holds the Lease until it leads.
#[derive(Debug, Default)]
pub(crate) struct Stopwatch {
    since: Option<Duration>,
}

impl Stopwatch {
    /// Takes what is true now; the time that it took, once, when the pod begins to lead.
    pub(crate) fn see(&mut self, holds: bool, leads: bool, now: Duration) -> Option<Duration> {
        match (holds, leads) {
            (false, _) => {
                self.since = None;
                None
            }
            (true, false) => {
                self.since.get_or_insert(now);
                None
            }
            (true, true) => self.since.take().map(|since| now.saturating_sub(since)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_is_measured_once_and_one_that_never_led_is_not() {
        let mut watch = Stopwatch::default();
        let at = Duration::from_millis;
        let seen = [
            (false, false, 0),
            (true, false, 10),
            (true, false, 20),
            (true, true, 35),
            (true, true, 40),
            // It gives up.
            (true, false, 50),
            (false, false, 60),
            (true, false, 70),
            (true, true, 71),
        ];
        let took: Vec<_> = seen
            .into_iter()
            .filter_map(|(holds, leads, now)| watch.see(holds, leads, at(now)))
            .collect();
        assert_eq!(took, [at(25), at(1)]);
    }
}
