//! Many writes at once.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use kube::Client;

use crate::stage::{EPOCH, GENERATED, Stage, patch, switch};

/// Many at once, without a precondition: the rule stands inside the API server's own
/// compare-and-swap, so the stored epoch never falls. The same by an account that the policy does
/// not bind, and it does.
#[tokio::test]
async fn the_stored_epoch_never_falls_whoever_writes_at_once() {
    const PATCHES: u64 = 2_000;
    let stage = Stage::set("parallel").await;
    let a = stage.caller("a", GENERATED, Some("a")).await;
    stage
        .settled::<Service>(&a, "web", &switch("a", "101"), "allowed")
        .await;
    stage
        .settled::<Service>(&a, "web", &switch("a", "99"), "go down")
        .await;
    let fenced = falls(&stage, a.client, 1_000, PATCHES).await;
    let control = falls(&stage, stage.controller().client, 1_000_000, PATCHES).await;
    eprintln!("of {PATCHES} patches: {fenced:?} with the policy, {control:?} without");
    assert_eq!(fenced.fell, 0);
    assert!(
        fenced.stored > 10,
        "too few patches were stored: {fenced:?}"
    );
    assert!(control.fell > 10, "the control proves nothing: {control:?}");
}

#[derive(Debug)]
struct Falls {
    stored: usize,
    fell: usize,
}

/// Patches with epochs from `base` on in a mixed order, and how often the stored one fell.
async fn falls(stage: &Stage, client: Client, base: u64, patches: u64) -> Falls {
    let before = stage.scene.record.sync().await.unwrap();
    let work = Arc::new(tokio::sync::Mutex::new(0..patches));
    let writers: Vec<_> = (0..48)
        .map(|_| {
            let (work, client) = (Arc::clone(&work), client.clone());
            let namespace = stage.scene.namespace.clone();
            tokio::spawn(async move {
                loop {
                    let Some(i) = work.lock().await.next() else {
                        return;
                    };
                    // Up in the long run, and up and down from one to the next.
                    let epoch = base + i + i * 769 % 97;
                    let change = switch("a", &epoch.to_string());
                    let answer = patch::<Service>(&client, &namespace, "web", &change, false).await;
                    match answer {
                        Ok(_) => {}
                        Err(kube::Error::Api(status)) if matches!(status.code, 409 | 422) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let changes = stage.scene.record.changes().await.unwrap();
    let epochs: Vec<u64> = changes
        .iter()
        .filter(|change| change.revision > before && change.kind == testcluster::Kind::Service)
        .filter_map(|change| {
            let annotations = &change.object.as_ref()?["metadata"]["annotations"];
            annotations[EPOCH].as_str()?.parse().ok()
        })
        .collect();
    Falls {
        stored: epochs.len(),
        fell: epochs.windows(2).filter(|two| two[1] < two[0]).count(),
    }
}
