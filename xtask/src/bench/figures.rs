//! Percentiles of times.

use std::time::Duration;

/// Of one kind of time, over all rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) p50: Duration,
    pub(super) p95: Duration,
    pub(super) p99: Duration,
    pub(super) max: Duration,
}

impl Figures {
    /// By the nearest rank: the smallest time that so many of a hundred do not exceed.
    pub(super) fn of(times: impl IntoIterator<Item = Duration>) -> Option<Self> {
        let mut times: Vec<Duration> = times.into_iter().collect();
        times.sort_unstable();
        let rank = |percent: usize| {
            let rank = (times.len() * percent).div_ceil(100);
            times.get(rank.saturating_sub(1)).copied()
        };
        Some(Self {
            p50: rank(50)?,
            p95: rank(95)?,
            p99: rank(99)?,
            max: rank(100)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_the_nearest_rank() {
        let millis = Duration::from_millis;
        let figures = Figures::of((1..=20).rev().map(millis)).unwrap();
        let expected = Figures {
            p50: millis(10),
            p95: millis(19),
            p99: millis(20),
            max: millis(20),
        };
        assert_eq!(figures, expected);
        assert_eq!(Figures::of([]), None);
    }
}
