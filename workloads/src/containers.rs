//! Containers of an application: plain ones, init containers, native sidecars.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    context::{self, Security},
    shape::{Field, Values, just, list, map, may, merged, must, one_of},
    texts,
};

/// `spec.containers`, without volume mounts yet.
pub(crate) fn containers(security: Security) -> Values {
    let container = prop_oneof![3 => container(security, probes()), 1 => small(security)];
    list(container.boxed(), 1..4)
}

/// `spec.initContainers`: some of them stay.
pub(crate) fn init_containers(security: Security) -> Values {
    let mut stays = probes();
    stays.push(must("restartPolicy", just("Always")));
    let init = prop_oneof![container(security, Vec::new()), container(security, stays)];
    list(init.boxed(), 0..3)
}

fn small(security: Security) -> Values {
    let mut fields = vec![
        must("name", texts::name()),
        must("image", just("example.org/app:1")),
    ];
    fields.push(security_context(security));
    map(fields)
}

fn container(security: Security, more: Vec<Field>) -> Values {
    let mut fields = vec![
        must("name", texts::name()),
        must("image", image()),
        may(
            "imagePullPolicy",
            0.3,
            one_of(["Always", "IfNotPresent", "Never"]),
        ),
        may("command", 0.2, list(texts::text(), 0..3)),
        may("args", 0.3, list(texts::text(), 0..4)),
        may("workingDir", 0.1, one_of(["/", "/srv/a b"])),
        may("env", 0.5, list(variable(), 0..4)),
        may("envFrom", 0.1, list(variables_from(), 0..2)),
        may("ports", 0.6, list(port(), 0..3)),
        may("resources", 0.5, resources()),
        may("stdin", 0.1, one_of([true, false])),
        may("tty", 0.1, one_of([true, false])),
        may("terminationMessagePath", 0.1, just("/dev/termination-log")),
        may(
            "terminationMessagePolicy",
            0.1,
            one_of(["File", "FallbackToLogsOnError"]),
        ),
    ];
    fields.push(security_context(security));
    fields.extend(more);
    map(fields)
}

fn security_context(security: Security) -> Field {
    let context = context::of_container(security);
    if security.is_restricted() {
        must("securityContext", context)
    } else {
        may("securityContext", 0.4, context)
    }
}

/// One in a while is a sidecar that somebody added by hand.
fn image() -> Values {
    let others = one_of([
        "example.org/app:1",
        "app",
        "registry.example.org:5000/team/app@sha256:\
         e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "example.org/service-leader-election-demo:2",
        "gcr.io/x/pause:3.9",
    ]);
    prop_oneof![40 => others, 1 => just("example.org/service-leader-election:1")].boxed()
}

fn variable() -> Values {
    let name = || {
        must(
            "name",
            one_of([
                "A",
                "LANG",
                "a.b-c_d",
                "POD_NAME",
                "SERVICE_LEADER_ELECTION_SERVICE",
            ]),
        )
    };
    let from = one_of([
        json!({ "fieldRef": { "fieldPath": "metadata.annotations['service-leader-election/service']" } }),
        json!({ "fieldRef": { "apiVersion": "v1", "fieldPath": "status.podIP" } }),
        json!({ "configMapKeyRef": { "name": "settings", "key": "a", "optional": true } }),
        json!({ "secretKeyRef": { "name": "keys", "key": "password" } }),
        json!({ "resourceFieldRef": { "resource": "limits.memory", "divisor": "1Mi" } }),
    ]);
    prop_oneof![
        3 => map([name(), may("value", 0.9, texts::text())]),
        1 => map([name(), must("valueFrom", from)]),
    ]
    .boxed()
}

fn variables_from() -> Values {
    one_of([
        json!({ "configMapRef": { "name": "settings" } }),
        json!({ "prefix": "K_", "secretRef": { "name": "keys", "optional": true } }),
    ])
}

/// Some are those that the sidecar would like to have.
fn port() -> Values {
    map([
        must(
            "containerPort",
            one_of([80, 8080, 9090, 28086, 28087, 65535]),
        ),
        may("protocol", 0.3, one_of(["TCP", "UDP"])),
    ])
}

fn resources() -> Values {
    one_of([
        json!({}),
        json!({ "requests": { "cpu": "100m", "memory": "64Mi" } }),
        json!({ "requests": { "cpu": 1 }, "limits": { "cpu": "2", "memory": "1Gi" } }),
        json!({ "limits": { "cpu": "0.5", "memory": "128M", "ephemeral-storage": "1Gi" } }),
    ])
}

fn probes() -> Vec<Field> {
    vec![
        may("readinessProbe", 0.4, probe()),
        may("livenessProbe", 0.3, probe()),
        may("startupProbe", 0.2, probe()),
        may("lifecycle", 0.2, lifecycle()),
    ]
}

fn probe() -> Values {
    let asked: [Value; 8] = [
        json!({ "httpGet": { "path": "/healthz", "port": 8080 } }),
        json!({ "httpGet": { "path": "/ready", "port": 28086 } }),
        json!({ "httpGet": { "path": "/ready?verbose", "port": "election" } }),
        json!({ "httpGet": { "path": "/ready", "port": 28087, "scheme": "HTTPS" } }),
        json!({ "httpGet": { "port": 80, "httpHeaders": [{ "name": "X-A", "value": "b" }] } }),
        json!({ "tcpSocket": { "port": 8080 } }),
        json!({ "grpc": { "port": 9090, "service": "health" } }),
        json!({ "exec": { "command": ["sh", "-c", "curl -f localhost:28086/ready"] } }),
    ];
    let numbers = map([
        may("periodSeconds", 0.4, one_of([1, 10])),
        may("timeoutSeconds", 0.2, one_of([1, 30])),
        may("failureThreshold", 0.3, one_of([1, 30])),
        may("successThreshold", 0.1, just(1)),
        may("initialDelaySeconds", 0.2, one_of([0, 600])),
    ]);
    merged(one_of(asked), numbers)
}

fn lifecycle() -> Values {
    one_of([
        json!({ "preStop": { "exec": { "command": ["sleep", "5"] } } }),
        json!({ "preStop": { "sleep": { "seconds": 5 } } }),
        json!({ "postStart": { "httpGet": { "path": "/warm", "port": 8080 } } }),
    ])
}
