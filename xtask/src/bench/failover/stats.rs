//! Percentiles, and what a row of the report has.

use std::{fmt, time::Duration};

use serde_json::{Value, json};

use super::{Times, cause::Cause};

/// Of one kind of time, over all rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) p50: Duration,
    pub(super) p95: Duration,
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
            max: rank(100)?,
        })
    }

    fn json(self) -> Value {
        let seconds = |time: Duration| (time.as_secs_f64() * 1e4).round() / 1e4;
        json!({"p50": seconds(self.p50), "p95": seconds(self.p95), "max": seconds(self.max)})
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = [self.p50, self.p95, self.max].map(|time| time.as_secs_f64());
        let [p50, p95, max] = seconds;
        write!(formatter, "{p50:.3} / {p95:.3} / {max:.3}")
    }
}

/// Who, and lost in which way.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) who: &'static str,
    pub(super) cause: Cause,
    pub(super) lock: Option<Figures>,
    pub(super) switch: Option<Figures>,
    pub(super) answer: Option<Figures>,
}

impl Row {
    pub(super) fn new(who: &'static str, cause: Cause, times: &[Times]) -> Self {
        Self {
            who,
            cause,
            lock: Figures::of(times.iter().map(|times| times.lock)),
            switch: Figures::of(times.iter().filter_map(|times| times.switch)),
            answer: Figures::of(times.iter().filter_map(|times| times.answer)),
        }
    }

    /// Whether a limit of this product's is not kept. The largest is not judged: machines are noisy.
    pub(super) fn exceeds(&self) -> bool {
        let (p50, p95) = self.cause.limits();
        self.switch
            .is_some_and(|seen| seen.p95 > p95 || p50.is_some_and(|p50| seen.p50 > p50))
    }

    pub(super) fn verdict(&self) -> String {
        if self.switch.is_none() {
            return String::new();
        }
        let (p50, p95) = self.cause.limits();
        let p50 = p50.map_or_else(String::new, |p50| {
            format!("p50 <= {} s, ", p50.as_secs_f64())
        });
        let word = if self.exceeds() { "OVER" } else { "ok" };
        format!("{p50}p95 <= {} s: {word}", p95.as_secs_f64())
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "who": self.who,
            "cause": self.cause.words(),
            "lockTaken": self.lock.map(Figures::json),
            "serviceSwitched": self.switch.map(Figures::json),
            "firstAnswer": self.answer.map(Figures::json),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Figures};

    #[test]
    fn percentiles_are_by_the_nearest_rank() {
        let millis = Duration::from_millis;
        let figures = Figures::of((1..=20).rev().map(millis)).unwrap();
        let expected = Figures {
            p50: millis(10),
            p95: millis(19),
            max: millis(20),
        };
        assert_eq!(figures, expected);
        assert_eq!(Figures::of([]), None);
    }
}
