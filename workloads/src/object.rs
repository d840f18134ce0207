//! Workloads: a template, and what stands around it in each kind.

use contract::{names, workload::Kind};
use proptest::{prelude::*, sample::select};
use serde_json::{Value, json};

use crate::{
    annotations,
    context::Security,
    shape::{Values, just, map, may, merge, must, one_of},
    template::template,
    texts,
};

/// What a workload's own annotations ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Annotated {
    /// Nothing of ours: none has our prefix.
    Not,
    /// An election, by values each of which can be obeyed, if not all of them together.
    Obeyable,
    /// An election, and what is misspelt or cannot be obeyed besides.
    Anyhow,
}

/// Objects of every kind that bears a template, which may be annotated, too.
pub fn workload(annotated: Annotated, security: Security) -> BoxedStrategy<Value> {
    let kinds: Vec<_> = Kind::ALL
        .into_iter()
        .filter(|kind| !own_fields(*kind).is_empty())
        .collect();
    let around = map([must("metadata", metadata(annotated)), must("spec", spec())]);
    let template = template(security, annotations::on_annotated_template());
    (select(kinds), around, template)
        .prop_map(|(kind, around, template)| object(kind, around, &template))
        .boxed()
}

/// The object of this kind, with what stands around its template.
fn object(kind: Kind, mut around: Value, template: &Value) -> Value {
    let own = own_fields(kind);
    if let Some(spec) = around.get_mut("spec").and_then(Value::as_object_mut) {
        spec.retain(|key, _| own.contains(&key.as_str()));
    }
    let more = json!({
        "apiVersion": kind.api_version(),
        "kind": kind.as_str(),
        "spec": { "template": template },
    });
    merge(&mut around, &more);
    around
}

/// What a kind has in its spec beside the template. A pod has none.
fn own_fields(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Deployment => &[
            "selector",
            "minReadySeconds",
            "replicas",
            "strategy",
            "paused",
        ],
        Kind::StatefulSet => &[
            "selector",
            "minReadySeconds",
            "replicas",
            "serviceName",
            "podManagementPolicy",
        ],
        Kind::DaemonSet => &["selector", "minReadySeconds"],
        Kind::ReplicaSet => &["selector", "minReadySeconds", "replicas"],
        Kind::Pod => &[],
    }
}

/// Where the template stands in an object of this kind; a pod is its own.
pub fn template_place(kind: Kind) -> &'static str {
    match kind {
        Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet | Kind::ReplicaSet => {
            "/spec/template"
        }
        Kind::Pod => "",
    }
}

/// The metadata of an object, by which it asks for what it asks for.
pub(crate) fn metadata(annotated: Annotated) -> Values {
    let annotations = match annotated {
        Annotated::Not => may("annotations", 0.7, annotations::foreign()),
        Annotated::Obeyable => must("annotations", annotations::obeyable()),
        Annotated::Anyhow => must("annotations", annotations::any()),
    };
    map([
        must("name", texts::name()),
        may("namespace", 0.7, just("shop")),
        may(
            "labels",
            0.5,
            map([
                may("app", 0.5, texts::label()),
                may(names::LABEL, 0.1, just("x")),
            ]),
        ),
        may("finalizers", 0.1, just(json!(["example.org/x"]))),
        annotations,
    ])
}

/// What one kind or another has beside the template.
fn spec() -> Values {
    map([
        may("replicas", 0.8, one_of([0, 1, 2, 3, 10])),
        may("selector", 0.9, selector()),
        may(
            "strategy",
            0.3,
            one_of([
                json!({ "type": "Recreate" }),
                json!({ "type": "RollingUpdate" }),
            ]),
        ),
        may("paused", 0.1, one_of([true, false])),
        may("minReadySeconds", 0.2, one_of([0, 1])),
        may("serviceName", 0.7, one_of(["web", "headless"])),
        may(
            "podManagementPolicy",
            0.2,
            one_of(["Parallel", "OrderedReady"]),
        ),
    ])
}

fn selector() -> Values {
    let web = || just(json!({ "matchLabels": { "app": "web" } }));
    let ours = one_of([
        json!({ "matchLabels": { names::LABEL: "web" } }),
        json!({ "matchExpressions": [{ "key": names::LABEL, "operator": "Exists" }] }),
    ]);
    prop_oneof![50 => web(), 1 => ours].boxed()
}
