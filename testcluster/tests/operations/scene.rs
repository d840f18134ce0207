//! A namespace with two workloads of each kind, and what is seen of what is done to them.

use std::time::Duration;

use kube::{
    Api, Client,
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::{Value, json};
use testcluster::Cluster;
use tokio::time::{Instant, sleep};

use crate::{
    support::{
        kinds::{KINDS, workload},
        service,
    },
    table::{Input, Operation},
};

/// What the application was made of, and what it has been since.
const IMAGES: [&str; 2] = ["example.org/app:1", "example.org/app:2"];

pub(crate) struct Scene<'a> {
    pub(crate) annotated: bool,
    cluster: &'a Cluster,
    client: Client,
    namespace: String,
}

/// What came of an operation.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Whether kubectl did it, or what it said.
    pub(crate) result: Result<(), String>,
    /// How often the API server called a webhook of ours meanwhile.
    pub(crate) calls: u64,
    /// The object, without what controllers write.
    pub(crate) before: Option<Value>,
    pub(crate) after: Option<Value>,
}

impl<'a> Scene<'a> {
    /// Each workload has been made, and WEB been rolled out once since, so that this can be undone.
    /// None has pods.
    pub(crate) async fn prepare(cluster: &'a Cluster, prefix: &str, annotated: bool) -> Self {
        let scene = Self {
            annotated,
            cluster,
            client: cluster.client().unwrap(),
            namespace: cluster.namespace(prefix).await.unwrap(),
        };
        let mut manifests = Vec::new();
        for kind in KINDS {
            for name in ["web", "left"].map(|which| name(kind, which)) {
                manifests.extend([service(&name), scene.manifest(kind, &name, IMAGES[0])]);
            }
        }
        let list = json!({"apiVersion": "v1", "kind": "List", "items": manifests});
        scene.kubectl(&["apply", "-f", "-"], &list).await.unwrap();
        for kind in KINDS {
            let web = name(kind, "web");
            scene.is_seen(kind, &web).await;
            let target = format!("{}/{web}", kind.to_lowercase());
            let image = format!("app={}", IMAGES[1]);
            let roll = ["set", "image", &target, &image];
            scene.kubectl(&roll, &Value::Null).await.unwrap();
            scene.is_seen(kind, &web).await;
        }
        scene
    }

    pub(crate) async fn perform(&self, operation: &Operation, kind: &str) -> Seen {
        let [web, left, new] = ["web", "left", "new"].map(|which| name(kind, which));
        let uses = |word| operation.kubectl.iter().any(|line| line.contains(&word));
        let (object, input) = match operation.input {
            Input::New => (&new, self.manifest(kind, &new, IMAGES[0])),
            Input::Same => (&web, self.manifest(kind, &web, IMAGES[1])),
            Input::Nothing if uses("LEFT") => (&left, Value::Null),
            Input::Nothing => (&web, Value::Null),
        };
        let target = format!("{}/{object}", kind.to_lowercase());
        let before = self.get(kind, object).await;
        let calls = self.calls().await;
        let mut result = Ok(());
        for line in operation.kubectl {
            let line: Vec<_> = line
                .iter()
                .map(|word| match *word {
                    "WEB" | "LEFT" => target.as_str(),
                    word => word,
                })
                .collect();
            result = result.and(self.kubectl(&line, &input).await);
        }
        let calls = self.calls().await - calls;
        let after = self.is_seen(kind, object).await;
        Seen {
            result,
            calls,
            before,
            after,
        }
    }

    fn manifest(&self, kind: &str, name: &str, image: &str) -> Value {
        let annotations = if self.annotated {
            json!({"service-leader-election/service": name})
        } else {
            json!({})
        };
        let mut workload = workload(kind, name, &annotations);
        let spec = &mut workload["spec"];
        if kind == "DaemonSet" {
            spec["template"]["spec"]["nodeSelector"] = json!({"color": "none-has-it"});
        } else {
            spec["replicas"] = json!(0);
        }
        spec["template"]["spec"]["containers"][0]["image"] = json!(image);
        workload
    }

    async fn kubectl(&self, arguments: &[&str], input: &Value) -> Result<(), String> {
        let arguments = [&["-n", &self.namespace], arguments].concat();
        let input = input.to_string();
        let done = self.cluster.kubectl_stdin(&arguments, &input).await;
        done.map(drop).map_err(|error| format!("{error:#}"))
    }

    /// Waits until its controller has seen the workload, if it is there.
    async fn is_seen(&self, kind: &str, name: &str) -> Option<Value> {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let object = self.read(kind, name).await?;
            let seen = object.data["status"]["observedGeneration"].as_i64();
            if seen == object.metadata.generation {
                return Some(written(object));
            }
            assert!(
                Instant::now() < deadline,
                "no controller sees {kind} {name}"
            );
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn get(&self, kind: &str, name: &str) -> Option<Value> {
        self.read(kind, name).await.map(written)
    }

    async fn read(&self, kind: &str, name: &str) -> Option<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("apps", "v1", kind));
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &self.namespace, &resource);
        api.get_opt(name).await.unwrap()
    }

    /// How often the API server has called webhooks of ours, and tried to.
    async fn calls(&self) -> u64 {
        let request = hyper::Request::get("/metrics").body(Vec::new()).unwrap();
        let text = self.client.request_text(request).await.unwrap();
        let ours = text.lines().filter(|line| {
            line.starts_with("apiserver_admission_webhook_request_total{")
                && line.contains(".service-leader-election.io\"")
        });
        ours.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap())
            .sum()
    }
}

fn name(kind: &str, which: &str) -> String {
    format!("{}-{which}", kind.to_lowercase())
}

/// What users and admission write of an object.
fn written(object: DynamicObject) -> Value {
    let meta = object.metadata;
    let mut annotations = meta.annotations.unwrap_or_default();
    annotations.remove("deployment.kubernetes.io/revision");
    json!({
        "annotations": annotations,
        "labels": meta.labels,
        "generation": meta.generation,
        "spec": object.data["spec"],
    })
}
