//! The ways in which a leader is lost, and what is promised of each.

use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// Its process is killed, and its pod is gone.
    Killed,
    /// Its process is asked to end.
    Terminated,
    /// Its pod is deleted, and its process is asked to end 5 s later, after the application.
    Deleted,
    /// Its processes stand still, and its pod stays.
    NodeLost,
}

impl Cause {
    pub(super) const ALL: [Self; 4] = [
        Self::Killed,
        Self::Terminated,
        Self::Deleted,
        Self::NodeLost,
    ];

    /// The application ends so much later than it is asked to, and a native sidecar after it.
    pub(super) const LATE: Duration = Duration::from_secs(5);

    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Killed => "process killed, pod gone",
            Self::Terminated => "SIGTERM",
            Self::Deleted => "pod deleted, SIGTERM 5 s later",
            Self::NodeLost => "node lost",
        }
    }

    /// Until the Service is switched: p50 at most (if that is promised), p95 at most.
    pub(super) fn limits(self) -> (Option<Duration>, Duration) {
        let millis = Duration::from_millis;
        match self {
            Self::Killed => (Some(millis(200)), millis(1_000)),
            Self::Terminated | Self::Deleted => (Some(millis(100)), millis(500)),
            // The lease and a second.
            Self::NodeLost => (None, millis(13_000)),
        }
    }
}
