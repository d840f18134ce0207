//! `docs/troubleshooting.md`, row by row: the messages that users see, so that a test which meets one
//! can prove that the page has it.
//!
//! A row is a block of code whose fence bears the row's name: ` ```text name `. In its one line `<...>`
//! stands for what differs from time to time.
//!
//! Must not know: which messages there are, where they come from.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

/// Where the page stands, from the repository's root.
pub const PAGE: &str = "docs/troubleshooting.md";

const FENCE: &str = "```text ";

/// A message that users see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The name by which tests claim it.
    pub name: String,
    /// The message.
    pub message: String,
}

impl Row {
    /// Whether a message is this one. What `<...>` stands for between quotes has none itself.
    pub fn is(&self, message: &str) -> bool {
        let mut parts = fixed(&self.message).into_iter();
        let mut before = parts.next().unwrap_or_default();
        let Some(mut left) = message.strip_prefix(before) else {
            return false;
        };
        let Some(last) = parts.next_back() else {
            return left.is_empty();
        };
        for part in parts {
            let Some((value, after)) = left.split_once(part) else {
                return false;
            };
            if !stands_between(before, value, part) {
                return false;
            }
            (before, left) = (part, after);
        }
        left.strip_suffix(last)
            .is_some_and(|value| stands_between(before, value, last))
    }
}

fn stands_between(before: &str, value: &str, after: &str) -> bool {
    let quoted = before.ends_with('"') && after.starts_with('"');
    !(quoted && value.contains('"'))
}

/// What stands between the `<...>` of a message, and before and after them.
fn fixed(message: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut left = message;
    while let Some((part, rest)) = left.split_once('<')
        && let Some((_, after)) = rest.split_once('>')
    {
        parts.push(part);
        left = after;
    }
    parts.push(left);
    parts
}

/// The rows of a page.
pub fn rows(page: &str) -> Result<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(name) = line.strip_prefix(FENCE) else {
            continue;
        };
        let message = lines.next().unwrap_or_default();
        ensure!(
            lines.next() == Some("```"),
            "row {name} has more than one line, or none"
        );
        ensure!(
            rows.iter().all(|row| row.name != name),
            "two rows have the name {name}"
        );
        rows.push(Row {
            name: name.to_owned(),
            message: message.to_owned(),
        });
    }
    Ok(rows)
}

/// Fails unless a line of this text, or a text in this JSON of one line, is the message of that row.
/// Every row is claimed by such a call, which must name it as it stands on the page.
pub fn documented(name: &str, text: &str) -> Result<()> {
    let row = row(name)?;
    if says(&row, text) {
        return Ok(());
    }
    bail!("row {name} of {PAGE} is not in what was seen:\n{row:?}\n{text}")
}

/// Fails unless one row, and one only, is this message.
pub fn explains(message: &str) -> Result<()> {
    let rows = committed()?;
    let found: Vec<_> = rows.iter().filter(|row| row.is(message)).collect();
    ensure!(
        found.len() == 1,
        "{PAGE} has {} rows for {message:?}: {found:?}",
        found.len()
    );
    Ok(())
}

/// Whether a text has the message of a row: for tests that wait until it does.
pub fn has(name: &str, text: &str) -> Result<bool> {
    Ok(says(&row(name)?, text))
}

fn committed() -> Result<Vec<Row>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    rows(&fs::read_to_string(root.join(PAGE)).context(PAGE)?)
}

fn row(name: &str) -> Result<Row> {
    let found = committed()?.into_iter().find(|row| row.name == name);
    found.with_context(|| format!("{PAGE} has no row {name}"))
}

fn says(row: &Row, text: &str) -> bool {
    text.lines()
        .any(|line| match serde_json::from_str::<Value>(line) {
            Ok(Value::Object(fields)) if !row.is(line) => fields
                .values()
                .any(|value| value.as_str().is_some_and(|text| row.is(text))),
            _ => row.is(line.trim()),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(message: &str) -> Row {
        Row {
            name: "row".to_owned(),
            message: message.to_owned(),
        }
    }

    #[test]
    fn what_differs_from_time_to_time_is_left_open_and_the_rest_is_not() {
        let open = row("Service <name> selects \"<label>\", and <n>: end");
        assert!(open.is("Service web selects \"a=b\", and 3: end"));
        assert!(open.is("Service  selects \"\", and : : end"));
        for other in [
            "a Service web selects \"a=b\", and 3: end",
            "Service web selects \"a=b\", and 3: end.",
            "Service web selects a=b, and 3: end",
            "Service web selects \"a=b\" and 3: end",
            "Service web selects \"a\", \"b\", and 3: end",
            "",
        ] {
            assert!(!open.is(other), "{other}");
        }
        assert!(row("as it is").is("as it is"));
        assert!(!row("as it is").is("as it is not"));
        assert!(!row("<a>aa").is("a"));
        assert!(!row("ab<a>ba").is("aba"));
    }

    #[test]
    fn a_page_is_read_row_by_row() {
        let page = "# Page\n\n```text one\nfirst\n```\nWhy.\n\n```sh\nnone\n```\n\n```text two\n<n>\n```\n";
        let names: Vec<_> = rows(page)
            .unwrap()
            .into_iter()
            .map(|row| row.name)
            .collect();
        assert_eq!(names, ["one", "two"]);
        for bad in [
            "```text a\nb\nc\n```\n",
            "```text a\n",
            "```text a\nb\n```\n```text a\nc\n```\n",
        ] {
            assert!(rows(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_message_is_found_in_a_line_and_in_a_field_of_a_log() {
        let row = row("the service does not exist");
        for text in [
            "Events:\n  the service does not exist\n",
            r#"{"level":"WARN","message":"the service does not exist","name":"web"}"#,
        ] {
            assert!(says(&row, text), "{text}");
        }
        assert!(!says(&row, "the service does not exist yet"));
    }
}
