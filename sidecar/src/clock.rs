//! The one place that reads a clock.
//!
//! The election counts on a clock that goes on in suspend and that nobody can set. The wall clock
//! is for what people read: a Lease's times, an Event's, `validUntil`. Nothing is decided by it.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// What a candidate reads the time from.
pub trait Time: Debug + Send + Sync {
    /// Time since any one moment, on a clock that goes on in suspend and that nobody can set.
    fn since_boot(&self) -> Duration;

    /// The wall clock, for people.
    fn wall(&self) -> Timestamp;
}

/// The machine's own clocks: `CLOCK_BOOTTIME` and the wall clock.
#[derive(Debug, Clone, Copy)]
pub struct System;

impl Time for System {
    fn since_boot(&self) -> Duration {
        read(ClockId::Boottime)
    }

    fn wall(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// Time since it was started.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    time: Arc<dyn Time>,
    origin: Duration,
}

impl Clock {
    /// A clock that shows zero now.
    pub(crate) fn start(time: Arc<dyn Time>) -> Self {
        let origin = time.since_boot();
        Self { time, origin }
    }

    /// What it shows.
    pub(crate) fn now(&self) -> Duration {
        self.time.since_boot().saturating_sub(self.origin)
    }

    /// The wall clock, for people.
    pub(crate) fn wall(&self) -> Timestamp {
        self.time.wall()
    }
}

/// User and system CPU time of this process.
pub(crate) fn process_time() -> Duration {
    read(ClockId::ProcessCPUTime)
}

/// Kubernetes' `MicroTime`.
pub(crate) fn micro_time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
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
