//! The rights of an election's sidecars: made so that they are what they ought to be, and taken
//! away when nobody claims them.
//!
//! What ought to be is decided in `contract`.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};

use contract::{
    claim::Claim,
    lease,
    names::{self, reason},
    pods::Pod,
    rbac::{self, Election, Member, Names},
    wording::in_one_line,
    workload::Kind,
};
use kube::runtime::events::EventType;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::{Controller, Progress, claimants, herald::Said};
use crate::cluster::{Object, RequestError, Resource};

/// What came of an object that ought to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Made {
    /// There was none.
    New,
    /// There was, and it lacked something.
    Completed,
    AsWanted,
    /// It has more, for pods that are left.
    Kept,
    /// There is one of its name that is somebody else's.
    NameTaken,
}

impl Controller {
    pub(super) async fn reconcile_election(
        &self,
        namespace: &str,
        service: &str,
        claims: &[Claim],
    ) -> Result<Progress, RequestError> {
        let mut members = self.members(namespace, claims).await?;
        members.retain(|member| member.claim.election() == service);
        if members.is_empty() {
            return self.retire(namespace, service).await;
        }
        let pull_secrets = self.pull_secrets(namespace).await?;
        let election = Election {
            namespace,
            service,
            members: &members,
            pull_secrets: &pull_secrets,
            cluster_role: Some(&self.cluster_role),
        };
        let needs = OnceCell::new();
        let mut is_new = false;
        let mut written = false;
        let mut kept = false;
        let mut role_is_ours = true;
        for mut wanted in election.objects() {
            let is_role = |kind: Option<&Value>| kind.is_some_and(|kind| kind == "Role");
            if !role_is_ours && is_role(wanted.pointer("/roleRef/kind")) {
                // Nobody knows what somebody else's Role allows.
                continue;
            }
            let made = self.make_so(&election, &mut wanted, &needs, is_new).await?;
            written |= matches!(made, Made::New | Made::Completed);
            match made {
                Made::New => is_new |= is_role(wanted.get("kind")),
                Made::Completed | Made::AsWanted => {}
                Made::Kept => kept = true,
                Made::NameTaken => role_is_ours &= !is_role(wanted.get("kind")),
            }
        }
        // Where nobody could elect yet, its own Lease is not there: the first term has it looked at again.
        let own = names::default_name(service);
        let leases: BTreeSet<_> = members
            .iter()
            .map(|member| member.claim.lease.as_str())
            .filter(|lease| !is_new || *lease != own)
            .collect();
        for lease in leases {
            self.own_lease(namespace, lease, &members).await?;
        }
        if written {
            let members = members.len();
            tracing::info!(
                ns = namespace,
                name = service,
                members,
                kept,
                "rights applied"
            );
        }
        Ok(if kept { Progress::Kept } else { Progress::Done })
    }

    /// The workloads and pods that are still there and claim something, as a majority of the store has them:
    /// what they claim by now, and their accounts. Of a pod that is what its sidecar was made for.
    pub(super) async fn members(
        &self,
        namespace: &str,
        claims: &[Claim],
    ) -> Result<Vec<Member>, RequestError> {
        let (pods, workloads): (Vec<_>, Vec<_>) =
            claims.iter().partition(|claim| claim.kind == Kind::Pod);
        let mut members = Vec::new();
        for claim in workloads {
            let object = Object {
                resource: Resource::Workload(claim.kind),
                namespace,
                name: &claim.name,
            };
            let found = self.cluster.get(object).await?;
            members.extend(found.and_then(|found| member(claim, &found)));
        }
        if pods.is_empty() {
            return Ok(members);
        }
        // An election may have many pods: they are asked for at once.
        let mut pods: BTreeMap<_, _> = pods.into_iter().map(|claim| (&claim.uid, claim)).collect();
        let find = |pod: Value| {
            let uid = pod.pointer("/metadata/uid").and_then(Value::as_str);
            let claim = pods.remove(&uid.map(str::to_owned));
            let member = claim.and_then(|claim| member(claim, &pod));
            let runs = Pod::deserialize(&pod).ok();
            members.extend(
                member.filter(|member| runs.is_some_and(|pod| pod.runs_for(&member.claim))),
            );
            ControlFlow::Continue(())
        };
        let resource = Resource::Workload(Kind::Pod);
        self.cluster
            .visit(resource, namespace, &claimants(Kind::Pod), find)
            .await?;
        Ok(members)
    }

    async fn pull_secrets(&self, namespace: &str) -> Result<Vec<Value>, RequestError> {
        let object = Object {
            resource: Resource::ServiceAccount,
            namespace,
            name: "default",
        };
        let found = self.cluster.get_cached(object).await?;
        let secrets = found
            .as_ref()
            .and_then(|account| account.get("imagePullSecrets")?.as_array());
        Ok(secrets.cloned().unwrap_or_default())
    }

    /// Makes an object what it ought to be, save that it keeps what pods of before need. Where the election
    /// `is_new` it most likely does not exist.
    async fn make_so(
        &self,
        election: &Election<'_>,
        wanted: &mut Value,
        needs: &OnceCell<Names>,
        is_new: bool,
    ) -> Result<Made, RequestError> {
        let name = wanted
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let Some(resource) = Resource::of(wanted) else {
            return Ok(Made::AsWanted);
        };
        let object = Object {
            resource,
            namespace: election.namespace,
            name: &name,
        };
        // A look costs the API server a fraction of a write, and each replica comes by. A cache might be
        // behind this replica's own last write, and hide that it went over another one's.
        let mut found = None;
        if !is_new {
            found = self.cluster.get(object).await?;
        }
        let found = match found {
            Some(found) => found,
            None => match self.create_or_get(object, wanted).await? {
                Some(found) => found,
                None => return Ok(Made::New),
            },
        };
        if !rbac::is_ours(&found) {
            self.say_name_taken(object, &found, election.service).await;
            return Ok(Made::NameTaken);
        }
        let lost = Names::lost(&found, wanted);
        let mut kept = Names::default();
        if !lost.is_empty() {
            let needs = needs.get_or_try_init(|| self.needs(election.namespace, election.service));
            kept = lost.shared_with(needs.await?);
            kept.add_to(wanted);
        }
        let patch = rbac::completion(&found, wanted);
        if let Some(patch) = &patch {
            match self.cluster.merge(object, patch).await {
                // To which role a binding leads cannot be changed.
                Err(error) if error.is_invalid() && resource == Resource::RoleBinding => {
                    self.cluster.delete(object).await?;
                    self.cluster.create(object, wanted).await?;
                }
                merged => drop(merged?),
            }
        }
        Ok(match patch {
            _ if !kept.is_empty() => Made::Kept,
            Some(_) => Made::Completed,
            None => Made::AsWanted,
        })
    }

    /// None: it was made. Else another replica, or whoever has the name, was faster.
    async fn create_or_get(
        &self,
        object: Object<'_>,
        wanted: &Value,
    ) -> Result<Option<Value>, RequestError> {
        let conflict = match self.cluster.create(object, wanted).await {
            Ok(_) => return Ok(None),
            Err(error) if error.is_conflict() => error,
            Err(error) => return Err(error),
        };
        let found = self.cluster.get(object).await?;
        found.map(Some).ok_or(conflict)
    }

    async fn say_name_taken(&self, object: Object<'_>, found: &Value, service: &str) {
        tracing::warn!(object = %object, "left as it is, for it is somebody else's");
        let said = Said {
            type_: EventType::Warning,
            reason: reason::NAME_TAKEN,
            action: "Grant",
            note: format!(
                "has the name of what the webhook makes for Service {service}, and is somebody \
                 else's: it is left as it is"
            ),
        };
        self.herald.say(found, said).await;
    }

    /// Makes the members owners of the Lease, so that it goes with the last of them. One that does not exist
    /// yet, or is another program's, gets its owners after its first term has begun.
    async fn own_lease(
        &self,
        namespace: &str,
        name: &str,
        members: &[Member],
    ) -> Result<(), RequestError> {
        let object = Object {
            resource: Resource::Lease,
            namespace,
            name,
        };
        let Some(found) = self.cluster.get(object).await? else {
            return Ok(());
        };
        if !lease::is_an_elections(&found) {
            return Ok(());
        }
        let owners = found
            .pointer("/metadata/ownerReferences")
            .and_then(Value::as_array);
        let mut owners = owners.cloned().unwrap_or_default();
        let before = owners.len();
        let wanted = members
            .iter()
            .filter(|member| member.claim.lease.as_str() == name)
            .filter_map(|member| member.claim.owner_reference());
        for owner in wanted {
            if !owners.iter().any(|had| had.get("uid") == owner.get("uid")) {
                owners.push(owner);
            }
        }
        if owners.len() == before {
            return Ok(());
        }
        let version = found.pointer("/metadata/resourceVersion");
        let patch =
            json!({ "metadata": { "resourceVersion": version, "ownerReferences": owners } });
        match self.cluster.merge(object, &patch).await {
            // Whoever forbids it, such as a cluster where to own takes the right to delete, has the
            // Lease stay behind, and the election goes on.
            Err(error) if error.is_forbidden() => {
                tracing::warn!(error = in_one_line(&error), object = %object, "Lease without owner");
                Ok(())
            }
            merged => merged.map(drop),
        }
    }

    /// Takes the rights away once nobody claims them and no pod needs them.
    pub(super) async fn retire(
        &self,
        namespace: &str,
        service: &str,
    ) -> Result<Progress, RequestError> {
        let name = names::default_name(service);
        let sidecar = format!("{name}{}", names::SIDECAR_BINDING_SUFFIX);
        // Where the Role's name is somebody else's, the binding to the chart's tells.
        let role = Object {
            resource: Resource::Role,
            namespace,
            name: &name,
        };
        let binding = Object {
            resource: Resource::RoleBinding,
            namespace,
            name: &sidecar,
        };
        if !self.is_ours(role).await? && !self.is_ours(binding).await? {
            return Ok(Progress::Done);
        }
        let claims = self.claims(namespace).await?;
        if claims.iter().any(|claim| claim.election() == service) {
            return Ok(Progress::Done);
        }
        if !self.needs(namespace, service).await?.is_empty() {
            return Ok(Progress::Kept);
        }
        self.revoke(namespace, &name).await?;
        Ok(Progress::Done)
    }

    /// Deletes the objects that were made under this name: what binds first, and last the Role, by which
    /// the rest is found again after a deletion that was cut short.
    async fn revoke(&self, namespace: &str, name: &str) -> Result<(), RequestError> {
        let sidecar = format!("{name}{}", names::SIDECAR_BINDING_SUFFIX);
        for (resource, name) in [
            (Resource::RoleBinding, name),
            (Resource::RoleBinding, &sidecar),
            (Resource::ServiceAccount, name),
            (Resource::Role, name),
        ] {
            let object = Object {
                resource,
                namespace,
                name,
            };
            if self.is_ours(object).await? {
                self.cluster.delete(object).await?;
                tracing::info!(object = %object, "deleted");
            }
        }
        Ok(())
    }

    async fn is_ours(&self, object: Object<'_>) -> Result<bool, RequestError> {
        let found = self.cluster.get(object).await?;
        Ok(found.is_some_and(|found| rbac::is_ours(&found)))
    }
}

/// What was seen to claim something, as it is found, if it is that very object and still claims something.
fn member(seen: &Claim, found: &Value) -> Option<Member> {
    let claim = Claim::of(seen.kind, found.get("metadata")?)?;
    (claim.uid == seen.uid).then(|| Member::of(claim, found))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::http::Method;
    use contract::names::{annotation, lease_annotation};

    use super::*;
    use crate::controller::tests::answered_by;

    /// A controller whose API server has every object that is asked for, as ours and after a first term, and
    /// answers to what `refused` says with this status; and the paths of what was deleted.
    fn controller(
        refused: (Method, &'static str),
        status: u16,
    ) -> (Controller, Arc<Mutex<Vec<String>>>) {
        let deleted = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&deleted);
        let controller = answered_by(move |request| {
            let path = request.uri().path().to_owned();
            let (method, part) = &refused;
            let is_refused = request.method() == method && path.contains(part);
            let answer = if is_refused {
                json!({ "kind": "Status", "status": "Failure", "code": status, "reason": "", "message": "" })
            } else {
                let labels = json!({ rbac::MANAGED_BY: names::PRODUCT });
                let annotations = json!({ lease_annotation::TERM: "7" });
                json!({ "metadata": { "name": "x", "labels": labels, "annotations": annotations } })
            };
            if request.method() == Method::DELETE && !is_refused {
                log.lock().unwrap().push(path);
            }
            (if is_refused { status } else { 200 }, answer)
        });
        (controller, deleted)
    }

    #[tokio::test]
    async fn a_revocation_that_is_cut_short_leaves_the_role_by_which_it_is_gone_on_with() {
        let (controller, deleted) = controller((Method::DELETE, "/serviceaccounts/"), 500);
        let name = names::default_name("web");
        controller.revoke("shop", &name).await.unwrap_err();
        let deleted = deleted.lock().unwrap();
        assert_eq!(deleted.len(), 2, "{deleted:?}");
        assert!(deleted.iter().all(|path| path.contains("/rolebindings/")));
    }

    #[tokio::test]
    async fn what_another_replica_made_in_the_meantime_is_taken_for_what_it_is() {
        let (controller, _) = controller((Method::POST, ""), 409);
        let metadata = json!({ "name": "web", "annotations": { annotation::SERVICE: "web" } });
        let claim = Claim::of(Kind::Deployment, &metadata).unwrap();
        let election = Election {
            namespace: "shop",
            service: "web",
            members: &[Member::of(claim, &json!({}))],
            pull_secrets: &[],
            cluster_role: Some("sidecar"),
        };
        for mut wanted in election.objects() {
            let needs = OnceCell::new();
            let made = controller.make_so(&election, &mut wanted, &needs, true);
            assert_eq!(made.await.unwrap(), Made::Completed);
        }
    }

    #[tokio::test]
    async fn a_lease_that_may_have_no_owner_is_no_failure() {
        let metadata = json!({
            "name": "web", "namespace": "shop", "uid": "u1",
            "annotations": { annotation::SERVICE: "web" },
        });
        let claim = Claim::of(Kind::Deployment, &metadata).unwrap();
        let lease = claim.lease.as_str().to_owned();
        let members = [Member::of(claim, &json!({}))];
        for (status, goes_on) in [(403, true), (500, false)] {
            let (controller, _) = controller((Method::PATCH, "/leases/"), status);
            let owned = controller.own_lease("shop", &lease, &members).await;
            assert_eq!(owned.is_ok(), goes_on, "{owned:?}");
        }
    }
}
