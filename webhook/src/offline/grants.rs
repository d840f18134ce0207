//! The rights of the injected sidecars, for a cluster in which no controller grants them.
//!
//! Pure. Must not know: what the sidecars do with them.

use std::collections::BTreeMap;

use contract::rbac::{self, Election, Member};
use serde_json::Value;

use super::manifests::Manifests;

/// Adds what every election among the manifests needs.
pub(super) fn grant(manifests: &mut Manifests) {
    let mut elections: BTreeMap<(String, String), Vec<Member>> = BTreeMap::new();
    for member in &manifests.members {
        let claim = &member.claim;
        let election = (claim.namespace.clone(), claim.election().to_owned());
        elections.entry(election).or_default().push(member.clone());
    }
    for ((namespace, service), members) in elections {
        for wanted in objects(&namespace, &service, &members) {
            manifests.add(&wanted, rbac::is_ours);
        }
    }
}

/// What an election needs in a cluster without the chart.
pub(super) fn objects(namespace: &str, service: &str, members: &[Member]) -> Vec<Value> {
    let election = Election {
        namespace,
        service,
        members,
        pull_secrets: &[],
        cluster_role: None,
    };
    election.objects()
}
