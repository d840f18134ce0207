//! What an object is called, and where it stands.
//!
//! Must not know: what is done to it.

use std::fmt;

use serde_json::Value;

/// What an object is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) api_version: String,
    pub(super) kind: String,
    /// Empty where the manifest names none.
    pub(super) namespace: String,
    /// What it begins with, where the API server completes it.
    pub(super) name: String,
}

impl Identity {
    pub(super) fn of(object: &Value) -> Self {
        let found = |path| object.pointer(path).and_then(Value::as_str);
        let text = |path| found(path).unwrap_or_default().to_owned();
        Self {
            api_version: text("/apiVersion"),
            kind: text("/kind"),
            namespace: text("/metadata/namespace"),
            name: found("/metadata/name")
                .map_or_else(|| text("/metadata/generateName"), str::to_owned),
        }
    }

    /// The kind, and which API has it.
    pub(super) fn kind_in_words(&self) -> String {
        in_a_line(&format!("{} of {}", self.kind, self.api_version))
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            namespace,
            name,
            ..
        } = self;
        let whole = match namespace.as_str() {
            "" => format!("{kind} {name}"),
            namespace => format!("{kind} {namespace}/{name}"),
        };
        f.write_str(&in_a_line(&whole))
    }
}

/// A manifest may have anything for a name, and this is part of a line.
pub(super) fn in_a_line(name: &str) -> String {
    name.replace(char::is_control, " ")
}

/// Where an object stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Source and document. None: it stands nowhere yet.
    pub(super) at: Option<(String, usize)>,
    pub(super) object: Identity,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            Some((source, number)) => write!(f, "{source}, document {number}, {}", self.object),
            None => write!(f, "{}", self.object),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_name_that_is_none_breaks_no_line() {
        let object =
            json!({ "kind": "Pod", "metadata": { "namespace": "shop", "name": "a\tb\nc" } });
        assert_eq!(Identity::of(&object).to_string(), "Pod shop/a b c");
    }
}
