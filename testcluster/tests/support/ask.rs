//! One write, and all that the API server says to it: kube leaves the warnings out.

use anyhow::{Context as _, Result, bail};
use http_body_util::BodyExt as _;
use hyper::{Request, http::request::Builder};
use kube::{
    Client,
    client::Body,
    core::{ApiResource, GroupVersionKind},
};
use serde_json::Value;

/// What came of a write.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub warnings: Vec<String>,
    /// The object as it is stored, or why it is refused.
    pub outcome: Result<Value, String>,
}

/// Creates an object of whatever kind.
pub async fn create(client: &Client, namespace: &str, object: &Value) -> Result<Answer> {
    let request = Request::post(path(namespace, object)?);
    send(client, request, object).await
}

/// Tries to create an object. Nothing is stored.
pub async fn try_create(client: &Client, namespace: &str, object: &Value) -> Result<Answer> {
    let request = Request::post(format!("{}?{DRY_RUN}", path(namespace, object)?));
    send(client, request, object).await
}

/// Tries to put an object in the place of the one of its name. Nothing is stored.
pub async fn try_replace(client: &Client, namespace: &str, object: &Value) -> Result<Answer> {
    let name = object["metadata"]["name"].as_str().context("no name")?;
    let path = path(namespace, object)?;
    let request = Request::put(format!("{path}/{name}?{DRY_RUN}"));
    send(client, request, object).await
}

const DRY_RUN: &str = "dryRun=All";

async fn send(client: &Client, request: Builder, object: &Value) -> Result<Answer> {
    let request = request.header("content-type", "application/json");
    let body = Body::from(serde_json::to_vec(object)?);
    let response = client.send(request.body(body)?).await?;
    let warnings = response.headers().get_all("warning").iter();
    let warnings = warnings.map(|value| warning(value.as_bytes()));
    let warnings = warnings.collect::<Result<_>>()?;
    let accepted = response.status().is_success();
    let bytes = response.into_body().collect().await?.to_bytes();
    let answer: Value = serde_json::from_slice(&bytes)
        .with_context(|| String::from_utf8_lossy(&bytes).into_owned())?;
    let outcome = if accepted {
        Ok(answer)
    } else {
        Err(answer["message"].as_str().unwrap_or_default().to_owned())
    };
    Ok(Answer { warnings, outcome })
}

/// Where objects of this kind are.
fn path(namespace: &str, object: &Value) -> Result<String> {
    let text = |key| object[key].as_str().unwrap_or_default();
    let (group, version) = match text("apiVersion").split_once('/') {
        Some(both) => both,
        None => ("", text("apiVersion")),
    };
    let kind = GroupVersionKind::gvk(group, version, text("kind"));
    let resource = ApiResource::from_gvk(&kind);
    let root = if group.is_empty() { "api" } else { "apis" };
    let (version, plural) = (&resource.api_version, &resource.plural);
    anyhow::ensure!(!plural.is_empty(), "an object without a kind: {object}");
    Ok(format!("/{root}/{version}/namespaces/{namespace}/{plural}"))
}

/// The text of a `Warning` header: `299 - "text"`, quotes and back-slashes in it escaped.
fn warning(value: &[u8]) -> Result<String> {
    let value = str::from_utf8(value)?;
    let text = value.strip_prefix("299 - \"");
    let Some(text) = text.and_then(|text| text.strip_suffix('"')) else {
        bail!("not a warning: {value}");
    };
    let mut plain = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        plain.push(if letter == '\\' {
            letters.next().context("an escape of nothing")?
        } else {
            letter
        });
    }
    Ok(plain)
}
