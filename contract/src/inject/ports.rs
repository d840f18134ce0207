//! Where the sidecar's port meets the template's own containers: one that has it, probes that ask
//! it who leads.
//!
//! Must not know: what follows from it.

use serde_json::Value;

use super::record::{items, text};
use crate::names;

/// A probe of a container that asks the sidecar whether its pod leads.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asking<'a> {
    pub(super) container: &'a str,
    pub(super) probe: Probe,
}

/// What a probe is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Probe {
    Readiness,
    Liveness,
    Startup,
}

impl Probe {
    const ALL: [Self; 3] = [Self::Readiness, Self::Liveness, Self::Startup];

    /// The field of a container.
    pub(super) fn field(self) -> &'static str {
        match self {
            Self::Readiness => "readinessProbe",
            Self::Liveness => "livenessProbe",
            Self::Startup => "startupProbe",
        }
    }
}

/// The name of a container that has this TCP port for as long as the pod runs.
pub(super) fn taken_by(template: &Value, port: u16) -> Option<&str> {
    staying(template)
        .find(|container| {
            ports(container).any(|entry| {
                number(entry, "containerPort") == Some(port)
                    && matches!(text(entry, "protocol"), None | Some("TCP"))
            })
        })
        .and_then(|container| text(container, "name"))
}

/// The probes that ask the sidecar on this port whether its pod leads.
pub(super) fn asking_who_leads(template: &Value, port: u16) -> impl Iterator<Item = Asking<'_>> {
    staying(template).flat_map(move |container| {
        let asks = move |probe: &Probe| {
            container
                .get(probe.field())
                .and_then(|probe| probe.get("httpGet"))
                .is_some_and(|get| is_who_leads(get, container, port))
        };
        let name = text(container, "name").unwrap_or_default();
        Probe::ALL
            .into_iter()
            .filter(asks)
            .map(move |probe| Asking {
                container: name,
                probe,
            })
    })
}

fn is_who_leads(get: &Value, container: &Value, port: u16) -> bool {
    let path = text(get, "path").and_then(|path| path.split(['?', '#']).next());
    // Kubelet puts the slash before a path that has none.
    let path = path.map(|path| path.strip_prefix('/').unwrap_or(path));
    let named = |name: &str| {
        ports(container)
            .find(|entry| text(entry, "name") == Some(name))
            .map_or(name == names::PORT_NAME, |entry| {
                number(entry, "containerPort") == Some(port)
            })
    };
    path == Some("ready")
        && (number(get, "port") == Some(port) || text(get, "port").is_some_and(named))
}

/// The containers that run as long as their pod does.
fn staying(template: &Value) -> impl Iterator<Item = &Value> {
    let native = items(template, "/spec/initContainers")
        .filter(|container| text(container, "restartPolicy") == Some("Always"));
    items(template, "/spec/containers").chain(native)
}

fn ports(container: &Value) -> impl Iterator<Item = &Value> {
    items(container, "/ports")
}

fn number(value: &Value, key: &str) -> Option<u16> {
    u16::try_from(value.get(key)?.as_u64()?).ok()
}
