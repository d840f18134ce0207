//! Values that cannot be bad: each is checked once, where it comes in.
//!
//! Must not know: which annotation or flag a value comes from.

use std::fmt;

/// A value that cannot be obeyed. The text says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write {0}")]
pub struct ValueError(pub(crate) &'static str);

macro_rules! checked_name {
    ($(#[$doc:meta])* $name:ident, $fits:path, $form:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// What may be written.
            pub const FORM: &'static str = $form;

            /// Checks `text`.
            pub fn parse(text: &str) -> Result<Self, ValueError> {
                $fits(text)
                    .then(|| Self(text.to_owned()))
                    .ok_or(ValueError(Self::FORM))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

const DNS_1123_SUBDOMAIN: &str = "at most 253 lower case letters, digits, '-' and '.', with a letter \
                                  or digit at both ends and beside each '.'";

checked_name!(
    /// The name of a Service: a DNS label that begins with a letter.
    ServiceName,
    is_dns_1035_label,
    "at most 63 lower case letters, digits and '-', a letter first and no '-' last"
);
checked_name!(
    /// The name of a Lease: a DNS subdomain.
    LeaseName,
    is_dns_1123_subdomain,
    DNS_1123_SUBDOMAIN
);
checked_name!(
    /// The name of a ServiceAccount: a DNS subdomain.
    AccountName,
    is_dns_1123_subdomain,
    DNS_1123_SUBDOMAIN
);
checked_name!(
    /// The name of a container: a DNS label.
    ContainerName,
    is_dns_1123_label,
    "at most 63 lower case letters, digits and '-', with a letter or digit at both ends"
);

fn is_lower_alphanumeric(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

fn is_dns_1123_label(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(is_lower_alphanumeric)
        && text.ends_with(is_lower_alphanumeric)
        && text.chars().all(|c| is_lower_alphanumeric(c) || c == '-')
}

fn is_dns_1035_label(text: &str) -> bool {
    is_dns_1123_label(text) && text.starts_with(|c: char| c.is_ascii_lowercase())
}

fn is_dns_1123_subdomain(text: &str) -> bool {
    let label = |part: &str| {
        part.starts_with(is_lower_alphanumeric)
            && part.ends_with(is_lower_alphanumeric)
            && part.chars().all(|c| is_lower_alphanumeric(c) || c == '-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

/// The lease's length. Renew interval and deadline follow from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timing(u16);

impl Timing {
    /// The shortest lease, in seconds.
    pub const MIN: u16 = 5;
    /// The longest lease, in seconds.
    pub const MAX: u16 = 300;
    /// What may be written.
    pub const FORM: &'static str = "a whole number of seconds from 5 to 300, without a unit";

    /// Checks `text`, a whole number of seconds.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        whole_number(text)
            .filter(|seconds| (Self::MIN..=Self::MAX).contains(seconds))
            .map(Self)
            .ok_or(ValueError(Self::FORM))
    }

    /// The length in seconds.
    pub fn seconds(self) -> u16 {
        self.0
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self(12)
    }
}

/// A port that a process without privileges may listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Port(u16);

impl Port {
    /// What may be written.
    pub const FORM: &'static str = "a port number from 1024 to 65535";

    /// Checks `text`.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        whole_number(text)
            .filter(|port| *port >= 1024)
            .map(Self)
            .ok_or(ValueError(Self::FORM))
    }

    /// The number.
    pub fn number(self) -> u16 {
        self.0
    }
}

impl Default for Port {
    fn default() -> Self {
        Self(crate::names::PORT)
    }
}

/// Digits only: `parse` alone would accept a sign.
fn whole_number(text: &str) -> Option<u16> {
    text.chars()
        .all(|c| c.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

/// How much the sidecar logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogLevel {
    /// Failures only.
    Error,
    /// And what a person should look at.
    Warn,
    /// And changes of state.
    Info,
    /// And steps.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// What may be written.
    pub const FORM: &'static str = "error, warn, info, debug or trace";

    const ALL: [Self; 5] = [
        Self::Error,
        Self::Warn,
        Self::Info,
        Self::Debug,
        Self::Trace,
    ];

    /// Checks `text`.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        Self::ALL
            .into_iter()
            .find(|level| level.as_str() == text)
            .ok_or(ValueError(Self::FORM))
    }

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// What a Service does before its first leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Start {
    /// It selects nobody.
    #[default]
    Closed,
    /// It selects whom the user's selector selects.
    Open,
}

impl Start {
    /// What may be written.
    pub const FORM: &'static str = "closed or open";

    pub(crate) const CLOSED: &'static str = "closed";

    /// Checks `text`.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        match text {
            Self::CLOSED => Ok(Self::Closed),
            "open" => Ok(Self::Open),
            _ => Err(ValueError(Self::FORM)),
        }
    }
}

/// An amount of CPU or memory as Kubernetes writes it, greater than zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quantity {
    text: String,
    nano: u128,
}

impl Quantity {
    /// What may be written.
    pub const FORM: &'static str = "an amount greater than zero as Kubernetes writes it, such \
                                    as 10m or 0.5 of CPU, 16Mi or 64Mi of memory";

    /// Checks `text`: `50m`, `0.5`, `16Mi`, `1e3`.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        Self::nano(text)
            .filter(|nano| *nano > 0)
            .map(|nano| Self {
                text: text.to_owned(),
                nano,
            })
            .ok_or(ValueError(Self::FORM))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// How many whole units it is: cores, or bytes.
    pub(crate) fn whole(&self) -> u128 {
        self.nano / NANO
    }

    /// In units of 10^-9. None: not a quantity, or out of all proportion.
    fn nano(text: &str) -> Option<u128> {
        let number_ends = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, suffix) = text.split_at_checked(number_ends)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if text.len() > 32 || whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return None;
        }
        let scale = scale(suffix)?;
        let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
        let divisor = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        Some(digits.checked_mul(scale)?.div_ceil(divisor))
    }
}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.nano.cmp(&other.nano))
    }
}

const NANO: u128 = 1_000_000_000;

/// How many units of 10^-9 one of `suffix` is.
fn scale(suffix: &str) -> Option<u128> {
    let decimal = |power: u32| Some(10_u128.pow(power));
    let binary = |power: u32| Some(NANO << (10 * power));
    match suffix {
        "n" => decimal(0),
        "u" => decimal(3),
        "m" => decimal(6),
        "" => decimal(9),
        "k" => decimal(12),
        "M" => decimal(15),
        "G" => decimal(18),
        "T" => decimal(21),
        "P" => decimal(24),
        "E" => decimal(27),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        exponent => {
            let power: u32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            NANO.checked_mul(10_u128.checked_pow(power)?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_as_the_api_server_checks_them() {
        for good in ["web", "a", "web-1", &"a".repeat(63)] {
            assert!(ServiceName::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "1web",
            "-web",
            "web-",
            "Web",
            "we.b",
            "we_b",
            "w b",
            "wéb",
            &"a".repeat(64),
        ] {
            assert!(ServiceName::parse(bad).is_err(), "{bad}");
        }
        assert!(ContainerName::parse("1web").is_ok());
        assert!(LeaseName::parse("web.leader-1").is_ok());
        for bad in ["", ".", "a..b", "a.-b", "a-.b", "A", &"a".repeat(254)] {
            assert!(LeaseName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_lease_lasts_from_five_to_three_hundred_seconds() {
        assert_eq!(Timing::parse("5").map(Timing::seconds), Ok(5));
        assert_eq!(Timing::parse("300").map(Timing::seconds), Ok(300));
        for bad in [
            "",
            "4",
            "301",
            "12s",
            "+12",
            "-12",
            "1e1",
            "12.0",
            "99999999999999999999",
        ] {
            assert!(Timing::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_form_of_a_lease_names_both_ends() {
        let ends = format!("from {} to {},", Timing::MIN, Timing::MAX);
        assert!(Timing::FORM.contains(&ends), "{}", Timing::FORM);
    }

    #[test]
    fn quantities_compare_by_amount() {
        let parse = |text| Quantity::parse(text).unwrap();
        assert!(parse("500m") < parse("1"));
        assert!(parse("0.5") >= parse("500m"));
        assert!(parse("1Mi") > parse("1M"));
        assert!(parse("1e3") >= parse("1k"));
        assert!(parse(".5") < parse("1"));
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        let long = "1".repeat(33);
        for bad in [
            "", "0", "-1", "+1", ".", "1.2.3", "1x", "Mi", "1 Mi", "1e-3x", "1e99", "9e30", &long,
        ] {
            assert!(Quantity::parse(bad).is_err(), "{bad}");
        }
    }
}
