//! etcd's JSON gateway: read everything, follow everything, leave a mark. Keys and values are
//! base64, numbers are text.

use std::{convert::Infallible, net::SocketAddr};

use anyhow::{Context as _, Result, bail};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http_body_util::BodyExt as _;
use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::http;

/// As both ends of a range: every key. In base64, the zero byte.
const EVERYTHING: &str = "AA==";

/// One change of one key.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) revision: u64,
    pub(super) key: String,
    /// None: deleted.
    pub(super) value: Option<Vec<u8>>,
}

#[derive(Debug, Deserialize)]
struct KeyValue {
    key: String,
    #[serde(default)]
    value: String,
    mod_revision: String,
}

impl KeyValue {
    fn event(&self, deleted: bool) -> Result<Event> {
        let value = (!deleted).then(|| BASE64_STANDARD.decode(&self.value));
        Ok(Event {
            revision: self.mod_revision.parse()?,
            key: String::from_utf8_lossy(&BASE64_STANDARD.decode(&self.key)?).into_owned(),
            value: value.transpose()?,
        })
    }
}

#[derive(Debug, Deserialize)]
struct Change {
    #[serde(rename = "type", default)]
    kind: String,
    kv: KeyValue,
}

/// The revision now, and all that is stored.
pub(super) async fn read_all(etcd: SocketAddr) -> Result<(u64, Vec<Event>)> {
    let range = json!({"key": EVERYTHING, "range_end": EVERYTHING});
    let mut answer = call(etcd, "/v3/kv/range", &range).await?;
    let stored: Vec<KeyValue> = match answer.get_mut("kvs") {
        Some(stored) => serde_json::from_value(stored.take())?,
        None => Vec::new(),
    };
    let events = stored
        .iter()
        .map(|stored| stored.event(false))
        .collect::<Result<_>>()?;
    Ok((revision(&answer)?, events))
}

/// Writes a key of no meaning, and returns the revision of that write.
pub(super) async fn write_mark(etcd: SocketAddr) -> Result<u64> {
    let put = json!({"key": BASE64_STANDARD.encode("testcluster/mark"), "value": ""});
    revision(&call(etcd, "/v3/kv/put", &put).await?)
}

/// Tells every change from a revision on, without a gap. Ends by an error only.
pub(super) async fn follow(
    etcd: SocketAddr,
    from: u64,
    mut tell: impl FnMut(Event),
) -> Result<Infallible> {
    let create = json!({"create_request": {
        "key": EVERYTHING, "range_end": EVERYTHING, "start_revision": from.to_string(),
    }});
    let mut answer = http::send(etcd, Method::POST, "/v3/watch", create.to_string()).await?;
    let mut buffer = Vec::new();
    while let Some(frame) = answer.response.frame().await {
        let frame = frame.context("etcd's watch broke")?;
        buffer.extend(frame.into_data().unwrap_or_default());
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = buffer.drain(..=end).collect();
            let mut message: Value = serde_json::from_slice(&line)?;
            if message.get("error").is_some() || message.pointer("/result/canceled").is_some() {
                bail!("etcd ended the watch: {message}");
            }
            if let Some(events) = message.pointer_mut("/result/events") {
                for change in serde_json::from_value::<Vec<Change>>(events.take())? {
                    tell(change.kv.event(change.kind == "DELETE")?);
                }
            }
        }
    }
    bail!("etcd ended the watch")
}

async fn call(etcd: SocketAddr, path: &str, request: &Value) -> Result<Value> {
    let body = request.to_string();
    let (status, text) = http::fetch(etcd, Method::POST, path, body, http::PATIENCE).await?;
    if status != 200 {
        bail!("etcd: {path}: {status} {text}");
    }
    Ok(serde_json::from_str(&text)?)
}

fn revision(answer: &Value) -> Result<u64> {
    let revision = answer.pointer("/header/revision").and_then(Value::as_str);
    Ok(revision.context("etcd tells no revision")?.parse()?)
}
