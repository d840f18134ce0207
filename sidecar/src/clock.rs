//! The one place that reads a clock.
//!
//! The election counts on a clock that goes on in suspend and that nobody can set. The wall clock
//! is for what people read: a Lease's times, an Event's, `validUntil`. Nothing is decided by it.

use std::time::Duration;

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// Time since it was started, on `CLOCK_BOOTTIME`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    origin: Duration,
}

impl Clock {
    /// A clock that shows zero now.
    pub(crate) fn start() -> Self {
        Self {
            origin: since_boot(),
        }
    }

    /// What it shows.
    pub(crate) fn now(&self) -> Duration {
        since_boot().saturating_sub(self.origin)
    }
}

/// The wall clock, for people.
pub(crate) fn wall() -> Timestamp {
    Timestamp::now()
}

/// User and system CPU time of this process.
pub(crate) fn process_time() -> Duration {
    read(ClockId::ProcessCPUTime)
}

/// Kubernetes' `MicroTime`.
pub(crate) fn micro_time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

fn since_boot() -> Duration {
    read(ClockId::Boottime)
}

fn read(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::{Timestamp, micro_time};

    #[test]
    fn a_micro_time_has_six_digits() {
        let at = Timestamp::from_microsecond(1_700_000_000_000_042).unwrap();
        assert_eq!(micro_time(at), "2023-11-14T22:13:20.000042Z");
    }
}
