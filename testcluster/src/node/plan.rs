//! What a pod asks the process node to do, or in plain words what it asks that the node cannot do.
//! Pure.
//!
//! Must not know: processes, sockets, the API server.

use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

use k8s_openapi::{
    api::core::v1::{Container, EnvVar, Pod, PodSpec, Probe, Volume},
    apimachinery::pkg::util::intstr::IntOrString,
};

use crate::loopback::NODE_IP;

/// A pod, as far as the node plays it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    /// Native sidecars, in the order in which they start.
    pub(super) sidecars: Vec<ContainerPlan>,
    pub(super) apps: Vec<ContainerPlan>,
    pub(super) volumes: Vec<TokenVolume>,
    /// `terminationGracePeriodSeconds`.
    pub(super) grace: Duration,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct ContainerPlan {
    pub(super) name: String,
    pub(super) image: String,
    pub(super) args: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    /// Names and numbers of the declared ports.
    pub(super) ports: Vec<(Option<String>, u16)>,
    pub(super) startup: Option<ProbePlan>,
    pub(super) readiness: Option<ProbePlan>,
    pub(super) liveness: Option<ProbePlan>,
    /// The mounted volume that holds a service account token.
    pub(super) token_volume: Option<String>,
}

impl ContainerPlan {
    /// The number of the port of this name.
    pub(super) fn port(&self, name: &str) -> Option<u16> {
        self.ports
            .iter()
            .find(|(other, _)| other.as_deref() == Some(name))
            .map(|(_, number)| *number)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct ProbePlan {
    pub(super) path: String,
    pub(super) port: u16,
    pub(super) delay: Duration,
    pub(super) period: Duration,
    pub(super) timeout: Duration,
    pub(super) failures: u32,
    pub(super) successes: u32,
}

/// A projected volume with a service account token.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TokenVolume {
    pub(super) name: String,
    /// The token's file name.
    pub(super) path: String,
    pub(super) audience: Option<String>,
    pub(super) seconds: i64,
}

impl Plan {
    /// The plan of a pod that gets this IP.
    pub(super) fn read(pod: &Pod, pod_ip: Ipv4Addr) -> Result<Self, String> {
        let spec = pod.spec.as_ref().ok_or("the pod has no spec")?;
        check_pod(spec)?;
        let volumes = spec
            .volumes
            .iter()
            .flatten()
            .map(token_volume)
            .filter_map(Result::transpose)
            .collect::<Result<Vec<_>, _>>()?;
        let read = |container| read_container(container, pod, spec, pod_ip, &volumes);
        let grace = spec.termination_grace_period_seconds.unwrap_or(30);
        let sidecars = spec
            .init_containers
            .iter()
            .flatten()
            .map(read)
            .collect::<Result<_, _>>()?;
        let apps = spec.containers.iter().map(read).collect::<Result<_, _>>()?;
        Ok(Self {
            sidecars,
            apps,
            volumes,
            grace: Duration::from_secs(grace.max(1).unsigned_abs()),
        })
    }
}

fn check_pod(spec: &PodSpec) -> Result<(), String> {
    if spec.host_network == Some(true) || spec.host_pid == Some(true) {
        return Err("the process node has no host network or host processes to share".to_owned());
    }
    if spec.restart_policy.as_deref().unwrap_or("Always") != "Always" {
        return Err("the process node runs pods with restartPolicy Always only".to_owned());
    }
    if spec.readiness_gates.iter().flatten().next().is_some() {
        return Err("the process node does not know readiness gates".to_owned());
    }
    for container in spec.init_containers.iter().flatten() {
        if container.restart_policy.as_deref() != Some("Always") {
            return Err(format!(
                "init container {}: the process node runs native sidecars (restartPolicy Always), \
                 and no init containers that end",
                container.name
            ));
        }
    }
    Ok(())
}

fn token_volume(volume: &Volume) -> Result<Option<TokenVolume>, String> {
    let name = &volume.name;
    if volume.empty_dir.is_some() {
        return Ok(None);
    }
    let Some(projected) = &volume.projected else {
        return Err(format!(
            "volume {name}: the process node knows emptyDir and projected volumes only"
        ));
    };
    let mut token = None;
    for source in projected.sources.iter().flatten() {
        let root_authority = source
            .config_map
            .as_ref()
            .is_some_and(|map| map.name == "kube-root-ca.crt");
        if let Some(source) = &source.service_account_token {
            token = Some(TokenVolume {
                name: name.clone(),
                path: source.path.clone(),
                audience: source.audience.clone(),
                seconds: source.expiration_seconds.unwrap_or(3600),
            });
        } else if !root_authority && source.downward_api.is_none() {
            return Err(format!(
                "volume {name}: the process node projects a service account token, \
                 kube-root-ca.crt and the namespace only"
            ));
        }
    }
    Ok(token)
}

fn read_container(
    container: &Container,
    pod: &Pod,
    spec: &PodSpec,
    pod_ip: Ipv4Addr,
    volumes: &[TokenVolume],
) -> Result<ContainerPlan, String> {
    let name = &container.name;
    let refuse = |what: &str| Err(format!("container {name}: the process node {what}"));
    if container.lifecycle.is_some() {
        return refuse("does not run lifecycle hooks");
    }
    if container.env_from.iter().flatten().next().is_some() {
        return refuse("does not know envFrom");
    }
    let image = container.image.clone().unwrap_or_default();
    if container.command.is_some() && image.contains("service-leader-election/") {
        return refuse("runs this image's own program, and no other command");
    }
    let ports: Vec<_> = container
        .ports
        .iter()
        .flatten()
        .filter_map(|port| Some((port.name.clone(), u16::try_from(port.container_port).ok()?)))
        .collect();
    let mut env: Vec<(String, String)> = Vec::new();
    for variable in container.env.iter().flatten() {
        if let Some(value) = value_of(variable, pod, spec, pod_ip)
            .map_err(|what| format!("container {name}: variable {}: {what}", variable.name))?
        {
            let value = expand(&value, &env);
            env.push((variable.name.clone(), value));
        }
    }
    let args = container
        .args
        .iter()
        .flatten()
        .map(|text| expand(text, &env))
        .collect();
    let token_volume = container
        .volume_mounts
        .iter()
        .flatten()
        .map(|mount| &mount.name)
        .find(|mount| volumes.iter().any(|volume| volume.name == **mount))
        .cloned();
    let mut plan = ContainerPlan {
        name: name.clone(),
        image,
        args,
        env,
        ports,
        startup: None,
        readiness: None,
        liveness: None,
        token_volume,
    };
    let read = |which: &str, probe: &Option<Probe>| {
        let read = |probe| read_probe(probe, &plan);
        let plan = probe.as_ref().map(read).transpose();
        plan.map_err(|what| format!("container {name}: {which} probe: {what}"))
    };
    let startup = read("startup", &container.startup_probe)?;
    let readiness = read("readiness", &container.readiness_probe)?;
    let liveness = read("liveness", &container.liveness_probe)?;
    plan.startup = startup;
    plan.readiness = readiness;
    plan.liveness = liveness;
    Ok(plan)
}

fn read_probe(probe: &Probe, container: &ContainerPlan) -> Result<ProbePlan, String> {
    let get = probe
        .http_get
        .as_ref()
        .ok_or("the process node knows httpGet probes only")?;
    if get.host.is_some() || get.scheme.as_deref().unwrap_or("HTTP") != "HTTP" {
        return Err("the process node probes the pod itself, over plain HTTP".to_owned());
    }
    let port = match &get.port {
        IntOrString::Int(port) => u16::try_from(*port).ok(),
        IntOrString::String(name) => container.port(name),
    };
    let seconds = |value: Option<i32>, default: i32| {
        Duration::from_secs(value.unwrap_or(default).max(0).unsigned_abs().into())
    };
    let count = |value: Option<i32>, default: i32| value.unwrap_or(default).max(1).unsigned_abs();
    Ok(ProbePlan {
        path: get.path.clone().unwrap_or_else(|| "/".to_owned()),
        port: port.ok_or("the container has no such port")?,
        delay: seconds(probe.initial_delay_seconds, 0),
        period: seconds(probe.period_seconds, 10).max(Duration::from_secs(1)),
        timeout: seconds(probe.timeout_seconds, 1).max(Duration::from_secs(1)),
        failures: count(probe.failure_threshold, 3),
        successes: count(probe.success_threshold, 1),
    })
}

fn value_of(
    variable: &EnvVar,
    pod: &Pod,
    spec: &PodSpec,
    pod_ip: Ipv4Addr,
) -> Result<Option<String>, String> {
    let Some(source) = &variable.value_from else {
        return Ok(Some(variable.value.clone().unwrap_or_default()));
    };
    let Some(field) = &source.field_ref else {
        return Err("the process node resolves fieldRef only".to_owned());
    };
    let key = |map: &Option<BTreeMap<String, String>>, key: &str| {
        let key = key.strip_suffix("']").unwrap_or(key);
        map.as_ref()
            .and_then(|map| map.get(key).cloned())
            .or_else(|| Some(String::new()))
    };
    let path = field.field_path.as_str();
    Ok(match path {
        "metadata.name" => pod.metadata.name.clone(),
        "metadata.namespace" => pod.metadata.namespace.clone(),
        "metadata.uid" => pod.metadata.uid.clone(),
        "spec.nodeName" => spec.node_name.clone(),
        "spec.serviceAccountName" => spec.service_account_name.clone(),
        "status.podIP" | "status.podIPs" => Some(pod_ip.to_string()),
        "status.hostIP" | "status.hostIPs" => Some(NODE_IP.to_string()),
        _ => {
            if let Some(label) = path.strip_prefix("metadata.labels['") {
                key(&pod.metadata.labels, label)
            } else if let Some(annotation) = path.strip_prefix("metadata.annotations['") {
                key(&pod.metadata.annotations, annotation)
            } else {
                return Err(format!("the process node does not know the field {path}"));
            }
        }
    })
}

/// Replaces `$(NAME)` by the value of a variable declared before, and `$$` by `$`, as kubelet does.
fn expand(text: &str, env: &[(String, String)]) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let reference = after
            .strip_prefix('(')
            .and_then(|reference| reference.split_once(')'));
        let value = reference.and_then(|(name, after)| {
            let (_, value) = env.iter().rev().find(|(other, _)| other == name)?;
            Some((value, after))
        });
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((value, after)) = value {
            out.push_str(value);
            rest = after;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::expand;

    #[test]
    fn references_to_declared_variables_are_replaced() {
        let env = [("NAME".to_owned(), "web".to_owned())];
        let expanded = ["-$(NAME)-", "$$(NAME)", "$(OTHER)", "5$"].map(|text| expand(text, &env));
        assert_eq!(expanded, ["-web-", "$(NAME)", "$(OTHER)", "5$"]);
    }
}
