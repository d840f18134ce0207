//! Nodes: which are cordoned, and what the sidecar reads of one.
//!
//! Must not know: the pods.

use serde::Deserialize;

use crate::watch::Versioned;

/// What a node that is cordoned has in its spec. A watch that selects by it shows a node as deleted
/// when it is uncordoned.
pub(crate) const CORDONED: &str = "spec.unschedulable=true";

/// The parts of a cordoned node that the sidecar reads.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Object {
    pub(crate) metadata: Meta,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Meta {
    pub(crate) name: String,
    pub(crate) resource_version: Option<String>,
}

impl Versioned for Object {
    fn version(&self) -> Option<&str> {
        self.metadata.resource_version.as_deref()
    }
}
