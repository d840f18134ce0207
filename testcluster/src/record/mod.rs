//! Every revision of the Services, Leases and pods of a namespace, and what must hold at each.
//!
//! Reads etcd itself, through its JSON gateway (the rig's API server stores JSON): all objects come
//! in one stream, in the order of their revisions, and an API server that is stopped and started
//! again tears no hole. Must not know: who wrote what, and why.

mod check;
mod etcd;

use std::{
    net::SocketAddr,
    ops::RangeInclusive,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use tokio_util::task::AbortOnDropHandle;

pub use self::check::Pin;
use self::check::Rules;

/// The kinds that are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A Service.
    Service,
    /// A Lease.
    Lease,
    /// A pod.
    Pod,
}

/// One revision of one object.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The object's resourceVersion from here on.
    pub revision: u64,
    /// When the recorder saw it.
    pub seen: Instant,
    /// The object's kind.
    pub kind: Kind,
    /// The object's name.
    pub name: String,
    /// The object, as it is stored. None: it was deleted.
    pub object: Option<Value>,
}

#[derive(Debug, Default)]
struct Record {
    changes: Vec<Change>,
    rules: Rules,
    /// Why the record ended, after which it proves nothing.
    broken: Option<String>,
}

/// A running record.
#[derive(Debug)]
pub struct Recorder {
    namespace: String,
    etcd: SocketAddr,
    record: Arc<Mutex<Record>>,
    /// The latest revision that the stream has shown.
    shown: watch::Receiver<u64>,
    _task: AbortOnDropHandle<()>,
}

fn lock(record: &Mutex<Record>) -> MutexGuard<'_, Record> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Recorder {
    /// Starts it on the runtime that calls. What exists already is the record's beginning.
    pub(crate) async fn start(etcd: SocketAddr, namespace: &str) -> Result<Self> {
        let (begin, existing) = etcd::read_all(etcd).await?;
        let record = Arc::new(Mutex::new(Record::default()));
        let (show, shown) = watch::channel(begin);
        let sink = Arc::clone(&record);
        let own = namespace.to_owned();
        for event in existing {
            lock(&record).changes.extend(change(&own, &event));
        }
        lock(&record).changes.sort_by_key(|change| change.revision);
        let task = tokio::spawn(async move {
            let ended = etcd::follow(etcd, begin + 1, |event| {
                let revision = event.revision;
                lock(&sink).changes.extend(change(&own, &event));
                show.send_replace(revision);
            });
            let Err(error) = ended.await;
            lock(&sink).broken = Some(format!("{error:#}"));
        });
        Ok(Self {
            namespace: namespace.to_owned(),
            etcd,
            record,
            shown,
            _task: AbortOnDropHandle::new(task),
        })
    }

    /// The cluster's revision now. When this returns, everything up to it is in the record.
    pub async fn sync(&self) -> Result<u64> {
        let revision = etcd::write_mark(self.etcd).await?;
        let mut shown = self.shown.clone();
        let reached = shown.wait_for(|shown| *shown >= revision);
        match timeout(Duration::from_secs(30), reached).await {
            Ok(Ok(_)) => Ok(revision),
            _ => bail!(
                "the record of {} has ended: {:?}",
                self.namespace,
                lock(&self.record).broken
            ),
        }
    }

    /// Everything so far, in the order of the revisions.
    pub async fn changes(&self) -> Result<Vec<Change>> {
        self.sync().await?;
        Ok(lock(&self.record).changes.clone())
    }

    /// Lets the Services be wrong within these revisions: from a test's own write of drift to its
    /// repair. Both ends come from [`Recorder::sync`] or from objects.
    pub fn allow(&self, revisions: RangeInclusive<u64>) {
        lock(&self.record).rules.allowed.push(revisions);
    }

    /// Lets Services be un-pinned as the controller does it: our key and the leader's annotation
    /// go, and the epoch rises.
    pub fn allow_unpin(&self) {
        lock(&self.record).rules.unpin = true;
    }

    /// Checks the whole record: once a Service is pinned, its selector keeps our key and matches at
    /// most one pod at every revision, and its epoch never goes down. Returns every revision of
    /// the Services; to have seen none is an error.
    pub async fn check(&self) -> Result<Vec<Pin>> {
        self.sync().await?;
        let record = lock(&self.record);
        if let Some(broken) = &record.broken {
            bail!("the record of {} has ended: {broken}", self.namespace);
        }
        check::check(&record.changes, &record.rules)
            .with_context(|| format!("the record of {}", self.namespace))
    }
}

fn change(namespace: &str, event: &etcd::Event) -> Option<Change> {
    let kinds = [
        (Kind::Service, "/registry/services/specs/"),
        (Kind::Lease, "/registry/leases/"),
        (Kind::Pod, "/registry/pods/"),
    ];
    kinds.into_iter().find_map(|(kind, prefix)| {
        let (in_namespace, name) = event.key.strip_prefix(prefix)?.split_once('/')?;
        let object = event.value.as_deref().map(serde_json::from_slice);
        (in_namespace == namespace).then(|| Change {
            revision: event.revision,
            seen: Instant::now(),
            kind,
            name: name.to_owned(),
            // What is no JSON is kept as such, and fails the check.
            object: object.map(|parsed| parsed.unwrap_or(Value::Null)),
        })
    })
}
