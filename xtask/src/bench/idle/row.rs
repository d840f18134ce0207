//! What was seen of one idle election, and what is promised of it.

use std::{collections::BTreeMap, fmt, fs, path::Path, time::Duration};

use anyhow::Result;
use serde_json::{Value, json};

use crate::bench::{process::Memory, verdict::Verdict};

/// Who the product is in the report.
pub(super) const OURS: &str = "this";

/// Requests per second of three pods, and of each pod more.
const MOST_AT_THREE: f64 = 0.3;
const MOST_PER_POD: f64 = 0.003;

/// Of an idle sidecar, in MB of 1,000,000 bytes.
const MOST_RESIDENT: f64 = 10.0;
const MOST_ANONYMOUS: f64 = 3.0;

#[derive(Debug)]
pub(in crate::bench) struct Row {
    pub(super) who: &'static str,
    pub(super) candidates: usize,
    /// How long it was watched.
    pub(super) span: Duration,
    pub(super) requests: BTreeMap<String, u32>,
    /// The largest of each among the candidates.
    pub(super) memory: Memory,
    /// Time on a processor, of all candidates together.
    pub(super) used: Duration,
}

impl Row {
    pub(super) fn is_ours(&self) -> bool {
        self.who == OURS
    }

    /// Requests per second.
    pub(super) fn rate(&self) -> f64 {
        let all: u32 = self.requests.values().sum();
        f64::from(all) / self.span.as_secs_f64()
    }

    fn resident(&self) -> f64 {
        self.memory.resident_megabytes()
    }

    fn anonymous(&self) -> f64 {
        self.memory.anonymous_megabytes()
    }

    /// Seconds on a processor in an hour, of one candidate on average.
    fn used_per_hour(&self) -> f64 {
        let candidates = u32::try_from(self.candidates).map_or(f64::NAN, f64::from);
        self.used.as_secs_f64() / candidates * 3600.0 / self.span.as_secs_f64()
    }

    fn json(&self) -> Value {
        json!({
            "who": self.who,
            "candidates": self.candidates,
            "seconds": self.span.as_secs(),
            "requests": self.requests,
            "requestsPerSecond": rounded(self.rate()),
            "residentMB": rounded(self.resident()),
            "anonymousMB": rounded(self.anonymous()),
            "cpuSecondsPerHour": rounded(self.used_per_hour()),
        })
    }
}

impl fmt::Display for Row {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each = self.requests.iter();
        let each: Vec<_> = each
            .map(|(what, count)| format!("{count} {what}"))
            .collect();
        write!(
            formatter,
            "{:<20} {:>10} {:>11.3} {:>12.2} {:>13.2} {:>12.1}  in {} s: {}",
            self.who,
            self.candidates,
            self.rate(),
            self.resident(),
            self.anonymous(),
            self.used_per_hour(),
            self.span.as_secs(),
            each.join(", ")
        )
    }
}

/// Of this product's rows. The first has three candidates.
pub(super) fn verdicts(rows: &[Row]) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    let mut judge = |what: String, seen, most, unit| {
        verdicts.push(Verdict::new(what, seen, most, unit));
    };
    let ours = || rows.iter().filter(|row| row.is_ours());
    for row in ours() {
        let more = u32::try_from(row.candidates).map_or(f64::NAN, f64::from) - 3.0;
        let most = MOST_AT_THREE + MOST_PER_POD * more;
        let what = format!("requests of {} pods", row.candidates);
        judge(what, row.rate(), most, "/s");
    }
    if let Some((first, last)) = ours().next().zip(ours().next_back()) {
        let pods = last.candidates - first.candidates;
        let pods = u32::try_from(pods).map_or(f64::NAN, f64::from);
        let each = (last.rate() - first.rate()) / pods;
        judge("each further pod".to_owned(), each, MOST_PER_POD, "/s");
    }
    let largest = |part: fn(&Row) -> f64| ours().map(part).fold(0.0, f64::max);
    let resident = largest(Row::resident);
    judge("resident memory".to_owned(), resident, MOST_RESIDENT, " MB");
    let anonymous = largest(Row::anonymous);
    judge(
        "anonymous memory".to_owned(),
        anonymous,
        MOST_ANONYMOUS,
        " MB",
    );
    verdicts
}

/// Puts idle.json and idle.svg into this folder.
pub(in crate::bench) fn write(rows: &[Row], folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let all: Vec<_> = rows.iter().map(Row::json).collect();
    let text = serde_json::to_string_pretty(&all)?;
    fs::write(folder.join("idle.json"), format!("{text}\n"))?;
    fs::write(folder.join("idle.svg"), super::draw(rows))?;
    Ok(())
}

fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
