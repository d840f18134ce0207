//! Takes the leader's pod away, and times what follows.
//!
//! Must not know: how a leader is elected.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use kube::runtime::watcher::{self, Event, watcher};
use testcluster::{Cluster, Forwarder};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    election::{Election, Leader, NAME, PATIENCE, selected},
    story::{Story, more, span},
};

/// When a client gives a request up and sends the next one.
const IMPATIENCE: Duration = Duration::from_secs(1);

/// `kubectl delete pod`, as a rollout, a drain or an eviction ends a pod.
pub(super) async fn graceful(
    story: &Story,
    cluster: &Cluster,
    election: &Election,
    service: &Forwarder,
) -> Result<()> {
    story.chapter("The leader's pod is deleted, with its grace period:");
    fail_over(story, cluster, election, service, &[]).await
}

/// The pod's object goes at once, and its sidecar is asked nothing.
pub(super) async fn forced(
    story: &Story,
    cluster: &Cluster,
    election: &Election,
    service: &Forwarder,
) -> Result<()> {
    election.wait_for_replicas().await?;
    story.chapter("Three pods again. The next leader's pod is force-deleted:");
    let force = ["--grace-period=0", "--force"];
    fail_over(story, cluster, election, service, &force).await
}

async fn fail_over(
    story: &Story,
    cluster: &Cluster,
    election: &Election,
    service: &Forwarder,
    flags: &[&str],
) -> Result<()> {
    let old = election.leader_other_than(None).await?;
    story.tell(&format!("{old}"));
    let mut sights = sights(election, &old.pod).await?;
    let line = [&["delete", "pod", &old.pod], flags].concat();
    let arguments = [&["-n", election.namespace.as_str()], line.as_slice()].concat();
    more(&format!("$ kubectl {}", line.join(" ")));
    let asked = Instant::now();
    let limit = timeout(PATIENCE, async {
        tokio::try_join!(
            cluster.kubectl(&arguments),
            timeline(&mut sights),
            ask_until_another(service, &old.pod),
        )
    });
    let (_, (gone, (switched, new)), answers) = limit
        .await
        .with_context(|| format!("no other leader within {} s", PATIENCE.as_secs()))??;
    let agreed = election.leader_other_than(Some(&old.pod)).await?;
    ensure!(
        agreed.pod == new.pod && answers.by == new.pod,
        "the Lease names {}, the Service was switched to {}, and {} answered",
        agreed.pod,
        new.pod,
        answers.by
    );
    let since = |moment: Instant| span(moment.saturating_duration_since(gone));
    story.tell(&format!("New leader: {}, epoch {}.", new.pod, new.epoch));
    more(&format!(
        "{:>9}  after kubectl started, the API server stored the deletion; from then on:\n\
         {:>9}  the Service names {}\n\
         {:>9}  the first request is answered by {}\n\
         {} requests meanwhile: {} answered by {}, {} by nobody",
        span(gone.saturating_duration_since(asked)),
        since(switched),
        new.pod,
        since(answers.at),
        answers.by,
        answers.old + answers.failed,
        answers.old,
        old.pod,
        answers.failed,
    ));
    Ok(())
}

/// What a watch shows of a failover.
#[derive(Debug)]
enum Sight {
    /// The old leader's pod is being deleted, or gone.
    Gone,
    /// The Service names another pod.
    Switched(Leader),
}

/// Watches the old leader's pod and the Service, from now on.
async fn sights(election: &Election, old: &str) -> Result<BoxStream<'static, Result<Sight>>> {
    let only = |name: &str| watcher::Config::default().fields(&format!("metadata.name={name}"));
    let pods = Box::pin(watcher(election.pods.clone(), only(old)));
    let services = Box::pin(watcher(election.services.clone(), only(NAME)));
    let pods = begun(pods).await?.try_filter_map(async |event| {
        let ends = match event {
            Event::Apply(pod) => pod.metadata.deletion_timestamp.is_some(),
            Event::Delete(_) => true,
            Event::Init | Event::InitApply(_) | Event::InitDone => false,
        };
        Ok(ends.then_some(Sight::Gone))
    });
    let old = old.to_owned();
    let services = begun(services).await?.try_filter_map(move |event| {
        let leader = match event {
            Event::Apply(service) => selected(&service),
            _ => None,
        };
        let other = leader.filter(|leader| leader.pod != old);
        async { Ok(other.map(Sight::Switched)) }
    });
    Ok(futures::stream::select(pods.boxed(), services.boxed()).boxed())
}

/// A watch that has shown what there was at its beginning.
async fn begun<T: Send + 'static>(
    mut events: impl futures::Stream<Item = watcher::Result<Event<T>>> + Send + Unpin + 'static,
) -> Result<BoxStream<'static, Result<Event<T>>>> {
    loop {
        if let Event::InitDone = events.next().await.context("a watch ended")?? {
            return Ok(events.map_err(anyhow::Error::from).boxed());
        }
    }
}

/// When the pod's deletion was stored, when the Service was switched, and to whom.
async fn timeline(
    sights: &mut BoxStream<'static, Result<Sight>>,
) -> Result<(Instant, (Instant, Leader))> {
    let (mut gone, mut switched) = (None, None);
    loop {
        match sights.try_next().await?.context("a watch ended")? {
            Sight::Gone => {
                gone.get_or_insert_with(Instant::now);
            }
            Sight::Switched(leader) => {
                switched.get_or_insert_with(|| (Instant::now(), leader));
            }
        }
        if let (Some(gone), Some(switched)) = (gone, &switched) {
            return Ok((gone, switched.clone()));
        }
    }
}

/// Who answered requests that were sent one after another.
#[derive(Debug)]
struct Answers {
    old: u32,
    failed: u32,
    /// Who answered instead, and when first.
    by: String,
    at: Instant,
}

async fn ask_until_another(service: &Forwarder, old: &str) -> Result<Answers> {
    let (mut answered, mut failed) = (0, 0);
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        match timeout(IMPATIENCE, service.get("/")).await {
            Ok(Ok(name)) if name == old => answered += 1,
            Err(_) | Ok(Err(_)) => failed += 1,
            Ok(Ok(by)) => {
                return Ok(Answers {
                    old: answered,
                    failed,
                    by,
                    at: Instant::now(),
                });
            }
        }
        sleep(Duration::from_millis(5)).await;
    }
    bail!("no other pod answered through the Service")
}
