//! Who asked what of the API server, out of its audit log. Pure.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;
use serde_json::Value;

/// Counts the requests to a namespace by one user, or by the programs whose user agent begins so,
/// that came in `from` and before `to`: by verb and resource. A watch has several lines, and is one
/// request.
pub(super) fn count(
    log: &str,
    namespace: &str,
    asker: &str,
    from: Timestamp,
    to: Timestamp,
) -> BTreeMap<String, u32> {
    let mut seen = HashSet::new();
    let mut counts = BTreeMap::new();
    for line in log.lines() {
        let Ok(entry) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        let text = |pointer| entry.pointer(pointer).and_then(Value::as_str);
        let came: Option<Timestamp> =
            text("/requestReceivedTimestamp").and_then(|time| time.parse().ok());
        let inside = came.is_some_and(|came| from <= came && came < to);
        let by_them = text("/user/username") == Some(asker)
            || text("/userAgent").is_some_and(|agent| agent.starts_with(asker));
        if !inside || !by_them || text("/objectRef/namespace") != Some(namespace) {
            continue;
        }
        let id = text("/auditID").unwrap_or(line).to_owned();
        if seen.insert(id) {
            let verb = text("/verb").unwrap_or("?");
            let what = text("/objectRef/resource").or_else(|| text("/requestURI"));
            let request = format!("{verb} {}", what.unwrap_or("?"));
            *counts.entry(request).or_default() += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_askers_own_requests_within_the_window_count_and_a_watch_once() {
        let line = |id: &str, user: &str, namespace: &str, verb: &str, second: u32| {
            json!({"auditID": id, "user": {"username": user}, "verb": verb,
                "userAgent": "program/v1",
                "objectRef": {"resource": "leases", "namespace": namespace},
                "requestReceivedTimestamp": format!("2026-01-01T00:00:{second:02}.000000Z")})
            .to_string()
        };
        let log = [
            line("1", "me", "here", "patch", 9),
            line("2", "me", "here", "patch", 10),
            line("3", "me", "here", "watch", 11),
            line("3", "me", "here", "watch", 11),
            line("4", "you", "here", "patch", 12),
            line("5", "me", "there", "patch", 13),
            line("6", "me", "here", "patch", 20),
            "torn".to_owned(),
        ]
        .join("\n");
        let time = |second| format!("2026-01-01T00:00:{second}Z").parse().unwrap();
        let counted = |asker| count(&log, "here", asker, time(10), time(20));
        let expected = |patches| {
            let each = [("patch leases", patches), ("watch leases", 1)];
            each.map(|(request, count)| (request.to_owned(), count))
                .into()
        };
        assert_eq!(counted("me"), expected(1));
        assert_eq!(counted("program/"), expected(2));
    }
}
