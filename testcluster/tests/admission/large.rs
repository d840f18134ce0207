//! Objects as large as they may be, and many at a time.

use std::fs;

use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use serde_json::{Value, json};
use testcluster::troubleshooting::documented;

use crate::{
    installed,
    malformed::{post, response, review, text},
    scene,
    support::{
        Installed, ask, deployment,
        kinds::{Form, form},
        webhook::RELEASE,
    },
    wire::{Protocol, Wire, whole},
};

/// An annotated Deployment whose application has so many variables, of so many bytes each.
fn with_variables(count: usize, bytes: usize) -> Value {
    let annotations = json!({"service-leader-election/service": "web"});
    let mut workload = deployment("web", 0, &annotations);
    let value = "v".repeat(bytes);
    let variables: Vec<_> = (0..count)
        .map(|number| json!({"name": format!("VARIABLE_{number}"), "value": value}))
        .collect();
    workload["spec"]["template"]["spec"]["containers"][0]["env"] = json!(variables);
    workload
}

#[tokio::test]
async fn ten_thousand_variables_are_injected() {
    let scene = scene("variables").await;
    let manifest = with_variables(10_000, 1);
    let create = ["create", "-o", "json", "-f", "-"];
    let stored = scene.kubectl_stdin(&create, &manifest.to_string()).await;
    let stored: Value = serde_json::from_str(&stored).unwrap();
    let template = &stored["spec"]["template"];
    assert_eq!(form(template), Some(Form::Native));
    let variables = &template["spec"]["containers"][0]["env"];
    let written = &manifest["spec"]["template"]["spec"]["containers"][0]["env"];
    assert_eq!(variables, written);
    // An update brings the object twice.
    let restart = ["rollout", "restart", "deployment/web"];
    scene.kubectl(&restart).await;
}

/// The API server takes 3 MiB from a client, and its store half of that.
#[tokio::test]
async fn three_mebibytes_are_injected_and_refused_by_the_store_alone() {
    let scene = scene("large").await;
    let mut manifest = with_variables(1_000, 3_000);
    let tried = ask::try_create(&scene.client, &scene.namespace, &manifest).await;
    let tried = tried.unwrap().outcome.unwrap();
    assert_eq!(form(&tried["spec"]["template"]), Some(Form::Native));
    let refused = async |manifest: &Value| {
        let created = ask::create(&scene.client, &scene.namespace, manifest).await;
        created.unwrap().outcome.unwrap_err()
    };
    let annotated = refused(&manifest).await;
    manifest["metadata"]["annotations"].take();
    let unannotated = refused(&manifest).await;
    for why in [annotated, unannotated] {
        assert!(
            why.contains("too large") || why.contains("larger than max"),
            "{why}"
        );
    }
}

/// What the webhook has no room for is denied, but not where it is asked for words alone.
#[tokio::test]
async fn a_job_is_let_in_however_much_there_is_to_it() {
    let scene = scene("job").await;
    let mut manifest = with_variables(40_000, 1);
    let tried = ask::try_create(&scene.client, &scene.namespace, &manifest).await;
    let why = tried.unwrap().outcome.unwrap_err();
    let (_, why) = why.split_once("denied the request: ").unwrap();
    documented("denied-too-many-parts", why).unwrap();

    manifest["apiVersion"] = json!("batch/v1");
    manifest["kind"] = json!("Job");
    let template = manifest["spec"]["template"].take();
    manifest["spec"] = json!({"template": template});
    manifest["spec"]["template"]["spec"]["restartPolicy"] = json!("Never");
    let tried = ask::try_create(&scene.client, &scene.namespace, &manifest).await;
    assert_eq!(tried.unwrap().outcome.unwrap()["kind"], "Job");
}

/// The API server counts and measures an object only after the webhook has judged it.
#[tokio::test]
async fn whatever_is_written_is_answered_in_few_words() {
    let wire = Wire::to(installed().await).await;
    let (annotations, containers) = (
        "/request/object/metadata/annotations",
        "/request/object/spec/template/spec/containers",
    );
    let mut misspelt = review();
    let map = misspelt.pointer_mut(annotations).unwrap();
    for number in 0..30_000 {
        map[format!("service-leader-election/key-{number}")] = json!("x");
    }
    map[format!("service-leader-election/{}", "k".repeat(1 << 20))] = json!("x");

    let mut unknown = review();
    unknown.pointer_mut(annotations).unwrap()["service-leader-election/container"] = json!("none");
    let named = (0..30_000).map(|number| json!({"name": format!("app-{number}")}));
    *unknown.pointer_mut(containers).unwrap() = named.collect();

    let mut many = review();
    let services = json!("a,".repeat(1 << 20));
    many.pointer_mut(annotations).unwrap()["service-leader-election/service"] = services;

    for (review, allowed) in [(misspelt, true), (unknown, false), (many, false)] {
        let sent = wire.send(Protocol::Http2, post(whole(text(review)))).await;
        let (_, answer) = sent.unwrap();
        assert!(answer.len() < 20_000, "{answer:.500}");
        assert_eq!(response(&answer, "u1")["allowed"], allowed, "{answer}");
    }
}

/// Requests that a webhook of the chart's memory limit must outlive.
#[tokio::test]
async fn however_much_is_sent_at_a_time_the_memory_is_bounded() {
    let installed = installed().await;
    let wire = Wire::to(installed).await;
    let pod = webhook(installed).await;
    let limit = limit(&pod);
    let mut update = review();
    update["request"]["operation"] = json!("UPDATE");
    let many = with_variables(20_000, 100);
    let few = with_variables(10, 300_000);
    let mut bodies = Vec::new();
    for object in [&many, &few] {
        update["request"]["object"] = object.clone();
        update["request"]["oldObject"] = object.clone();
        update["request"]["object"]["spec"]["replicas"] = json!(2);
        bodies.push(text(update.clone()));
    }
    // Nothing but digits and brackets: what takes the most memory for each byte.
    let text = text(review());
    let lists = text.replace(
        "\"example.org/app:1\"",
        &format!("[{}0]", "0,".repeat(300_000)),
    );
    let maps = "{\"a\":0},".repeat(60_000);
    let maps = text.replace("\"example.org/app:1\"", &format!("[{maps}0]"));
    bodies.extend([lists, maps]);
    let rounds = std::iter::repeat_n(&bodies, 12).flatten();
    let answers = stream::iter(rounds)
        .map(async |body| wire.send(Protocol::Http2, post(whole(body.clone()))).await)
        .buffer_unordered(12);
    let answers: Vec<_> = answers.collect().await;
    let all = answers.len();
    let mut later = 0;
    for answer in answers {
        let (head, text) = answer.unwrap();
        let response = response(&text, "u1");
        match head.status().as_u16() {
            200 => assert_eq!(response["allowed"], true, "{text}"),
            408 | 503 => later += 1,
            other => panic!("{other}: {text}"),
        }
    }
    let most = memory(installed, &pod);
    println!("at most {most} of {limit} bytes; {later} of {all} for another time");
    assert!(later < all, "none was judged");
    assert!(most < limit, "{most} of {limit} bytes");
}

async fn webhook(installed: &Installed) -> Pod {
    let name = installed.webhook_pod().await;
    let pods: Api<Pod> = Api::namespaced(installed.cluster.client().unwrap(), RELEASE);
    pods.get(&name).await.unwrap()
}

/// What the chart lets it have, in bytes.
fn limit(pod: &Pod) -> u64 {
    let container = &pod.spec.as_ref().unwrap().containers[0];
    let limits = container.resources.as_ref().unwrap().limits.as_ref();
    let limit = &limits.unwrap()["memory"].0;
    let mebibytes: u64 = limit.strip_suffix("Mi").unwrap().parse().unwrap();
    mebibytes << 20
}

/// The most that the process has had resident, in bytes.
fn memory(installed: &Installed, pod: &Pod) -> u64 {
    let name = pod.metadata.name.as_ref().unwrap();
    let node = installed.cluster.node();
    let pid = node.pid(RELEASE, name, "webhook").unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.unwrap().trim().strip_suffix(" kB").unwrap();
    kibibytes.parse::<u64>().unwrap() << 10
}
