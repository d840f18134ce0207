//! What is no review is answered all the same, at once and in words that say what is wrong: as a
//! denial of that very request where its uid can be read, and never by a redirect.

use futures::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Frame},
    header::{ALLOW, CONTENT_TYPE, LOCATION},
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    installed,
    support::deployment,
    wire::{Body, Protocol, Wire, whole},
};

const BOTH: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];

/// The review of an annotated Deployment that is created.
pub(crate) fn review() -> Value {
    let object = deployment("web", 2, &json!({"service-leader-election/service": "web"}));
    json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "u1",
            "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
            "name": "web",
            "namespace": "default",
            "operation": "CREATE",
            "object": object,
            "oldObject": null,
            "dryRun": true,
        },
    })
}

/// The text of a review, in the API server's order: the uid stands before the object.
pub(crate) fn text(mut review: Value) -> String {
    let Some(request) = review["request"].as_object_mut() else {
        return review.to_string();
    };
    let uid = json!({"uid": request.remove("uid")}).to_string();
    let begin = uid.trim_end_matches('}');
    let text = review.to_string();
    text.replacen("\"request\":{", &format!("\"request\":{begin},"), 1)
}

/// As the API server would send it.
pub(crate) fn post(body: Body) -> Request<Body> {
    let request = Request::post("/mutate?timeout=5s").header(CONTENT_TYPE, "application/json");
    request.body(body).unwrap()
}

/// The response of an answer, which must be for `uid`.
pub(crate) fn response(text: &str, uid: &str) -> Value {
    let mut answer: Value = serde_json::from_str(text).unwrap();
    assert_eq!(answer["kind"], "AdmissionReview");
    assert_eq!(answer["apiVersion"], "admission.k8s.io/v1");
    assert_eq!(answer["response"]["uid"], uid, "{text}");
    answer["response"].take()
}

fn says_no(answer: &(Response<()>, String), status: u16, uid: &str, words: &str) {
    let (head, text) = answer;
    assert_eq!(head.status(), status, "{words}: {text}");
    let response = response(text, uid);
    assert_eq!(response["allowed"], false, "{words}");
    let message = response["status"]["message"].as_str().unwrap();
    assert!(message.contains(words), "{words:?} is not in {message:?}");
    assert!(message.len() < 300, "{message}");
}

/// A review, changed at a path.
fn with(path: &str, value: Value) -> Vec<u8> {
    let mut review = review();
    *review.pointer_mut(path).unwrap() = value;
    text(review).into_bytes()
}

/// A review in whose object this stands in place of the application's image.
fn around(image: &[u8]) -> Vec<u8> {
    let text = text(review());
    let (before, after) = text.split_once("\"example.org/app:1\"").unwrap();
    [before.as_bytes(), image, after.as_bytes()].concat()
}

/// A body, and how it is answered: status, uid and words.
type Case = (u16, &'static str, &'static str, Vec<u8>);

/// What cannot be read to its end.
fn unreadable() -> Vec<Case> {
    let mut broken_off = text(review()).into_bytes();
    let long = [&broken_off[..], &vec![b' '; 16 << 20]].concat();
    broken_off.pop();
    let lists = around("[".repeat(100_000).as_bytes());
    let maps = around("{\"a\":".repeat(200).as_bytes());
    let many_maps = around(&nothing_but(b"{\"a\":1},", 2 << 20));
    let many_values = around(&nothing_but(b"1,", 8 << 20));
    vec![
        (400, "", "is not JSON", Vec::new()),
        (400, "", "is not JSON", b"\xff\xfe".to_vec()),
        (400, "", "is not JSON", vec![b'['; 100_000]),
        (413, "", "longer than 16 MiB", vec![b' '; (16 << 20) + 1]),
        (200, "u1", "longer than 16 MiB", long),
        (200, "u1", "EOF while parsing", broken_off),
        (200, "u1", "recursion limit", lists),
        (200, "u1", "recursion limit", maps),
        (200, "u1", "invalid unicode", around(b"\"\xc3\x28\"")),
        (200, "u1", "too many parts", many_maps),
        (200, "u1", "too many parts", many_values),
    ]
}

/// What lacks something, or says what a review does not.
fn incomplete() -> Vec<Case> {
    let unnamed = |path, value| (400, "", "no request.uid", with(path, value));
    let named = |words, path, value| (200, "u1", words, with(path, value));
    let other = "expected AdmissionReview";
    let beta = json!("admission.k8s.io/v1beta1");
    vec![
        (400, "", other, b"[]".to_vec()),
        unnamed("/request", Value::Null),
        unnamed("/request/uid", json!("u".repeat(10_000))),
        named(other, "/apiVersion", beta),
        named(other, "/apiVersion", json!("example.org/v1")),
        named(other, "/kind", json!("Review")),
        named("no request.kind", "/request/kind", Value::Null),
        named("operation is \"\"", "/request/operation", Value::Null),
        named("operation is \"MOVE\"", "/request/operation", json!("MOVE")),
        named(
            "no request.oldObject",
            "/request/operation",
            json!("UPDATE"),
        ),
        named("no request.object", "/request/object", Value::Null),
        named("no request.object", "/request/object", json!("web")),
        named(
            "request.namespace",
            "/request/namespace",
            json!("a/secrets/b?"),
        ),
    ]
}

#[tokio::test]
async fn a_body_that_is_no_review_is_denied_in_words() {
    let wire = Wire::to(installed().await).await;
    for protocol in BOTH {
        for (status, uid, words, body) in [unreadable(), incomplete()].concat() {
            let answer = wire.send(protocol, post(whole(body))).await;
            says_no(&answer.unwrap(), status, uid, words);
        }
    }
    is_well(&wire).await;
}

/// A list of these bytes over and over.
fn nothing_but(bytes: &[u8], most: usize) -> Vec<u8> {
    let mut list = vec![b'['];
    list.extend(bytes.repeat(most / bytes.len()));
    list.extend(b"1]");
    list
}

/// Whether a review is still answered.
async fn is_well(wire: &Wire) {
    for protocol in BOTH {
        let answer = wire.send(protocol, post(whole(text(review())))).await;
        let (head, text) = answer.unwrap();
        assert_eq!(head.status(), StatusCode::OK);
        let response = response(&text, "u1");
        assert_eq!(response["allowed"], true);
        assert_eq!(response["patchType"], "JSONPatch");
    }
}

#[tokio::test]
async fn another_content_type_is_named() {
    let wire = Wire::to(installed().await).await;
    for protocol in BOTH {
        for kind in ["text/plain", "application/x-www-form-urlencoded", ""] {
            let mut request = post(whole(text(review())));
            let headers = request.headers_mut();
            headers.insert(CONTENT_TYPE, kind.parse().unwrap());
            let answer = wire.send(protocol, request).await.unwrap();
            says_no(&answer, 415, "", &format!("content-type is {kind:?}"));
        }
        let mut request = post(whole(text(review())));
        request.headers_mut().remove(CONTENT_TYPE);
        let answer = wire.send(protocol, request).await.unwrap();
        says_no(&answer, 415, "", "application/json");
    }
    let mut request = post(whole(text(review())));
    let json = "Application/JSON; charset=utf-8".parse().unwrap();
    request.headers_mut().insert(CONTENT_TYPE, json);
    let (_, text) = wire.send(Protocol::Http2, request).await.unwrap();
    assert_eq!(response(&text, "u1")["allowed"], true);
}

#[tokio::test]
async fn nobody_is_sent_elsewhere() {
    let wire = Wire::to(installed().await).await;
    let places = [
        (Method::GET, "/mutate", 405),
        (Method::PUT, "/mutate", 405),
        (Method::DELETE, "/mutate", 405),
        (Method::PATCH, "/mutate", 405),
        (Method::OPTIONS, "/mutate", 405),
        (Method::POST, "/", 404),
        (Method::POST, "/mutate/", 404),
        (Method::POST, "//mutate", 404),
        (Method::POST, "/Mutate", 404),
        (Method::POST, "/mutate/%2e%2e/mutate", 404),
        (Method::POST, "/healthz", 405),
        (Method::POST, "/metrics", 404),
    ];
    for protocol in BOTH {
        for (method, path, status) in &places {
            let mut request = post(whole(text(review())));
            *request.method_mut() = method.clone();
            *request.uri_mut() = path.parse().unwrap();
            let (head, text) = wire.send(protocol, request).await.unwrap();
            assert_eq!(head.status(), *status, "{method} {path}");
            assert_eq!(head.headers().get(LOCATION), None, "{method} {path}");
            assert_eq!(
                text,
                "reviews are answered at /mutate and /words, by POST\n"
            );
            let allowed = head
                .headers()
                .get(ALLOW)
                .map(|allow| allow.to_str().unwrap());
            if *path == "/mutate" {
                assert_eq!(allowed, Some("POST"), "{method}");
            }
        }
    }
}

/// The beginning of a review, and nothing more for as long as anybody listens.
fn begun() -> Body {
    let begin = Bytes::from_static(br#"{"request":{"uid":"u1","object":{"#);
    let begin = stream::iter([Ok(Frame::data(begin))]);
    StreamBody::new(begin.chain(stream::pending())).boxed_unsync()
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let wire = Wire::to(installed().await).await;
    for protocol in BOTH {
        let answer = wire.send(protocol, post(begun())).await.unwrap();
        says_no(&answer, 408, "u1", "did not come to its end within 5 s");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_denied_in_words() {
    let wire = Wire::to(installed().await).await;
    let mut stream = wire.connect(Protocol::Http1).await.unwrap();
    let text = "POST /mutate HTTP/1.1\r\nhost: webhook\r\ncontent-type: application/json\r\n\
                content-length: 1000\r\n\r\n{\"request\":{\"uid\":\"u1\",\"name\":";
    stream.write_all(text.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let response = response(body, "u1");
    let message = response["status"]["message"].as_str().unwrap();
    assert!(message.contains("did not come to its end"), "{message}");
}
