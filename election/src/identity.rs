//! Names of candidates, parsed once, so that what holds one need not check it.

use std::fmt;
use std::sync::Arc;

/// A pod's name that is also a valid label value: at most 63 characters of `[a-z0-9.-]`, which
/// begin and end with a letter or a digit. The value of the pod's label and of the selector.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodName(Arc<str>);

/// The name cannot be a label value, so no selector could name the pod.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{name:?} is no usable pod name: it must have 1 to 63 characters of a-z, 0-9, '-' and '.', and \
     begin and end with a letter or a digit; shorten the name of the workload"
)]
pub struct InvalidPodName {
    name: String,
}

impl PodName {
    /// Checks a name.
    ///
    /// # Errors
    ///
    /// The name is empty, over 63 characters long, or has a character that a label value of a
    /// pod's name may not have.
    pub fn parse(name: &str) -> Result<Self, InvalidPodName> {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let ends = |b: Option<&u8>| b.is_some_and(|b| inner(*b));
        let bytes = name.as_bytes();
        let good = bytes.len() <= 63
            && ends(bytes.first())
            && ends(bytes.last())
            && bytes.iter().all(|b| inner(*b) || matches!(b, b'-' | b'.'));
        if good {
            Ok(Self(name.into()))
        } else {
            Err(InvalidPodName {
                name: name.to_owned(),
            })
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for PodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A pod's UID: two pods of one name (a StatefulSet's) differ in it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodUid(Arc<str>);

impl PodUid {
    /// Takes a UID as the API server gave it.
    pub fn new(uid: &str) -> Self {
        Self(uid.into())
    }

    /// The UID as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PodUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for PodUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One candidate: this pod, and no other of the same name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// The pod's name: the Lease's `holderIdentity`.
    pub pod: PodName,
    /// The pod's UID.
    pub uid: PodUid,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// `<pod name>/<pod UID>`, as the Lease's annotation `holder` has it.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.pod, self.uid)
    }
}

#[cfg(test)]
mod tests {
    use super::PodName;

    #[test]
    fn a_pod_name_is_a_label_value() {
        let longest = "a".repeat(63);
        for good in ["web-5d4f-x1", "a", "web.0", longest.as_str()] {
            assert_eq!(PodName::parse(good).unwrap().as_str(), good);
        }
        let too_long = "a".repeat(64);
        for bad in [
            "",
            "Web",
            "no_leader",
            "-web",
            "web-",
            "wéb",
            too_long.as_str(),
        ] {
            assert!(PodName::parse(bad).is_err(), "{bad}");
        }
    }
}
