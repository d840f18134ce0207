//! What the rig takes from its surroundings: environment variables and the time of day. The one
//! place of this crate that reads them.

use std::time::SystemTime;

#[expect(
    clippy::disallowed_methods,
    reason = "a rig is found through its environment: CARGO, HOME, KUBEBUILDER_ASSETS, ..."
)]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[expect(
    clippy::disallowed_methods,
    reason = "certificates begin now, and a folder's name is made of the time"
)]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}
