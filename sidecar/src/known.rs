//! What is known of a Service.

use std::collections::BTreeMap;

use crate::service::Sight;

/// What is known of a Service.
#[derive(Debug, Clone)]
pub(crate) enum Known {
    /// No answer yet.
    Nothing,
    /// It is forbidden to look.
    Hidden,
    Seen(Sight),
}

impl Known {
    /// The selector that the user wrote.
    pub(crate) fn wanted(&self) -> Option<&BTreeMap<String, String>> {
        match self {
            Self::Seen(sight) => sight.wanted.as_ref(),
            Self::Nothing | Self::Hidden => None,
        }
    }

    /// Whom the last switch named.
    pub(crate) fn leader(&self) -> Option<&str> {
        match self {
            Self::Seen(sight) => sight.view.present()?.leader.as_deref(),
            Self::Nothing | Self::Hidden => None,
        }
    }

    /// The stored epoch.
    pub(crate) fn epoch(&self) -> Option<election::Epoch> {
        match self {
            Self::Seen(sight) => sight.view.present().map(|service| service.epoch),
            Self::Nothing | Self::Hidden => None,
        }
    }
}
