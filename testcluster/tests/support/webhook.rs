//! The webhook's own pods: set otherwise, and taken down.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt as _, api::ListParams};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{Installed, deployment};

/// The chart's release, and the namespace that it is in.
pub const RELEASE: &str = "service-leader-election";
const WEBHOOK: &str = "deployment/service-leader-election-webhook";

impl Installed {
    /// Has the webhook run with these variables (`NAME=value`; `NAME-` for none), and waits until
    /// nobody else answers.
    pub async fn set_webhook(&self, variables: &[&str]) {
        // Nobody is sent elsewhere here: there is nothing to wait for when one stops.
        const AT_ONCE: &str = "SERVICE_LEADER_ELECTION_WEBHOOK_DRAIN_SECONDS=0";
        let set = ["-n", RELEASE, "set", "env", WEBHOOK, AT_ONCE];
        self.kubectl(&[&set, variables].concat()).await;
        let rollout = ["-n", RELEASE, "rollout", "status", WEBHOOK, "--timeout=60s"];
        self.kubectl(&rollout).await;
        self.until_there_are(1).await;
        let annotations = json!({"service-leader-election/service": "web"});
        let manifest = deployment("web", 0, &annotations).to_string();
        let ask = ["create", "--dry-run=server", "-f", "-"];
        let deadline = Instant::now() + Duration::from_mins(1);
        while let Err(error) = self.cluster.kubectl_stdin(&ask, &manifest).await {
            assert!(Instant::now() < deadline, "nobody answers: {error:#}");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Ends the webhook for good.
    pub async fn take_webhook_down(&self) {
        self.kubectl(&["-n", RELEASE, "scale", WEBHOOK, "--replicas=0"])
            .await;
        self.until_there_are(0).await;
    }

    /// The name of the only pod of the webhook.
    pub async fn webhook_pod(&self) -> String {
        let mut names = self.webhook_pods().await;
        assert_eq!(names.len(), 1, "{names:?}");
        names.remove(0)
    }

    async fn until_there_are(&self, pods: usize) {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let left = self.webhook_pods().await;
            if left.len() == pods {
                return;
            }
            assert!(Instant::now() < deadline, "still there: {left:?}");
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn webhook_pods(&self) -> Vec<String> {
        let pods: Api<Pod> = Api::namespaced(self.cluster.client().unwrap(), RELEASE);
        let pods = pods.list(&ListParams::default()).await.unwrap();
        pods.iter().map(Pod::name_any).collect()
    }

    async fn kubectl(&self, arguments: &[&str]) {
        self.cluster.kubectl(arguments).await.unwrap();
    }
}
