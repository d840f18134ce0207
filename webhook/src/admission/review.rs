//! An AdmissionReview, `admission.k8s.io/v1`: the part of it that matters, read from bytes and
//! written as JSON.
//!
//! Must not know: what is decided. kube's own types would write the patch as an array of numbers,
//! and lose the uid of a review that they cannot read.

use base64::{Engine, engine::general_purpose::STANDARD};
use contract::{
    facts::Facts,
    inject::{Decision, Request},
    workload::{Ending, Kind},
};
use serde_json::{Value, json};

const API_VERSION: &str = "admission.k8s.io/v1";

/// No facts yet: they cost a request, and not every review needs them.
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

/// What is no review, with the uid, if it has one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) uid: String,
    pub(super) message: String,
}

impl Review {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Refused> {
        let mut review: Value = serde_json::from_slice(bytes).map_err(|error| Refused {
            uid: String::new(),
            message: format!("the review is not JSON: {error}"),
        })?;
        let text = |path: &str| {
            review
                .pointer(path)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let uid = text("/request/uid");
        let types = (text("/apiVersion"), text("/kind"));
        if (types.0.as_str(), types.1.as_str()) != (API_VERSION, "AdmissionReview") {
            let message = format!(
                "expected AdmissionReview of {API_VERSION}, not {:?} of {:?}",
                types.1, types.0
            );
            return Err(Refused { uid, message });
        }
        if uid.is_empty() {
            return Err(Refused {
                uid,
                message: "the review has no request.uid".to_owned(),
            });
        }
        let (group, version) = (text("/request/kind/group"), text("/request/kind/version"));
        let mut found = Self {
            uid,
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
        Ok(found)
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

    pub(super) fn into_review(self) -> Value {
        json!({ "apiVersion": API_VERSION, "kind": "AdmissionReview", "response": self.0 })
    }
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
            ("subResource", json!("scale")),
            ("object", Value::Null),
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
        let mut nameless = review();
        nameless["request"]["uid"] = Value::Null;
        assert_eq!(read(&nameless).unwrap_err().uid, "");
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
