//! What people write where any text is allowed.

use proptest::prelude::*;
use serde_json::Value;

use crate::shape::{Values, one_of};

/// A text, odd now and then: what YAML, JSON pointers, shells and terminals take for something else.
pub(crate) fn text() -> Values {
    prop_oneof![
        2 => "[a-z]{1,8}".prop_map(Value::from),
        2 => odd(),
        1 => "\\PC{0,12}".prop_map(Value::from),
    ]
    .boxed()
}

fn odd() -> Values {
    one_of([
        "",
        " ",
        "yes",
        "null",
        "~",
        "0644",
        "1_000",
        "a/b~1c~0d",
        "/spec/template",
        "-",
        "$(POD_NAME)",
        "{{ .Values.x }}",
        "%s",
        "\\",
        "\"quoted\"",
        "two\nlines",
        "tab\tand\rreturn",
        "ä💡\u{202e}x",
        "\u{feff}",
        "service-leader-election",
        "service-leader-election/service",
    ])
}

/// A value of a label.
pub(crate) fn label() -> Values {
    one_of(["web", "api", "a.b_c-d", "", "v1.2.3", "1"])
}

/// A DNS label.
pub(crate) fn name() -> Values {
    one_of(["app", "web", "db", "log", "a", "election", "x-1"])
}
