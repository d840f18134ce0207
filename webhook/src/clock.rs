//! The one place of this crate where a clock is read.

use std::time::{Instant, SystemTime};

/// The time of day, to judge certificates by.
pub(crate) fn time_of_day() -> SystemTime {
    #[expect(
        clippy::disallowed_methods,
        reason = "certificates are judged by the time of day"
    )]
    SystemTime::now()
}

/// A monotonic instant, to measure by.
pub(crate) fn instant() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "the driver measures how long things take"
    )]
    Instant::now()
}
