//! What is known of the Services that an election is to switch, of its account, and of its namespace.
//!
//! Must not know: how it was found out.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    names::{self, service_annotation},
    values::ServiceName,
};

/// Linkerd's annotation of a pod or a namespace, with the inbound ports that it leaves alone.
pub(crate) const LINKERD_SKIPS: &str = "config.linkerd.io/skip-inbound-ports";

/// What is known of one Service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ServiceFact {
    /// Nothing: no warning is given on a guess.
    #[default]
    Unknown,
    /// There is none of that name.
    Missing,
    /// It has no selector.
    WithoutSelector,
    /// It is an alias for a DNS name.
    ExternalName,
    /// It selects pods.
    Selects(Selecting),
}

/// A Service that selects pods.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selecting {
    /// By these labels; ours is left out.
    pub labels: BTreeMap<String, String>,
    /// Whether it has no address of its own, so that its name stands for those of its pods.
    pub headless: bool,
    /// The workloads that claim it, as `Kind/name`, of which the controller has heard.
    pub claimed_by: Vec<String>,
}

impl ServiceFact {
    /// Reads a Service.
    pub fn of(service: &Value) -> Self {
        if service.pointer("/spec/type").and_then(Value::as_str) == Some("ExternalName") {
            return Self::ExternalName;
        }
        let labels: BTreeMap<_, _> = service
            .pointer("/spec/selector")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .filter(|(key, _)| *key != names::LABEL)
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect();
        if labels.is_empty() {
            return Self::WithoutSelector;
        }
        let claimed = service
            .pointer("/metadata/annotations")
            .and_then(|annotations| annotations.get(service_annotation::CLAIMED)?.as_str());
        Self::Selects(Selecting {
            labels,
            headless: service.pointer("/spec/clusterIP").and_then(Value::as_str) == Some("None"),
            claimed_by: claimed
                .into_iter()
                .flat_map(|names| names.split(','))
                .map(str::to_owned)
                .collect(),
        })
    }
}

/// The service meshes whose proxies a namespace asks for in its pods, where they do not say otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meshes {
    /// Istio, by `istio-injection` or a revision.
    pub istio: bool,
    /// Linkerd.
    pub linkerd: bool,
    /// The inbound ports that Linkerd leaves alone where a pod does not say which. Istio reads such a list
    /// of pods alone.
    pub linkerd_skips: Option<String>,
}

impl Meshes {
    /// Reads a namespace.
    pub fn of(namespace: &Value) -> Self {
        let text = |map: &str, key: &str| {
            let map = namespace.get("metadata")?.get(map)?;
            map.get(key)?.as_str()
        };
        Self {
            istio: match text("labels", "istio-injection") {
                Some(injection) => injection == "enabled",
                None => text("labels", "istio.io/rev").is_some(),
            },
            linkerd: matches!(
                text("annotations", "linkerd.io/inject"),
                Some("enabled" | "ingress")
            ),
            linkerd_skips: text("annotations", LINKERD_SKIPS).map(str::to_owned),
        }
    }
}

/// What is known of several Services of one namespace, by name, of the account of a pod, and of the
/// namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    services: BTreeMap<String, ServiceFact>,
    account_is_missing: bool,
    meshes: Option<Meshes>,
}

impl Facts {
    /// Notes what is known of a Service.
    pub fn note(&mut self, service: &ServiceName, fact: ServiceFact) {
        self.services.insert(service.as_str().to_owned(), fact);
    }

    /// What is known of a Service.
    pub fn of(&self, service: &ServiceName) -> &ServiceFact {
        self.services
            .get(service.as_str())
            .unwrap_or(&ServiceFact::Unknown)
    }

    /// Notes that the account that is made for an election does not exist, and will not be made now, as
    /// on a dry run.
    pub fn note_missing_account(&mut self) {
        self.account_is_missing = true;
    }

    /// Whether that was noted.
    pub fn account_is_missing(&self) -> bool {
        self.account_is_missing
    }

    /// Notes what the namespace asks for.
    pub fn note_meshes(&mut self, meshes: Meshes) {
        self.meshes = Some(meshes);
    }

    /// What the namespace asks for; None: that is not known.
    pub fn meshes(&self) -> Option<&Meshes> {
        self.meshes.as_ref()
    }
}
