//! Maps and lists of generated values.
//!
//! Must not know: what they mean.

use proptest::{collection::SizeRange, option, prelude::*, sample::select};
use serde_json::Value;

pub(crate) type Values = BoxedStrategy<Value>;

/// An entry of a map, which may be absent.
pub(crate) struct Field {
    key: &'static str,
    value: BoxedStrategy<Option<Value>>,
}

/// An entry that is always there.
pub(crate) fn must(key: &'static str, value: Values) -> Field {
    let value = value.prop_map(Some).boxed();
    Field { key, value }
}

/// An entry that is there with this probability.
pub(crate) fn may(key: &'static str, likely: f64, value: Values) -> Field {
    let value = option::weighted(likely, value).boxed();
    Field { key, value }
}

/// A map of these entries.
pub(crate) fn map(fields: impl IntoIterator<Item = Field>) -> Values {
    let (keys, values): (Vec<_>, Vec<_>) = fields
        .into_iter()
        .map(|field| (field.key, field.value))
        .unzip();
    values
        .prop_map(move |values| {
            keys.iter()
                .zip(values)
                .filter_map(|(key, value)| Some(((*key).to_owned(), value?)))
                .collect()
        })
        .boxed()
}

/// A list of so many items.
pub(crate) fn list(item: Values, size: impl Into<SizeRange>) -> Values {
    proptest::collection::vec(item, size)
        .prop_map(Value::from)
        .boxed()
}

/// One of these.
pub(crate) fn one_of<const N: usize>(values: [impl Into<Value>; N]) -> Values {
    let values: [Value; N] = values.map(Into::into);
    select(values.to_vec()).boxed()
}

/// This alone.
pub(crate) fn just(value: impl Into<Value>) -> Values {
    Just(value.into()).boxed()
}

/// Puts these entries into a map, and into the maps in it. What is no map is replaced.
pub(crate) fn merge(into: &mut Value, more: &Value) {
    match (into, more) {
        (Value::Object(map), Value::Object(more)) => {
            for (key, value) in more {
                merge(map.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, more) => into.clone_from(more),
    }
}

/// Maps of the entries of both.
pub(crate) fn merged(maps: Values, more: Values) -> Values {
    (maps, more)
        .prop_map(|(mut map, more)| {
            merge(&mut map, &more);
            map
        })
        .boxed()
}
