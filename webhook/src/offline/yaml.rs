//! YAML as kubectl reads it: 0644 is 420, and a string that looks like something else is quoted.
//!
//! Must not know: what the values mean.

use std::borrow::Cow;

use serde_json::Value;
use serde_saphyr::{
    DuplicateKeyPolicy, Options, SerializerOptions,
    granit_parser::{Event, Parser, ScalarStyle},
};

/// How many values a document may have for each of its bytes, with what its aliases stand for, and how
/// many bytes of text: none that people write comes near it, and none takes memory without bound.
const MOST_VALUES: usize = 2;
const MOST_TEXT: usize = 64;

/// What kubectl takes for booleans; in other letters they are words.
const BOOLEANS: [&str; 22] = [
    "y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "true", "True", "TRUE", "n", "N", "no", "No",
    "NO", "off", "Off", "OFF", "false", "False", "FALSE",
];

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
    serde_saphyr::from_str_with_options(&quoted(text), options)
}

/// A text with those words in quotes that are strings to kubectl and to the parser are not.
fn quoted(text: &str) -> Cow<'_, str> {
    let is_in_a_word = |c: char| c.is_ascii_alphanumeric() || ['+', '-', '.'].contains(&c);
    let mut words = text.split(|c| !is_in_a_word(c));
    if !words.any(is_mere_word) {
        return Cow::Borrowed(text);
    }
    let mut quoted = String::new();
    let mut rest = 0;
    // What cannot be read is told when it is read.
    for (event, span) in Parser::new_from_str(text).map_while(Result::ok) {
        let Event::Scalar(word, ScalarStyle::Plain, _, None) = event else {
            continue;
        };
        if let Some(start) = span.start.byte_offset()
            && is_mere_word(&word)
            && text.get(start..).is_some_and(|it| it.starts_with(&*word))
            && let Some(before) = text.get(rest..start)
        {
            quoted.extend([before, "'", &word, "'"]);
            rest = start + word.len();
        }
    }
    quoted.push_str(text.get(rest..).unwrap_or_default());
    Cow::Owned(quoted)
}

/// Whether a plain word is a string to kubectl, although it has the letters of a boolean or the form of a
/// number, which none can be that large.
fn is_mere_word(word: &str) -> bool {
    let unsigned = word.strip_prefix(['+', '-']).unwrap_or(word);
    if unsigned.starts_with(|c: char| c.is_ascii_digit()) {
        return word.parse().is_ok_and(f64::is_infinite);
    }
    !BOOLEANS.contains(&word) && BOOLEANS.iter().any(|it| it.eq_ignore_ascii_case(word))
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
    fn a_word_that_looks_like_a_number_beyond_all_numbers_is_a_word() {
        let value =
            read("a: &a 12e4567\nb: [*a, -1e999, 1e3, '.inf']\nc: {d: 9.9E+999}\n").unwrap();
        let expected = json!({
            "a": "12e4567",
            "b": ["12e4567", "-1e999", 1000.0, ".inf"],
            "c": { "d": "9.9E+999" },
        });
        assert_eq!(value, expected);
        assert_eq!(read("\u{feff}a: 1e999").unwrap(), json!({ "a": "1e999" }));
        for text in ["a: .inf\n", "a: [-.Inf]\n", "\na: .nan\n"] {
            let error = read(text).unwrap_err().to_string();
            assert!(
                error.contains("non-finite") && error.contains("line"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_boolean_in_odd_letters_is_a_word() {
        let text = "ä: &a yES\nb: [*a, tRUE, oFF, Off, TRUE, 'oN', x yES]\nc: |\n  tRUE\noN: # oN\n  yES\n";
        let expected = json!({
            "ä": "yES",
            "b": ["yES", "tRUE", "oFF", false, true, "oN", "x yES"],
            "c": "tRUE\n",
            "oN": "yES",
        });
        assert_eq!(read(text).unwrap(), expected);
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
            "12e4567",
            "tRUE",
            "oFF",
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
