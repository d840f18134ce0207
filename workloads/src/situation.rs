//! What an injection depends on beside the workload: the cluster's settings, its Services and accounts.

use std::collections::BTreeMap;

use contract::{
    facts::{Facts, Meshes, Selecting, ServiceFact},
    inject::{PullPolicy, Settings},
    values::ServiceName,
};
use proptest::{bool::weighted, collection::vec, option, prelude::*, sample::select};

/// The Services that generated annotations name.
const SERVICES: [&str; 4] = ["web", "api", "headless", "external"];

/// How sidecars are injected into a cluster.
pub fn settings() -> impl Strategy<Value = Settings> {
    let image = select(vec!["sidecar:1", "registry.example.org/sidecar@sha256:0"]);
    let policy = select(vec![
        PullPolicy::Always,
        PullPolicy::IfNotPresent,
        PullPolicy::Never,
    ]);
    // As far as the API server goes.
    let user = option::weighted(0.3, 1..=i32::MAX.unsigned_abs());
    (image, policy, any::<bool>(), user).prop_map(|(image, pull_policy, native, run_as_user)| {
        Settings {
            image: image.to_owned(),
            pull_policy,
            native,
            run_as_user,
        }
    })
}

/// What is known of the Services, and of a pod's account.
pub fn facts() -> impl Strategy<Value = Facts> {
    let services = vec(fact(), SERVICES.len());
    let meshes = option::of(meshes());
    (services, weighted(0.1), meshes).prop_map(|(found, account_is_missing, meshes)| {
        let mut facts = Facts::default();
        if let Some(meshes) = meshes {
            facts.note_meshes(meshes);
        }
        if account_is_missing {
            facts.note_missing_account();
        }
        for (name, fact) in SERVICES.iter().zip(found) {
            if let Ok(name) = ServiceName::parse(name) {
                facts.note(&name, fact);
            }
        }
        facts
    })
}

/// What a namespace asks for, where that is known.
fn meshes() -> impl Strategy<Value = Meshes> {
    let skips = option::of(select(vec!["25,587", "", "28000-29000", "x"]));
    (any::<bool>(), any::<bool>(), skips).prop_map(|(istio, linkerd, skips)| Meshes {
        istio,
        linkerd,
        linkerd_skips: skips.map(str::to_owned),
    })
}

fn fact() -> impl Strategy<Value = ServiceFact> {
    prop_oneof![
        2 => Just(ServiceFact::Unknown),
        1 => Just(ServiceFact::Missing),
        1 => Just(ServiceFact::WithoutSelector),
        1 => Just(ServiceFact::ExternalName),
        3 => selecting().prop_map(ServiceFact::Selects),
    ]
}

fn selecting() -> impl Strategy<Value = Selecting> {
    let labels = select(vec![
        "web",
        "api",
        "a-rather-long-value-of-a-label-that-nobody-reads-to-its-end",
    ]);
    let claim = prop_oneof![
        Just("Deployment/web".to_owned()),
        "(Deployment|StatefulSet)/[a-z]{1,63}",
    ];
    (labels, any::<bool>(), vec(claim, 0..3)).prop_map(|(app, headless, claimed_by)| Selecting {
        labels: BTreeMap::from([("app".to_owned(), app.to_owned())]),
        headless,
        claimed_by,
    })
}
