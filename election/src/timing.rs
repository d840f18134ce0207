//! The one knob, and every length of time that follows from it.

use std::time::Duration;

/// The lease's length, and what follows from it (all of DESIGN's figures are for 12 s).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Timing {
    lease: Duration,
}

/// The lease's length is outside 5 to 300 seconds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a lease of {seconds} s cannot be kept: choose 5 to 300 seconds")]
pub struct InvalidLeaseDuration {
    seconds: u64,
}

impl Timing {
    /// The pause before a request is tried again.
    pub const RETRY: Duration = Duration::from_millis(200);
    /// What each standby waits longer than the better-ranked one before it.
    pub const RANK_STEP: Duration = Duration::from_millis(100);
    /// The longest wait for better-ranked standbys.
    pub const RANK_LIMIT: Duration = Duration::from_millis(500);
    /// A named successor who stays silent is passed over after this.
    pub const HANDOVER: Duration = Duration::from_secs(2);
    /// A restarted sidecar that finds its pod unready for so long hands over the Lease in its name.
    pub const SETTLE: Duration = Duration::from_secs(5);
    /// A request that is not a Lease write times out after this.
    pub const REQUEST: Duration = Duration::from_secs(2);

    /// Checks a lease's length.
    ///
    /// # Errors
    ///
    /// Under 5 or over 300 seconds.
    pub fn from_seconds(seconds: u64) -> Result<Self, InvalidLeaseDuration> {
        if (5..=300).contains(&seconds) {
            Ok(Self {
                lease: Duration::from_secs(seconds),
            })
        } else {
            Err(InvalidLeaseDuration { seconds })
        }
    }

    /// How long a standby waits after it saw the record change: 12 s.
    pub fn lease(&self) -> Duration {
        self.lease
    }

    /// The leader renews so often: a third, 4 s.
    pub fn renew(&self) -> Duration {
        self.lease / 3
    }

    /// A leader without an acknowledged renewal leads no longer than this: two thirds, 8 s. The
    /// margin of a third is what clock rates may differ by: (lease - deadline) / deadline = 1/2.
    pub fn deadline(&self) -> Duration {
        self.lease * 2 / 3
    }

    /// A Lease write times out after this: a sixth of the deadline, 1.33 s, so that three tries
    /// fit between the renewal's time and the deadline.
    pub fn write(&self) -> Duration {
        self.deadline() / 6
    }

    /// A Lease watch that was silent for so long is checked: half a lease, 6 s.
    pub fn silence(&self) -> Duration {
        self.lease / 2
    }

    /// A silent watch is checked so often: a sixth, 2 s.
    pub fn poll(&self) -> Duration {
        self.lease / 6
    }

    /// After an acquiring write whose outcome is unknown, the holder gets so much more: half a
    /// lease, 6 s.
    pub fn patience(&self) -> Duration {
        self.lease / 2
    }

    /// A leader that could not switch its Services for so long lets another try: two leases, 24 s,
    /// since a term may have to wait one lease before it switches.
    pub fn stuck(&self) -> Duration {
        self.lease * 2
    }

    /// What a holder's own figure means to a standby: missing or zero 15 s, at most 300 s.
    pub fn granted(seconds: Option<i32>) -> Duration {
        match seconds.and_then(|s| u64::try_from(s).ok()) {
            None | Some(0) => Duration::from_secs(15),
            Some(s) => Duration::from_secs(s.min(300)),
        }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(12),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Timing};

    #[test]
    fn three_tries_fit_before_the_deadline() {
        for seconds in [5, 12, 300] {
            let timing = Timing::from_seconds(seconds).unwrap();
            let third_try = timing.renew() + 2 * (timing.write() + Timing::RETRY);
            assert!(third_try < timing.deadline(), "{timing:?}");
        }
    }

    #[test]
    fn only_lengths_that_can_be_kept_are_taken() {
        assert!(Timing::from_seconds(4).is_err());
        assert!(Timing::from_seconds(301).is_err());
        assert_eq!(Timing::from_seconds(12).unwrap(), Timing::default());
    }

    #[test]
    fn a_holders_odd_figure_is_bounded() {
        for (written, meant) in [
            (None, 15),
            (Some(0), 15),
            (Some(-5), 15),
            (Some(7), 7),
            (Some(i32::MAX), 300),
        ] {
            assert_eq!(
                Timing::granted(written),
                Duration::from_secs(meant),
                "{written:?}"
            );
        }
    }
}
