//! An AdmissionReview, `admission.k8s.io/v1`: the part of it that matters, read from bytes and
//! written as JSON.
//!
//! Must not know: what is decided. kube's own types would write the patch as an array of numbers,
//! and lose the uid of a review that they cannot read.

use axum::http::StatusCode;
use base64::{Engine, engine::general_purpose::STANDARD};
use contract::{
    facts::Facts,
    inject::{Decision, Request},
    workload::{Ending, Kind},
};
use serde_json::{Value, json};

use super::{sent, uid, unread::Unread};

const API_VERSION: &str = "admission.k8s.io/v1";

/// No name of anything in the API is longer.
pub(super) const LONGEST: usize = 253;

/// No facts yet: they may cost a request, and not every review needs them.
static NO_FACTS: std::sync::LazyLock<Facts> = std::sync::LazyLock::new(Facts::default);

/// One request of the API server.
#[derive(Debug)]
pub(super) struct Review {
    pub(super) uid: String,
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) operation: String,
    pub(super) dry_run: bool,
    api_version: String,
    subresource: bool,
    object: Value,
    old: Option<Value>,
}

/// What cannot be judged, with its uid, if that can be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) uid: String,
    pub(super) message: String,
    /// What went wrong in the words of HTTP.
    pub(super) status: StatusCode,
}

impl Refused {
    /// A review that was read so far, and no further.
    pub(super) fn unread(why: &Unread, bytes: &[u8]) -> Self {
        Self {
            uid: short_uid(uid::salvage(bytes)),
            message: why.to_string(),
            status: why.status(),
        }
    }

    fn malformed(uid: String, message: String) -> Self {
        Self {
            uid,
            message,
            status: StatusCode::BAD_REQUEST,
        }
    }
}

impl Review {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Refused> {
        match sent::read(bytes) {
            Ok(mut review) => {
                let uid = review.pointer("/request/uid").and_then(Value::as_str);
                let uid = short_uid(uid.map(str::to_owned));
                Self::take(&mut review, &uid).map_err(|message| Refused::malformed(uid, message))
            }
            Err(error) => {
                let uid = short_uid(uid::salvage(bytes));
                let message = format!("the review is not JSON that can be read: {error}");
                Err(Refused::malformed(uid, message))
            }
        }
    }

    fn take(review: &mut Value, uid: &str) -> Result<Self, String> {
        let text = |path: &str| {
            let value = review.pointer(path).and_then(Value::as_str);
            value.unwrap_or_default().to_owned()
        };
        let types = (text("/apiVersion"), text("/kind"));
        if (types.0.as_str(), types.1.as_str()) != (API_VERSION, "AdmissionReview") {
            return Err(format!(
                "expected AdmissionReview of {API_VERSION}, not {:?} of {:?}",
                shortened(&types.1),
                shortened(&types.0)
            ));
        }
        if uid.is_empty() {
            return Err("the review has no request.uid".to_owned());
        }
        let (group, version) = (text("/request/kind/group"), text("/request/kind/version"));
        let mut found = Self {
            uid: uid.to_owned(),
            kind: text("/request/kind/kind"),
            namespace: text("/request/namespace"),
            name: text("/request/name"),
            operation: text("/request/operation"),
            dry_run: review.pointer("/request/dryRun").and_then(Value::as_bool) == Some(true),
            api_version: if group.is_empty() {
                version
            } else {
                format!("{group}/{version}")
            },
            subresource: !text("/request/subResource").is_empty(),
            object: Value::Null,
            old: None,
        };
        let mut take = |path| {
            review
                .pointer_mut(path)
                .map(Value::take)
                .unwrap_or_default()
        };
        found.object = take("/request/object");
        found.old = Some(take("/request/oldObject")).filter(|old| !old.is_null());
        found.check()?;
        Ok(found)
    }

    /// What the API server never leaves out.
    fn check(&self) -> Result<(), String> {
        let texts = [
            ("kind", &self.kind),
            ("kind.version", &self.api_version),
            ("namespace", &self.namespace),
            ("name", &self.name),
            ("operation", &self.operation),
        ];
        if let Some((field, text)) = texts.iter().find(|(_, text)| text.len() > LONGEST) {
            let text = shortened(text);
            return Err(format!("request.{field} is no name, but {text:?}"));
        }
        let has_version = !self.api_version.is_empty() && !self.api_version.ends_with('/');
        if self.kind.is_empty() || !has_version {
            return Err("the review has no request.kind with its version".to_owned());
        }
        // It becomes part of a URL.
        let is_in_a_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !self.namespace.chars().all(is_in_a_name) {
            let namespace = &self.namespace;
            return Err(format!("request.namespace is no name, but {namespace:?}"));
        }
        let is_object = |value: &Value| value.is_object();
        match self.operation.as_str() {
            "CREATE" | "UPDATE" if !is_object(&self.object) => {
                Err("the review has no request.object".to_owned())
            }
            "UPDATE" if !self.old.as_ref().is_some_and(is_object) => {
                Err("the review has no request.oldObject".to_owned())
            }
            "CREATE" | "UPDATE" | "DELETE" | "CONNECT" => Ok(()),
            other => Err(format!(
                "request.operation is {other:?}: CREATE, UPDATE, DELETE or CONNECT was expected"
            )),
        }
    }

    /// What is to be judged. None: an object or operation that is none of our business.
    pub(super) fn subject(&self) -> Option<Request<'_>> {
        if !self.is_written() {
            return None;
        }
        Some(Request {
            kind: Kind::named(&self.api_version, &self.kind)?,
            object: &self.object,
            old: self.old.as_ref(),
            facts: &NO_FACTS,
        })
    }

    /// The same for an object whose pods end.
    pub(super) fn ending(&self) -> Option<(Ending, &Value)> {
        let kind = Ending::of(&self.api_version, &self.kind)?;
        self.is_written().then_some((kind, &self.object))
    }

    /// Whether a whole object is created or updated.
    fn is_written(&self) -> bool {
        !self.subresource
            && matches!(self.operation.as_str(), "CREATE" | "UPDATE")
            && self.object.is_object()
    }
}

/// One answer.
#[derive(Debug)]
pub(super) struct Answer(Value);

impl Answer {
    /// Let in, as it is.
    pub(super) fn allowed(uid: &str) -> Self {
        Self(json!({ "uid": uid, "allowed": true }))
    }

    /// Let in, with a patch and warnings.
    pub(super) fn decided(uid: &str, decision: Decision) -> Self {
        let mut response = json!({ "uid": uid, "allowed": true });
        let Some(fields) = response.as_object_mut() else {
            return Self(response);
        };
        if !decision.warnings.is_empty() {
            fields.insert("warnings".to_owned(), Value::from(decision.warnings));
        }
        if decision.patch.0.is_empty() {
            return Self(response);
        }
        match serde_json::to_vec(&decision.patch) {
            Ok(patch) => {
                fields.insert("patchType".to_owned(), Value::from("JSONPatch"));
                fields.insert("patch".to_owned(), Value::from(STANDARD.encode(patch)));
                Self(response)
            }
            Err(error) => Self::denied(uid, &format!("the patch cannot be written: {error}")),
        }
    }

    /// Kept out, for what is written in it.
    pub(super) fn denied(uid: &str, message: &str) -> Self {
        Self::kept_out(uid, 422, message)
    }

    /// Kept out for now: the object is good, and may be let in another time.
    pub(super) fn unavailable(uid: &str, message: &str) -> Self {
        Self::kept_out(uid, 503, message)
    }

    fn kept_out(uid: &str, code: u16, message: &str) -> Self {
        Self(json!({
            "uid": uid,
            "allowed": false,
            "status": { "status": "Failure", "code": code, "message": message },
        }))
    }

    /// The same, but of a denial: let in, without a word.
    pub(super) fn let_in(self) -> Self {
        let is_allowed = self.0.get("allowed").and_then(Value::as_bool) == Some(true);
        if is_allowed {
            return self;
        }
        Self(json!({ "uid": self.0.get("uid"), "allowed": true }))
    }

    pub(super) fn into_review(self) -> Value {
        json!({ "apiVersion": API_VERSION, "kind": "AdmissionReview", "response": self.0 })
    }
}

/// A text as it may stand in a message.
fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

/// A uid; none in place of a text that is too long to be one.
fn short_uid(uid: Option<String>) -> String {
    uid.filter(|uid| uid.len() <= LONGEST).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use contract::inject::Reason;

    use super::*;

    fn review() -> Value {
        json!({
            "apiVersion": API_VERSION,
            "kind": "AdmissionReview",
            "request": {
                "uid": "u1",
                "kind": { "group": "apps", "version": "v1", "kind": "Deployment" },
                "namespace": "shop",
                "name": "web",
                "operation": "CREATE",
                "object": { "metadata": {} },
                "oldObject": null,
            },
        })
    }

    fn read(review: &Value) -> Result<Review, Refused> {
        Review::read(&serde_json::to_vec(review).unwrap())
    }

    #[test]
    fn a_created_deployment_is_our_business() {
        let review = read(&review()).unwrap();
        let subject = review.subject().unwrap();
        assert_eq!((subject.kind, subject.old), (Kind::Deployment, None));
    }

    #[test]
    fn a_created_pod_is_our_business() {
        let mut review = review();
        review["request"]["kind"] = json!({ "group": "", "version": "v1", "kind": "Pod" });
        let review = read(&review).unwrap();
        assert_eq!(review.subject().map(|it| it.kind), Some(Kind::Pod));
    }

    #[test]
    fn a_job_is_our_business_as_far_as_words_go() {
        let mut review = review();
        review["request"]["kind"] = json!({ "group": "batch", "version": "v1", "kind": "Job" });
        let review = read(&review).unwrap();
        assert!(review.subject().is_none());
        assert_eq!(review.ending().map(|(kind, _)| kind), Some(Ending::Job));
    }

    #[test]
    fn whatever_else_is_sent_is_let_in() {
        for (path, value) in [
            ("operation", json!("DELETE")),
            ("operation", json!("CONNECT")),
            ("subResource", json!("scale")),
            (
                "kind",
                json!({ "group": "", "version": "v1", "kind": "Secret" }),
            ),
            (
                "kind",
                json!({ "group": "apps", "version": "v1beta1", "kind": "Deployment" }),
            ),
        ] {
            let mut review = review();
            review["request"][path] = value;
            let review = read(&review).unwrap();
            assert!(review.subject().is_none(), "{path}");
            assert!(review.ending().is_none(), "{path}");
        }
    }

    #[test]
    fn what_is_no_review_is_refused_with_its_uid() {
        let mut other = review();
        other["apiVersion"] = json!("admission.k8s.io/v1beta1");
        assert_eq!(read(&other).unwrap_err().uid, "u1");
        for uid in [Value::Null, json!(1), json!("u".repeat(10_000))] {
            let mut nameless = review();
            nameless["request"]["uid"] = uid;
            let refused = read(&nameless).unwrap_err();
            assert_eq!(refused.uid, "");
            assert_eq!(refused.message, "the review has no request.uid");
        }
        for bytes in [
            &b""[..],
            b"{",
            b"[]",
            b"\xff\xfe",
            "[".repeat(100_000).as_bytes(),
        ] {
            assert!(Review::read(bytes).is_err());
        }
    }

    #[test]
    fn what_a_review_lacks_is_named() {
        for (path, value, words) in [
            ("kind", Value::Null, "no request.kind"),
            ("kind", json!({ "kind": "Deployment" }), "no request.kind"),
            (
                "kind",
                json!({ "group": "apps", "kind": "Deployment" }),
                "no request.kind",
            ),
            ("operation", Value::Null, "request.operation is \"\""),
            (
                "operation",
                json!("PATCH"),
                "request.operation is \"PATCH\"",
            ),
            ("operation", json!("UPDATE"), "no request.oldObject"),
            ("object", Value::Null, "no request.object"),
            ("object", json!([]), "no request.object"),
            (
                "namespace",
                json!("../../secrets"),
                "request.namespace is no name",
            ),
            ("name", json!("w".repeat(10_000)), "request.name is no name"),
        ] {
            let mut review = review();
            review["request"][path] = value;
            let refused = read(&review).unwrap_err();
            assert_eq!(refused.uid, "u1");
            let message = refused.message;
            assert!(message.contains(words) && message.len() < 200, "{message}");
        }
    }

    #[test]
    fn a_patch_travels_as_base64() {
        let patch = serde_json::from_value(json!([{ "op": "remove", "path": "/a" }])).unwrap();
        let decision = Decision {
            patch,
            warnings: Vec::new(),
            reason: Reason::Injected,
        };
        let answer = Answer::decided("u1", decision).into_review();
        let patch = STANDARD
            .decode(answer["response"]["patch"].as_str().unwrap())
            .unwrap();
        assert_eq!(patch, br#"[{"op":"remove","path":"/a"}]"#);
        assert_eq!(answer["response"]["uid"], "u1");
    }
}
