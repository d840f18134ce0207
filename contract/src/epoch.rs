//! Epochs: decimal numbers of up to 19 digits, kept as text.
//!
//! Must not know: where an epoch comes from.

use std::{cmp::Ordering, fmt};

/// The most digits of an epoch.
const MOST_DIGITS: usize = 19;

/// An epoch: a decimal number without leading zeros.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Epoch(String);

impl Epoch {
    /// The epoch before every other.
    pub fn zero() -> Self {
        Self("0".to_owned())
    }

    /// Reads `text`. None: it is malformed.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = !text.is_empty()
            && text.len() <= MOST_DIGITS
            && text.chars().all(|c| c.is_ascii_digit())
            && (text == "0" || !text.starts_with('0'));
        digits.then(|| Self(text.to_owned()))
    }

    /// The next epoch. None: there is none of 19 digits.
    pub fn next(&self) -> Option<Self> {
        Self::parse(&self.0.parse::<u64>().ok()?.checked_add(1)?.to_string())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PartialOrd for Epoch {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Epoch {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0
            .len()
            .cmp(&other.0.len())
            .then_with(|| self.0.cmp(&other.0))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_compare_as_numbers() {
        let epoch = |text| Epoch::parse(text).unwrap();
        assert!(epoch("9") < epoch("10"));
        assert!(epoch("0") < epoch("1"));
        assert!(epoch("9999999999999999999") > epoch("1999999999999999999"));
    }

    #[test]
    fn the_next_epoch_carries() {
        let next = |text| {
            Epoch::parse(text)
                .unwrap()
                .next()
                .map(|epoch| epoch.to_string())
        };
        assert_eq!(next("0").as_deref(), Some("1"));
        assert_eq!(next("1999").as_deref(), Some("2000"));
        assert_eq!(
            next("9223372036854775807").as_deref(),
            Some("9223372036854775808")
        );
        assert_eq!(next("9999999999999999999"), None);
    }

    #[test]
    fn what_is_no_epoch_is_refused() {
        for bad in ["", "01", "-1", "+1", "1a", " 1", "12345678901234567890"] {
            assert_eq!(Epoch::parse(bad), None, "{bad}");
        }
    }
}
