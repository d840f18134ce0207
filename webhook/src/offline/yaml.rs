//! YAML as kubectl reads it: 0644 is 420, and a string that looks like something else is quoted.
//!
//! Must not know: what the values mean.

use serde_json::Value;
use serde_saphyr::{DuplicateKeyPolicy, Options, SerializerOptions};

/// How many values a document may have for each of its bytes, with what its aliases stand for, and how
/// many bytes of text: none that people write comes near it, and none takes memory without bound.
const MOST_VALUES: usize = 2;
const MOST_TEXT: usize = 64;

/// Reads one document. Of a key that is written twice the last value counts, as in kubectl.
pub(super) fn read(text: &str) -> Result<Value, serde_saphyr::Error> {
    let options: Options = serde_saphyr::options! {
        legacy_octal_numbers: true,
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_nodes: MOST_VALUES * (text.len() + 1),
            max_total_scalar_bytes: MOST_TEXT * (text.len() + 1),
        },
    };
    serde_saphyr::from_str_with_options(text, options)
}

/// Writes one document, with a line break at its end.
pub(super) fn write(value: &Value) -> Result<String, serde_saphyr::ser::Error> {
    let options: SerializerOptions = serde_saphyr::ser_options! {
        // A long line stays one: nothing is folded that somebody else would have to unfold.
        folded_wrap_chars: usize::MAX,
    };
    serde_saphyr::to_string_with_options(value, options)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_octal_number_is_read_as_kubectl_reads_it() {
        let value = read("[0644, 0o644, -0644, 0, 00, 0x1F, 420, 1_000]").unwrap();
        assert_eq!(value, json!([420, 420, -420, 0, 0, 31, 420, 1000]));
        assert_eq!(write(&json!({ "mode": 0o644 })).unwrap(), "mode: 420\n");
    }

    #[test]
    fn a_plain_word_is_read_as_kubectl_reads_it() {
        let value = read("[yes, on, y, N, true, 12:30:45, 2024-01-01, '1', ~, \"yes\"]").unwrap();
        let expected = json!([
            true,
            true,
            true,
            false,
            true,
            "12:30:45",
            "2024-01-01",
            "1",
            null,
            "yes"
        ]);
        assert_eq!(value, expected);
    }

    #[test]
    fn aliases_stand_for_no_more_than_people_write() {
        let text = "\n  - a long word\n  - another long word";
        let shared = format!("a: &a{text}\nb: [*a, *a, *a]\n");
        assert_eq!(read(&shared).unwrap()["b"][2][1], "another long word");
        let bomb = "a: &a [x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b]\nd: [*c,*c,*c]\n";
        assert!(read(bomb).is_err());
    }

    #[test]
    fn of_a_key_written_twice_the_last_value_counts() {
        assert_eq!(read("{a: 1, a: 2}").unwrap(), json!({ "a": 2 }));
    }

    #[test]
    fn a_string_stays_one_whatever_it_looks_like() {
        for text in [
            "yes",
            "no",
            "on",
            "Off",
            "y",
            "N",
            "1_000",
            "12:30:45",
            "null",
            "~",
            "",
            "1e3",
            "0x1F",
            "0644",
            "0o17",
            "089",
            "1",
            "-1",
            "+1",
            "1.",
            ".5",
            ".inf",
            "true",
            "False",
            "2024-01-01",
            "=",
            "<<",
            "- a",
            "a: b",
            "a #b",
            "#",
            "---",
            "...",
            "%a",
            "@a",
            "`a",
            "!a",
            "&a",
            "*a",
            "{}",
            "[]",
            "a\nb",
            "a\n",
            "\n",
            "\na",
            " a",
            "a ",
            "\t",
            "a\tb",
            "a\r\nb",
            "ä",
            "\u{7f}",
            "\u{feff}",
            "\"",
            "'",
            "\\",
            "a\n\n  b\n\n",
            "  a\nb",
            "?",
            "? a",
            ":",
            "a:",
            "|",
            ">",
            "{\"created\":[\"initContainers\"]}",
        ] {
            let value = json!({ text: text, "list": [text, [text], { "x": text }] });
            let written = write(&value).unwrap();
            assert_eq!(
                read(&written).unwrap(),
                value,
                "{text:?} is written\n{written}"
            );
            let plain = written.contains(&format!("- {text}\n"));
            let is_text = matches!(read(text), Ok(Value::String(_)));
            assert!(!plain || is_text, "{text:?} is not quoted in\n{written}");
        }
    }

    #[test]
    fn a_long_line_stays_one() {
        let value = json!({ "a": "word ".repeat(100) + "end" });
        assert_eq!(write(&value).unwrap().lines().count(), 1);
    }
}
