//! The whole product, seen for the first time: install, annotate, elect, fail over.
//!
//! Must not know: how a leader is elected.

mod failover;

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, ensure};
use contract::names;
use futures::future;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Container};
use kube::Api;
use testcluster::{Cluster, Forwarder, HELM, Options, Tool};
use tokio::time::{Instant, sleep};

use crate::{
    election::{Election, MANIFEST, NAME},
    story::{Story, more, span},
};

const REQUESTS: usize = 200;

/// Show the product on a real API server: install, annotate, elect, fail over
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Leave the cluster up afterwards, until Ctrl-C
    #[arg(long)]
    keep: bool,
}

impl Args {
    pub(crate) async fn run(self) -> Result<()> {
        let Self { keep } = self;
        let story = Story::begin();
        story.tell("Building the sidecar and the webhook, unless they are built ...");
        testcluster::programs().await?;
        story.tell("Starting etcd, kube-apiserver and kube-controller-manager ...");
        let cluster = Cluster::start(Options::default()).await?;
        let server = cluster.version();
        story.tell(&format!("API server {server} is up, with nothing in it."));

        let _webhook = install(&story, &cluster).await?;
        let namespace = cluster.namespace("demo").await?;
        let service = cluster.forward(&namespace, NAME, 80).await?;
        let election = Election::new(&cluster, &namespace)?;
        apply(&story, &cluster, &namespace).await?;
        elect(&story, &election, &service).await?;
        endpoints(&story, &cluster, &election).await?;
        failover::graceful(&story, &cluster, &election, &service).await?;
        failover::forced(&story, &cluster, &election, &service).await?;
        endpoints(&story, &cluster, &election).await?;
        aftermath(&story, &cluster, &namespace).await?;
        story.chapter(&format!(
            "Done: one leader, two fail-overs, {} in all.",
            span(story.elapsed())
        ));
        if keep {
            leave_up(&story, &cluster, &namespace, &service).await?;
        }
        Ok(())
    }
}

async fn install(story: &Story, cluster: &Cluster) -> Result<Forwarder> {
    story.chapter(&format!("Installing the chart with Helm {HELM} ..."));
    let webhook = cluster.install_chart(&[]).await?;
    let releases = cluster.helm(&["list", "--all-namespaces"]).await?;
    story.tell("The webhook is ready.");
    more(&format!(
        "$ helm list --all-namespaces\n{}",
        releases.stdout
    ));
    Ok(webhook)
}

async fn apply(story: &Story, cluster: &Cluster, namespace: &str) -> Result<()> {
    story.chapter("Applying a Service and a Deployment of three replicas, with one annotation:");
    let asks = MANIFEST
        .lines()
        .find(|line| line.contains(names::annotation::SERVICE));
    more(asks.context("web.yaml has no annotation")?);
    let applied = cluster
        .kubectl_stdin(&["-n", namespace, "apply", "-f", "-"], MANIFEST)
        .await?;
    story.tell("Applied.");
    more(&format!(
        "$ kubectl apply -f web.yaml\n{}{}",
        applied.stderr, applied.stdout
    ));

    let deployments: Api<Deployment> = Api::namespaced(cluster.client()?, namespace);
    let deployment = deployments.get(NAME).await?;
    let pod = deployment.spec.and_then(|spec| spec.template.spec);
    let pod = pod.context("the Deployment has no pod template")?;
    let written = |container: &Container| MANIFEST.contains(&format!("name: {}\n", container.name));
    let injected: Vec<_> = pod
        .init_containers
        .iter()
        .flatten()
        .chain(&pod.containers)
        .filter(|container| !written(container))
        .collect();
    ensure!(
        injected
            .iter()
            .any(|container| container.name == names::CONTAINER),
        "the webhook has injected no container {}",
        names::CONTAINER
    );
    for container in injected {
        let image = container.image.as_deref().unwrap_or_default();
        let kind = match container.restart_policy.as_deref() {
            Some("Always") => "native sidecar",
            _ => "container",
        };
        let name = &container.name;
        story.tell(&format!(
            "The webhook injected the {kind} {name}, image {image}."
        ));
    }
    Ok(())
}

async fn elect(story: &Story, election: &Election, service: &Forwarder) -> Result<()> {
    let leader = election.leader_other_than(None).await?;
    story.chapter(&leader.to_string());
    let waits = Instant::now();
    election
        .until("the leader answers through the Service", async || {
            Ok((service.get("/").await.ok() == Some(leader.pod.clone())).then_some(()))
        })
        .await?;
    let waited = span(waits.elapsed());
    story.tell(&format!(
        "It answers through the Service, {waited} after we asked."
    ));
    election.wait_for_replicas().await?;
    story.tell("All three pods are ready: any of them could answer.");

    let mut answers: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..REQUESTS {
        let answer = match service.get("/").await {
            Ok(name) => name,
            Err(error) => format!("nobody ({error:#})"),
        };
        *answers.entry(answer).or_default() += 1;
    }
    story.tell(&format!(
        "{REQUESTS} requests, each a new connection to the Service:"
    ));
    for (name, count) in &answers {
        more(&format!("{count} of {REQUESTS} answered by {name}"));
    }
    ensure!(
        answers.get(&leader.pod) == Some(&REQUESTS),
        "not every request was answered by the leader, {}",
        leader.pod
    );
    Ok(())
}

/// What the application of each pod is told by the sidecar beside it.
async fn endpoints(story: &Story, cluster: &Cluster, election: &Election) -> Result<()> {
    election.wait_for_replicas().await?;
    let pods = election.pods().await?;
    // A standby that has just started has heard of the leader within a second or two.
    let answers = election
        .until("exactly one pod says that it leads", async || {
            let asks = pods.iter().map(|pod| election.ask(cluster, pod));
            let answers = future::try_join_all(asks).await.unwrap_or_default();
            let leaders = answers.iter().filter(|answer| answer["isLeader"] == true);
            Ok((leaders.count() == 1).then_some(answers))
        })
        .await?;
    let port = names::PORT;
    story.chapter("What each application can ask the sidecar beside it:");
    for (pod, answer) in pods.iter().zip(answers) {
        more(&format!("{pod}$ curl localhost:{port}/leader\n  {answer}"));
    }
    Ok(())
}

async fn aftermath(story: &Story, cluster: &Cluster, namespace: &str) -> Result<()> {
    story.chapter("What kubectl shows:");
    let label = names::LABEL;
    let lines: [&[&str]; 3] = [
        &["get", "lease,service", "-o", "wide"],
        &["get", "pods", "-L", label],
        &["events", "--for", "service/web"],
    ];
    for line in lines {
        let arguments = [&["-n", namespace], line].concat();
        let output = cluster.kubectl(&arguments).await?;
        let line = line.join(" ");
        more(&format!("$ kubectl {line}\n{}", output.stdout));
        println!();
    }
    Ok(())
}

async fn leave_up(
    story: &Story,
    cluster: &Cluster,
    namespace: &str,
    service: &Forwarder,
) -> Result<()> {
    let kubectl = Tool::Kubectl.path().await?;
    story.tell("The cluster stays up until Ctrl-C. In another terminal:");
    more(&format!(
        "export KUBECONFIG={}\n\
         alias kubectl='{} -n {namespace}'\n\
         curl {}        # through the Service\n\
         kubectl get lease,service,pods -L {}\n\
         kubectl get service {NAME} -w -o wide      # who is selected\n\
         kubectl delete pod NAME                    # the leader's, and watch it fail over\n\
         kubectl annotate deployment {NAME} {}-     # the Service is given back\n\
         ls {}                # what every container says",
        cluster.kubeconfig().display(),
        kubectl.display(),
        service.url(),
        names::LABEL,
        names::annotation::SERVICE,
        cluster.folder().join("logs").display(),
    ));
    sleep(Duration::MAX).await;
    Ok(())
}
