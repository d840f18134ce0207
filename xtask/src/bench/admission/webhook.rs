//! What the webhook's processes say of themselves, and what the kernel says of them.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams},
};
use testcluster::Cluster;
use tokio::time::{Instant, sleep};

use crate::{
    bench::process::{Memory, age},
    election::PATIENCE,
};

const NAMESPACE: &str = "service-leader-election";
const CONTAINER: &str = "webhook";
const PODS: &str = "app.kubernetes.io/component=webhook";
const PLAIN_PORT: u16 = 8080;
/// A controller that has done nothing for so long has nothing to do. Another replica's it leaves to that one.
const QUIET: Duration = Duration::from_secs(4);
const METRIC: &str = "service_leader_election_webhook_";

/// The webhook's pods.
pub(super) struct Webhook<'a> {
    cluster: &'a Cluster,
    pods: Api<Pod>,
}

impl<'a> Webhook<'a> {
    pub(super) fn new(cluster: &'a Cluster) -> Result<Self> {
        let pods = Api::namespaced(cluster.client()?, NAMESPACE);
        Ok(Self { cluster, pods })
    }

    /// The metrics of all pods, added up.
    pub(super) async fn metrics(&self) -> Result<Metrics> {
        let mut all = Metrics::default();
        for pod in self.running().await? {
            let node = self.cluster.node();
            let (status, text) = node.get(NAMESPACE, &pod, PLAIN_PORT, "/metrics").await?;
            anyhow::ensure!(status == 200, "{pod}: {status} {text}");
            all.add(&text);
        }
        Ok(all)
    }

    /// The largest of each kind among the pods.
    pub(super) async fn memory(&self) -> Result<Memory> {
        let mut most = Memory {
            resident: 0,
            anonymous: 0,
        };
        for pod in self.running().await? {
            let pid = self.pid(&pod).context("a webhook's pod has no process")?;
            let memory = Memory::of(pid)?;
            most.resident = most.resident.max(memory.resident);
            most.anonymous = most.anonymous.max(memory.anonymous);
        }
        Ok(most)
    }

    /// Waits until the controllers have nothing to do.
    pub(super) async fn settle(&self) -> Result<()> {
        let deadline = Instant::now() + 5 * PATIENCE;
        let mut before = self.metrics().await?.reconciliations();
        while Instant::now() < deadline {
            sleep(QUIET).await;
            let after = self.metrics().await?.reconciliations();
            if after == before {
                return Ok(());
            }
            before = after;
        }
        bail!("the webhook's controllers do not come to rest")
    }

    /// Deletes a pod, and says how old the process of the next one is when it is ready first.
    pub(super) async fn start_anew(&self) -> Result<Duration> {
        let before = self.running().await?;
        let one = before.first().context("no webhook runs")?;
        self.pods.delete(one, &DeleteParams::default()).await?;
        let deadline = Instant::now() + PATIENCE;
        let next = loop {
            anyhow::ensure!(Instant::now() < deadline, "no pod follows a deleted one");
            let running = self.running().await?;
            let new = running.into_iter().find(|pod| !before.contains(pod));
            if let Some(new) = new.filter(|pod| self.pid(pod).is_some()) {
                break new;
            }
            sleep(Duration::from_millis(5)).await;
        };
        let pid = self.pid(&next).context("the process has ended")?;
        loop {
            anyhow::ensure!(Instant::now() < deadline, "{next} does not become ready");
            let node = self.cluster.node();
            let asked = node.get(NAMESPACE, &next, PLAIN_PORT, "/readyz").await;
            if asked.is_ok_and(|(status, _)| status == 200) {
                return age(pid);
            }
            sleep(Duration::from_millis(2)).await;
        }
    }

    async fn running(&self) -> Result<Vec<String>> {
        let pods = self.pods.list(&ListParams::default().labels(PODS)).await?;
        let running = pods
            .iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none())
            .map(ResourceExt::name_any);
        Ok(running.collect())
    }

    fn pid(&self, pod: &str) -> Option<u32> {
        self.cluster.node().pid(NAMESPACE, pod, CONTAINER)
    }
}

/// Every series that counts something, with its value.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Metrics(BTreeMap<String, u64>);

impl Metrics {
    fn add(&mut self, text: &str) {
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if let Some((series, value)) = line.rsplit_once(' ')
                && let Ok(value) = value.parse::<u64>()
            {
                *self.0.entry(series.to_owned()).or_default() += value;
            }
        }
    }

    /// Reviews that were answered.
    pub(super) fn reviews(&self) -> u64 {
        self.sum("admissions_total")
    }

    fn reconciliations(&self) -> u64 {
        self.sum("reconciliations_total")
    }

    fn sum(&self, name: &str) -> u64 {
        let begin = format!("{METRIC}{name}");
        let series = self.0.iter();
        series
            .filter(|(series, _)| series.starts_with(&begin))
            .map(|(_, value)| value)
            .sum()
    }

    /// The handler's p50 and p99 since `before`, in seconds.
    pub(super) fn handler_since(&self, before: &Self) -> Result<(f64, f64)> {
        let percentile = |percent| self.handler(before, percent);
        percentile(50)
            .zip(percentile(99))
            .context("the webhook has no times of its handler")
    }

    /// What so many of a hundred handler times since `before` did not exceed, in seconds: the upper
    /// bound of the bucket that it falls into.
    fn handler(&self, before: &Self, percent: u64) -> Option<f64> {
        let begin = format!("{METRIC}handler_seconds_bucket{{le=\"");
        let mut buckets: Vec<(f64, u64)> = self
            .0
            .iter()
            .filter_map(|(series, count)| {
                let bound = series.strip_prefix(&begin)?.strip_suffix("\"}")?;
                let earlier = before.0.get(series).copied().unwrap_or_default();
                Some((bound.parse().ok()?, count.saturating_sub(earlier)))
            })
            .collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (_, all) = *buckets.last()?;
        let rank = (all * percent).div_ceil(100);
        let found = buckets.iter().find(|(_, count)| *count >= rank);
        found.filter(|_| all > 0).map(|(bound, _)| *bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(counts: [u32; 3], reviews: u32) -> Metrics {
        let [first, second, all] = counts;
        let mut metrics = Metrics::default();
        metrics.add(&format!(
            "# TYPE x histogram\n\
             {METRIC}handler_seconds_bucket{{le=\"0.0001\"}} {first}\n\
             {METRIC}handler_seconds_bucket{{le=\"0.001\"}} {second}\n\
             {METRIC}handler_seconds_bucket{{le=\"+Inf\"}} {all}\n\
             {METRIC}admissions_total{{outcome=\"injected\"}} {reviews}\n\
             {METRIC}admissions_total{{outcome=\"denied\"}} 1\n"
        ));
        metrics
    }

    #[test]
    fn percentiles_are_of_what_came_since() {
        let before = metrics([0, 0, 1000], 5);
        let after = metrics([90, 99, 1100], 8);
        assert_eq!(after.handler(&before, 50), Some(0.0001));
        assert_eq!(after.handler(&before, 99), Some(0.001));
        assert_eq!(after.handler(&before, 100), Some(f64::INFINITY));
        assert_eq!(after.handler(&after, 50), None);
    }

    #[test]
    fn the_metrics_of_several_pods_are_added_up() {
        let mut both = metrics([1, 2, 3], 5);
        let other = metrics([1, 2, 3], 8);
        for (series, value) in other.0 {
            both.add(&format!("{series} {value}"));
        }
        assert_eq!(both.reviews(), 15);
    }
}
