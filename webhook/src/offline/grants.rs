//! The rights of the injected sidecars, for a cluster in which no controller grants them.
//!
//! Pure. Must not know: what the sidecars do with them.

use std::collections::BTreeMap;

use contract::{
    names,
    rbac::{self, Election, Member},
};
use serde_json::Value;

use super::{manifests::Manifests, place::Identity};

/// Adds what every election among the manifests needs.
pub(super) fn grant(manifests: &mut Manifests) {
    let mut elections: BTreeMap<(String, String), Vec<Member>> = BTreeMap::new();
    for member in &manifests.members {
        let claim = &member.claim;
        let election = (claim.namespace.clone(), claim.election().to_owned());
        elections.entry(election).or_default().push(member.clone());
    }
    for ((namespace, service), members) in elections {
        let secrets = pull_secrets(manifests, &namespace, &service);
        for wanted in objects(&namespace, &service, &members, &secrets) {
            manifests.add(&wanted, rbac::is_ours);
        }
    }
}

/// `imagePullSecrets` of the namespace's `default` account, and what somebody has added to those of the
/// account that is made in its place.
fn pull_secrets(manifests: &Manifests, namespace: &str, service: &str) -> Vec<Value> {
    let mut secrets = Vec::new();
    for name in ["default", &names::default_name(service)] {
        let account = Identity {
            api_version: "v1".to_owned(),
            kind: "ServiceAccount".to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        let found = manifests
            .objects()
            .filter(|(place, _)| place.object == account)
            .filter_map(|(_, account)| account.get("imagePullSecrets")?.as_array());
        for secret in found.flatten() {
            if !secrets.contains(secret) {
                secrets.push(secret.clone());
            }
        }
    }
    secrets
}

/// What an election needs in a cluster without the chart.
pub(super) fn objects(
    namespace: &str,
    service: &str,
    members: &[Member],
    pull_secrets: &[Value],
) -> Vec<Value> {
    let election = Election {
        namespace,
        service,
        members,
        pull_secrets,
        cluster_role: None,
    };
    election.objects()
}
