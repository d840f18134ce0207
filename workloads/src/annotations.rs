//! Annotations: the product's own, obeyable or not, and other people's.

use contract::names::annotation;
use proptest::{option, prelude::*};
use serde_json::{Value, json};

use crate::{
    shape::{Field, Values, just, map, may, merged, must, one_of},
    texts,
};

/// Each key beside the Service's, with values that can be obeyed and such that cannot.
fn others() -> [(&'static str, Values, Values); 13] {
    [
        (
            annotation::LEASE,
            one_of(["web", "a.b-1"]),
            one_of(["", "Web", "a..b"]),
        ),
        (
            annotation::CONTAINER,
            one_of(["app", "web"]),
            one_of(["", "absent", "a.b", "app\n"]),
        ),
        (
            annotation::PORT,
            one_of(["28086", "28087", "1024", "9090"]),
            one_of(["", "80", "65536", "+9090", "http"]),
        ),
        (
            annotation::NOTIFY_PORT,
            one_of(["8080", "65535"]),
            one_of(["", "0", "28086x"]),
        ),
        (
            annotation::LEASE_DURATION,
            one_of(["5", "12", "300", "0030"]),
            one_of(["", "4", "301", "12s", "-5"]),
        ),
        (
            annotation::SERVICE_ACCOUNT,
            one_of(["own", "default", "a.b"]),
            one_of(["", "Own", "own/x"]),
        ),
        (
            annotation::START,
            one_of(["open", "closed"]),
            one_of(["", "Open", "later"]),
        ),
        (
            annotation::LOG_LEVEL,
            one_of(["error", "debug", "trace"]),
            one_of(["", "DEBUG", "loud"]),
        ),
        (
            annotation::CPU_REQUEST,
            one_of(["1m", "20m", "0.5", "1e0"]),
            one_of(["", "0", "-1", "1x"]),
        ),
        (
            annotation::MEMORY_REQUEST,
            one_of(["1Mi", "32Mi", "100M"]),
            one_of(["", "0", "16 Mi"]),
        ),
        (
            annotation::CPU_LIMIT,
            one_of(["1", "500m", "5m"]),
            one_of(["", "0.0", "two"]),
        ),
        (
            annotation::MEMORY_LIMIT,
            one_of(["128Mi", "1Gi", "8Mi"]),
            one_of(["", "1e99", "Mi"]),
        ),
        (
            annotation::INJECT,
            one_of(["true", "true", "true", "false"]),
            one_of(["", "no", "False"]),
        ),
    ]
}

fn services() -> Values {
    one_of(["web", "web", "api", "web,api", "web, headless ,external"])
}

/// What a user writes on a workload that can be obeyed.
pub(crate) fn obeyable() -> Values {
    asking(must(annotation::SERVICE, services()), |good, _| good)
}

/// The same with values that cannot, and keys that mean nothing.
pub(crate) fn any() -> Values {
    let bad = one_of(["", "Web", "web,,api", "web,web", "a/b", "web\n", "wéb"]);
    let services = prop_oneof![8 => services(), 1 => bad, 1 => texts::text()].boxed();
    let service = may(annotation::SERVICE, 0.95, services);
    let asked = asking(service, |good, bad| {
        prop_oneof![12 => good, 1 => bad, 1 => texts::text()].boxed()
    });
    let misspelt = map([
        may("service-leader-election/leese", 0.2, just("web")),
        may("service-leader-election/", 0.1, just("")),
        may("service-leader-election/Ünknown 💡", 0.1, texts::text()),
        may("example.org/x", 0.3, texts::text()),
    ]);
    merged(asked, misspelt)
}

fn asking(service: Field, of: impl Fn(Values, Values) -> Values) -> Values {
    let others: Vec<_> = others()
        .into_iter()
        .map(|(key, good, bad)| {
            option::weighted(0.12, of(good, bad))
                .prop_map(move |value| Some((key.to_owned(), value?)))
        })
        .collect();
    let others = others.prop_map(|others| others.into_iter().flatten().collect::<Value>());
    merged(map([service]), others.boxed())
}

/// Annotations of which none is ours.
pub(crate) fn foreign() -> Values {
    map([
        may("example.org/x", 0.5, texts::text()),
        may("example.org/service-leader-election", 0.3, just("web")),
        may("service-leader-election", 0.1, just("web")),
        may("deployment.kubernetes.io/revision", 0.3, just("3")),
    ])
}

/// What stands on a template whose pods are to be injected, in its workload's place or besides.
pub(crate) fn on_annotated_template() -> Values {
    let ours = prop_oneof![4 => just(json!({})), 1 => any()].boxed();
    merged(on_template(), ours)
}

/// What stands on a template: for meshes, for kubectl, and ours by mistake.
pub(crate) fn on_template() -> Values {
    map([
        may("example.org/x", 0.3, texts::text()),
        may(
            "kubectl.kubernetes.io/restartedAt",
            0.2,
            just("2026-01-01T00:00:00Z"),
        ),
        may(
            "kubectl.kubernetes.io/default-container",
            0.2,
            texts::name(),
        ),
        may(
            "sidecar.istio.io/inject",
            0.2,
            one_of(["true", "false", "True"]),
        ),
        may("traffic.sidecar.istio.io/excludeInboundPorts", 0.2, ports()),
        may(
            "linkerd.io/inject",
            0.2,
            one_of(["enabled", "ingress", "disabled"]),
        ),
        may("config.linkerd.io/skip-inbound-ports", 0.2, ports()),
        may(annotation::LEASE_DURATION, 0.05, just("12")),
        may("service-leader-election/leese", 0.05, just("web")),
    ])
}

fn ports() -> Values {
    one_of([
        "",
        "80",
        "80, 443 ",
        "28000-29000",
        "*",
        "28086",
        "x",
        ",",
        "9-1",
    ])
}
