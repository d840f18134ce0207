//! Words in messages: what a user wrote, what may have been meant, what an error says.
//!
//! Must not know: which words there are.

use std::error::Error;

/// So many characters of what stands in quotes tell what it was.
const LEAST_QUOTED: usize = 8;

/// What a user wrote, fit for a message of one line.
pub(crate) fn quoted(text: &str) -> String {
    format!("{:?}", shortened(text, 64))
}

/// A text of at most so many characters, and a mark where the rest is left out.
pub(crate) fn shortened(text: &str, most: usize) -> String {
    let mut shown: String = text.chars().take(most).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

/// A text of at most so many characters, as far as that can be had by leaving out the ends of what stands
/// in quotes, the longest first.
pub(crate) fn fitted(text: &str, most: usize) -> String {
    let length = |text: &str| text.chars().count();
    let mut parts = by_quotes(text);
    loop {
        let excess = length(&parts.concat()).saturating_sub(most);
        let quoted = parts.iter_mut().skip(1).step_by(2);
        let longest = quoted.max_by_key(|part| length(part));
        let Some(longest) = longest.filter(|it| excess > 0 && length(it) > LEAST_QUOTED) else {
            return parts.concat();
        };
        let left = length(longest).saturating_sub(excess).max(LEAST_QUOTED) - 1;
        let mut shown: String = longest.chars().take(left).collect();
        // Half of an escape would take the mark with it, or the quote.
        if shown.chars().rev().take_while(|c| *c == '\\').count() % 2 == 1 {
            shown.pop();
        }
        *longest = shown + "…";
    }
}

/// What stands before quotes, in them, after them, and so on; the quotes themselves go with what is around.
fn by_quotes(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let (mut in_quotes, mut is_escaped) = (false, false);
    for c in text.chars() {
        let is_quote = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        if is_quote && in_quotes {
            parts.push(String::new());
        }
        if let Some(last) = parts.last_mut() {
            last.push(c);
        }
        if is_quote && !in_quotes {
            parts.push(String::new());
        }
        in_quotes ^= is_quote;
    }
    parts
}

/// The one of `known` that is most like `word`.
pub(crate) fn nearest(
    word: &str,
    known: impl Iterator<Item = &'static str>,
) -> Option<&'static str> {
    known.min_by_key(|known| distance(word, known))
}

/// How many letters must be put in, taken out or replaced to make `a` of `b` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    // What both begin with costs nothing, and all keys begin alike.
    let begin = a.chars().zip(b.chars()).take_while(|(x, y)| x == y).count();
    let b: Vec<char> = b.chars().skip(begin).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().skip(begin).enumerate() {
        let mut next = vec![i + 1];
        let mut left = i + 1;
        for (&y, (above_left, above)) in b.iter().zip(row.iter().zip(row.iter().skip(1))) {
            left = (above_left + usize::from(x != y))
                .min(above + 1)
                .min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

/// An error and its causes. Many a library's text has its cause's in it already.
pub fn in_one_line(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_levenshtein() {
        for (a, b, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
            ("lease", "lease", 0),
            ("lease", "leases", 1),
            ("ünder", "ünter", 1),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn a_text_that_is_too_long_loses_the_ends_of_what_is_quoted() {
        let long = "a".repeat(30);
        let shown = |letters| format!("{}…", "a".repeat(letters));
        for (text, most, expected) in [
            ("write \"a\"".to_owned(), 8, "write \"a\"".to_owned()),
            (
                format!("\"{long}\": write b"),
                25,
                format!("\"{}\": write b", shown(13)),
            ),
            (
                format!("\"{long}\" in \"{long}a\""),
                40,
                format!("\"{}\" in \"{}\"", shown(23), shown(7)),
            ),
            (
                format!("{:?} in {:?}", "\\".repeat(10), "\"b"),
                21,
                format!("\"{}…\" in \"\\\"b\"", "\\".repeat(8)),
            ),
            (
                format!("{long}: write \"b\""),
                10,
                format!("{long}: write \"b\""),
            ),
        ] {
            assert_eq!(fitted(&text, most), expected);
        }
    }

    #[test]
    fn what_a_user_wrote_stays_on_one_line() {
        assert_eq!(quoted("a\nb"), r#""a\nb""#);
        assert_eq!(quoted(&"a".repeat(65)).chars().count(), 67);
    }
}
