//! A pod that Pod Security `restricted` admits before an injection, it admits after it: the API
//! server is asked, of generated pods and of such as are made of generated templates.
//!
//! `RESTRICTED=5000` asks for so many.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::collections::BTreeSet;

use contract::{
    facts::Facts,
    inject::{self, Reason, Request},
    workload::Kind,
};
use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, PostParams},
};
use proptest::{
    prop_oneof,
    strategy::{Strategy as _, ValueTree as _},
    test_runner::TestRunner,
};
use serde_json::{Value, json};
use testcluster::{Cluster, Options};
use tokio::sync::OnceCell;
use workloads::{Annotated, Security, pod, pods, settings, template_place, workload};

/// How many requests are under way at a time.
const AT_ONCE: usize = 16;

/// How many pods are generated for each that is wanted, at the most.
const TRIES: usize = 3;

/// One namespace that enforces `restricted`.
struct Place {
    pods: Api<DynamicObject>,
    accounts: Api<ServiceAccount>,
}

/// A pod, or one of a template, before and after that was injected.
struct Pair {
    before: Value,
    after: Value,
}

impl Place {
    async fn enter(prefix: &str) -> Self {
        static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
        let start = async || Cluster::start(Options::default()).await.unwrap();
        let cluster = CLUSTER.get_or_init(start).await;
        let namespace = cluster.namespace(prefix).await.unwrap();
        let enforce = [
            "label",
            "namespace",
            &namespace,
            "pod-security.kubernetes.io/enforce=restricted",
        ];
        cluster.kubectl(&enforce).await.unwrap();
        let client: Client = cluster.client().unwrap();
        let resource = ApiResource::erase::<Pod>(&());
        Self {
            pods: Api::namespaced_with(client.clone(), &namespace, &resource),
            accounts: Api::namespaced(client, &namespace),
        }
    }

    /// Makes the accounts as which these pods run, without which none is admitted.
    async fn with_accounts_of(&self, pairs: &[Pair]) {
        let pods = pairs.iter().flat_map(|pair| [&pair.before, &pair.after]);
        let fields = pods.flat_map(|pod| {
            ["serviceAccountName", "serviceAccount"].map(|field| pod["spec"][field].as_str())
        });
        let names: BTreeSet<&str> = fields.flatten().filter(|name| !name.is_empty()).collect();
        for name in names {
            let account = json!({ "metadata": { "name": name } });
            let account = serde_json::from_value(account).unwrap();
            match self.accounts.create(&PostParams::default(), &account).await {
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                other => drop(other.unwrap()),
            }
        }
    }

    /// Whether the API server would admit this pod here, whatever its namespace; if not, why.
    async fn admits(&self, pod: &Value) -> Result<(), String> {
        let dry_run = PostParams {
            dry_run: true,
            field_manager: None,
        };
        let mut pod: DynamicObject = serde_json::from_value(pod.clone()).unwrap();
        pod.metadata.namespace = None;
        match self.pods.create(&dry_run, &pod).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if matches!(status.code, 403 | 422) => {
                Err(status.message)
            }
            Err(error) => panic!("no answer: {error}"),
        }
    }
}

fn generated(runner: &mut TestRunner, count: usize) -> Vec<Pair> {
    let securities = [Security::RestrictedByPod, Security::RestrictedByContainers];
    let cases = securities.map(|security| {
        let objects = prop_oneof![
            2 => workload(Annotated::Obeyable, security),
            1 => pods(Annotated::Obeyable, security),
        ];
        (objects, settings())
    });
    let tried = (0..count).map(|index| {
        let (object, settings) = cases[index % cases.len()]
            .new_tree(runner)
            .unwrap()
            .current();
        pair(&object, &settings)
    });
    tried.flatten().collect()
}

/// None: nothing is injected into such an object.
fn pair(object: &Value, settings: &inject::Settings) -> Option<Pair> {
    let kind = Kind::of(object).unwrap();
    let request = Request {
        kind,
        object,
        old: None,
        facts: &Facts::default(),
    };
    let decision = inject::decide(&request, settings).ok()?;
    let injected = decision.reason == Reason::Injected;
    let mut after = object.clone();
    json_patch::patch(&mut after, &decision.patch).unwrap();
    let pod = |object: &Value| pod(object.pointer(template_place(kind)).unwrap(), "web-0");
    injected.then(|| Pair {
        before: pod(object),
        after: pod(&after),
    })
}

#[tokio::test]
async fn what_is_admitted_before_an_injection_is_admitted_after_it() {
    let place = Place::enter("restricted").await;
    let wanted = std::env::var_os("RESTRICTED");
    let wanted = wanted
        .and_then(|it| it.to_str()?.parse().ok())
        .unwrap_or(500);
    let mut runner = TestRunner::default();
    let (mut tried, mut admitted) = (0, 0);
    while admitted < wanted {
        assert!(
            tried < TRIES * wanted,
            "of {tried} pods only {admitted} were admitted before: that says too little"
        );
        let pairs = generated(&mut runner, 200);
        place.with_accounts_of(&pairs).await;
        tried += 200;
        let asked = pairs.iter().map(async |pair| {
            let before = place.admits(&pair.before).await;
            (pair, before.is_ok(), place.admits(&pair.after).await)
        });
        let mut answers = stream::iter(asked).buffer_unordered(AT_ONCE);
        while let Some((pair, before, after)) = answers.next().await {
            if !before {
                continue;
            }
            admitted += 1;
            assert_eq!(
                after,
                Ok(()),
                "refused after the injection: {:#}",
                pair.after
            );
        }
    }
    eprintln!("{admitted} pods of {tried} were admitted before, and all of them after");
}

#[tokio::test]
async fn a_sidecar_that_is_allowed_more_is_refused() {
    let place = Place::enter("careless").await;
    let object = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "web", "annotations": { "service-leader-election/service": "web" } },
        "spec": { "template": { "spec": { "containers": [{
            "name": "app",
            "image": "example.org/app:1",
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "capabilities": { "drop": ["ALL"] },
                "runAsNonRoot": true,
                "seccompProfile": { "type": "RuntimeDefault" },
            },
        }] } } },
    });
    let settings = inject::Settings {
        image: "sidecar:1".to_owned(),
        pull_policy: inject::PullPolicy::default(),
        native: true,
        run_as_user: None,
    };
    let pair = pair(&object, &settings).unwrap();
    place.with_accounts_of(std::slice::from_ref(&pair)).await;
    assert_eq!(place.admits(&pair.after).await, Ok(()));
    for (field, value) in [
        ("allowPrivilegeEscalation", json!(true)),
        ("allowPrivilegeEscalation", Value::Null),
        ("capabilities", json!({ "drop": ["NET_RAW"] })),
        ("capabilities", Value::Null),
        ("runAsNonRoot", Value::Null),
        ("runAsUser", json!(0)),
        ("seccompProfile", json!({ "type": "Unconfined" })),
        ("seccompProfile", Value::Null),
    ] {
        let mut careless = pair.after.clone();
        let context = &mut careless["spec"]["initContainers"][0]["securityContext"];
        context[field] = value.clone();
        let refused = place.admits(&careless).await.unwrap_err();
        assert!(
            refused.contains("violates PodSecurity"),
            "{field}: {value}: {refused}"
        );
    }
}
