//! Service meshes redirect a pod's inbound traffic to a proxy of theirs. Where a template asks for
//! one, the sidecar's port is left out of that, or kubelet's probes would not reach it.
//!
//! Must not know: what is written into the template.

use serde_json::{Map, Value};

use super::record::Rewritten;

/// A mesh, by what it reads in a template's metadata.
struct Mesh {
    /// The label or annotation that asks for its proxy, and the values that do.
    asked_by: &'static str,
    values: &'static [&'static str],
    /// The annotation with the ports to leave alone.
    ports: &'static str,
}

const MESHES: [Mesh; 2] = [
    Mesh {
        asked_by: "sidecar.istio.io/inject",
        values: &["true"],
        ports: "traffic.sidecar.istio.io/excludeInboundPorts",
    },
    Mesh {
        asked_by: "linkerd.io/inject",
        values: &["enabled", "ingress"],
        ports: "config.linkerd.io/skip-inbound-ports",
    },
];

/// The annotations to write, so that no mesh touches this port.
pub(super) fn left_alone(metadata: &Map<String, Value>, port: u16) -> Vec<Rewritten> {
    let text = |map: &str, key: &str| metadata.get(map)?.get(key)?.as_str();
    MESHES
        .into_iter()
        .filter(|mesh| {
            ["labels", "annotations"]
                .into_iter()
                .filter_map(|map| text(map, mesh.asked_by))
                .any(|value| mesh.values.contains(&value))
        })
        .filter_map(|mesh| {
            let before = text("annotations", mesh.ports);
            Some(Rewritten {
                key: mesh.ports.to_owned(),
                value: with_port(before.unwrap_or_default(), port)?,
                before: before.map(str::to_owned),
            })
        })
        .collect()
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
}
