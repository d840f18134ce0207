//! What is promised, and whether it was seen to hold.

use std::fmt;

use serde_json::{Value, json};

/// A figure beside its limit.
pub(super) struct Verdict {
    what: String,
    seen: f64,
    most: f64,
    unit: &'static str,
}

impl Verdict {
    pub(super) fn new(what: impl Into<String>, seen: f64, most: f64, unit: &'static str) -> Self {
        let what = what.into();
        Self {
            what,
            seen,
            most,
            unit,
        }
    }

    pub(super) fn is_kept(&self) -> bool {
        self.seen <= self.most
    }

    pub(super) fn json(&self) -> Value {
        let Self {
            what,
            seen,
            most,
            unit,
        } = self;
        json!({ "what": what, "seen": seen, "most": most, "unit": unit.trim() })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            seen,
            most,
            unit,
        } = self;
        let word = if self.is_kept() { "ok" } else { "OVER" };
        write!(
            formatter,
            "{what:<44} {seen:>8.4}{unit}, at most {most}{unit}: {word}"
        )
    }
}
