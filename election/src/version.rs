//! Revisions of the API server, and the epochs that are made of them.

use std::fmt;

/// A `resourceVersion`: one counter for all Leases and Services of an API server.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version(u64);

/// The revision of the Lease write that began a term. A later term has a higher epoch, also after
/// the Lease was deleted and made again. Zero: no term has written this Service yet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(u64);

/// Not a decimal of 1 to 19 digits without a leading zero.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no revision: expected a decimal of 1 to 19 digits without a leading zero")]
pub struct InvalidVersion {
    text: String,
}

impl Version {
    /// Takes a revision as a number.
    pub fn new(revision: u64) -> Self {
        Self(revision)
    }

    /// Reads a `resourceVersion`.
    ///
    /// # Errors
    ///
    /// The text is no decimal of 1 to 19 digits without a leading zero.
    pub fn parse(text: &str) -> Result<Self, InvalidVersion> {
        decimal(text).map(Self)
    }

    /// The epoch of the term that the write of this revision began.
    pub fn epoch(self) -> Epoch {
        Epoch(self.0)
    }
}

impl Epoch {
    /// No term has written yet.
    pub const NONE: Self = Self(0);

    /// Reads a Service's annotation. Missing or malformed counts as [`Epoch::NONE`], below all
    /// others: 19 digits always fit, so comparing numbers is comparing by length, then by text.
    pub fn stored(annotation: Option<&str>) -> Self {
        annotation
            .and_then(|text| decimal(text).ok())
            .map_or(Self::NONE, Self)
    }
}

fn decimal(text: &str) -> Result<u64, InvalidVersion> {
    let digits = (1..=19).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let canonical = text.len() == 1 || !text.starts_with('0');
    let number = text.parse().ok().filter(|_| digits && canonical);
    number.ok_or_else(|| InvalidVersion {
        text: text.to_owned(),
    })
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "e{}", self.0)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::{Epoch, Version};

    #[test]
    fn a_version_is_a_canonical_decimal_of_19_digits() {
        let longest = "9".repeat(19);
        for good in ["0", "7", "1657", longest.as_str()] {
            assert_eq!(Version::parse(good).unwrap().to_string(), good);
        }
        let too_long = "1".repeat(20);
        for bad in ["", "01", "-1", "+1", "1e3", " 1", too_long.as_str()] {
            assert!(Version::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_malformed_epoch_is_below_all_others() {
        assert_eq!(Epoch::stored(Some("many")), Epoch::NONE);
        assert_eq!(Epoch::stored(None), Epoch::NONE);
        assert!(Epoch::stored(Some("10")) > Epoch::stored(Some("9")));
    }
}
