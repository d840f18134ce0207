//! The last terms, as the Lease keeps them in an annotation: who led, since when, why, for how long.
//!
//! For people. Nothing is decided by it, and what cannot be read begins anew.

use jiff::{Timestamp, Unit};
use serde::{Deserialize, Serialize};

/// How many terms are kept.
const LENGTH: usize = 10;

/// One term.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    term: u64,
    leader: String,
    since: Timestamp,
    why: String,
    /// How long it lasted; not while it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seconds: Option<i64>,
    /// Why it ended, where its leader could say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended: Option<String>,
}

/// The history `text` with another term, the newest last.
pub(crate) fn begin(text: &str, term: u64, leader: &str, why: &str, now: Timestamp) -> String {
    let mut terms = read(text);
    finish(&mut terms, now);
    terms.push(Entry {
        term,
        leader: leader.to_owned(),
        since: now.round(Unit::Millisecond).unwrap_or(now),
        why: why.to_owned(),
        seconds: None,
        ended: None,
    });
    let surplus = terms.len().saturating_sub(LENGTH);
    terms.drain(..surplus);
    write(&terms)
}

/// The history `text` with its last term ended.
pub(crate) fn end(text: &str, why: &str, now: Timestamp) -> String {
    let mut terms = read(text);
    if let Some(last) = finish(&mut terms, now) {
        last.ended = Some(why.to_owned());
    }
    write(&terms)
}

fn finish(terms: &mut [Entry], now: Timestamp) -> Option<&mut Entry> {
    let last = terms.last_mut().filter(|term| term.seconds.is_none())?;
    last.seconds = Some(
        now.as_second()
            .saturating_sub(last.since.as_second())
            .max(0),
    );
    Some(last)
}

fn read(text: &str) -> Vec<Entry> {
    serde_json::from_str(text).unwrap_or_default()
}

fn write(terms: &[Entry]) -> String {
    serde_json::to_string(terms).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_term_has_who_when_why_and_how_long() {
        let first = begin("", 1, "web-0", "the lease named nobody", at(0));
        let given_up = end(&first, "the pod is being deleted", at(61));
        let second = begin(&given_up, 2, "web-1", "web-0 handed over", at(62));
        let expected = r#"[{"term":1,"leader":"web-0","since":"1970-01-01T00:00:00Z","why":"the lease named nobody","seconds":61,"ended":"the pod is being deleted"},{"term":2,"leader":"web-1","since":"1970-01-01T00:01:02Z","why":"web-0 handed over"}]"#;
        assert_eq!(second, expected);
    }

    #[test]
    fn a_leader_who_fell_silent_led_until_the_next_one() {
        let first = begin("", 1, "web-0", "the lease named nobody", at(0));
        let second = read(&begin(
            &first,
            2,
            "web-1",
            "the lease of web-0 expired",
            at(30),
        ));
        assert_eq!(second[0].seconds, Some(30));
        assert_eq!(second[0].ended, None);
    }

    #[test]
    fn ten_terms_are_kept_and_what_cannot_be_read_begins_anew() {
        let text = (1..=12).fold("no JSON".to_owned(), |text, term| {
            begin(&text, term, "web-0", "the lease named this pod", at(1))
        });
        let numbers: Vec<u64> = read(&text).iter().map(|term| term.term).collect();
        assert_eq!(numbers, (3..=12).collect::<Vec<_>>());
    }
}
