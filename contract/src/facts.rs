//! What is known of the Services that an election is to switch, and of its account.
//!
//! Must not know: how it was found out.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    names::{self, service_annotation},
    values::ServiceName,
};

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

/// What is known of several Services of one namespace, by name, and of the account of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    services: BTreeMap<String, ServiceFact>,
    account_is_missing: bool,
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
}
