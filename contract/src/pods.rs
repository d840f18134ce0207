//! Which pods run a sidecar, for which Services, and what it works with.
//!
//! Of a pod only the little is read that tells it: a namespace may have thousands. Must not know: who
//! leads.

use serde::Deserialize;

use crate::{
    claim::Claim,
    names::{self, env},
    rbac::Names,
    sidecars::{self, LEASE_FLAG, SERVICE_FLAG, is_sidecar},
    values::ServiceName,
};

/// What is read of a pod, from a whole one as JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Pod {
    metadata: Metadata,
    spec: Spec,
    status: Status,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Metadata {
    name: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    service_account_name: String,
    init_containers: Vec<Container>,
    containers: Vec<Container>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Container {
    name: String,
    image: String,
    command: Vec<String>,
    args: Vec<String>,
    env: Vec<Variable>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Variable {
    name: String,
    value: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Status {
    phase: String,
}

impl Pod {
    /// The pod's name.
    pub fn name(&self) -> &str {
        &self.metadata.name
    }

    /// Whether a sidecar in this pod may still write the Service: the pod has not ended, and a
    /// sidecar is there for it, injected or added by hand. One that does not say for which Service counts too.
    pub fn may_switch(&self, service: &ServiceName) -> bool {
        self.sidecars().any(|sidecar| {
            sidecar
                .services()
                .is_none_or(|of| of.contains(&service.as_str()))
        })
    }

    /// Whether a sidecar of the pod is there for just what is claimed in its name: annotations can be
    /// edited after the pod was let in, by whoever may patch it, and containers cannot.
    pub fn runs_for(&self, claim: &Claim) -> bool {
        self.sidecars().any(|sidecar| {
            let services = sidecar.services().unwrap_or_default();
            let claimed = claim.services.iter().map(ServiceName::as_str);
            let lease = sidecar.setting(LEASE_FLAG, env::LEASE);
            services.into_iter().eq(claimed) && lease == Some(claim.lease.as_str())
        })
    }

    /// Adds what the pod's sidecars work with that name this Service first, if they have not ended.
    pub fn add_needs(&self, election: &str, needs: &mut Names) {
        for sidecar in self.sidecars() {
            let services = sidecar.services().unwrap_or_default();
            if services.first() != Some(&election) {
                continue;
            }
            let default = names::default_name(election);
            let lease = sidecar.setting(LEASE_FLAG, env::LEASE);
            needs.leases.insert(lease.map_or(default, str::to_owned));
            needs
                .services
                .extend(services.into_iter().map(str::to_owned));
            needs
                .accounts
                .insert(self.spec.service_account_name.clone());
        }
    }

    fn sidecars(&self) -> impl Iterator<Item = &Container> {
        let ended = matches!(self.status.phase.as_str(), "Succeeded" | "Failed");
        let all = self
            .spec
            .init_containers
            .iter()
            .chain(&self.spec.containers);
        all.filter(move |container| !ended && is_sidecar(*container))
    }
}

impl Container {
    /// The Services that a sidecar is there for. None: it does not say, or in a way that only kubelet
    /// can read.
    fn services(&self) -> Option<Vec<&str>> {
        let value = self.setting(SERVICE_FLAG, env::SERVICE)?;
        let names = value.split(',').map(str::trim);
        Some(names.filter(|name| !name.is_empty()).collect())
    }

    /// What a flag of the sidecar is set to, by the command line or by a variable.
    fn setting(&self, flag: &str, variable: &str) -> Option<&str> {
        let variable = || self.env.iter().rfind(|entry| entry.name == variable);
        let words = sidecars::Container::words(self);
        sidecars::flag(words, flag)
            .or_else(|| variable()?.value.as_deref())
            // Kubelet puts another variable's value there.
            .filter(|value| !value.contains("$("))
    }
}

impl sidecars::Container for Container {
    fn name(&self) -> &str {
        &self.name
    }

    fn image(&self) -> &str {
        &self.image
    }

    fn words(&self) -> impl Iterator<Item = &str> {
        self.command.iter().chain(&self.args).map(String::as_str)
    }

    fn variables(&self) -> impl Iterator<Item = &str> {
        self.env.iter().map(|variable| variable.name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{names::annotation, workload::Kind};

    const BY_HAND: &str = include_str!("../../docs/added-by-hand.yaml");

    fn pod(value: Value) -> Pod {
        serde_json::from_value(value).unwrap()
    }

    fn may_switch(pod: &Pod, service: &str) -> bool {
        pod.may_switch(&ServiceName::parse(service).unwrap())
    }

    fn with(list: &str, sidecar: Value, phase: &str) -> Pod {
        let mut sidecar = sidecar;
        sidecar["name"] = json!(names::CONTAINER);
        pod(json!({
            "spec": { list: [{ "name": "x" }, sidecar] },
            "status": { "phase": phase },
        }))
    }

    fn injected(services: &str) -> Value {
        json!({ "env": [{ "name": env::SERVICE, "value": services }] })
    }

    #[test]
    fn a_pod_counts_until_it_has_ended() {
        for (list, services, phase) in [
            ("initContainers", "web", "Running"),
            ("containers", "api, web", "Pending"),
        ] {
            assert!(may_switch(&with(list, injected(services), phase), "web"));
        }
        let others = with("containers", injected("api"), "Running");
        assert!(!may_switch(&others, "web"));
        for phase in ["Failed", "Succeeded"] {
            let ended = with("containers", injected("web"), phase);
            assert!(!may_switch(&ended, "web"));
        }
        let without = pod(json!({ "spec": { "containers": [{ "name": "x" }] } }));
        assert!(!may_switch(&without, "web"));
    }

    #[test]
    fn a_sidecar_added_by_hand_counts_for_the_services_of_its_command_line_alone() {
        for words in [
            json!({ "args": ["-service-name=web,admin", "-lease-name=x"] }),
            json!({ "args": ["--lease-name=x", "--service-name", "admin,web"] }),
            json!({ "command": ["sidecar", "-service-name", "web, admin"] }),
            json!({ "args": ["--service-name=web,admin"], "env": injected("api")["env"] }),
        ] {
            let pod = with("containers", words, "Running");
            assert!(
                may_switch(&pod, "web") && may_switch(&pod, "admin"),
                "{pod:?}"
            );
            assert!(!may_switch(&pod, "api"), "{pod:?}");
        }
    }

    #[test]
    fn the_example_of_one_added_by_hand_counts_for_its_service_alone() {
        let (_, deployment) = BY_HAND.rsplit_once("\n---\n").unwrap();
        let deployment: Value = serde_saphyr::from_str(deployment).unwrap();
        let pod = pod(deployment["spec"]["template"].clone());
        assert!(may_switch(&pod, "web"));
        assert!(!may_switch(&pod, "api"));
    }

    #[test]
    fn a_sidecar_of_another_name_counts_by_its_image_or_by_what_it_is_told() {
        for container in [
            json!({ "image": "example.org/service-leader-election:1" }),
            json!({ "image": "example.org/service-leader-election/sidecar:1" }),
            injected("web"),
            json!({ "args": ["-service-name=web", "-lease-name=web"] }),
        ] {
            let pod = pod(json!({ "spec": { "containers": [container] } }));
            assert!(may_switch(&pod, "web"), "{pod:?}");
        }
        let other = json!({ "name": "x", "image": "x", "args": ["-service-name=web"] });
        let pod = pod(json!({ "spec": { "containers": [other] } }));
        assert!(!may_switch(&pod, "web"));
    }

    #[test]
    fn a_sidecar_that_does_not_say_for_which_service_counts_for_every_one() {
        let reference = json!({ "valueFrom": { "configMapKeyRef": {} }, "name": env::SERVICE });
        for silent in [
            json!({}),
            json!({ "args": ["-lease-name=web", "service-name=web"] }),
            json!({ "args": ["-service-name=$(NAME)"] }),
            json!({ "command": ["sh", "-c", "sidecar -service-name=web"] }),
            json!({ "env": [reference] }),
        ] {
            assert!(may_switch(&with("containers", silent, "Running"), "api"));
        }
    }

    #[test]
    fn a_sidecar_needs_its_account_lease_and_services() {
        let env = json!([
            { "name": env::SERVICE, "value": "web,admin" },
            { "name": env::LEASE, "value": "shared" },
        ]);
        let sidecar = json!({ "name": names::CONTAINER, "env": env });
        let mut pod = json!({
            "spec": { "serviceAccountName": "own", "initContainers": [sidecar] },
            "status": { "phase": "Running" },
        });
        let needs = |pod: &Value, election| {
            let mut needs = Names::default();
            self::pod(pod.clone()).add_needs(election, &mut needs);
            needs
        };
        let all = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let own = Names {
            accounts: all(&["own"]),
            services: all(&["admin", "web"]),
            leases: all(&["shared"]),
        };
        assert_eq!(needs(&pod, "web"), own);
        assert_eq!(needs(&pod, "admin"), Names::default());
        pod["status"]["phase"] = json!("Failed");
        assert_eq!(needs(&pod, "web"), Names::default());
    }

    #[test]
    fn a_claim_that_was_written_into_a_pod_later_is_none() {
        let sidecar = json!({ "env": [
            { "name": env::SERVICE, "value": "web,admin" },
            { "name": env::LEASE, "value": "service-leader-election-web" },
        ] });
        let claim = |annotations: Value| {
            let labels = json!({ names::POD_LABEL: names::POD_LABEL_VALUE });
            let metadata = json!({ "name": "web-1", "annotations": annotations, "labels": labels });
            Claim::of(Kind::Pod, &metadata).unwrap()
        };
        for (services, lease, expected) in [
            ("web,admin", None, true),
            (" web, admin", Some("service-leader-election-web"), true),
            ("web", None, false),
            ("web,admin,api", None, false),
            ("admin,web", None, false),
            ("web,admin", Some("operator-lock"), false),
        ] {
            let claim = claim(json!({ annotation::SERVICE: services, annotation::LEASE: lease }));
            let injected = with("initContainers", sidecar.clone(), "Running");
            assert_eq!(injected.runs_for(&claim), expected, "{claim:?}");
            let bare = pod(json!({ "spec": { "containers": [{ "name": "app" }] } }));
            assert!(!bare.runs_for(&claim), "{claim:?}");
        }
    }
}
