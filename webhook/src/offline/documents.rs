//! A stream of manifests, cut into its documents. Each keeps its bytes, and comes out as it came in
//! unless it is changed.
//!
//! Must not know: what the documents mean.

use serde_json::Value;

use super::yaml;

/// A byte order mark, which some editors put before a text.
const MARK: char = '\u{feff}';

/// Why a stream cannot be read, or a document cannot be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum DocumentError {
    #[error("document {number} is no YAML: {reason}")]
    Read { number: usize, reason: String },
    #[error("document {number} cannot be written as YAML")]
    Yaml {
        number: usize,
        source: serde_saphyr::ser::Error,
    },
    #[error("document {number} cannot be written as JSON")]
    Json {
        number: usize,
        source: serde_json::Error,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Yaml,
    Json,
}

/// One document of a stream.
#[derive(Debug)]
pub(super) struct Document {
    /// Counted from one. What holds nothing but comments has the number of what follows.
    pub(super) number: usize,
    /// What it says. None: nothing but comments.
    pub(super) value: Option<Value>,
    format: Format,
    /// Separator, directives and comments above the content; they stay in any case.
    head: String,
    body: String,
    /// What ends it: `...`, or what follows the last one of JSON.
    tail: String,
}

/// Cuts a stream into its documents.
pub(super) fn read(text: &str) -> Result<Vec<Document>, DocumentError> {
    if let Some(documents) = json(text) {
        return Ok(documents);
    }
    let mut documents = Vec::new();
    let (mut number, mut lines) = (1, 0);
    for part in parts(text) {
        let mut document = Document::cut(part, number);
        if !document.body.trim().is_empty() {
            document.parse(lines)?;
            number += 1;
        }
        lines += part.lines().count();
        documents.push(document);
    }
    Ok(documents)
}

/// JSON objects, one after the other. None: it is not JSON, but perhaps YAML.
fn json(text: &str) -> Option<Vec<Document>> {
    let start = text.len() - text.trim_start_matches(MARK).len();
    let content = text.get(start..)?;
    if !content.trim_start().starts_with('{') {
        return None;
    }
    let mut values = serde_json::Deserializer::from_str(content).into_iter();
    let mut documents = Vec::new();
    let mut end = 0;
    while let Some(value) = values.next() {
        // Anything else among them could not be told from them in what is written.
        let value: Value = value.ok().filter(Value::is_object)?;
        let next = start + values.byte_offset();
        let part = text.get(end..next)?;
        let body = part.trim_start_matches(MARK).trim_start();
        documents.push(Document {
            number: documents.len() + 1,
            value: Some(value),
            format: Format::Json,
            head: part.strip_suffix(body)?.to_owned(),
            body: body.to_owned(),
            tail: String::new(),
        });
        end = next;
    }
    text.get(end..)?.clone_into(&mut documents.last_mut()?.tail);
    Some(documents)
}

/// The parts of a YAML stream: a new one begins at each `---` and after each `...`.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let mut length = 0;
        for line in rest.split_inclusive('\n') {
            if length > 0 && is_marker(line, "---") {
                break;
            }
            length += line.len();
            if is_marker(line, "...") {
                break;
            }
        }
        let (part, after) = rest.split_at_checked(length)?;
        rest = after;
        (!part.is_empty()).then_some(part)
    })
}

fn is_marker(line: &str, marker: &str) -> bool {
    line.trim_start_matches(MARK)
        .strip_prefix(marker)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
}

/// Whether a line stands above the content: a separator, a directive, a comment, nothing.
fn is_head(line: &str) -> bool {
    let line = line.trim_start_matches(MARK);
    let rest = if is_marker(line, "---") {
        line.trim_start_matches('-')
    } else {
        line
    };
    let rest = rest.trim();
    rest.is_empty() || rest.starts_with('#') || line.starts_with('%')
}

impl Document {
    fn cut(part: &str, number: usize) -> Self {
        let lines = part.split_inclusive('\n');
        let head = lines.take_while(|line| is_head(line)).map(str::len).sum();
        let (head, rest) = part.split_at_checked(head).unwrap_or((part, ""));
        let end = match rest.split_inclusive('\n').next_back() {
            Some(last) if is_marker(last, "...") => rest.len() - last.len(),
            _ => rest.len(),
        };
        let (body, tail) = rest.split_at_checked(end).unwrap_or((rest, ""));
        Self {
            number,
            value: None,
            format: Format::Yaml,
            head: head.to_owned(),
            body: body.to_owned(),
            tail: tail.to_owned(),
        }
    }

    /// Reads the content, which `lines` lines of the stream and the head stand above.
    fn parse(&mut self, lines: usize) -> Result<(), DocumentError> {
        let value = yaml::read(&self.body).map_err(|error| {
            let above = lines + self.head.lines().count();
            let options = serde_saphyr::render_options! {
                line_offset: u64::try_from(above).unwrap_or_default(),
            };
            DocumentError::Read {
                number: self.number,
                reason: error.render_with_options(options),
            }
        })?;
        self.value = Some(value);
        Ok(())
    }

    /// As it came in.
    pub(super) fn text(&self) -> String {
        [self.head.as_str(), &self.body, &self.tail].concat()
    }

    /// With other content, under the same head.
    pub(super) fn with(&self, value: &Value) -> Result<String, DocumentError> {
        let number = self.number;
        let body = match self.format {
            Format::Yaml => {
                yaml::write(value).map_err(|source| DocumentError::Yaml { number, source })?
            }
            Format::Json => serde_json::to_string_pretty(value)
                .map_err(|source| DocumentError::Json { number, source })?,
        };
        // Content may begin on the separator's own line.
        let separator = if is_marker(&self.body, "---") {
            "---\n"
        } else {
            ""
        };
        Ok([self.head.as_str(), separator, &body, &self.tail].concat())
    }
}

/// Streams of documents as one. Inside a stream nothing is put between two documents, save before
/// JSON objects that are no longer alone: then all of it is YAML, from its first byte on.
pub(super) fn join(streams: &[Vec<String>]) -> String {
    let streams: Vec<&Vec<String>> = streams.iter().filter(|texts| !texts.is_empty()).collect();
    let alone = streams.len() == 1;
    let mut all = String::new();
    for texts in streams {
        for (index, text) in texts.iter().enumerate() {
            let is_json = text.trim_start().starts_with('{');
            if is_json && !alone || index == 0 && !all.is_empty() {
                separate(&mut all, text);
            }
            all.push_str(text);
        }
    }
    all
}

fn separate(all: &mut String, text: &str) {
    if !all.is_empty() && !all.ends_with('\n') {
        all.push('\n');
    }
    let separated = text
        .lines()
        .next()
        .is_some_and(|line| is_marker(line, "---"));
    if !separated {
        all.push_str("---\n");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn texts(text: &str) -> Vec<String> {
        read(text).unwrap().iter().map(Document::text).collect()
    }

    #[test]
    fn every_byte_of_a_stream_is_in_one_of_its_documents() {
        let numbers = |numbers: &[i32]| numbers.iter().map(|n| json!({ "a": n })).collect();
        let cases: [(&str, Vec<Value>); 16] = [
            ("", vec![]),
            ("# nothing\n", vec![]),
            ("---\n", vec![]),
            ("a: 1", numbers(&[1])),
            ("a: 1\n---\na: 2\n", numbers(&[1, 2])),
            (
                "---\n# Source: x\n\na: 1 # b\n--- # c\na: 2",
                numbers(&[1, 2]),
            ),
            ("%YAML 1.1\n---\na: 1\n...\na: 2\n", numbers(&[1, 2])),
            (
                "--- {a: 1}\n--- |\n  ---\n",
                vec![json!({ "a": 1 }), json!("---\n")],
            ),
            (
                "a: |\n  x\n  ---\n  y\n",
                vec![json!({ "a": "x\n---\ny\n" })],
            ),
            ("a: 1\r\n---\r\na: 2\r\n", numbers(&[1, 2])),
            ("\u{feff}---\na: 1\n", numbers(&[1])),
            ("----\n", vec![json!("----")]),
            ("{\"a\": 1}\n{\"a\": 2}\n\n", numbers(&[1, 2])),
            ("\u{feff}{\"a\": 1}{\"a\": 2}", numbers(&[1, 2])),
            ("{a: 1}\n---\n{a: 2}\n", numbers(&[1, 2])),
            ("{\"a\": 1}\n---\n{\"a\": 2}\n", numbers(&[1, 2])),
        ];
        for (text, expected) in cases {
            let documents = read(text).unwrap();
            let values: Vec<Value> = documents.into_iter().filter_map(|it| it.value).collect();
            assert_eq!(values, expected, "{text:?}");
            assert_eq!(join(&[texts(text)]), text);
        }
    }

    #[test]
    fn a_changed_document_keeps_what_stands_above_it() {
        for (text, expected) in [
            ("a: 1", "a: 2\n"),
            ("---\n# Source: x\na: 1 # b\n", "---\n# Source: x\na: 2\n"),
            ("--- {a: 1}\n", "---\na: 2\n"),
            ("a: 1\n...\n", "a: 2\n...\n"),
            ("{\"a\":1}\n", "{\n  \"a\": 2\n}\n"),
        ] {
            let documents = read(text).unwrap();
            let changed = documents[0].with(&json!({ "a": 2 })).unwrap();
            assert_eq!(changed, expected, "{text:?}");
        }
    }

    #[test]
    fn streams_are_joined_by_separators() {
        let streams = ["a: 1", "", "---\nb: 2\n", "{\"c\": 3}{\"d\": 4}"].map(texts);
        let expected = "a: 1\n---\nb: 2\n---\n{\"c\": 3}\n---\n{\"d\": 4}";
        assert_eq!(join(&streams), expected);
        let streams = ["{\"c\": 3}", "a: 1\n"].map(texts);
        assert_eq!(join(&streams), "---\n{\"c\": 3}\n---\na: 1\n");
    }

    #[test]
    fn what_cannot_be_read_is_named_by_document_and_line() {
        let error = read("a: 1\n---\n# x\nb: 1\nc: }\n")
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("document 2 is no YAML: "), "{error}");
        assert!(error.contains("line 5"), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }

    #[test]
    fn a_number_after_json_objects_is_no_document() {
        assert!(read("{\"a\": 1}\n0\n").is_err());
    }
}
