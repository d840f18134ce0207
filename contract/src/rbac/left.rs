//! Rights that stay while somebody needs them: a workload that was changed has pods of the template
//! before, until the last of them is gone.
//!
//! Nothing is granted here that was not. Must not know: which pods there are.

use std::collections::BTreeSet;

use serde_json::Value;

/// Names that stand in the rights of an election.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// Of service accounts.
    pub accounts: BTreeSet<String>,
    /// Of Services.
    pub services: BTreeSet<String>,
    /// Of Leases.
    pub leases: BTreeSet<String>,
}

impl Names {
    /// What a Role or a binding has, and would no longer have if it were as `wanted`.
    pub fn lost(found: &Value, wanted: &Value) -> Self {
        let (found, wanted) = (Self::of(found), Self::of(wanted));
        Self {
            accounts: &found.accounts - &wanted.accounts,
            services: &found.services - &wanted.services,
            leases: &found.leases - &wanted.leases,
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty() && self.services.is_empty() && self.leases.is_empty()
    }

    /// Those that another has, too.
    #[must_use]
    pub fn shared_with(&self, other: &Self) -> Self {
        Self {
            accounts: &self.accounts & &other.accounts,
            services: &self.services & &other.services,
            leases: &self.leases & &other.leases,
        }
    }

    /// Adds them to a Role or a binding that is wanted, whose lists are sorted.
    pub fn add_to(&self, wanted: &mut Value) {
        for rule in list_mut(wanted, "rules") {
            for (resource, names) in [("services", &self.services), ("leases", &self.leases)] {
                if !texts(rule, "resources").any(|of| of == resource) {
                    continue;
                }
                let mut all: BTreeSet<String> = texts(rule, "resourceNames").collect();
                all.extend(names.iter().cloned());
                if let Some(rule) = rule.as_object_mut() {
                    rule.insert("resourceNames".to_owned(), all.into_iter().collect());
                }
            }
        }
        let Some(subjects) = wanted.get_mut("subjects").and_then(Value::as_array_mut) else {
            return;
        };
        let Some(like) = subjects.first().and_then(Value::as_object).cloned() else {
            return;
        };
        subjects.extend(self.accounts.iter().map(|account| {
            let mut subject = like.clone();
            subject.insert("name".to_owned(), Value::from(account.as_str()));
            Value::Object(subject)
        }));
        subjects.sort_by(|one, other| name(one).cmp(&name(other)));
    }

    fn of(object: &Value) -> Self {
        let rules = object.get("rules").and_then(Value::as_array);
        let names_of = |resource: &str| {
            let rules = rules.into_iter().flatten();
            rules
                .filter(|rule| texts(rule, "resources").any(|of| of == resource))
                .flat_map(|rule| texts(rule, "resourceNames"))
                .collect()
        };
        let subjects = object.get("subjects").and_then(Value::as_array);
        let subjects = subjects.into_iter().flatten();
        Self {
            accounts: subjects.filter_map(name).map(str::to_owned).collect(),
            services: names_of("services"),
            leases: names_of("leases"),
        }
    }
}

fn name(subject: &Value) -> Option<&str> {
    subject.get("name")?.as_str()
}

fn list_mut<'a>(object: &'a mut Value, key: &str) -> impl Iterator<Item = &'a mut Value> {
    let list = object.get_mut(key).and_then(Value::as_array_mut);
    list.into_iter().flatten()
}

fn texts(object: &Value, key: &str) -> impl Iterator<Item = String> {
    let list = object.get(key).and_then(Value::as_array);
    let texts = list.into_iter().flatten().filter_map(Value::as_str);
    texts.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        claim::Claim,
        names::annotation,
        rbac::{Election, Member, completion},
        workload::Kind,
    };

    /// The objects of an election of one Deployment.
    fn objects(services: &str, lease: &str, account: &str) -> Vec<Value> {
        let metadata = json!({
            "name": "web", "namespace": "shop", "uid": "u1",
            "annotations": { annotation::SERVICE: services, annotation::LEASE: lease },
        });
        let spec = json!({ "serviceAccountName": account });
        let object = json!({ "spec": { "template": { "spec": spec } } });
        let claim = Claim::of(Kind::Deployment, &metadata).unwrap();
        let election = Election {
            namespace: "shop",
            service: "web",
            members: &[Member::of(claim, &object)],
            pull_secrets: &[],
            cluster_role: Some("sidecar"),
        };
        election.objects()
    }

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn what_pods_need_stays_beside_what_is_wanted_and_the_rest_goes() {
        let needs = Names {
            accounts: names(&["zoe", "never-bound"]),
            services: names(&["web", "web-admin"]),
            leases: names(&["before"]),
        };
        let kept = |found: &Value, mut wanted: Value| {
            let lost = Names::lost(found, &wanted);
            lost.shared_with(&needs).add_to(&mut wanted);
            wanted
        };
        let before = objects("web,web-admin,web-old", "before", "zoe");
        for (before, wanted) in before.iter().zip(objects("web", "lease", "own")) {
            let stored = kept(before, wanted.clone());
            let now = Names::of(&stored);
            if stored["kind"] == "Role" {
                assert_eq!(now.services, names(&["web", "web-admin"]));
                assert_eq!(now.leases, names(&["before", "lease"]));
            } else {
                assert_eq!(now.accounts, names(&["own", "zoe"]));
                assert_eq!(stored["subjects"][1]["namespace"], "shop");
            }
            let next_look = kept(&stored, wanted);
            assert_eq!(completion(&stored, &next_look), None);
        }
    }

    #[test]
    fn nothing_is_lost_where_more_is_wanted() {
        let before = objects("web", "lease", "own");
        for (found, wanted) in before.iter().zip(objects("web,web-admin", "lease", "own")) {
            assert!(Names::lost(found, &wanted).is_empty());
        }
    }
}
