//! What the sidecars of an election may do: the objects that ought to be, for server-side apply.
//!
//! Must not know: what exists already.

mod left;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

pub use self::left::Names;
use crate::{claim::Claim, names, values::ServiceName, workload};

/// The label that tells our objects from those that users made.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

const PULL_SECRETS: &str = "imagePullSecrets";

/// One workload or pod of an election, with the account that it runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// What claims the Service.
    pub claim: Claim,
    /// The service account's name.
    pub account: String,
}

impl Member {
    /// Reads the account off the whole object. A template that has none yet will get ours.
    pub fn of(claim: Claim, object: &Value) -> Self {
        let account = workload::template(claim.kind, object)
            .and_then(workload::account)
            .map_or_else(|| names::default_name(claim.election()), str::to_owned);
        Self { claim, account }
    }
}

/// All workloads and pods of a namespace that name the same Service first. They share one election.
#[derive(Debug, Clone, Copy)]
pub struct Election<'a> {
    /// The namespace; empty leaves it to whoever applies the objects.
    pub namespace: &'a str,
    /// The Service that is named first.
    pub service: &'a str,
    /// They, at least one.
    pub members: &'a [Member],
    /// `imagePullSecrets` of the namespace's `default` account.
    pub pull_secrets: &'a [Value],
    /// The chart's ClusterRole for what has no name beforehand: pods and Events. None, in a cluster
    /// without the chart, puts that into the Role.
    pub cluster_role: Option<&'a str>,
}

impl Election<'_> {
    /// The objects, in the order in which they are to be applied: the account last, since pods
    /// wait for it and would otherwise run before they have rights.
    pub fn objects(&self) -> Vec<Value> {
        let generated = names::default_name(self.service);
        let mut objects = vec![self.role(), self.binding(&generated, "Role", &generated)];
        if let Some(cluster_role) = self.cluster_role {
            let name = format!("{generated}{}", names::SIDECAR_BINDING_SUFFIX);
            objects.push(self.binding(&name, "ClusterRole", cluster_role));
        }
        if self
            .members
            .iter()
            .any(|member| member.account == generated)
        {
            let mut account = json!({
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": self.metadata(&generated),
            });
            if let (false, Some(account)) = (self.pull_secrets.is_empty(), account.as_object_mut())
            {
                account.insert(PULL_SECRETS.to_owned(), Value::from(self.pull_secrets));
            }
            objects.push(account);
        }
        objects
    }

    /// Watches and lists work by name, with a field selector, so nothing here goes beyond the
    /// named objects. `create` of a Lease works by PUT to its name.
    fn role(&self) -> Value {
        let services: BTreeSet<&str> = self
            .members
            .iter()
            .flat_map(|member| member.claim.services.iter())
            .map(ServiceName::as_str)
            .collect();
        let leases: BTreeSet<&str> = self
            .members
            .iter()
            .map(|member| member.claim.lease.as_str())
            .collect();
        let mut rules = vec![
            json!({
                "apiGroups": [""],
                "resources": ["services"],
                "resourceNames": services,
                "verbs": ["get", "list", "patch", "watch"],
            }),
            json!({
                "apiGroups": ["coordination.k8s.io"],
                "resources": ["leases"],
                "resourceNames": leases,
                "verbs": ["create", "get", "list", "patch", "update", "watch"],
            }),
        ];
        if self.cluster_role.is_some() {
            // There is no such resource: by this the chart's policies know a sidecar.
            let sidecars = json!(
                { "apiGroups": [names::PRODUCT], "resources": ["sidecars"], "verbs": ["run"] }
            );
            rules.push(sidecars);
        } else {
            rules.extend(nameless());
        }
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": self.metadata(&names::default_name(self.service)),
            "rules": rules,
        })
    }

    fn binding(&self, name: &str, role_kind: &str, role: &str) -> Value {
        let accounts: BTreeSet<&str> = self
            .members
            .iter()
            .map(|member| member.account.as_str())
            .collect();
        let subjects: Vec<_> = accounts
            .into_iter()
            .map(|account| {
                // Without a namespace it is the binding's.
                self.namespaced(json!({ "kind": "ServiceAccount", "name": account }))
            })
            .collect();
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": self.metadata(name),
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": role_kind,
                "name": role,
            },
            "subjects": subjects,
        })
    }

    fn metadata(&self, name: &str) -> Value {
        let uid = |owner: &Value| Some(owner.get("uid")?.as_str()?.to_owned());
        let owners: BTreeMap<_, _> = self
            .members
            .iter()
            .filter_map(|member| member.claim.owner_reference())
            .map(|owner| (uid(&owner), owner))
            .collect();
        let mut metadata = self.namespaced(json!({
            "name": name,
            "labels": { MANAGED_BY: names::PRODUCT },
        }));
        if let (false, Some(fields)) = (owners.is_empty(), metadata.as_object_mut()) {
            fields.insert("ownerReferences".to_owned(), owners.into_values().collect());
        }
        metadata
    }

    fn namespaced(&self, mut object: Value) -> Value {
        if let (false, Some(fields)) = (self.namespace.is_empty(), object.as_object_mut()) {
            fields.insert("namespace".to_owned(), Value::from(self.namespace));
        }
        object
    }
}

/// What a sidecar may do with what has no name beforehand, as the chart's ClusterRole has it.
fn nameless() -> [Value; 2] {
    [
        json!({
            "apiGroups": [""],
            "resources": ["pods"],
            "verbs": ["get", "list", "patch", "watch"],
        }),
        json!({
            "apiGroups": ["events.k8s.io"],
            "resources": ["events"],
            "verbs": ["create", "patch"],
        }),
    ]
}

/// The merge patch that makes `found` what it ought to be, if nobody writes it in between. None: it is,
/// whatever else stands in it.
pub fn completion(found: &Value, wanted: &Value) -> Option<Value> {
    let mut wanted = wanted.clone();
    let theirs = found.get(PULL_SECRETS).and_then(Value::as_array);
    let ours = wanted.get_mut(PULL_SECRETS).and_then(Value::as_array_mut);
    // Users add to these, and so does OpenShift; a merge patch has a list whole.
    if let (Some(theirs), Some(ours)) = (theirs, ours) {
        let mut all = theirs.clone();
        all.extend(ours.drain(..).filter(|secret| !theirs.contains(secret)));
        *ours = all;
    }
    if includes(found, &wanted) {
        return None;
    }
    let version = found.pointer("/metadata/resourceVersion").cloned();
    let metadata = wanted.get_mut("metadata").and_then(Value::as_object_mut);
    if let (Some(metadata), Some(version)) = (metadata, version) {
        metadata.insert("resourceVersion".to_owned(), version);
    }
    Some(wanted)
}

/// Whether all that is wanted is there. Lists are compared whole.
fn includes(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => wanted
            .iter()
            .all(|(key, wanted)| found.get(key).is_some_and(|found| includes(found, wanted))),
        (Value::Array(found), Value::Array(wanted)) => {
            found.len() == wanted.len() && found.iter().zip(wanted).all(|(f, w)| includes(f, w))
        }
        _ => found == wanted,
    }
}

/// Whether we made an object, and may therefore delete it.
pub fn is_ours(object: &Value) -> bool {
    object
        .pointer("/metadata/labels")
        .and_then(|labels| labels.get(MANAGED_BY)?.as_str())
        == Some(names::PRODUCT)
}

/// Whether a Role lets its holders write this Service.
pub fn grants(role: &Value, service: &str) -> bool {
    let has = |rule: &Value, list: &str, item: &str| {
        rule.get(list)
            .and_then(Value::as_array)
            .is_some_and(|items| items.iter().any(|found| found.as_str() == Some(item)))
    };
    role.get("rules")
        .and_then(Value::as_array)
        .is_some_and(|rules| {
            rules.iter().any(|rule| {
                has(rule, "resources", "services") && has(rule, "resourceNames", service)
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{names::annotation, workload::Kind};

    fn member(name: &str, services: &str, account: Option<&str>) -> Member {
        let metadata = json!({
            "name": name, "namespace": "shop", "uid": format!("uid-{name}"),
            "annotations": { annotation::SERVICE: services },
        });
        let object =
            json!({ "spec": { "template": { "spec": { "serviceAccountName": account } } } });
        Member::of(Claim::of(Kind::Deployment, &metadata).unwrap(), &object)
    }

    fn objects(members: &[Member], pull_secrets: &[Value]) -> Vec<Value> {
        let election = Election {
            namespace: "shop",
            service: "web",
            members,
            pull_secrets,
            cluster_role: Some("service-leader-election-sidecar"),
        };
        election.objects()
    }

    #[test]
    fn what_others_add_is_no_reason_to_write_and_what_they_change_is() {
        for wanted in objects(&[member("web", "web,web-internal", None)], &[]) {
            let mut found = wanted.clone();
            found["metadata"]["resourceVersion"] = json!("7");
            found["metadata"]["labels"]["team"] = json!("shop");
            assert_eq!(completion(&found, &wanted), None);
            found["metadata"]["ownerReferences"] = json!([]);
            let patch = completion(&found, &wanted).unwrap();
            let owners = &wanted["metadata"]["ownerReferences"];
            assert_eq!(patch["metadata"]["ownerReferences"], *owners);
            assert_eq!(patch["metadata"]["resourceVersion"], "7");
        }
        let role =
            |names| json!({ "rules": [{ "resources": ["services"], "resourceNames": names }] });
        let wanted = role(json!(["web"]));
        for other in [role(json!(["web", "shop"])), role(json!([])), json!({})] {
            assert_eq!(completion(&other, &wanted).as_ref(), Some(&wanted));
        }
    }

    #[test]
    fn pull_secrets_that_others_add_stay() {
        let account = |secrets| json!({ "imagePullSecrets": secrets });
        let (ours, theirs) = (json!({ "name": "ours" }), json!({ "name": "theirs" }));
        let wanted = account(json!([ours]));
        assert_eq!(completion(&account(json!([theirs, ours])), &wanted), None);
        assert_eq!(
            completion(&account(json!([theirs])), &wanted),
            Some(account(json!([theirs, ours])))
        );
    }

    #[test]
    fn a_generated_account_gets_its_rights_before_it_exists() {
        let objects = objects(
            &[member("web", "web,web-internal", None)],
            &[json!({ "name": "pull" })],
        );
        insta::assert_json_snapshot!(objects);
    }

    #[test]
    fn two_workloads_share_the_objects_of_one_election() {
        let objects = objects(
            &[
                member("green", "web", Some("own")),
                member("blue", "web", None),
            ],
            &[],
        );
        insta::assert_json_snapshot!(objects);
    }

    #[test]
    fn an_account_of_the_user_is_bound_and_not_made() {
        let objects = objects(&[member("web", "web", Some("default"))], &[]);
        let kinds: Vec<_> = objects.iter().map(|object| &object["kind"]).collect();
        assert_eq!(kinds, ["Role", "RoleBinding", "RoleBinding"]);
        assert_eq!(objects[1]["subjects"][0]["name"], "default");
    }

    #[test]
    fn what_has_no_name_is_allowed_as_the_charts_cluster_role_does() {
        let chart = include_str!("../../charts/service-leader-election/templates/rbac.yaml");
        let role = chart
            .split("---\n")
            .find(|document| document.contains("name: {{ include \"sle.sidecarRole\" . }}\n"))
            .unwrap();
        let (_, rules) = role.split_once("\nrules:\n").unwrap();
        let rules: Value = serde_saphyr::from_str(rules).unwrap();
        assert_eq!(rules, Value::from(nameless().to_vec()));
    }

    #[test]
    fn without_the_chart_the_role_holds_all_rights() {
        let metadata = json!({ "name": "web", "annotations": { annotation::SERVICE: "web" } });
        let claim = Claim::of(Kind::Deployment, &metadata).unwrap();
        let election = Election {
            namespace: &claim.namespace.clone(),
            service: "web",
            members: &[Member::of(claim, &json!({}))],
            pull_secrets: &[],
            cluster_role: None,
        };
        insta::assert_json_snapshot!(election.objects());
    }
}
