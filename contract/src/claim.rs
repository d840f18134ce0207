//! Which workload claims which Services.
//!
//! Must not know: where the objects come from, what follows from a claim.

use serde_json::Value;

use crate::{
    annotations::{self, Services},
    names::{self, annotation},
    values::LeaseName,
    workload::Kind,
};

/// What is known of a workload by its metadata alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The workload's kind.
    pub kind: Kind,
    /// Its namespace; empty in a manifest that names none.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID; None in a manifest.
    pub uid: Option<String>,
    /// The Services that it claims.
    pub services: Services,
    /// The Lease of its election.
    pub lease: LeaseName,
}

impl Claim {
    /// The claim of a workload. None: it claims nothing, is being deleted, or has its annotations from
    /// its controller.
    pub fn of(kind: Kind, metadata: &Value) -> Option<Self> {
        let text = |key| Some(metadata.get(key)?.as_str()?.to_owned());
        let time = metadata.get("deletionTimestamp");
        if time.is_some_and(|time| !time.is_null())
            || kind.is_left_to_its_controller(Some(metadata))
        {
            return None;
        }
        let services = annotations::services(Some(metadata))?;
        let written = metadata
            .get("annotations")
            .and_then(|annotations| annotations.get(annotation::LEASE)?.as_str());
        let default = names::default_name(services.first().as_str());
        let lease = written.and_then(|lease| LeaseName::parse(lease).ok());
        Some(Self {
            kind,
            namespace: text("namespace").unwrap_or_default(),
            name: text("name")?,
            uid: text("uid"),
            lease: match lease {
                Some(lease) => lease,
                None => LeaseName::parse(&default).ok()?,
            },
            services,
        })
    }

    /// The Service after which Lease, account and RBAC are named.
    pub fn election(&self) -> &str {
        self.services.first().as_str()
    }

    /// Whether it claims this Service of its namespace.
    pub fn covers(&self, service: &str) -> bool {
        self.services.iter().any(|name| name.as_str() == service)
    }

    /// The workload as an entry of `metadata.ownerReferences`. None: it is in no cluster yet.
    pub fn owner_reference(&self) -> Option<Value> {
        let uid = self.uid.as_ref()?;
        Some(serde_json::json!({
            "apiVersion": Kind::API_VERSION,
            "kind": self.kind.as_str(),
            "name": self.name,
            "uid": uid,
        }))
    }
}

/// The workloads, as the annotation on a claimed Service names them.
pub fn claimed_value<'a>(claims: impl Iterator<Item = &'a Claim>) -> String {
    let mut names: Vec<_> = claims
        .map(|claim| format!("{}/{}", claim.kind.as_str(), claim.name))
        .collect();
    names.sort();
    names.dedup();
    names.join(",")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn metadata() -> Value {
        json!({
            "name": "web", "namespace": "shop", "uid": "u1",
            "annotations": { annotation::SERVICE: "web,web-internal" },
        })
    }

    #[test]
    fn an_annotated_workload_claims_its_services() {
        let claim = Claim::of(Kind::Deployment, &metadata()).unwrap();
        assert!(claim.covers("web") && claim.covers("web-internal") && !claim.covers("other"));
        assert_eq!(claim.lease.as_str(), "service-leader-election-web");
        assert_eq!(
            claimed_value([&claim, &claim].into_iter()),
            "Deployment/web"
        );
    }

    #[test]
    fn a_workload_that_is_going_claims_nothing() {
        let mut metadata = metadata();
        metadata["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(Claim::of(Kind::Deployment, &metadata), None);
    }

    #[test]
    fn a_replica_set_of_a_deployment_claims_nothing_for_the_deployment_does() {
        let mut metadata = metadata();
        assert!(Claim::of(Kind::ReplicaSet, &metadata).is_some());
        metadata["ownerReferences"] = json!([{ "kind": "Deployment", "controller": true }]);
        assert_eq!(Claim::of(Kind::ReplicaSet, &metadata), None);
        assert!(Claim::of(Kind::StatefulSet, &metadata).is_some());
    }

    #[test]
    fn a_manifest_claims_what_the_object_will() {
        let mut metadata = metadata();
        metadata["namespace"].take();
        metadata["uid"].take();
        let claim = Claim::of(Kind::Deployment, &metadata).unwrap();
        assert_eq!((claim.namespace.as_str(), claim.election()), ("", "web"));
        assert_eq!(claim.owner_reference(), None);
    }

    #[test]
    fn a_bad_number_gives_no_service_up() {
        let mut metadata = metadata();
        metadata["annotations"][annotation::LEASE_DURATION] = json!("1");
        assert!(Claim::of(Kind::Deployment, &metadata).is_some());
    }
}
