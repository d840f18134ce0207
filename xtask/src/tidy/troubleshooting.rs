//! docs/troubleshooting.md has the messages that are said, and no others.
//!
//! What the injector says stands in the golden reports. Each row must be in one of them, or be
//! claimed by a test that has met it.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context as _, Result};
use serde_json::Value;
use testcluster::troubleshooting::{PAGE, rows};

use super::files::File;

/// What a test calls to claim a row, or how that begins.
const CLAIM: &str = "documented";

/// What the injector said of a case.
#[derive(Debug)]
pub(super) struct Said {
    /// The golden report, from the repository's root.
    pub(super) report: String,
    pub(super) message: String,
}

/// Everything that the golden reports have.
pub(super) fn said(root: &Path) -> Result<Vec<Said>> {
    let mut all = Vec::new();
    let cases = root.join("contract/testdata");
    for case in fs::read_dir(&cases).with_context(|| cases.display().to_string())? {
        let path = case?.path().join("report.json");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let report: Value =
            serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        let warnings = report.get("warnings").and_then(Value::as_array);
        let messages = warnings.into_iter().flatten().chain(report.get("denied"));
        all.extend(messages.filter_map(Value::as_str).map(|message| {
            Said {
                report: path
                    .strip_prefix(root)
                    .unwrap_or(&path)
                    .display()
                    .to_string(),
                message: message.to_owned(),
            }
        }));
    }
    all.sort_by(|one, other| one.report.cmp(&other.report));
    Ok(all)
}

pub(super) fn check(page: &str, said: &[Said], sources: &[File]) -> Vec<String> {
    let rows = match rows(page) {
        Ok(rows) => rows,
        Err(error) => return vec![format!("{PAGE}: {error}")],
    };
    let mut wrong = Vec::new();
    let mut shown: BTreeSet<&str> = sources.iter().flat_map(|file| claims(&file.text)).collect();
    for claim in &shown {
        if !rows.iter().any(|row| row.name == *claim) {
            wrong.push(format!("{PAGE} has no row {claim}, which a test claims"));
        }
    }
    for Said { report, message } in said {
        let fitting: Vec<&str> = rows
            .iter()
            .filter(|row| row.is(message))
            .map(|row| row.name.as_str())
            .collect();
        match fitting.as_slice() {
            [] => wrong.push(format!(
                "{report}: no row of {PAGE} is this message: {message}"
            )),
            [_] => {}
            several => wrong.push(format!(
                "{report}: the rows {} of {PAGE} are all this message: {message}",
                several.join(", ")
            )),
        }
        shown.extend(fitting);
    }
    let unshown = rows.iter().filter(|row| !shown.contains(row.name.as_str()));
    wrong.extend(unshown.map(|row| {
        format!(
            "{PAGE}: row {}: no golden report has it, and no test claims it by {CLAIM}(\"{}\", ...)",
            row.name, row.name
        )
    }));
    wrong
}

/// The rows that a source file claims: the first argument of each call whose name begins so.
fn claims(source: &str) -> impl Iterator<Item = &str> {
    source.split(CLAIM).skip(1).filter_map(|after| {
        let (kind, arguments) = after.split_once('(')?;
        let call = kind.chars().all(|c| c == '_' || c.is_ascii_lowercase());
        let (name, _) = arguments.trim_start().strip_prefix('"')?.split_once('"')?;
        call.then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: &str = "```text one\nis <a>\n```\n```text two\nwas <a>\n```\n";

    fn golden(message: &str) -> Said {
        Said {
            report: "case/report.json".to_owned(),
            message: message.to_owned(),
        }
    }

    /// A test that claims a row by this call.
    fn test(call: &str, row: &str) -> File {
        File {
            path: "a/tests/b.rs".to_owned(),
            text: format!(
                "//! Tests.\nfn a() {{\n    scene.{call}(\n        \"{row}\", &text);\n}}\n"
            ),
        }
    }

    #[test]
    fn each_row_is_shown_by_a_report_or_claimed_by_a_test() {
        let claimed = [test(CLAIM, "two")];
        assert_eq!(
            check(ROWS, &[golden("is b")], &claimed),
            Vec::<String>::new()
        );
        let waited = [test("documented_event", "two"), test(CLAIM, "one")];
        assert_eq!(check(ROWS, &[], &waited), Vec::<String>::new());
    }

    #[test]
    fn a_row_that_nothing_shows_is_found() {
        let expected = [
            "docs/troubleshooting.md: row two: no golden report has it, and no test claims it by \
             documented(\"two\", ...)",
        ];
        assert_eq!(check(ROWS, &[golden("is b")], &[]), expected);
    }

    #[test]
    fn a_message_without_a_row_or_with_two_is_found_with_its_report() {
        let claimed = [test(CLAIM, "two"), test(CLAIM, "one")];
        let expected =
            ["case/report.json: no row of docs/troubleshooting.md is this message: will be"];
        assert_eq!(check(ROWS, &[golden("will be")], &claimed), expected);
        let twice = format!("{ROWS}```text three\n<a> b\n```\n");
        let expected = [
            "case/report.json: the rows one, three of docs/troubleshooting.md are all this message: is b",
        ];
        assert_eq!(check(&twice, &[golden("is b")], &claimed), expected);
    }

    #[test]
    fn a_claim_without_a_row_is_found() {
        let claimed = [test(CLAIM, "one"), test(CLAIM, "two"), test(CLAIM, "three")];
        let expected = ["docs/troubleshooting.md has no row three, which a test claims"];
        assert_eq!(check(ROWS, &[], &claimed), expected);
    }
}
