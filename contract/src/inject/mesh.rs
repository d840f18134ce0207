//! Service meshes redirect a pod's inbound traffic to a proxy of theirs. Where a template or its
//! namespace asks for one, the sidecar's port is left out of that, or kubelet's probes would not reach
//! it.
//!
//! Must not know: what is written into the template.

use serde_json::{Map, Value};

use super::record::{Rewritten, has_named};
use crate::facts::{LINKERD_SKIPS, Meshes};

/// A mesh, by what it reads in a template's metadata.
struct Mesh {
    /// The label or annotation that asks for its proxy, or keeps it out, and the values that ask.
    asked_by: &'static str,
    values: &'static [&'static str],
    /// The label that asks for it whatever its value is.
    revision: Option<&'static str>,
    /// Whether the namespace asks, which counts where the template says nothing.
    by_namespace: fn(&Meshes) -> bool,
    /// The annotation with the ports to leave alone.
    ports: &'static str,
    /// Those of the namespace, which count where the template has no such annotation.
    of_namespace: fn(&Meshes) -> Option<&str>,
    /// The init container that redirects, once the mesh has been at a pod.
    redirects: &'static str,
}

const MESHES: [Mesh; 2] = [
    Mesh {
        asked_by: "sidecar.istio.io/inject",
        values: &["true"],
        revision: Some("istio.io/rev"),
        by_namespace: |meshes| meshes.istio,
        ports: "traffic.sidecar.istio.io/excludeInboundPorts",
        of_namespace: |_| None,
        redirects: "istio-init",
    },
    Mesh {
        asked_by: "linkerd.io/inject",
        values: &["enabled", "ingress"],
        revision: None,
        by_namespace: |meshes| meshes.linkerd,
        ports: LINKERD_SKIPS,
        of_namespace: |meshes| meshes.linkerd_skips.as_deref(),
        redirects: "linkerd-init",
    },
];

/// The annotations to write, so that no mesh touches this port. Where nobody knows what the namespace
/// asks for, those of `before` count.
pub(super) fn left_alone(
    metadata: &Map<String, Value>,
    port: u16,
    namespace: Option<&Meshes>,
    before: &[Rewritten],
) -> Vec<Rewritten> {
    let written = |mesh: Mesh| {
        let before = before.iter().find(|rewritten| rewritten.key == mesh.ports);
        let by_namespace = || namespace.map_or(before.is_some(), mesh.by_namespace);
        if !mesh.is_asked_for(metadata).unwrap_or_else(by_namespace) {
            return None;
        }
        let own = text(metadata, "annotations", mesh.ports);
        let list = own.or_else(|| match namespace {
            Some(namespace) => (mesh.of_namespace)(namespace),
            None => before.map(Rewritten::list_without_port),
        });
        Some(Rewritten {
            key: mesh.ports.to_owned(),
            value: with_port(list.unwrap_or_default(), port)?,
            before: own.map(str::to_owned),
        })
    };
    MESHES.into_iter().filter_map(written).collect()
}

/// The container of a mesh that has been at this pod before us and redirects this port, and the
/// annotation that it had to find.
pub(super) fn redirecting(pod: &Value, port: u16) -> Option<(&'static str, &'static str)> {
    let list = |key| {
        let metadata = pod.get("metadata").and_then(Value::as_object);
        metadata.and_then(|metadata| text(metadata, "annotations", key))
    };
    MESHES
        .into_iter()
        .filter(|mesh| has_named(pod, "/spec/initContainers", mesh.redirects))
        .find(|mesh| with_port(list(mesh.ports).unwrap_or_default(), port).is_some())
        .map(|mesh| (mesh.redirects, mesh.ports))
}

impl Mesh {
    /// Whether a template asks for the proxy; None: it says nothing.
    fn is_asked_for(&self, metadata: &Map<String, Value>) -> Option<bool> {
        let said: Vec<_> = ["labels", "annotations"]
            .into_iter()
            .filter_map(|map| text(metadata, map, self.asked_by))
            .collect();
        if !said.is_empty() {
            return Some(said.iter().any(|value| self.values.contains(value)));
        }
        text(metadata, "labels", self.revision?).map(|_| true)
    }
}

fn text<'a>(metadata: &'a Map<String, Value>, map: &str, key: &str) -> Option<&'a str> {
    metadata.get(map)?.get(key)?.as_str()
}

/// The list of ports with this one too. None: it is in there, by itself or in a range.
fn with_port(list: &str, port: u16) -> Option<String> {
    let parse = |text: &str| text.trim().parse::<u16>().ok();
    let covers = |item: &str| {
        let (from, to) = item.split_once('-').unwrap_or((item, item));
        item.trim() == "*"
            || parse(from).is_some_and(|from| from <= port)
                && parse(to).is_some_and(|to| port <= to)
    };
    if list.split(',').any(covers) {
        return None;
    }
    let list = list.trim();
    Some(if list.is_empty() {
        port.to_string()
    } else {
        format!("{list},{port}")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_port_is_added_once() {
        for (list, expected) in [
            ("", Some("28086")),
            ("80", Some("80,28086")),
            ("80, 443", Some("80, 443,28086")),
            ("80,28086", None),
            ("20000-29000", None),
            ("80-90", Some("80-90,28086")),
            ("*", None),
        ] {
            assert_eq!(with_port(list, 28086).as_deref(), expected, "{list}");
        }
    }

    #[test]
    fn what_a_mesh_was_told_stays_while_nobody_knows_the_namespace() {
        let ports = "traffic.sidecar.istio.io/excludeInboundPorts";
        let before = [Rewritten {
            key: ports.to_owned(),
            value: "28086".to_owned(),
            before: None,
        }];
        let none = Map::new();
        let written = |namespace| left_alone(&none, 28086, namespace, &before);
        assert_eq!(written(None), before);
        assert_eq!(written(Some(&Meshes::default())), []);
    }

    #[test]
    fn the_list_of_the_namespace_goes_on_counting_where_the_template_has_none() {
        let namespace = |skips: Option<&str>| Meshes {
            linkerd: true,
            linkerd_skips: skips.map(str::to_owned),
            ..Meshes::default()
        };
        let none = Map::new();
        let list = |port, namespace: Option<&Meshes>, before: &[Rewritten]| {
            let written = left_alone(&none, port, namespace, before).pop();
            written.map(|it| (it.value, it.before))
        };
        let skips = namespace(Some("25,587"));
        let expected = Some(("25,587,28086".to_owned(), None));
        assert_eq!(list(28086, Some(&skips), &[]), expected);
        let covering = namespace(Some("25,28000-29000"));
        assert_eq!(list(28086, Some(&covering), &[]), None);
        let before = left_alone(&none, 9000, Some(&skips), &[]);
        assert_eq!(list(28086, None, &before), expected);
        let own = json!({ "annotations": { LINKERD_SKIPS: "80" } });
        let written = left_alone(own.as_object().unwrap(), 28086, Some(&skips), &[]);
        assert_eq!(written[0].value, "80,28086");
        let istio = Meshes {
            istio: true,
            ..namespace(Some("25"))
        };
        let written = left_alone(&none, 28086, Some(&istio), &[]);
        assert_eq!(written[0].value, "28086");
    }
}
