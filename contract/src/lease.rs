//! Whose a Lease is, by what stands in it.
//!
//! Must not know: when to write it, whether its holder is alive.

use serde_json::Value;

use crate::names::lease_annotation::{HOLDER, TERM};

/// Whether a Lease is an election's: a sidecar has begun a term on it, and it is in nobody else's hands.
/// One whose holder lacks our annotation is another program's, for example an operator's lock that was
/// named by mistake.
pub fn is_an_elections(lease: &Value) -> bool {
    let annotation = |key| {
        let annotations = lease.pointer("/metadata/annotations")?;
        annotations.get(key)?.as_str()
    };
    let holder = lease
        .pointer("/spec/holderIdentity")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let pod = annotation(HOLDER).and_then(|holder| holder.split_once('/'));
    annotation(TERM).is_some() && (holder.is_empty() || pod.is_some_and(|(pod, _)| pod == holder))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_lease_is_an_elections_from_its_first_term_on_while_nobody_else_has_it() {
        let ours = json!({ TERM: "7", HOLDER: "web-1/u1" });
        for (annotations, holder, expected) in [
            (ours.clone(), json!("web-1"), true),
            (ours.clone(), json!("operator_0a1b"), false),
            (json!({ TERM: "7" }), json!(""), true),
            (json!({ TERM: "7" }), json!(null), true),
            (json!({ TERM: "7" }), json!("operator_0a1b"), false),
            (json!({ HOLDER: "web-1/u1" }), json!("web-1"), false),
            (
                json!({ "example.org/x": "y" }),
                json!("operator_0a1b"),
                false,
            ),
            (json!(null), json!("operator_0a1b"), false),
            (json!(null), json!(null), false),
        ] {
            let lease = json!({
                "metadata": { "annotations": annotations }, "spec": { "holderIdentity": holder },
            });
            assert_eq!(is_an_elections(&lease), expected, "{lease}");
        }
        assert!(!is_an_elections(&json!({})));
    }
}
