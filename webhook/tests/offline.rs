//! The subcommands as a user runs them: a process, its input, its output, its exit code.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
};

use serde_json::Value;
use testcluster::troubleshooting::documented;

const DEPLOYMENT: &str = "\
# Source: shop/templates/web.yaml
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  annotations:
    service-leader-election/service: web
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      serviceAccountName: web
      containers:
        - name: app
          args: [\"yes\", \"0644\", '1_000']
";

const OTHER: &str = "---\n# Not ours\nkind:  ConfigMap\ndata: {a:   'x'}\n";

struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

fn run(arguments: &[&str], input: &str) -> Ended {
    run_with(&[], arguments, input)
}

fn run_with(variables: &[(&str, &str)], arguments: &[&str], input: &str) -> Ended {
    let mut command = command(arguments);
    command.envs(variables.iter().copied());
    ended(command, input)
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_service-leader-election-webhook"));
    command.args(arguments).env_clear();
    command
}

fn ended(mut command: Command, input: &str) -> Ended {
    let mut process = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = process.stdin.take().unwrap();
    // One that does not read its input closes it.
    drop(stdin.write_all(input.as_bytes()));
    drop(stdin);
    let ended = process.wait_with_output().unwrap();
    Ended {
        code: ended.status.code(),
        out: String::from_utf8(ended.stdout).unwrap(),
        err: String::from_utf8(ended.stderr).unwrap(),
    }
}

#[test]
fn a_stream_is_filtered_as_a_post_renderer_does() {
    let input = [OTHER, "---\n", DEPLOYMENT, OTHER].concat();
    let injected = run(&["inject", "--image", "sidecar:1"], &input);
    assert_eq!((injected.code, injected.err.as_str()), (Some(0), ""));
    let head = [OTHER, "---\n# Source: shop/templates/web.yaml\n"].concat();
    assert!(injected.out.starts_with(&head), "{}", injected.out);
    assert!(injected.out.ends_with(OTHER), "{}", injected.out);
    assert!(
        injected.out.contains("image: sidecar:1"),
        "{}",
        injected.out
    );
    assert!(injected.out.contains("- \"1_000\"\n"), "{}", injected.out);

    let check = run(
        &["inject", "--image=sidecar:1", "--check", "-"],
        &injected.out,
    );
    assert_eq!(
        (check.code, check.out.as_str(), check.err.as_str()),
        (Some(0), "", "")
    );
    let out = run(&["uninject"], &injected.out);
    assert_eq!(out.code, Some(0));
    assert!(!out.out.contains("sidecar:1"), "{}", out.out);
}

#[test]
fn nothing_is_written_if_one_value_cannot_be_obeyed() {
    let bad = DEPLOYMENT.replace("service: web", "service: Web");
    let input = [DEPLOYMENT, "---\n", &bad].concat();
    let ended = run(&["inject"], &input);
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""));
    let expected = "error: stdin, document 2, Deployment web: annotation \
                    service-leader-election/service is \"Web\": write at most 63";
    assert!(ended.err.contains(expected), "{}", ended.err);
    documented("command-denied", &ended.err).unwrap();
}

#[test]
fn check_says_what_would_be_changed_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), OTHER).unwrap();
    fs::write(folder.path().join("b.yml"), DEPLOYMENT).unwrap();
    let path = folder.path().to_str().unwrap();
    let ended = run(&["inject", "--check", path], "");
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""));
    assert_eq!(
        ended.err,
        format!("would be injected: {path}/b.yml, document 1, Deployment web\n")
    );
    documented("command-would-be-injected", &ended.err).unwrap();
    assert_eq!(
        fs::read_to_string(folder.path().join("b.yml")).unwrap(),
        DEPLOYMENT
    );
    let one = folder.path().join("a.yaml");
    let ended = run(&["inject", "--check", one.to_str().unwrap()], "");
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
}

#[test]
fn the_settings_are_flags() {
    let flags = [
        "inject",
        "--image=sidecar:2",
        "--pull-policy=Never",
        "--native=false",
        "--run-as-user=7",
        "--output=patch",
    ];
    let ended = run(&flags, DEPLOYMENT);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let line: Value = serde_json::from_str(&ended.out).unwrap();
    let operations = line["patch"].as_array().unwrap();
    let container = operations
        .iter()
        .find(|operation| operation["path"] == "/spec/template/spec/containers/1")
        .unwrap();
    let container = &container["value"];
    assert_eq!(container["image"], "sidecar:2");
    assert_eq!(container["imagePullPolicy"], "Never");
    assert_eq!(container["securityContext"]["runAsUser"], 7);
}

#[test]
fn an_explanation_goes_through_all_documents() {
    let ended = run(&["explain"], &[OTHER, "---\n", DEPLOYMENT].concat());
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    assert!(
        ended.out.contains("\nDeployment web (stdin, document 2)\n"),
        "{}",
        ended.out
    );
    assert!(ended.out.contains("decision: injected"), "{}", ended.out);
    let bad = DEPLOYMENT.replace("service: web", "service: Web");
    let ended = run(&["explain"], &bad);
    assert_eq!(ended.code, Some(1));
    assert!(ended.out.contains("decision: denied"), "{}", ended.out);
    let other = DEPLOYMENT.replace("service-leader-election/service", "example.org/service");
    let ended = run(&["explain"], &other);
    documented("explain-no-annotation", &ended.out).unwrap();
}

#[test]
fn the_items_of_a_list_are_read_and_what_is_not_read_is_told() {
    let api_version = "apiVersion: apps/v1\n";
    let (_, web) = DEPLOYMENT.split_once("kind: Deployment\n").unwrap();
    let item = web.trim_end().replace('\n', "\n    ");
    let list = format!("{api_version}kind: DeploymentList\nitems:\n  - {item}\n");
    let typed = run(&["inject", "--check"], &list);
    assert_eq!(typed.code, Some(1), "{}", typed.err);
    documented("command-would-be-injected", &typed.err).unwrap();

    for command in ["inject", "uninject", "explain"] {
        let ended = run(&[command], "[{kind: X}]\n");
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        documented("command-array", &ended.err).unwrap();
    }
}

#[test]
fn a_path_that_exists_is_no_workload_of_a_cluster() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("deployments")).unwrap();
    fs::write(folder.path().join("deployments/web.yaml"), DEPLOYMENT).unwrap();
    let mut explain = command(&["explain", "deployments/web.yaml"]);
    explain.current_dir(folder.path());
    let ended = ended(explain, "");
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    let heading = "Deployment web (deployments/web.yaml, document 1)\n";
    assert!(ended.out.starts_with(heading), "{}", ended.out);
}

#[test]
fn what_cannot_be_read_is_told() {
    for (arguments, input, expected) in [
        (
            &["inject", "absent.yaml"][..],
            "",
            "error: absent.yaml cannot be read: ",
        ),
        (
            &["inject"][..],
            "a: [\n",
            "error: stdin: document 1 is no YAML: ",
        ),
        (
            &["explain", "deployment/web"][..],
            "",
            "error: no API server is configured",
        ),
    ] {
        let ended = run(arguments, input);
        assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""));
        assert!(ended.err.starts_with(expected), "{}", ended.err);
        assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
    }
    let ended = run(&["inject"], "a: [\n");
    documented("command-no-yaml", &ended.err).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ended = run(&["inject", folder.path().to_str().unwrap()], "");
    documented("command-folder-empty", &ended.err).unwrap();
}

#[test]
fn an_image_and_a_user_that_cannot_be_are_refused() {
    for flag in [
        "--image=",
        "--image=a b",
        "--image=a\n",
        "--sidecar-image=\t",
    ] {
        let ended = run(&["inject", flag], DEPLOYMENT);
        assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{flag:?}");
        assert!(ended.err.contains("write an image's name"), "{}", ended.err);
    }
    for value in ["0", "-1", "root", ""] {
        let flag = format!("--sidecar-user={value}");
        let ended = run(&["inject", &flag], DEPLOYMENT);
        assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{flag}");
        documented("command-user", &ended.err).unwrap();
    }
    let ended = run(&["inject", "--image=a b"], DEPLOYMENT);
    documented("command-image", &ended.err).unwrap();
    let webhook = run(&["--namespace=x", "--sidecar-image="], "");
    assert_eq!(webhook.code, Some(2));
    assert!(
        webhook.err.contains("write an image's name"),
        "{}",
        webhook.err
    );
}

#[test]
fn what_a_patch_cannot_add_is_not_left_out_in_silence() {
    let ended = run(&["inject", "--rbac", "--output=patch"], DEPLOYMENT);
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""));
    assert!(
        ended.err.starts_with("error: --rbac adds objects"),
        "{}",
        ended.err
    );
}

#[test]
fn without_a_subcommand_the_webhook_is_run() {
    let ended = run(&[], "");
    assert_eq!(ended.code, Some(2));
    assert!(ended.err.contains("--sidecar-image"), "{}", ended.err);
    let flags = ["--sidecar-image=sidecar:1", "--namespace=x"];
    // As the chart runs it.
    let variables = [
        ("SERVICE_LEADER_ELECTION_WEBHOOK_SIDECAR_IMAGE", "sidecar:1"),
        ("SERVICE_LEADER_ELECTION_WEBHOOK_SIDECAR_NATIVE", "auto"),
        ("SERVICE_LEADER_ELECTION_WEBHOOK_NAMESPACE", "x"),
    ];
    for ended in [run(&flags, ""), run_with(&variables, &[], "")] {
        assert_eq!(ended.code, Some(1));
        assert!(
            ended.err.contains("no API server is configured"),
            "{}",
            ended.err
        );
    }
    let inject = run_with(&variables, &["inject", "--output=patch"], DEPLOYMENT);
    assert_eq!(inject.code, Some(0), "{}", inject.err);
    assert!(inject.out.contains("sidecar:1"), "{}", inject.out);
}

/// A value of each variable of the webhook's, as its help names them.
const VARIABLES: [(&str, &str); 15] = [
    ("CONFIGURATION", "x"),
    ("DRAIN_SECONDS", "1"),
    ("HOST", "x"),
    ("LISTEN", "[::]:8443"),
    ("LOG_FORMAT", "text"),
    ("LOG_LEVEL", "debug"),
    ("METRICS_LISTEN", "[::]:8080"),
    ("NAMESPACE", "x"),
    ("SECRET", "x"),
    ("SERVICE", "x"),
    ("SIDECAR_CLUSTER_ROLE", "x"),
    ("SIDECAR_IMAGE", "sidecar:1"),
    ("SIDECAR_NATIVE", "always"),
    ("SIDECAR_PULL_POLICY", "Never"),
    ("SIDECAR_USER", "7"),
];

#[test]
fn a_subcommand_works_whichever_variable_is_set() {
    const PREFIX: &str = "SERVICE_LEADER_ELECTION_WEBHOOK_";
    let help = run(&["--help"], "").out;
    let named = help.lines().filter_map(|line| {
        let (_, variable) = line.split_once("[env: ")?;
        variable.split_once('=')?.0.strip_prefix(PREFIX)
    });
    let mut named: Vec<&str> = named.collect();
    named.sort_unstable();
    assert_eq!(named, VARIABLES.map(|(name, _)| name));
    for (name, value) in VARIABLES {
        let variable = [PREFIX, name].concat();
        for arguments in [
            &["inject"][..],
            &["inject", "--check"],
            &["uninject"],
            &["explain"],
        ] {
            let ended = run_with(&[(&variable, value)], arguments, OTHER);
            assert_eq!(
                (ended.code, ended.err.as_str()),
                (Some(0), ""),
                "{name} {arguments:?}"
            );
        }
    }
}
