//! A review as JSON, less the longest part of its objects, at which nobody looks: `managedFields`.
//!
//! Must not know: what else stands in it.

use std::fmt;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor,
    value::SeqAccessDeserializer,
};
use serde_json::{Map, Value};

/// How many maps stand around the one that is read: of a review, its request, an object, its metadata.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sent(usize);

/// Reads a review.
pub(super) fn read(bytes: &[u8]) -> serde_json::Result<Value> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let review = Sent::default().deserialize(&mut json)?;
    json.end()?;
    Ok(review)
}

impl Sent {
    fn is_on_the_way(self, key: &str) -> bool {
        matches!(
            (self.0, key),
            (0, "request") | (1, "object" | "oldObject") | (2, "metadata")
        )
    }

    fn is_left_out(self, key: &str) -> bool {
        (self.0, key) == (3, "managedFields")
    }
}

impl<'de> DeserializeSeed<'de> for Sent {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Sent {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut read = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if self.is_left_out(&key) {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let value = if self.is_on_the_way(&key) {
                map.next_value_seed(Self(self.0 + 1))?
            } else {
                map.next_value()?
            };
            read.insert(key, value);
        }
        Ok(Value::Object(read))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Value, A::Error> {
        Value::deserialize(SeqAccessDeserializer::new(seq))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::from(text))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What was read of a review with this request.
    fn request(request: &Value) -> Value {
        let review = json!({ "kind": "AdmissionReview", "request": request });
        let mut read = read(review.to_string().as_bytes()).unwrap();
        assert_eq!(read["kind"], "AdmissionReview");
        read["request"].take()
    }

    #[test]
    fn both_objects_lose_their_managed_fields_and_nothing_else() {
        let fields = json!([{ "manager": "kubectl" }]);
        let labels = json!({ "managedFields": "a-label" });
        let sent = json!({ "managedFields": fields, "labels": labels });
        let template = json!({ "metadata": { "managedFields": fields } });
        let object = json!({ "metadata": sent, "spec": { "template": template, "n": [-1, 2.5] } });
        let read = request(&json!({ "object": object, "oldObject": object, "uid": "u1" }));
        let mut kept = object;
        kept["metadata"] = json!({ "labels": labels });
        assert_eq!(
            read,
            json!({ "object": kept, "oldObject": kept, "uid": "u1" })
        );
    }

    #[test]
    fn what_is_no_map_where_one_was_expected_is_read_as_it_is() {
        for odd in [
            json!(null),
            json!(true),
            json!(-1),
            json!(1),
            json!(1.5),
            json!("text"),
            json!([{ "managedFields": 1 }]),
        ] {
            assert_eq!(request(&odd), odd);
            let of_object = json!({ "object": { "metadata": odd } });
            assert_eq!(request(&of_object), of_object);
        }
        read(b"{} {}").unwrap_err();
    }
}
