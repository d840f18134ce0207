//! An object of a cluster explained: the decision, then what else its election needs there.
//!
//! It reads, and asks about rights. It changes nothing.

use std::str::FromStr;

use contract::{
    facts::Facts, inject::Settings, names, rbac::Member, wording::in_one_line, workload::Kind,
};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::Value;

use super::{
    explain::{self, Steps},
    grants, manifests,
    rights::{self, Right},
    yaml,
};
use crate::{
    admission::facts,
    cluster::{Cluster, Object, RequestError, Resource, Selection},
    known::Known,
};

/// How many questions are under way at a time.
const AT_A_TIME: usize = 4;

/// A workload or a pod of a cluster, as kubectl names it: `deployment/web`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    kind: Kind,
    name: String,
}

impl FromStr for Target {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (kind, name) = text.split_once('/').ok_or(())?;
        let kind = kind.split('.').next().unwrap_or_default().to_lowercase();
        let kind = match kind.as_str() {
            "deployment" | "deployments" | "deploy" => Kind::Deployment,
            "statefulset" | "statefulsets" | "sts" => Kind::StatefulSet,
            "daemonset" | "daemonsets" | "ds" => Kind::DaemonSet,
            "replicaset" | "replicasets" | "rs" => Kind::ReplicaSet,
            "pod" | "pods" | "po" => Kind::Pod,
            _ => return Err(()),
        };
        if name.is_empty() || name.contains('/') {
            return Err(());
        }
        Ok(Self {
            kind,
            name: name.to_owned(),
        })
    }
}

/// Why there is nothing to explain.
#[derive(Debug, thiserror::Error)]
pub(super) enum LiveError {
    #[error("{0} does not exist: name another object, or another namespace with -n")]
    Missing(String),
    #[error(transparent)]
    Request(#[from] RequestError),
}

/// Explains it. Whether it would be let in.
pub(super) async fn explain(
    cluster: &Cluster,
    namespace: &str,
    target: &Target,
    settings: &Settings,
) -> Result<(String, bool), LiveError> {
    let object = Object {
        resource: Resource::Workload(target.kind),
        namespace,
        name: &target.name,
    };
    let title = format!("{} {namespace}/{}", target.kind.as_str(), target.name);
    let Some(mut found) = cluster.get(object).await? else {
        return Err(LiveError::Missing(title));
    };
    if target.kind == Kind::Pod {
        take_off_label(&mut found);
    }
    let facts = match manifests::services(&found) {
        Some(named) => facts::facts(cluster, &Known::default(), namespace, &named).await,
        None => Facts::default(),
    };
    let mut steps = Steps::under(&format!("{title}, as it is in the cluster"));
    // A pod is judged once, when it is created.
    let old = (target.kind != Kind::Pod).then_some(&found);
    let admitted = explain::explain(&mut steps, &found, old, &facts, settings);
    if let Some(member) = manifests::member(&found) {
        account(cluster, &mut steps, namespace, &member).await;
        policies(cluster, &mut steps).await;
    }
    Ok((steps.text(), admitted))
}

/// A pod has its label from its sidecar, and not from whom created it.
fn take_off_label(pod: &mut Value) {
    let labels = pod.pointer_mut("/metadata/labels");
    if let Some(labels) = labels.and_then(Value::as_object_mut) {
        labels.remove(names::LABEL);
    }
}

/// Whether the pods' account may do what a sidecar does.
async fn account(cluster: &Cluster, steps: &mut Steps, namespace: &str, member: &Member) {
    let objects = grants::objects(
        namespace,
        member.claim.election(),
        std::slice::from_ref(member),
        &[],
    );
    let rights: Vec<Right> = objects.iter().flat_map(rights::of).collect();
    let user = rights::user(namespace, &member.account);
    match answers(cluster, namespace, &member.account, rights).await {
        Err(error) if error.is_forbidden() => steps.step(&format!(
            "rights of {user}: unknown, for you may not create subjectaccessreviews: ask somebody \
             who may"
        )),
        Err(error) => steps.step(&format!(
            "rights of {user}: unknown: {}",
            in_one_line(&error)
        )),
        Ok(answers) => {
            steps.step(&format!("rights of {user}:"));
            steps.details(rights::lines(&answers));
            if answers.iter().any(|(_, yes)| !yes) {
                steps.details([
                    "The webhook's controller grants what is missing. Without it, apply:",
                ]);
                for object in &objects {
                    manifest(steps, object);
                }
            }
        }
    }
}

async fn answers(
    cluster: &Cluster,
    namespace: &str,
    account: &str,
    rights: Vec<Right>,
) -> Result<Vec<(Right, bool)>, RequestError> {
    stream::iter(rights)
        .map(async |right| {
            let question = right.question(namespace, account);
            let answer = cluster
                .ask(Resource::SubjectAccessReview, &question)
                .await?;
            Ok((right, rights::is_allowed(&answer)))
        })
        .buffered(AT_A_TIME)
        .try_collect()
        .await
}

fn manifest(steps: &mut Steps, object: &Value) {
    let text = yaml::write(object).unwrap_or_else(|_| object.to_string());
    steps.details(["---"]);
    steps.details(text.lines());
}

/// Which of the chart's policies are on.
async fn policies(cluster: &Cluster, steps: &mut Steps) {
    let resource = Resource::ValidatingAdmissionPolicyBinding;
    let bindings = match cluster.list(resource, "", &Selection::default()).await {
        Ok(bindings) => bindings,
        Err(error) => {
            steps.step(&format!("policies: unknown: {}", in_one_line(&error)));
            return;
        }
    };
    let lines: Vec<String> = bindings.iter().filter_map(binding).collect();
    if lines.is_empty() {
        steps.step(
            "policies: none is on, so that the sidecars alone keep a late leader from writing",
        );
    } else {
        steps.step("policies:");
        steps.details(lines);
    }
}

/// What a binding of ours does with an object that breaks its policy.
fn binding(binding: &Value) -> Option<String> {
    let name = binding.pointer("/metadata/name")?.as_str()?;
    if !name.starts_with(names::PRODUCT) {
        return None;
    }
    let actions = binding.pointer("/spec/validationActions")?.as_array()?;
    let actions: Vec<&str> = actions.iter().filter_map(Value::as_str).collect();
    Some(format!("{name}: {}", actions.join(", ")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_workload_is_named_as_kubectl_names_it() {
        for (text, expected) in [
            ("deployment/web", Some((Kind::Deployment, "web"))),
            ("sts/db", Some((Kind::StatefulSet, "db"))),
            ("daemonsets.apps/x", Some((Kind::DaemonSet, "x"))),
            ("pod/web", Some((Kind::Pod, "web"))),
            ("job/web", None),
            ("./deployment/web", None),
            ("deployment/web/x.yaml", None),
            ("deployment/", None),
            ("web.yaml", None),
        ] {
            let found: Option<Target> = text.parse().ok();
            let found = found.as_ref().map(|it| (it.kind, it.name.as_str()));
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn of_the_policies_ours_are_told() {
        let named = |name| {
            json!({
                "metadata": { "name": name },
                "spec": { "validationActions": ["Deny", "Audit"] },
            })
        };
        let ours = binding(&named("service-leader-election-pods"));
        assert_eq!(
            ours.as_deref(),
            Some("service-leader-election-pods: Deny, Audit")
        );
        assert_eq!(binding(&named("other")), None);
    }
}
