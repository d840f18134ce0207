//! Which workload or pod claims which Services.
//!
//! Must not know: where the objects come from, what follows from a claim.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::{
    annotations::{self, Services},
    names::{self, annotation},
    values::LeaseName,
    workload::{self, Kind},
};

/// What is known of a workload or a pod by its metadata alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The kind.
    pub kind: Kind,
    /// Its namespace; empty in a manifest that names none.
    pub namespace: String,
    /// Its name; of a pod that has none yet, what it will begin with.
    pub name: String,
    /// Its UID; None in a manifest.
    pub uid: Option<String>,
    /// The Services that it claims.
    pub services: Services,
    /// The Lease of its election.
    pub lease: LeaseName,
    /// The entry of a pod's `ownerReferences` for what has made it, and will make the next one.
    controller: Option<Value>,
}

impl Claim {
    /// The claim of a workload, or of a pod that was injected by itself. None: it claims nothing, is
    /// being deleted, or has its annotations from its controller.
    pub fn of(kind: Kind, metadata: &Value) -> Option<Self> {
        let text = |key| Some(metadata.get(key)?.as_str()?.to_owned());
        let time = metadata.get("deletionTimestamp");
        if time.is_some_and(|time| !time.is_null())
            || kind.is_left_to_its_controller(Some(metadata))
            || kind == Kind::Pod && !is_injected_pod(metadata)
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
            name: text("name").or_else(|| text("generateName"))?,
            uid: text("uid"),
            lease: match lease {
                Some(lease) => lease,
                None => LeaseName::parse(&default).ok()?,
            },
            services,
            controller: workload::controller(Some(metadata))
                .filter(|_| kind == Kind::Pod)
                .cloned(),
        })
    }

    /// Who claims, as `Kind/name`: in place of a pod what has made it.
    pub fn claimant(&self) -> String {
        let made_by = |key| self.controller.as_ref()?.get(key)?.as_str();
        let kind = made_by("kind").unwrap_or(self.kind.as_str());
        let name = made_by("name").unwrap_or(&self.name);
        format!("{kind}/{name}")
    }

    /// The Service after which Lease, account and RBAC are named.
    pub fn election(&self) -> &str {
        self.services.first().as_str()
    }

    /// Whether it claims this Service of its namespace.
    pub fn covers(&self, service: &str) -> bool {
        self.services.iter().any(|name| name.as_str() == service)
    }

    /// The claimant as an entry of `metadata.ownerReferences`. None: it is in no cluster yet.
    pub fn owner_reference(&self) -> Option<Value> {
        if let Some(controller) = &self.controller {
            let mut owner = Map::new();
            for key in ["apiVersion", "kind", "name", "uid"] {
                owner.insert(key.to_owned(), controller.get(key)?.clone());
            }
            return Some(Value::Object(owner));
        }
        let uid = self.uid.as_ref()?;
        Some(serde_json::json!({
            "apiVersion": self.kind.api_version(),
            "kind": self.kind.as_str(),
            "name": self.name,
            "uid": uid,
        }))
    }
}

/// The claimants, as the annotation on a claimed Service names them.
pub fn claimed_value<'a>(claims: impl Iterator<Item = &'a Claim>) -> String {
    let mut names: Vec<_> = claims.map(Claim::claimant).collect();
    names.sort();
    names.dedup();
    names.join(",")
}

/// Whether the annotation with the claimants need not be written anew. It may name pods that are gone:
/// in the moment in which a leader's pod goes, its successor writes the Service, and nobody else should.
pub fn is_named<'a>(written: &str, claims: impl Iterator<Item = &'a Claim>) -> bool {
    let names: BTreeSet<_> = claims.map(Claim::claimant).collect();
    let written: BTreeSet<_> = written.split(',').collect();
    names.iter().all(|name| written.contains(name.as_str()))
        && written
            .iter()
            .all(|name| names.contains(*name) || name.starts_with("Pod/"))
}

fn is_injected_pod(metadata: &Value) -> bool {
    let labels = metadata.get("labels");
    labels
        .and_then(|labels| labels.get(names::POD_LABEL))
        .is_some_and(|value| *value == names::POD_LABEL_VALUE)
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

    fn pod(name: &str, controller: Option<&str>) -> Option<Claim> {
        let mut metadata = metadata();
        metadata["name"] = json!(name);
        metadata["labels"] = json!({ names::POD_LABEL: names::POD_LABEL_VALUE });
        if let Some(name) = controller {
            metadata["ownerReferences"] = json!([{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name, "uid": "u2",
                "controller": true, "blockOwnerDeletion": true,
            }]);
        }
        Claim::of(Kind::Pod, &metadata)
    }

    #[test]
    fn a_pod_of_a_template_claims_for_what_has_made_it() {
        let claim = pod("web-abc-1", Some("web-abc")).unwrap();
        assert_eq!(claim.claimant(), "ReplicaSet/web-abc");
        let owner = json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-abc", "uid": "u2",
        });
        assert_eq!(claim.owner_reference(), Some(owner));
        let bare = pod("web-1", None).unwrap();
        assert_eq!(bare.owner_reference().unwrap()["apiVersion"], "v1");
        // With its sidecar from the template of an annotated workload.
        assert_eq!(Claim::of(Kind::Pod, &metadata()), None);
    }

    #[test]
    fn a_pod_that_goes_is_no_reason_to_write_the_service() {
        let (one, two) = (pod("web-1", None).unwrap(), pod("web-2", None).unwrap());
        let both = claimed_value([&one, &two].into_iter());
        assert_eq!(both, "Pod/web-1,Pod/web-2");
        assert!(is_named(&both, [&two].into_iter()));
        assert!(!is_named("Pod/web-1", [&one, &two].into_iter()));
        let deployment = Claim::of(Kind::Deployment, &metadata()).unwrap();
        assert!(!is_named(
            "Deployment/old,Deployment/web",
            [&deployment].into_iter()
        ));
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
