//! The injector's golden cases, put to the real API server and the webhook behind it.
//!
//! Before there is a webhook, the API server says what it makes of each golden object by itself:
//! its defaults, its own warnings, its own refusals. With the webhook it is to make the same of
//! the case's input, byte for byte, and to hand on each warning and each refusal as the case has
//! it. All writes are dry runs, but for the past of an update.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, in its helpers too, and says why"
)]

#[path = "../support/mod.rs"]
mod support;

mod case;
mod difference;
mod stage;

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, stream};
use kube::Client;
use serde_json::Value;
use testcluster::Cluster;

use crate::{
    case::{Case, Golden},
    support::{
        Installed,
        ask::{self, Answer},
    },
};

/// What the API server refuses by itself, whatever the injector says of it, and why.
const INVALID: [(&str, &str); 6] = [
    ("denied-port-without-quotes", "an annotation is a text"),
    ("deployment-without-template", "a Deployment has a template"),
    (
        "pod-of-a-node",
        "only a kubelet creates a mirror of a static pod",
    ),
    ("pod-update-is-left", "of a pod only few fields may change"),
    (
        "warning-template-without-labels",
        "a Deployment selects the pods of its template",
    ),
    (
        "warnings-at-their-longest",
        "an annotation's key has at most 63 characters, but is judged before that is",
    ),
];

/// What the chart does not ask the webhook about, so that there is nothing but the API server's own, and why.
const UNASKED: [(&str, &str); 2] = [
    ("pod-of-a-job", "nothing is injected into a Job's pods"),
    ("pod-of-a-job-with-a-bad-value-is-let-in", "likewise"),
];

/// Where alone something else comes of a case behind the API server than by the injector alone, and why.
const ELSEWHERE: [(&str, &str, &str); 2] = [
    (
        "pod-in-a-manifest",
        "/metadata/annotations/service-leader-election~1injected",
        "the API server writes an account into a pod before it asks",
    ),
    (
        "pod-name-as-long-as-a-label",
        "/metadata/annotations/service-leader-election~1injected",
        "likewise",
    ),
];

/// How many cases are under way at a time.
const AT_ONCE: usize = 8;

#[tokio::test]
async fn the_api_server_makes_of_every_case_what_is_golden() {
    let cases = case::all();
    let mut alone = BTreeMap::new();
    let before = async |cluster: &Cluster| {
        stage::set(cluster, &cases).await;
        alone = without_webhook(&cluster.client()?, &cases).await;
        Ok(())
    };
    let installed = Installed::after(&[], before).await.unwrap();
    let client = installed.cluster.client().unwrap();
    let mut wrong = Vec::new();
    let settings: BTreeSet<_> = cases.iter().map(|case| &case.settings).collect();
    for settings in settings {
        let variables = settings.variables();
        let variables: Vec<_> = variables.iter().map(String::as_str).collect();
        installed.set_webhook(&variables).await;
        let theirs = cases.iter().filter(|case| case.settings == *settings);
        let mut asked = stream::iter(theirs)
            .map(async |case| (case, put(&client, case, &case.input).await))
            .buffer_unordered(AT_ONCE);
        while let Some((case, found)) = asked.next().await {
            if let Err(what) = judge(case, alone.get(case.name.as_str()), &found) {
                wrong.push(format!("{}: {what}", case.name));
            }
        }
    }
    wrong.sort();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn what_is_listed_is_there() {
    let names: BTreeSet<_> = case::all().into_iter().map(|case| case.name).collect();
    let listed = INVALID.iter().chain(&UNASKED).map(|(name, _)| name);
    for name in listed.chain(ELSEWHERE.iter().map(|(name, ..)| name)) {
        assert!(names.contains(*name), "take {name} off its list");
    }
}

/// What the API server makes of the golden object of each case that is let in.
async fn without_webhook<'a>(client: &Client, cases: &'a [Case]) -> BTreeMap<&'a str, Answer> {
    let admitted = cases.iter().filter_map(|case| match &case.golden {
        Golden::Admitted { object, .. } => Some((case, object)),
        Golden::Denied { .. } => None,
    });
    let asked = stream::iter(admitted)
        .map(async |(case, object)| (case.name.as_str(), put(client, case, object).await));
    asked.buffer_unordered(AT_ONCE).collect().await
}

/// Tries an object in the place and manner of a case.
async fn put(client: &Client, case: &Case, object: &Value) -> Answer {
    let tried = match case.old {
        Some(_) => ask::try_replace(client, &case.name, object).await,
        None => ask::try_create(client, &case.name, object).await,
    };
    tried.unwrap_or_else(|error| panic!("{}: {error:#}", case.name))
}

/// Whether a case came to what is golden; `alone` is what the API server makes of its golden object.
fn judge(case: &Case, alone: Option<&Answer>, found: &Answer) -> Result<(), String> {
    let invalid = INVALID.iter().find(|(name, _)| *name == case.name);
    let is_asked = !UNASKED.iter().any(|(name, _)| *name == case.name);
    let elsewhere = ELSEWHERE.iter().find(|(name, ..)| *name == case.name);
    match (&case.golden, alone) {
        (Golden::Admitted { warnings, .. }, Some(alone)) => {
            match (&alone.outcome, &found.outcome, invalid) {
                (Ok(_), _, Some(_)) => {
                    Err("the API server takes it: take it off the list INVALID".to_owned())
                }
                (Err(why), _, None) => Err(format!(
                    "the API server itself refuses what is golden: {why}. Correct input.yaml, or, \
                     if it is invalid with intent, say why in the list INVALID"
                )),
                (Err(_), Err(why), Some(_)) if !why.contains(DENIED) => Ok(()),
                (Ok(expected), Ok(object), None) => {
                    let ours: &[String] = if is_asked { warnings } else { &[] };
                    same_warnings(&[ours, &alone.warnings].concat(), found)?;
                    same_object(expected, object, elsewhere.map(|(_, path, _)| *path))
                }
                (_, found, _) => Err(format!("came to {found:?}")),
            }
        }
        (Golden::Denied { message }, None) => {
            same_warnings(&[], found)?;
            let denied = found.outcome.as_ref().err();
            let said = denied.and_then(|text| Some(text.split_once(DENIED)?.1));
            match (said == Some(message), invalid) {
                (true, None) => Ok(()),
                (true, Some(_)) => Err("take it off the list INVALID".to_owned()),
                (false, Some(_)) if denied.is_some() && said.is_none() => Ok(()),
                (false, _) => Err(format!("expected {message:?}, found {:?}", found.outcome)),
            }
        }
        _ => Err("not asked".to_owned()),
    }
}

/// In the API server's words, behind the webhook's name.
const DENIED: &str = "service-leader-election.io\" denied the request: ";

/// Whether two objects are the same, or differ at this path alone.
fn same_object(expected: &Value, found: &Value, elsewhere: Option<&str>) -> Result<(), String> {
    let Some(path) = elsewhere else {
        return difference::between(expected, found).map_or(Ok(()), Err);
    };
    if difference::between(expected, found).is_none() {
        return Err("nothing differs: take it off the list ELSEWHERE".to_owned());
    }
    let [expected, found] = [expected, found].map(|object| {
        let mut object = object.clone();
        object.pointer_mut(path).map(Value::take);
        object
    });
    difference::between(&expected, &found).map_or(Ok(()), Err)
}

fn same_warnings(expected: &[String], found: &Answer) -> Result<(), String> {
    if found.warnings == expected {
        return Ok(());
    }
    let found = &found.warnings;
    Err(format!(
        "expected the warnings {expected:#?}, found {found:#?}"
    ))
}
