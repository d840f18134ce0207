//! What a Service says.

use crate::{Epoch, Version};

/// One Service of the election, as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ServiceView {
    /// There is none of this name.
    Missing,
    /// It has no selector of the user's (or is an ExternalName): nothing can be switched.
    WithoutSelector,
    /// It can be switched.
    Present(Service),
}

/// The parts of a Service that the protocol reads and writes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Service {
    /// Its `resourceVersion`.
    pub version: Version,
    /// The value of our key in its selector.
    pub selected: Option<String>,
    /// Our annotation `leader`.
    pub leader: Option<String>,
    /// Our annotation `epoch`.
    pub epoch: Epoch,
}

impl ServiceView {
    /// The Service, if it can be switched.
    pub fn present(&self) -> Option<&Service> {
        match self {
            Self::Present(service) => Some(service),
            Self::Missing | Self::WithoutSelector => None,
        }
    }
}

impl Service {
    /// Whether it says exactly what a term of this epoch and pod writes.
    pub fn says(&self, pod: &str, epoch: Epoch) -> bool {
        self.epoch == epoch
            && self.selected.as_deref() == Some(pod)
            && self.leader.as_deref() == Some(pod)
    }
}
