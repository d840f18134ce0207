//! The webhook's work without the webhook: what the commands write is what kubectl, Helm and the
//! API server take, and an election runs on it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, in its helpers too, and says why"
)]

mod support;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::{Value, json};
use support::{Scene, deployment, service};
use testcluster::{Cluster, Options, Tool, programs, troubleshooting::documented};
use tokio::{io::AsyncWriteExt, process::Command, sync::OnceCell};

/// What people write, and what YAML 1.1, YAML 1.2 and Go take for different things.
const MANIFEST: &str = r##"# Kept.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: {"on": "yes", "1": "1", "1_000": "y", "null": "~", "n": "no"}
  annotations:
    service-leader-election/service: web
    "2024-01-01": "2024-01-01"
    long: "word word word word word word word word word word word word word word word word word: # end "
spec:
  replicas: 0x3
  paused: no
  minReadySeconds: 1_0
  progressDeadlineSeconds: 0o600
  selector: &selector
    matchLabels: {app: web}
  template:
    metadata: {labels: {app: web}}
    spec:
      hostNetwork: off
      serviceAccountName: web
      containers:
        - name: app
          image: example.org/app:1
          args: ["yes", 'on', "y", "1_000", "12:30:45", 12:30:45, "0644", "0o17", "089", "1e3", "",
            "null", "~", "0x1F", "-", "- a", "a: b", "a #b", "#", "=", "<<", "+1", ".5", "1.", ".inf",
            "a\tb", " a", "a ", "ä", "\u2028", "\u0085", "{}", "[]", "*a", "&a", "!a", "%a", "@a",
            "'", "\"", "\\", 2024-01-01, 12e4567, -1e999, tRUE, "oFF", yES]
          command:
            - sh
            - -c
            - |
              if true; then
                exec app  # so

              fi
            - |-

              first line empty
            - >
              folded
              text
            - "  indented\nfirst"
            - "trailing \nspace\n\n"
            - "windows\r\nline"
      volumes:
        - name: a
          secret: {secretName: a, defaultMode: 0644}
        - name: b
          secret: {secretName: b, defaultMode: 420}
        - name: c
          secret: {secretName: c, defaultMode: 0_644}
"##;

async fn cluster() -> &'static Cluster {
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    let start = async || Cluster::start(Options::default()).await.unwrap();
    CLUSTER.get_or_init(start).await
}

/// Standard output, standard error and the exit code.
async fn run(command: &mut Command, input: &str) -> (String, String, Option<i32>) {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Nothing here is longer than what a pipe holds.
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        text(output.stdout),
        text(output.stderr),
        output.status.code(),
    )
}

async fn webhook(arguments: &[&str], input: &str) -> String {
    let program = &programs().await.unwrap().webhook;
    let (out, err, code) = run(Command::new(program).args(arguments), input).await;
    assert_eq!(code, Some(0), "{err}");
    out
}

/// A manifest as kubectl reads it, patched.
async fn as_kubectl_has_it(manifest: &str, kind: &str, patch: &str) -> Value {
    let mut kubectl = Command::new(Tool::Kubectl.path().await.unwrap());
    let kind = format!("--type={kind}");
    kubectl.args([
        "patch", "--local", "-f", "-", &kind, "-p", patch, "-o", "json",
    ]);
    let (out, err, code) = run(&mut kubectl, manifest).await;
    assert_eq!(code, Some(0), "{err}\n{manifest}");
    serde_json::from_str(&out).unwrap()
}

#[tokio::test]
async fn kubectl_reads_an_injected_manifest_as_the_original_and_the_patch() {
    let injected = webhook(&["inject"], MANIFEST).await;
    assert!(injected.starts_with("# Kept.\napiVersion"), "{injected}");
    let line: Value =
        serde_json::from_str(&webhook(&["inject", "--output=patch"], MANIFEST).await).unwrap();
    let expected = as_kubectl_has_it(MANIFEST, "json", &line["patch"].to_string()).await;
    let found = as_kubectl_has_it(&injected, "merge", "{}").await;
    assert_eq!(found, expected, "{injected}");
    for volume in ["0", "1", "2"] {
        let path = format!("/spec/template/spec/volumes/{volume}/secret/defaultMode");
        assert_eq!(found.pointer(&path), Some(&json!(420)), "{path}");
    }

    let out = webhook(&["uninject"], &injected).await;
    let original = as_kubectl_has_it(MANIFEST, "merge", "{}").await;
    assert_eq!(
        as_kubectl_has_it(&out, "merge", "{}").await,
        original,
        "{out}"
    );
}

#[tokio::test]
async fn helm_runs_it_as_a_post_renderer() {
    let folder = tempfile::tempdir().unwrap();
    let chart = folder.path().join("chart");
    fs::create_dir_all(chart.join("templates")).unwrap();
    let description = "apiVersion: v2\nname: shop\nversion: 0.1.0\n";
    fs::write(chart.join("Chart.yaml"), description).unwrap();
    fs::write(chart.join("templates/web.yaml"), MANIFEST).unwrap();
    let plugin = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/helm-post-renderer");
    let plugin = plugin.to_str().unwrap();
    helm(folder.path(), &["plugin", "install", plugin]).await;
    let rendered = helm(
        folder.path(),
        &[
            "template",
            "shop",
            chart.to_str().unwrap(),
            "--post-renderer=service-leader-election",
            "--post-renderer-args=--rbac",
            "--post-renderer-args=--image=sidecar:1",
        ],
    )
    .await;
    assert!(rendered.contains("image: sidecar:1"), "{rendered}");
    assert!(rendered.contains("kind: RoleBinding"), "{rendered}");
}

async fn helm(home: &Path, arguments: &[&str]) -> String {
    let webhook = &programs().await.unwrap().webhook;
    let mut path = vec![webhook.parent().unwrap().to_owned()];
    path.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    let mut helm = Command::new(Tool::Helm.path().await.unwrap());
    helm.args(arguments)
        .env("HELM_DATA_HOME", home.join("data"))
        .env("HELM_CACHE_HOME", home.join("cache"))
        .env("HELM_CONFIG_HOME", home.join("config"))
        .env_remove("HELM_PLUGINS")
        .env("PATH", env::join_paths(path).unwrap());
    let (out, err, code) = run(&mut helm, "").await;
    assert_eq!(code, Some(0), "{err}");
    out
}

/// What `explain` says to whom this kubeconfig is.
async fn explain(scene: &Scene, kubeconfig: &Path) -> String {
    let mut command = Command::new(&programs().await.unwrap().webhook);
    command
        .args(["explain", "deployment/web", "-n", &scene.namespace])
        .env("KUBECONFIG", kubeconfig);
    let (out, err, code) = run(&mut command, "").await;
    assert_eq!(code, Some(0), "{err}");
    out
}

#[tokio::test]
async fn an_election_runs_without_the_webhook_and_can_be_explained() {
    let scene = Scene::enter(cluster().await, "offline").await;
    let annotations = json!({"service-leader-election/service": "web"});
    let input = format!(
        "{}\n{}\n",
        service("web"),
        deployment("web", 2, &annotations)
    );
    let injected = webhook(&["inject", "--rbac"], &input).await;
    scene.kubectl_stdin(&["apply", "-f", "-"], &injected).await;
    scene.all_ready("web", 2).await;
    let leader = scene.agreed("web", |_| true).await;
    scene.told("web", &["LeaderElected"]).await;
    scene.kubectl(&["delete", "pod", &leader.pod]).await;
    scene.next("web", &leader).await;

    let administrator = scene.cluster.kubeconfig();
    let told = explain(&scene, administrator).await;
    let account = "service-leader-election-web";
    let user = format!("system:serviceaccount:{}:{account}", scene.namespace);
    for line in [
        "web: it selects app=web".to_owned(),
        "webhook: workloads.service-leader-election.io".to_owned(),
        "the namespace: it asks for no service mesh".to_owned(),
        "decision: kept".to_owned(),
        "changes: none".to_owned(),
        format!("rights of {user}:"),
        "services/web: get yes, list yes, patch yes, watch yes".to_owned(),
        "pods: get yes, list yes, patch yes, watch yes".to_owned(),
        "events: create yes, patch yes".to_owned(),
    ] {
        assert!(told.contains(&line), "{line:?} is not in\n{told}");
    }
    documented("explain-no-policies", &told).unwrap();
    assert!(
        !told.contains(" no,") && !told.contains("kind: Role"),
        "{told}"
    );

    scene.kubectl(&["delete", "rolebinding", account]).await;
    scene.apply(&binding()).await;
    let told = explain(&scene, administrator).await;
    for line in [
        "services/web: get no, list no, patch no, watch no",
        "kind: RoleBinding",
        "service-leader-election-pods: Warn, Audit",
    ] {
        assert!(told.contains(line), "{line:?} is not in\n{told}");
    }

    documented("explain-rights-missing", &told).unwrap();

    let told = explain(&scene, &viewer(&scene).await).await;
    for line in ["web: it selects app=web", "policies: unknown"] {
        assert!(told.contains(line), "{line:?} is not in\n{told}");
    }
    documented("explain-may-not-ask", &told).unwrap();
    scene
        .kubectl(&["delete", "validatingadmissionpolicybinding", "--all"])
        .await;
}

/// Applies an injected Deployment whose application has limits.
async fn bounded(scene: &Scene, annotation: Option<(&str, &str)>) {
    let mut annotations = json!({"service-leader-election/service": "web"});
    if let Some((key, value)) = annotation {
        annotations[format!("service-leader-election/{key}")] = json!(value);
    }
    let mut web = deployment("web", 1, &annotations);
    web["spec"]["template"]["spec"]["containers"][0]["resources"] =
        json!({"limits": {"cpu": "100m", "memory": "64Mi"}});
    let injected = webhook(&["inject", "--rbac"], &web.to_string()).await;
    scene.kubectl_stdin(&["apply", "-f", "-"], &injected).await;
}

#[tokio::test]
async fn what_a_quota_asks_of_every_container_is_written_in_an_annotation() {
    let scene = Scene::enter(cluster().await, "quota").await;
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "cpu"},
        "spec": {"hard": {"limits.cpu": "4"}},
    });
    scene.apply(&quota).await;
    let used = [
        "get",
        "resourcequota",
        "cpu",
        "-o",
        "jsonpath={.status.used}",
    ];
    scene
        .eventually("the quota is counted", async || {
            (!scene.kubectl(&used).await.is_empty()).then_some(())
        })
        .await;
    bounded(&scene, None).await;
    scene
        .documented_event("quota-asks-for-a-limit", "ReplicaSet")
        .await;
    bounded(&scene, Some(("cpu-limit", "100m"))).await;
    scene.all_ready("web", 1).await;
}

#[tokio::test]
async fn what_a_limit_range_asks_of_every_container_is_written_in_an_annotation() {
    let scene = Scene::enter(cluster().await, "range").await;
    let range = json!({
        "apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "cpu"},
        "spec": {"limits": [{"type": "Container", "min": {"cpu": "50m"}}]},
    });
    scene.apply(&range).await;
    bounded(&scene, None).await;
    scene
        .documented_event("limit-range-asks-for-more", "ReplicaSet")
        .await;
    bounded(&scene, Some(("cpu-request", "50m"))).await;
    scene.all_ready("web", 1).await;
}

/// A policy of the chart's, as far as can be seen from outside.
fn binding() -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "service-leader-election-pods"},
        "spec": {
            "policyName": "service-leader-election-pods",
            "validationActions": ["Warn", "Audit"],
        },
    })
}

/// The kubeconfig of somebody who may read what stands in the namespace, and nothing else.
async fn viewer(scene: &Scene) -> PathBuf {
    let grant = [
        "create",
        "rolebinding",
        "viewer",
        "--clusterrole=view",
        "--user=viewer",
    ];
    scene.kubectl(&grant).await;
    let path = scene.cluster.folder().join("viewer.kubeconfig");
    fs::copy(scene.cluster.kubeconfig(), &path).unwrap();
    let name = ["config", "view", "-o", "jsonpath={.users[0].name}"];
    let name = scene.cluster.kubectl(&name).await.unwrap().stdout;
    let file = format!("--kubeconfig={}", path.display());
    let user = format!("users.{name}.act-as");
    let set = ["config", &file, "set", &user, "viewer"];
    scene.cluster.kubectl(&set).await.unwrap();
    path
}
