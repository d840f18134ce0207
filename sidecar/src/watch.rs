//! List and watch, for ever, with bookmarks in view: they are how a silent watch is told from a
//! dead one, and kube-runtime's watcher hides them.
//!
//! Must not know: what the objects mean.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

use futures::StreamExt as _;
use kube::api::WatchEvent;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use crate::api::{Api, Kind, Selector, status_code};

/// A watch ends by itself after this, less some jitter.
const LENGTH: Duration = Duration::from_mins(30);
/// A watch without an event or a bookmark is opened again after this. Bookmarks come every minute.
const SILENCE: Duration = Duration::from_mins(10);
/// The answer to a list, and the first byte of the answer to a watch, must come within this.
const ANSWER: Duration = Duration::from_secs(10);
/// After a failure: at first, and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
/// What is forbidden is tried again, for somebody may allow it: soon at first, when the Role may be
/// about to be made, and so often at last.
const FORBIDDEN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// So many refusals in a row are believed: an API server that has just started does not know the
/// Roles yet.
const PATIENCE: u32 = 3;
/// What is optional is opened again, or asked for while it is forbidden, after this, less some
/// jitter: with the four other watches it stays below 0.003 requests a second.
const SELDOM: Duration = Duration::from_hours(1);

/// What to watch.
#[derive(Clone)]
pub(crate) struct Feed {
    pub(crate) api: Api,
    pub(crate) kind: Kind,
    pub(crate) selector: Selector,
    /// Where watching is forbidden, GET the object by its name so often.
    pub(crate) poll: Option<Duration>,
    /// The election does without it, so it may be forbidden for good.
    pub(crate) optional: bool,
    /// Changes when there is reason to doubt the connections: then the watch is opened again.
    pub(crate) reopen: watch::Receiver<u64>,
}

/// What a watch tells.
#[derive(Debug, Clone)]
pub(crate) enum Change<T> {
    /// These are all there are, says a quorum.
    All(Vec<T>),
    /// This was made or changed.
    Put(T),
    /// This was deleted.
    Gone(T),
    /// What was told may be something else by now: all there are follow when they can be had.
    Stale,
    /// It is forbidden to look.
    Unavailable,
}

/// Nobody listens any more.
#[derive(Debug)]
pub(crate) struct Closed;

/// Why a watch ended.
enum End {
    /// As agreed, or because it was silent.
    Over,
    /// Somebody who has just reached the API server doubts the connection.
    Doubted,
    /// Its revision is too old, or what it delivers makes no sense.
    Lost,
    /// The connection, or the API server, failed.
    Failed,
    /// The rights are missing.
    Forbidden,
}

/// An object that knows its revision.
pub(crate) trait Versioned {
    /// Its `resourceVersion`, if it has one.
    fn version(&self) -> Option<&str>;
}

/// Follows what `feed` selects until nobody listens any more. `convert` makes of a change what is
/// sent to `out`, if anything.
pub(crate) async fn follow<T, U>(
    mut feed: Feed,
    out: mpsc::Sender<U>,
    mut convert: impl FnMut(Change<T>) -> Option<U>,
) -> Result<(), Closed>
where
    T: Versioned + Clone + DeserializeOwned + Send + 'static,
{
    let mut backoff = Backoff::default();
    let mut refusals = 0_u32;
    loop {
        let opened = tokio::time::Instant::now();
        let end = list_and_watch(&mut feed, &out, &mut convert, &mut backoff).await?;
        send(&out, convert(Change::Stale)).await?;
        if opened.elapsed() > FORBIDDEN.1 {
            refusals = 0;
        }
        if matches!(end, End::Doubted) {
            backoff = Backoff::default();
        }
        match end {
            End::Over | End::Doubted | End::Lost | End::Failed => {
                backoff.pause(&mut feed.reopen).await;
            }
            End::Forbidden => {
                refusals = refusals.saturating_add(1);
                if refusals == PATIENCE {
                    feed.complain();
                    send(&out, convert(Change::Unavailable)).await?;
                }
                let pause = after_refusals(refusals, feed.optional);
                poll_while_forbidden(&feed, &out, &mut convert, pause).await?;
            }
        }
    }
}

/// One list, and the watches that go on from it.
async fn list_and_watch<T, U>(
    feed: &mut Feed,
    out: &mpsc::Sender<U>,
    convert: &mut impl FnMut(Change<T>) -> Option<U>,
    backoff: &mut Backoff,
) -> Result<End, Closed>
where
    T: Versioned + Clone + DeserializeOwned + Send + 'static,
{
    let list = match feed.api.list::<T>(feed.kind, &feed.selector, ANSWER).await {
        Ok(list) => list,
        Err(error) => {
            debug!(
                kind = feed.kind.name(),
                error = error.chain(),
                "list failed"
            );
            return Ok(if error.code() == Some(403) {
                End::Forbidden
            } else {
                End::Failed
            });
        }
    };
    let mut version = list.metadata.resource_version;
    send(out, convert(Change::All(list.items))).await?;
    loop {
        let opened = tokio::time::Instant::now();
        let end = watch_once(feed, &mut version, out, convert).await?;
        let lasted = opened.elapsed() > BACKOFF.1;
        if lasted {
            *backoff = Backoff::default();
        }
        if !matches!(end, End::Over) {
            return Ok(end);
        }
        if !lasted {
            backoff.pause(&mut feed.reopen).await;
        }
    }
}

async fn watch_once<T, U>(
    feed: &mut Feed,
    version: &mut String,
    out: &mpsc::Sender<U>,
    convert: &mut impl FnMut(Change<T>) -> Option<U>,
) -> Result<End, Closed>
where
    T: Versioned + Clone + DeserializeOwned + Send + 'static,
{
    let length = if feed.optional { SELDOM } else { LENGTH };
    let seconds = shortened(length).as_secs();
    let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
    let opening = feed
        .api
        .watch::<T>(feed.kind, &feed.selector, version, seconds, ANSWER);
    let stream = tokio::select! {
        stream = opening => stream,
        changed = feed.reopen.changed() => {
            return changed.map(|()| End::Doubted).map_err(|_| Closed);
        }
    };
    let mut stream = match stream {
        Ok(stream) => stream,
        Err(error) => {
            debug!(
                kind = feed.kind.name(),
                error = error.chain(),
                "watch failed"
            );
            return Ok(End::of(error.code()));
        }
    };
    loop {
        let event = tokio::select! {
            event = timeout(SILENCE, stream.next()) => event,
            changed = feed.reopen.changed() => {
                return changed.map(|()| End::Doubted).map_err(|_| Closed);
            }
        };
        let change = match event {
            Err(_) | Ok(None) => return Ok(End::Over),
            Ok(Some(Ok(WatchEvent::Bookmark(bookmark)))) => {
                *version = bookmark.metadata.resource_version;
                continue;
            }
            Ok(Some(Ok(WatchEvent::Error(status)))) => {
                debug!(kind = feed.kind.name(), code = status.code, "watch ended");
                return Ok(End::of(Some(status.code)));
            }
            Ok(Some(Err(error))) => {
                debug!(kind = feed.kind.name(), error = %error, "watch broke");
                return Ok(End::of(status_code(&error)));
            }
            Ok(Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)))) => {
                Change::Put(object)
            }
            Ok(Some(Ok(WatchEvent::Deleted(object)))) => Change::Gone(object),
        };
        let (Change::Put(object) | Change::Gone(object)) = &change else {
            continue;
        };
        let Some(newer) = object.version() else {
            return Ok(End::Lost);
        };
        newer.clone_into(version);
        send(out, convert(change)).await?;
    }
}

/// GETs the object until it is time to try list and watch again.
async fn poll_while_forbidden<T, U>(
    feed: &Feed,
    out: &mpsc::Sender<U>,
    convert: &mut impl FnMut(Change<T>) -> Option<U>,
    until_next_try: Duration,
) -> Result<(), Closed>
where
    T: DeserializeOwned,
{
    let (Some(pause), Selector::Name(name)) = (feed.poll, &feed.selector) else {
        sleep(until_next_try).await;
        return Ok(());
    };
    let pause = pause.min(until_next_try);
    let mut waited = Duration::ZERO;
    while waited < until_next_try {
        match feed.api.get::<T>(feed.kind, name, ANSWER).await {
            Ok(object) => send(out, convert(Change::All(object.into_iter().collect()))).await?,
            Err(error) => {
                debug!(kind = feed.kind.name(), error = error.chain(), "get failed");
            }
        }
        sleep(pause).await;
        waited += pause;
    }
    Ok(())
}

async fn send<U>(out: &mpsc::Sender<U>, news: Option<U>) -> Result<(), Closed> {
    match news {
        Some(news) => out.send(news).await.map_err(|_| Closed),
        None => Ok(()),
    }
}

impl Feed {
    fn complain(&self) {
        let kind = self.kind.name();
        if self.optional {
            debug!(kind, "forbidden to list or watch: doing without");
        } else {
            warn!(
                kind,
                ns = self.api.namespace(),
                "forbidden to list or watch: add both verbs to the Role; asking slowly"
            );
        }
    }
}

impl End {
    fn of(code: Option<u16>) -> Self {
        match code {
            Some(410) => Self::Lost,
            Some(403) => Self::Forbidden,
            _ => Self::Failed,
        }
    }
}

/// Pauses that double, with jitter, so that many sidecars do not ask at once.
#[derive(Debug, Default)]
struct Backoff {
    failures: u32,
}

impl Backoff {
    fn next(&mut self) -> Duration {
        let (first, longest) = BACKOFF;
        let pause = first
            .saturating_mul(1 << self.failures.min(16))
            .min(longest);
        self.failures = self.failures.saturating_add(1);
        pause.mul_f64(0.5 + 0.5 * random())
    }

    /// Waits, but not when somebody else has found the API server again.
    async fn pause(&mut self, reopen: &mut watch::Receiver<u64>) {
        tokio::select! {
            () = sleep(self.next()) => {}
            // A closed channel means that nobody listens: the next send says so.
            Ok(()) = reopen.changed() => sleep(BACKOFF.0.mul_f64(random())).await,
        }
    }
}

/// Until the next try after so many refusals in a row.
fn after_refusals(refusals: u32, optional: bool) -> Duration {
    if optional && refusals >= PATIENCE {
        return shortened(SELDOM);
    }
    let (first, longest) = FORBIDDEN;
    let doubled = refusals.saturating_sub(1).min(16);
    first.saturating_mul(1 << doubled).min(longest)
}

/// Less up to a fifth, so that many sidecars do not ask at once.
fn shortened(length: Duration) -> Duration {
    length.mul_f64(1.0 - 0.2 * random())
}

/// Evenly between 0 and 1. The standard library's hashers are seeded at random.
fn random() -> f64 {
    let bits = RandomState::new().build_hasher().finish();
    f64::from(u32::try_from(bits >> 32).unwrap_or_default()) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::{BACKOFF, Backoff, Duration, FORBIDDEN, LENGTH, SELDOM, after_refusals, random};

    #[test]
    fn pauses_double_up_to_a_bound_for_ever() {
        let mut backoff = Backoff::default();
        let mut expected = BACKOFF.0;
        for _ in 0..100 {
            let pause = backoff.next();
            assert!(
                pause >= expected / 2 && pause <= expected,
                "{pause:?} {expected:?}"
            );
            expected = (expected * 2).min(BACKOFF.1);
        }
    }

    #[test]
    fn what_is_needed_is_asked_for_while_it_is_forbidden() {
        let seconds = |refusals| after_refusals(refusals, false).as_secs();
        let pauses: Vec<u64> = (1..=7).map(seconds).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(after_refusals(u32::MAX, false), FORBIDDEN.1);
    }

    #[test]
    fn what_is_optional_is_given_up_while_it_is_forbidden() {
        assert_eq!(after_refusals(1, true), Duration::from_secs(1));
        assert_eq!(after_refusals(2, true), Duration::from_secs(2));
        for refusals in [3, 4, 1000, u32::MAX] {
            let pause = after_refusals(refusals, true);
            assert!(pause <= SELDOM && pause >= SELDOM * 4 / 5, "{pause:?}");
        }
        // Own pod, pods, one Service, Lease; jitter takes off a tenth on average.
        let a_second = |every: Duration| 1.0 / (0.9 * every.as_secs_f64());
        assert!(4.0 * a_second(LENGTH) + a_second(SELDOM) < 0.003);
    }

    #[test]
    fn jitter_differs() {
        let (a, b) = (random(), random());
        assert!((0.0..=1.0).contains(&a) && (0.0..=1.0).contains(&b));
        assert!((a - b).abs() > 0.0);
        assert!(Duration::from_secs(1).mul_f64(a) <= Duration::from_secs(1));
    }
}
