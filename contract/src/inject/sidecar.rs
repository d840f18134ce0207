//! The injected container and the volume with its token.
//!
//! Every field that the API server would default is written out, so that what comes back from it
//! is what went in. Must not know: the rest of the template.

use serde_json::{Map, Value, json};

use super::Settings;
use crate::{
    annotations::{Resources, Spec},
    names::{self, env},
    values::{Quantity, ServiceName},
};

/// How long a token is valid, in seconds: what the API server gives to ordinary pods, and renews.
const TOKEN_SECONDS: u32 = 3607;

/// What a sidecar asks for where nobody says otherwise. No CPU limit: a throttled renewal is a
/// lost lease.
pub(crate) const CPU_REQUEST: &str = "10m";
pub(crate) const MEMORY_REQUEST: &str = "16Mi";
pub(crate) const MEMORY_LIMIT: &str = "64Mi";

/// The least limit with which it runs: the most that it may take beside its program is 3 MB
/// (docs/performance.md).
pub(crate) const LEAST_MEMORY_LIMIT: &str = "8Mi";

/// The image's own user, as its Dockerfile has it.
const USER: u32 = 65532;

/// The container as it goes into the spec of a pod.
pub(super) fn container(spec: &Spec, settings: &Settings, pod: &Map<String, Value>) -> Value {
    let port = spec.port.number();
    let mut container = json!({
        "name": names::CONTAINER,
        "image": settings.image,
        "imagePullPolicy": settings.pull_policy.as_str(),
        "env": environment(spec),
        "ports": [{ "name": names::PORT_NAME, "containerPort": port, "protocol": "TCP" }],
        "resources": resources(&spec.resources),
        "securityContext": security_context(user(settings, pod)),
        // Neither waits for leadership: a standby is as healthy as a leader.
        "startupProbe": probe(port, 1, 60),
        "livenessProbe": probe(port, 10, 3),
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{
            "name": names::TOKEN_VOLUME,
            "mountPath": names::TOKEN_PATH,
            "readOnly": true,
        }],
    });
    if settings.native
        && let Some(container) = container.as_object_mut()
    {
        container.insert("restartPolicy".to_owned(), Value::from("Always"));
    }
    container
}

/// Token, CA and namespace, as an ordinary pod gets them, for the sidecar alone.
pub(super) fn token_volume() -> Value {
    json!({
        "name": names::TOKEN_VOLUME,
        "projected": {
            "defaultMode": 0o644,
            "sources": [
                { "serviceAccountToken": { "expirationSeconds": TOKEN_SECONDS, "path": "token" } },
                { "configMap": {
                    "name": "kube-root-ca.crt",
                    "items": [{ "key": "ca.crt", "path": "ca.crt" }],
                } },
                { "downwardAPI": { "items": [{
                    "path": "namespace",
                    "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.namespace" },
                }] } },
            ],
        },
    })
}

fn environment(spec: &Spec) -> Vec<Value> {
    let field = |name: &str, path: &str| {
        json!({
            "name": name,
            "valueFrom": { "fieldRef": { "apiVersion": "v1", "fieldPath": path } },
        })
    };
    let value = |name: &str, value: &str| json!({ "name": name, "value": value });
    let services: Vec<_> = spec.services.iter().map(ServiceName::as_str).collect();
    let mut environment = vec![
        field(env::POD_NAME, "metadata.name"),
        field(env::POD_NAMESPACE, "metadata.namespace"),
        field(env::POD_UID, "metadata.uid"),
        value(env::SERVICE, &services.join(",")),
        value(env::LEASE, spec.lease.as_str()),
        value(env::LEASE_DURATION, &spec.timing.seconds().to_string()),
    ];
    if let Some(container) = &spec.container {
        environment.push(value(env::CONTAINER, container.as_str()));
    }
    if spec.port.number() != names::PORT {
        environment.push(value(env::LISTEN, &format!("[::]:{}", spec.port.number())));
    }
    if let Some(port) = spec.notify_port {
        environment.push(value(env::NOTIFY_PORT, &port.number().to_string()));
    }
    if let Some(level) = spec.log_level {
        environment.push(value(env::LOG_LEVEL, level.as_str()));
    }
    environment
}

fn probe(port: u16, period: u32, failures: u32) -> Value {
    json!({
        "httpGet": { "path": "/healthz", "port": port, "scheme": "HTTP" },
        "periodSeconds": period,
        "timeoutSeconds": 3,
        "successThreshold": 1,
        "failureThreshold": failures,
    })
}

/// As whom the sidecar runs; None leaves it to the pod, the image, or the cluster. Of root by the pod's
/// word kubelet would start no container that may not be root.
fn user(settings: &Settings, pod: &Map<String, Value>) -> Option<u32> {
    let user = pod
        .get("securityContext")
        .and_then(|it| it.get("runAsUser"));
    let is_root = user.and_then(Value::as_u64) == Some(0);
    settings.run_as_user.or(is_root.then_some(USER))
}

/// What Pod Security "restricted" asks of a container, whatever the pod says.
fn security_context(user: Option<u32>) -> Value {
    let mut context = json!({
        "allowPrivilegeEscalation": false,
        "capabilities": { "drop": ["ALL"] },
        "readOnlyRootFilesystem": true,
        "runAsNonRoot": true,
        "seccompProfile": { "type": "RuntimeDefault" },
    });
    if let (Some(user), Some(context)) = (user, context.as_object_mut()) {
        context.insert("runAsUser".to_owned(), Value::from(user));
    }
    context
}

fn resources(resources: &Resources) -> Value {
    let (cpu_request, cpu_limit) = agreed(
        resources.cpu_request.as_ref(),
        resources.cpu_limit.as_ref(),
        CPU_REQUEST,
        None,
    );
    let (memory_request, memory_limit) = agreed(
        resources.memory_request.as_ref(),
        resources.memory_limit.as_ref(),
        MEMORY_REQUEST,
        Some(MEMORY_LIMIT),
    );
    let limits: Map<String, Value> = [("cpu", cpu_limit), ("memory", memory_limit)]
        .into_iter()
        .filter_map(|(name, limit)| Some((name.to_owned(), Value::from(limit?))))
        .collect();
    json!({
        "requests": { "cpu": cpu_request, "memory": memory_request },
        "limits": limits,
    })
}

/// Request and limit. A default gives way to what the user wrote of the other.
fn agreed<'a>(
    request: Option<&'a Quantity>,
    limit: Option<&'a Quantity>,
    default_request: &'a str,
    default_limit: Option<&'a str>,
) -> (&'a str, Option<&'a str>) {
    let exceeds = |a: &str, b: &str| matches!((Quantity::parse(a), Quantity::parse(b)), (Ok(a), Ok(b)) if a > b);
    let request = request.map(Quantity::as_str);
    match (request, limit.map(Quantity::as_str)) {
        (Some(request), Some(limit)) => (request, Some(limit)),
        (None, Some(limit)) if exceeds(default_request, limit) => (limit, Some(limit)),
        (None, Some(limit)) => (default_request, Some(limit)),
        (request, None) => {
            let request = request.unwrap_or(default_request);
            (
                request,
                default_limit.map(|limit| {
                    if exceeds(request, limit) {
                        request
                    } else {
                        limit
                    }
                }),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_is_that_of_the_image() {
        let image = include_str!("../../../Dockerfile.sidecar");
        let line = format!("USER {USER}:{USER}");
        assert!(image.lines().any(|it| it == line), "{image}");
    }
}
