//! The account of a pod, made before the pod is let in: the API server refuses a pod whose account does
//! not exist.
//!
//! Only what is absent is made; to complete it is the controller's. Must not know: how a pod is judged.

use std::time::Duration;

use contract::{
    claim::Claim,
    names::{self, annotation},
    rbac::{Election, Member},
    workload::Kind,
};
use serde_json::Value;

use crate::cluster::{Cluster, Object, RequestError, Resource};

/// How long a look at an account may take.
const LOOK: Duration = Duration::from_secs(1);

/// How long all of it may take. The API server waits for 10 s.
const PATIENCE: Duration = Duration::from_secs(6);

/// Why an account was not made.
#[derive(Debug, thiserror::Error)]
pub(super) enum AccountError {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("the API server took more than {} s", PATIENCE.as_secs())]
    TooSlow,
}

impl AccountError {
    /// What whoever creates the pod is told.
    pub(super) fn message(&self, account: &str) -> String {
        let cause = match self {
            Self::Request(error) => error.words(),
            Self::TooSlow => self.to_string(),
        };
        format!(
            "service account {account}, as which the pod is to run, cannot be made: {cause}; see to \
             that and create the pod again, or name an account of your own in {}",
            annotation::SERVICE_ACCOUNT
        )
    }
}

/// Whether it is known that the account that would be made for a Service's election does not exist.
pub(super) async fn is_missing(cluster: &Cluster, namespace: &str, service: &str) -> bool {
    let name = names::default_name(service);
    let look = cluster.get(account(namespace, &name));
    matches!(tokio::time::timeout(LOOK, look).await, Ok(Ok(None)))
}

/// The pod as a member of its election, if it runs as the account that is made for that.
pub(super) fn member(pod: &Value) -> Option<Member> {
    let claim = Claim::of(Kind::Pod, pod.get("metadata")?)?;
    let member = Member::of(claim, pod);
    (member.account == names::default_name(member.claim.election())).then_some(member)
}

/// Makes what is absent of what the pod needs. Whether anything was.
pub(super) async fn make(
    cluster: &Cluster,
    cluster_role: &str,
    namespace: &str,
    member: &Member,
) -> Result<bool, AccountError> {
    let election = Election {
        namespace,
        service: member.claim.election(),
        members: std::slice::from_ref(member),
        // The API server has given the pod those of the account that it had.
        pull_secrets: &[],
        cluster_role: Some(cluster_role),
    };
    let making = async {
        let found = cluster.get(account(namespace, &member.account)).await?;
        if found.is_some() {
            return Ok(false);
        }
        for wanted in election.objects() {
            create(cluster, namespace, &wanted).await?;
        }
        Ok(true)
    };
    tokio::time::timeout(PATIENCE, making)
        .await
        .unwrap_or(Err(AccountError::TooSlow))
}

async fn create(cluster: &Cluster, namespace: &str, wanted: &Value) -> Result<(), RequestError> {
    let name = wanted.pointer("/metadata/name").and_then(Value::as_str);
    let (Some(resource), Some(name)) = (Resource::of(wanted), name) else {
        return Ok(());
    };
    let object = Object {
        resource,
        namespace,
        name,
    };
    match cluster.create(object, wanted).await {
        // Another pod's admission, or the controller, was faster.
        Err(error) if error.is_conflict() => Ok(()),
        made => made.map(drop),
    }
}

fn account<'a>(namespace: &'a str, name: &'a str) -> Object<'a> {
    Object {
        resource: Resource::ServiceAccount,
        namespace,
        name,
    }
}
