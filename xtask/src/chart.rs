//! The chart, as Helm sees it without a cluster.

use std::process::Output;

use anyhow::{Result, ensure};
use testcluster::Tool;

use crate::workspace::command;

const CHART: &str = "charts/service-leader-election";

/// It lints, it renders the same twice, and it refuses a value that does not exist.
pub(crate) async fn check() -> Result<()> {
    let lint = helm(&["lint", "--strict", CHART]).await?;
    let said = String::from_utf8_lossy(&lint.stdout);
    ensure!(lint.status.success(), "helm lint: {said}");
    println!("helm lint: clean");

    let template = ["template", "release", CHART, "--namespace", "some"];
    let first = helm(&template).await?;
    let second = helm(&template).await?;
    let said = String::from_utf8_lossy(&first.stderr);
    ensure!(first.status.success(), "helm template: {said}");
    ensure!(
        first.stdout == second.stdout,
        "helm template renders something else each time: tools that compare would never agree"
    );
    println!(
        "helm template: {} bytes, twice the same",
        first.stdout.len()
    );

    let misspelt = helm(&[&template[..], &["--set", "replcias=3"]].concat()).await?;
    let said = String::from_utf8_lossy(&misspelt.stderr);
    ensure!(
        !misspelt.status.success() && said.contains("replcias"),
        "a misspelt value is not refused by its name: see values.schema.json\n{said}"
    );
    println!("a misspelt value is refused");

    for (action, bindings) in [
        ("Deny", 3),
        ("Warn", 3),
        ("Audit", 3),
        ("Off", 0),
        ("false", 0),
    ] {
        let chosen = format!("policies.action={action}");
        let rendered = helm(&[&template[..], &["--set", &chosen]].concat()).await?;
        let text = String::from_utf8_lossy(&rendered.stdout);
        let found = text
            .matches("kind: ValidatingAdmissionPolicyBinding")
            .count();
        ensure!(
            rendered.status.success() && found == bindings,
            "{chosen} renders {found} bindings of policies, and not {bindings}"
        );
    }
    println!("policies: by value, three or none");

    let readers = [&template[..], &["--set", "sidecar.nodeReaders={shop,*}"]].concat();
    let rendered = helm(&readers).await?;
    let text = String::from_utf8_lossy(&rendered.stdout);
    let plain = String::from_utf8_lossy(&first.stdout);
    let groups = text.matches("name: system:serviceaccounts").count();
    ensure!(
        rendered.status.success() && groups == 2 && !plain.contains("nodes"),
        "sidecar.nodeReaders renders {groups} groups for two, or the chart grants nodes without it"
    );
    println!("nodes: read by those whom a value names");

    let outside = "webhook.url=https://outside.example.org:9443/mutate";
    let rendered = helm(&[&template[..], &["--set", outside]].concat()).await?;
    webhooks(&plain, |path| format!("path: /{path}\n"))?;
    let text = String::from_utf8_lossy(&rendered.stdout);
    webhooks(&text, |path| {
        format!("url: \"https://outside.example.org:9443/{path}\"\n")
    })?;
    println!("webhooks: three, called by Service or URL");

    for (version, is_enough) in [("v1.28.15", false), ("v1.29.0", true)] {
        let rendered = helm(&[&template[..], &["--kube-version", version]].concat()).await?;
        ensure!(
            rendered.status.success() == is_enough,
            "the chart's kubeVersion is wrong: an API server older than 1.29 refuses the optional \
             types of the matchConditions, and one of 1.29 takes them"
        );
    }
    println!("Kubernetes: 1.29 is the least");
    Ok(())
}

/// Each webhook is called at its path, and says what it does beside its answer and who waits for it.
fn webhooks(text: &str, called: impl Fn(&str) -> String) -> Result<()> {
    for (name, effects, policy, path) in [
        ("workloads", "None", "Fail", "mutate"),
        ("pods", "NoneOnDryRun", "Fail", "mutate"),
        ("words", "None", "Ignore", "words"),
    ] {
        let begin = format!("- name: {name}.service-leader-election.io\n");
        let rest = text.split_once(&begin).map_or("", |(_, rest)| rest);
        let own = rest.split_once("    rules:\n").map_or("", |(own, _)| own);
        for line in [
            &format!("sideEffects: {effects}\n"),
            &format!("failurePolicy: {policy}\n"),
            &called(path),
        ] {
            ensure!(own.contains(line), "webhook {name} lacks {line:?}:\n{own}");
        }
    }
    Ok(())
}

async fn helm(arguments: &[&str]) -> Result<Output> {
    let home = tempfile::tempdir()?;
    let mut helm = command(Tool::Helm.path().await?);
    helm.args(arguments).env("HOME", home.path());
    Ok(helm.output().await?)
}
