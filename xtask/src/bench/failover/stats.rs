//! What a row of the report has.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Times, cause::Cause};
use crate::bench::figures::Figures;

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
            "lockTaken": self.lock.map(as_json),
            "serviceSwitched": self.switch.map(as_json),
            "firstAnswer": self.answer.map(as_json),
        })
    }
}

/// In seconds, for people.
pub(super) fn as_text(figures: Figures) -> String {
    let seconds = [figures.p50, figures.p95, figures.max].map(|time| time.as_secs_f64());
    let [p50, p95, max] = seconds;
    format!("{p50:.3} / {p95:.3} / {max:.3}")
}

fn as_json(figures: Figures) -> Value {
    let seconds = |time: Duration| (time.as_secs_f64() * 1e4).round() / 1e4;
    json!({
        "p50": seconds(figures.p50),
        "p95": seconds(figures.p95),
        "max": seconds(figures.max),
    })
}
