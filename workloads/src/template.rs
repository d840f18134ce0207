//! Pod templates: `metadata` and `spec`, with all that a pod can be asked for beside its containers.

use contract::names;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    containers::{containers, init_containers},
    context::{self, Security},
    shape::{Field, Values, just, list, map, may, must, one_of},
    texts,
    volumes::volumes,
};

/// What `restricted` refuses.
const HOSTS: [&str; 3] = ["hostNetwork", "hostPID", "hostIPC"];

/// A pod template.
pub(crate) fn template(security: Security, annotations: Values) -> Values {
    let spec = spec(security).prop_map(consistent).boxed();
    map([
        may("metadata", 0.9, metadata(annotations)),
        must("spec", spec),
    ])
}

fn metadata(annotations: Values) -> Values {
    map([
        may("labels", 0.9, labels()),
        may("annotations", 0.6, annotations),
        may("creationTimestamp", 0.1, just(Value::Null)),
    ])
}

fn labels() -> Values {
    map([
        may("app", 0.8, one_of(["web", "api"])),
        may("app.kubernetes.io/name", 0.3, texts::label()),
        may("tier", 0.2, texts::label()),
        may(
            "sidecar.istio.io/inject",
            0.2,
            one_of(["true", "false", ""]),
        ),
        may(names::LABEL, 0.15, texts::label()),
    ])
}

fn spec(security: Security) -> Values {
    let mut fields = vec![
        must("containers", containers(security)),
        may("initContainers", 0.5, init_containers(security)),
        may("volumes", 0.6, volumes(security)),
        may("automountServiceAccountToken", 0.3, one_of([true, false])),
        may(
            "imagePullSecrets",
            0.2,
            list(just(json!({ "name": "registry" })), 0..2),
        ),
        may(
            "nodeSelector",
            0.2,
            one_of([json!({}), json!({ "kubernetes.io/os": "linux" })]),
        ),
        may(
            "tolerations",
            0.2,
            list(
                just(json!({ "operator": "Exists", "effect": "NoExecute" })),
                0..2,
            ),
        ),
        may("affinity", 0.2, affinity()),
        may("topologySpreadConstraints", 0.1, spread()),
        may("terminationGracePeriodSeconds", 0.3, one_of([0, 30, 600])),
        may("restartPolicy", 0.3, just("Always")),
        may("dnsPolicy", 0.2, one_of(["ClusterFirst", "Default"])),
        may(
            "dnsConfig",
            0.1,
            just(json!({ "options": [{ "name": "ndots", "value": "1" }] })),
        ),
        may(
            "hostAliases",
            0.1,
            just(json!([{ "ip": "10.0.0.1", "hostnames": ["a.example.org"] }])),
        ),
        may("schedulerName", 0.1, just("default-scheduler")),
        may("shareProcessNamespace", 0.1, one_of([true, false])),
        may("enableServiceLinks", 0.2, one_of([true, false])),
        may("os", 0.1, just(json!({ "name": "linux" }))),
        may("hostname", 0.1, texts::name()),
        may("subdomain", 0.1, texts::name()),
        may("setHostnameAsFQDN", 0.1, one_of([true, false])),
        may(
            "readinessGates",
            0.1,
            just(json!([{ "conditionType": "example.org/open" }])),
        ),
    ];
    fields.extend(account());
    if security == Security::Free {
        fields.push(may("securityContext", 0.5, context::of_pod(security)));
        fields.extend(HOSTS.map(|host| may(host, 0.1, one_of([true, false]))));
    } else {
        fields.push(must("securityContext", context::of_pod(security)));
    }
    map(fields)
}

/// Today's field and its forerunner, which the API server keeps equal.
fn account() -> [Field; 2] {
    let names = || one_of(["default", "own", "service-leader-election-web"]);
    [
        may("serviceAccountName", 0.4, names()),
        may("serviceAccount", 0.05, names()),
    ]
}

fn affinity() -> Values {
    one_of([
        json!({}),
        json!({ "podAntiAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [{
            "weight": 100,
            "podAffinityTerm": {
                "topologyKey": "kubernetes.io/hostname",
                "labelSelector": { "matchLabels": { "app": "web" } },
            },
        }] } }),
    ])
}

fn spread() -> Values {
    just(json!([{
        "maxSkew": 1,
        "topologyKey": "topology.kubernetes.io/zone",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": { "matchLabels": { "app": "web" } },
    }]))
}

/// Gives containers, ports and volumes names that differ, and mounts the volumes.
fn consistent(mut spec: Value) -> Value {
    let mut volumes = 0;
    for (index, volume) in items(&mut spec, "volumes").enumerate() {
        put(volume, "name", json!(format!("v{index}")));
        volumes = index + 1;
    }
    let mut index = 0;
    for list in ["initContainers", "containers"] {
        for container in items(&mut spec, list) {
            let name = container
                .get("name")
                .and_then(Value::as_str)
                .unwrap_or_default();
            // The first of an application keeps its name, as an annotation may have it.
            let name = match (list, index) {
                ("containers", 0) => name.to_owned(),
                _ => format!("{name}-{index}"),
            };
            put(container, "name", Value::from(name));
            for (number, port) in items(container, "ports").enumerate() {
                if number == 1 {
                    put(port, "name", json!("election"));
                }
            }
            if volumes > 0 && index % 2 == 0 {
                let mounts = (0..volumes)
                    .map(|v| json!({ "name": format!("v{v}"), "mountPath": format!("/mnt/{v}") }));
                put(container, "volumeMounts", mounts.collect());
            }
            index += 1;
        }
    }
    spec
}

/// The items of a list.
pub(crate) fn items<'a>(map: &'a mut Value, key: &str) -> impl Iterator<Item = &'a mut Value> {
    let list = map.get_mut(key).and_then(Value::as_array_mut);
    list.into_iter().flatten()
}

fn put(map: &mut Value, key: &str, value: Value) {
    if let Some(map) = map.as_object_mut() {
        map.insert(key.to_owned(), value);
    }
}
