//! Where two objects differ first.

use serde_json::Value;

/// What each write brings of its own, or another writes later.
const OF_THE_WRITE: [&str; 4] = [
    "/metadata/creationTimestamp",
    "/metadata/managedFields",
    "/metadata/resourceVersion",
    "/status",
];

/// None, where they are the same but for what is of the write.
pub(crate) fn between(expected: &Value, found: &Value) -> Option<String> {
    first("", &of_all(expected), &of_all(found))
}

/// The object without what is of the write. A Job's pods bear its uid, too; the volume of a pod's
/// token has a name that is drawn, and so may the pod.
fn of_all(object: &Value) -> Value {
    let volumes = object["spec"]["volumes"].as_array().into_iter().flatten();
    let names = volumes.map(|volume| volume["name"].to_string());
    let drawn = names.filter(|name| name.starts_with("\"kube-api-access-"));
    let mut text = object.to_string();
    for name in drawn.chain([object["metadata"]["uid"].to_string()]) {
        text = text.replace(&name, "\"drawn\"");
    }
    let mut object: Value = serde_json::from_str(&text).unwrap();
    if object.pointer("/metadata/generateName").is_some() {
        object["metadata"]["name"] = Value::Null;
    }
    for path in OF_THE_WRITE {
        object.pointer_mut(path).map(Value::take);
    }
    object
}

fn first(path: &str, expected: &Value, found: &Value) -> Option<String> {
    let below = |key: &str| {
        let [expected, found] = [expected, found].map(|value| match value {
            Value::Array(items) => items.get(key.parse::<usize>().ok()?),
            value => value.get(key),
        });
        let path = format!("{path}/{key}");
        match (expected, found) {
            (Some(expected), Some(found)) => first(&path, expected, found),
            (None, None) => None,
            (expected, found) => Some(format!("{path}: expected {expected:?}, found {found:?}")),
        }
    };
    match (expected, found) {
        (Value::Object(one), Value::Object(other)) => {
            one.keys().chain(other.keys()).find_map(|key| below(key))
        }
        (Value::Array(one), Value::Array(other)) => {
            (0..one.len().max(other.len())).find_map(|at| below(&at.to_string()))
        }
        _ if expected == found => None,
        _ => Some(format!("{path}: expected {expected}, found {found}")),
    }
}

#[test]
fn the_first_difference_is_named_by_its_path() {
    use serde_json::json;

    let one = json!({"metadata": {"uid": "u1"}, "spec": {"of": "u1", "list": [{"a": 1}, 2]}});
    let mut other = one.clone();
    other["metadata"]["uid"] = json!("u2");
    other["spec"]["of"] = json!("u2");
    assert_eq!(between(&one, &other), None);
    other["spec"]["list"][0]["a"] = json!(2);
    let expected = Some("/spec/list/0/a: expected 1, found 2".to_owned());
    assert_eq!(between(&one, &other), expected);
    other["spec"]["list"] = json!([{"a": 1}]);
    let found = between(&one, &other).unwrap();
    assert!(found.starts_with("/spec/list/1: expected"), "{found}");
}
