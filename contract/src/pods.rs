//! Which pods run a sidecar, and for which Service.
//!
//! Must not know: who leads.

use serde_json::Value;

use crate::{
    names::{self, env},
    values::ServiceName,
};

/// Whether a sidecar in this pod may still write the Service: the pod has not ended, and a
/// container of our name is there for it. One that does not say for which Service counts too.
pub fn may_switch(pod: &Value, service: &ServiceName) -> bool {
    let phase = pod.pointer("/status/phase").and_then(Value::as_str);
    !matches!(phase, Some("Succeeded" | "Failed"))
        && ["/spec/initContainers", "/spec/containers"]
            .into_iter()
            .filter_map(|list| pod.pointer(list)?.as_array())
            .flatten()
            .filter(|container| text(container, "name") == Some(names::CONTAINER))
            .any(|sidecar| services(sidecar).is_none_or(|of| of.contains(&service.as_str())))
}

fn services(sidecar: &Value) -> Option<Vec<&str>> {
    let variables = sidecar.get("env")?.as_array()?;
    let variable = variables
        .iter()
        .find(|entry| text(entry, "name") == Some(env::SERVICE))?;
    Some(text(variable, "value")?.split(',').map(str::trim).collect())
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(list: &str, services: Option<&str>, phase: &str) -> Value {
        let env = services.map(|services| json!([{ "name": env::SERVICE, "value": services }]));
        json!({
            "spec": { list: [{ "name": "x" }, { "name": names::CONTAINER, "env": env }] },
            "status": { "phase": phase },
        })
    }

    #[test]
    fn a_pod_counts_until_it_has_ended() {
        let web = ServiceName::parse("web").unwrap();
        assert!(may_switch(
            &pod("initContainers", Some("web"), "Running"),
            &web
        ));
        assert!(may_switch(
            &pod("containers", Some("api,web"), "Pending"),
            &web
        ));
        assert!(may_switch(&pod("containers", None, "Running"), &web));
        assert!(!may_switch(
            &pod("containers", Some("api"), "Running"),
            &web
        ));
        assert!(!may_switch(&pod("containers", Some("web"), "Failed"), &web));
        assert!(!may_switch(
            &json!({ "spec": { "containers": [{ "name": "x" }] } }),
            &web
        ));
    }
}
