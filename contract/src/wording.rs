//! Words in messages: what a user wrote, what may have been meant, what an error says.
//!
//! Must not know: which words there are.

use std::error::Error;

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
    fn what_a_user_wrote_stays_on_one_line() {
        assert_eq!(quoted("a\nb"), r#""a\nb""#);
        assert_eq!(quoted(&"a".repeat(65)).chars().count(), 67);
    }
}
