//! Inputs made of others: cut, joined, repeated, with other bytes, words and values in them.

use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
};
use serde_json::{Value, json};

/// What means something to one of the readers.
const WORDS: [&str; 32] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\n",
    " ",
    "=",
    "/",
    "---\n",
    "...\n",
    "&a ",
    "*a",
    "!!str ",
    "<<: ",
    "| ",
    "%YAML 1.1\n",
    "\u{feff}",
    "\\u0000",
    "\\ud800",
    "null",
    "true",
    "-1",
    "1e309",
    "0644",
    "service-leader-election/service",
    "service-leader-election/injected",
    "metadata",
    "spec",
];

/// The longest input.
const MOST: usize = 64 << 10;

#[derive(Debug, Clone)]
enum Mutation {
    /// Another byte.
    Byte(Index, u8),
    /// A word put in.
    Word(Index, &'static str),
    /// A part left out.
    Cut(Index, Index),
    /// A part so often.
    Repeat(Index, Index, usize),
    /// A part of another input put in.
    Splice(Index, Vec<u8>, Index, Index),
    /// Of JSON, another value in the place of one.
    Value(Index, Value),
}

/// Inputs made of these.
pub(super) fn mutated(kept: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let other = select(kept.clone());
    let at = || any::<Index>();
    let mutation = prop_oneof![
        1 => (at(), any::<u8>()).prop_map(|(at, byte)| Mutation::Byte(at, byte)),
        1 => (at(), select(&WORDS[..])).prop_map(|(at, word)| Mutation::Word(at, word)),
        1 => (at(), at()).prop_map(|(from, to)| Mutation::Cut(from, to)),
        1 => (at(), at(), 1..200_usize).prop_map(|(from, to, times)| Mutation::Repeat(from, to, times)),
        1 => (at(), other, at(), at())
            .prop_map(|(at, other, from, to)| Mutation::Splice(at, other, from, to)),
        4 => (at(), value()).prop_map(|(at, value)| Mutation::Value(at, value)),
    ];
    (select(kept), vec(mutation, 1..6)).prop_map(|(input, mutations)| {
        mutations.into_iter().fold(input, |input, mutation| {
            let mut input = mutation.apply(input);
            input.truncate(MOST);
            input
        })
    })
}

fn value() -> impl Strategy<Value = Value> {
    select(vec![
        Value::Null,
        json!(true),
        json!(0),
        json!(-1.5),
        json!(u64::MAX),
        json!(""),
        json!("a\nb\u{0}"),
        json!("ü".repeat(300)),
        json!([]),
        json!({}),
        json!([null, {}, []]),
        json!([{ "name": "service-leader-election" }]),
        json!([{ "name": "service-leader-election-token" }]),
        json!({ "service-leader-election/service": "web" }),
        json!({ "service-leader-election/injected": "{\"created\":[\"metadata\"]}" }),
        json!({ "service-leader-election": "x" }),
    ])
}

impl Mutation {
    fn apply(self, mut input: Vec<u8>) -> Vec<u8> {
        let part = |length: usize, from: Index, to: Index| {
            let (from, to) = (from.index(length + 1), to.index(length + 1));
            from.min(to)..from.max(to)
        };
        let insert = |input: &mut Vec<u8>, at: Index, new: &[u8]| {
            let at = at.index(input.len() + 1);
            input.splice(at..at, new.iter().copied());
        };
        match self {
            Self::Byte(at, byte) => {
                let at = at.index(input.len().max(1));
                if let Some(old) = input.get_mut(at) {
                    *old = byte;
                }
            }
            Self::Word(at, word) => insert(&mut input, at, word.as_bytes()),
            Self::Cut(from, to) => drop(input.drain(part(input.len(), from, to))),
            Self::Repeat(from, to, times) => {
                let new = input[part(input.len(), from, to)].repeat(times);
                insert(&mut input, to, &new);
            }
            Self::Splice(at, other, from, to) => {
                insert(&mut input, at, &other[part(other.len(), from, to)]);
            }
            Self::Value(at, value) => {
                if let Ok(mut json) = serde_json::from_slice::<Value>(&input) {
                    let mut left = at.index(count(&json));
                    replace(&mut json, &mut left, &value);
                    input = json.to_string().into_bytes();
                }
            }
        }
        input
    }
}

/// How many values there are, one in the other.
fn count(json: &Value) -> usize {
    1 + match json {
        Value::Array(list) => list.iter().map(count).sum(),
        Value::Object(map) => map.values().map(count).sum(),
        _ => 0_usize,
    }
}

/// Puts `new` in the place of the value before which `left` others come.
fn replace(json: &mut Value, left: &mut usize, new: &Value) {
    if *left == 0 {
        json.clone_from(new);
    }
    *left = left.wrapping_sub(1);
    match json {
        Value::Array(list) => list.iter_mut().for_each(|item| replace(item, left, new)),
        Value::Object(map) => map.values_mut().for_each(|item| replace(item, left, new)),
        _ => {}
    }
}
