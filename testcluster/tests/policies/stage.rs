//! A namespace to try policies in.

use k8s_openapi::api::{
    authentication::v1::TokenRequest,
    coordination::v1::Lease,
    core::v1::{Pod, Service, ServiceAccount},
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{Patch, PatchParams, PostParams},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{
    scene,
    support::{self, KEY, Scene},
};

pub(crate) const GENERATED: &str = "service-leader-election-web";
pub(crate) const OWN: &str = "own";
pub(crate) const MIGHTY: &str = "mighty";
pub(crate) const LEASE: &str = "service-leader-election-web";
pub(crate) const LEADER: &str = "service-leader-election/leader";
pub(crate) const EPOCH: &str = "service-leader-election/epoch";
pub(crate) const HOLDER: &str = "service-leader-election/holder";
pub(crate) const TERM: &str = "service-leader-election/term";
pub(crate) const COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Somebody who asks the API server for something.
pub(crate) struct Caller {
    pub(crate) name: &'static str,
    pub(crate) client: Client,
}

/// A namespace with two pods of each account, which never run, and a Service that is at `a` since
/// epoch 100.
pub(crate) struct Stage {
    pub(crate) scene: Scene,
    uids: Vec<(&'static str, String)>,
}

impl Stage {
    pub(crate) async fn set(prefix: &str) -> Self {
        let scene = scene(prefix).await;
        scene.apply(&support::service("web")).await;
        for account in [OWN, MIGHTY] {
            scene.kubectl(&["create", "serviceaccount", account]).await;
        }
        let mighty = format!("--serviceaccount={}:{MIGHTY}", scene.namespace);
        let role = [
            "create",
            "rolebinding",
            MIGHTY,
            "--clusterrole=cluster-admin",
        ];
        scene.kubectl(&[&role[..], &[&mighty]].concat()).await;
        let annotations = json!({"service-leader-election/service": "web"});
        let workload = support::deployment("web", 0, &annotations);
        scene.apply(&workload).await;
        let mut own = support::deployment("own", 0, &annotations);
        own["spec"]["template"]["spec"]["serviceAccountName"] = json!(OWN);
        scene.apply(&own).await;
        let accounts: Api<ServiceAccount> = Api::namespaced(scene.client.clone(), &scene.namespace);
        scene
            .eventually("the generated account is made", async || {
                accounts.get_opt(GENERATED).await.unwrap()
            })
            .await;
        let mut stage = Self {
            scene,
            uids: Vec::new(),
        };
        for (pod, account) in [
            ("a", GENERATED),
            ("b", GENERATED),
            ("c", OWN),
            ("d", MIGHTY),
        ] {
            stage.pod(pod, account).await;
        }
        let pinned = json!({
            "metadata": {"annotations": {LEADER: "a", EPOCH: "100"}},
            "spec": {"selector": {KEY: "a"}},
        });
        let controller = stage.controller();
        patch::<Service>(
            &controller.client,
            &stage.scene.namespace,
            "web",
            &pinned,
            false,
        )
        .await
        .unwrap();
        stage
    }

    /// A pod that waits for ever: a token can be bound to it.
    pub(crate) async fn pod(&mut self, name: &'static str, account: &str) {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "labels": {"app": "web", "team": "blue", KEY: name}},
            "spec": {
                "serviceAccountName": account, "schedulingGates": [{"name": "example.org/never"}],
                "containers": [{"name": "app", "image": "example.org/app:1"}],
            },
        });
        let pods: Api<Pod> = Api::namespaced(self.scene.client.clone(), &self.scene.namespace);
        let pod = serde_json::from_value(pod).unwrap();
        let made = pods.create(&PostParams::default(), &pod).await.unwrap();
        self.uids.push((name, made.uid().unwrap()));
    }

    pub(crate) fn uid(&self, pod: &str) -> &str {
        &self.uids.iter().find(|(name, _)| *name == pod).unwrap().1
    }

    pub(crate) fn holder(&self, pod: &str) -> String {
        format!("{pod}/{}", self.uid(pod))
    }

    /// Somebody with a token of this account, bound to a pod where one is named.
    pub(crate) async fn caller(
        &self,
        name: &'static str,
        account: &str,
        pod: Option<&str>,
    ) -> Caller {
        let accounts: Api<ServiceAccount> =
            Api::namespaced(self.scene.client.clone(), &self.scene.namespace);
        let bound = pod.map(
            |pod| json!({"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": self.uid(pod)}),
        );
        let request: TokenRequest =
            serde_json::from_value(json!({"spec": {"audiences": [], "boundObjectRef": bound}}))
                .unwrap();
        let made = accounts
            .create_token_request(account, &PostParams::default(), &request)
            .await
            .unwrap();
        let token = made.status.unwrap().token;
        let client = self.scene.cluster.client_with_token(&token).unwrap();
        Caller { name, client }
    }

    pub(crate) fn controller(&self) -> Caller {
        let account = format!("{KEY}-webhook");
        let client = self.scene.cluster.client_for(KEY, &account).unwrap();
        Caller {
            name: "the controller",
            client,
        }
    }

    pub(crate) fn admin(&self) -> Caller {
        Caller {
            name: "an administrator",
            client: self.scene.client.clone(),
        }
    }

    /// Rights and policies take a moment: waits until this is answered so.
    pub(crate) async fn settled<K: Kind>(
        &self,
        caller: &Caller,
        name: &str,
        change: &Value,
        wanted: &str,
    ) {
        self.scene
            .eventually("rights and policies are in force", async || {
                let said = self.ask::<K>(caller, name, change).await;
                said.contains(wanted).then_some(())
            })
            .await;
    }

    /// What the API server says to a change, which is not carried out: "allowed", or why not.
    pub(crate) async fn ask<K: Kind>(&self, caller: &Caller, name: &str, change: &Value) -> String {
        let namespace = &self.scene.namespace;
        match patch::<K>(&caller.client, namespace, name, change, true).await {
            Ok(_) => "allowed".to_owned(),
            Err(kube::Error::Api(status)) => format!("{}: {}", status.code, status.message),
            Err(error) => panic!("{error}"),
        }
    }

    /// Asks, and compares the answer: "allowed", or a part of what a refusal must say.
    pub(crate) async fn judge<K: Kind>(
        &self,
        caller: &Caller,
        what: &str,
        name: &str,
        change: &Value,
        expected: &str,
    ) {
        let said = self.ask::<K>(caller, name, change).await;
        let fits = if expected == "allowed" {
            said == "allowed"
        } else {
            said.starts_with("422") && said.contains(expected)
        };
        assert!(
            fits,
            "{} {what}: {said}, expected {expected:?}",
            caller.name
        );
    }
}

pub(crate) trait Kind:
    kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
    + Clone
    + std::fmt::Debug
    + DeserializeOwned
{
}

impl Kind for Service {}
impl Kind for Pod {}
impl Kind for Lease {}

pub(crate) async fn patch<K: Kind>(
    client: &Client,
    namespace: &str,
    name: &str,
    change: &Value,
    dry_run: bool,
) -> kube::Result<K> {
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let params = PatchParams {
        dry_run,
        ..PatchParams::default()
    };
    api.patch(name, &params, &Patch::Merge(change)).await
}

/// What a term of `pod` writes.
pub(crate) fn switch(pod: &str, epoch: &str) -> Value {
    json!({
        "metadata": {"annotations": {LEADER: pod, EPOCH: epoch}},
        "spec": {"selector": {KEY: pod}},
    })
}

pub(crate) fn annotated(key: &str, value: &Value) -> Value {
    json!({"metadata": {"annotations": {key: value}}})
}
