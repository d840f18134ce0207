//! The uid of a review that cannot be read as a whole: broken off, nested too deep, not in UTF-8.
//!
//! Must not know: what else a review has.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

/// `request.uid`, as far as these bytes go. What stands beside it is skipped unread.
pub(super) fn salvage(bytes: &[u8]) -> Option<String> {
    let mut uid = None;
    let at = At {
        path: &["request", "uid"],
        found: &mut uid,
    };
    // What comes after it may be anything.
    drop(at.deserialize(&mut serde_json::Deserializer::from_slice(bytes)));
    uid
}

/// A text at a path of maps.
struct At<'a> {
    path: &'a [&'a str],
    found: &'a mut Option<String>,
}

impl<'de> DeserializeSeed<'de> for At<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.path.is_empty() {
            *self.found = Some(String::deserialize(deserializer)?);
            return Ok(());
        }
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for At<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((first, path)) = self.path.split_first() else {
            return Ok(());
        };
        while let Some(key) = map.next_key::<String>()? {
            if key == *first {
                let found = &mut *self.found;
                map.next_value_seed(At { path, found })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_is_found_before_what_cannot_be_read() {
        let deep = [r#"{"request":{"object":"#, &"[".repeat(100_000)].concat();
        let deep_first = [&deep, &"]".repeat(100_000), r#","uid":"u1"}}"#].concat();
        for bytes in [
            &br#"{"request":{"uid":"u1","object":{"#[..],
            br#"{"kind":"AdmissionReview","request":{"uid":"u1","name":"a"#,
            b"{\"request\":{\"uid\":\"u1\",\"name\":\"\xff\"}}",
            b"{\"kind\":\"\xff\",\"request\":{\"uid\":\"u1\"}}",
            deep_first.as_bytes(),
        ] {
            assert_eq!(salvage(bytes).as_deref(), Some("u1"));
        }
    }

    #[test]
    fn nothing_else_is_taken_for_a_uid() {
        for bytes in [
            &b""[..],
            b"[",
            br#"{"request":"uid"}"#,
            br#"{"request":{"uid":1}}"#,
            br#"{"uid":"u1","request":{"object":{"uid":"u1"}}}"#,
            br#"{"request":{"uid":"u1"#,
        ] {
            assert_eq!(salvage(bytes), None);
        }
    }
}
