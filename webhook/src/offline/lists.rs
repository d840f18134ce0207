//! The objects of a document: itself, or the items of a List one by one, as kubectl reads them.
//!
//! Pure. Must not know: what is done to the objects.

use serde_json::Value;

/// Every object.
pub(super) fn objects(value: &Value) -> Vec<&Value> {
    if !is_list(value) {
        return vec![value];
    }
    let items = value.get("items").and_then(Value::as_array);
    items.into_iter().flatten().flat_map(objects).collect()
}

/// Every object, to be changed.
pub(super) fn objects_mut(value: &mut Value) -> Vec<&mut Value> {
    if !is_list(value) {
        return vec![value];
    }
    let items = value.get_mut("items").and_then(Value::as_array_mut);
    items.into_iter().flatten().flat_map(objects_mut).collect()
}

/// Gives the items of a typed list what the API server leaves out of them: their kind is the list's.
pub(super) fn complete(value: &mut Value) {
    if !is_list(value) {
        return;
    }
    let text = |key| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let kind = kind.as_deref().and_then(|kind| kind.strip_suffix("List"));
    let items = value.get_mut("items").and_then(Value::as_array_mut);
    for item in items.into_iter().flatten() {
        if let (Some(api_version), Some(kind), Some(fields)) =
            (&api_version, kind, item.as_object_mut())
            && !kind.is_empty()
            && !fields.contains_key("apiVersion")
            && !fields.contains_key("kind")
        {
            fields.insert("apiVersion".to_owned(), Value::from(api_version.as_str()));
            fields.insert("kind".to_owned(), Value::from(kind));
        }
        complete(item);
    }
}

fn is_list(value: &Value) -> bool {
    let kind = value.get("kind").and_then(Value::as_str);
    kind.is_some_and(|kind| kind.ends_with("List"))
        && value.get("items").is_some_and(Value::is_array)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn list(kind: &str, items: &Value) -> Value {
        json!({ "apiVersion": "apps/v1", "kind": kind, "items": items })
    }

    #[test]
    fn an_item_of_a_typed_list_is_of_its_kind() {
        let item = |kind, item: &Value| {
            let mut list = list("List", &json!([list(kind, &json!([item]))]));
            complete(&mut list);
            list["items"][0]["items"][0].clone()
        };
        let plain = json!({ "metadata": { "name": "web" } });
        let completed = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
        });
        assert_eq!(item("DeploymentList", &plain), completed);
        assert_eq!(item("List", &plain), plain);
        for other in [
            json!({ "kind": "X" }),
            json!({ "apiVersion": "v1" }),
            json!("x"),
        ] {
            assert_eq!(item("DeploymentList", &other), other);
        }
    }

    #[test]
    fn the_objects_of_a_list_in_a_list_are_read_in_their_order() {
        let (one, two, three) = (json!({ "kind": "X" }), json!(2), json!({ "items": [3] }));
        let mut nested = list("List", &json!([one, list("XList", &json!([two])), three]));
        assert_eq!(objects(&nested), [&one, &two, &three]);
        for object in objects_mut(&mut nested) {
            *object = Value::Null;
        }
        assert_eq!(objects(&nested), [&Value::Null; 3]);
        assert_eq!(objects(&one), [&one]);
    }
}
