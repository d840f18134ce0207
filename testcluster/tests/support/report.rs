//! What a failed test prints: the record, and the programs' logs.

use std::{collections::BTreeSet, fs, thread};

use serde_json::Value;
use testcluster::{Change, Kind};
use tokio::runtime::Builder;

use super::{SIDECAR, Scene};

impl Drop for Scene {
    fn drop(&mut self) {
        if !thread::panicking() {
            return;
        }
        let changes = self.changes();
        eprintln!("\n=== every revision in {}", self.namespace);
        for change in &changes {
            eprintln!("{}", line(change));
        }
        let pods: BTreeSet<_> = changes
            .iter()
            .filter(|change| change.kind == Kind::Pod)
            .map(|change| change.name.as_str())
            .collect();
        for pod in pods {
            let logs = self.cluster.node().logs(&self.namespace, pod, SIDECAR);
            let logs = logs.unwrap_or_else(|error| format!("{error:#}"));
            eprintln!("\n=== the sidecar of {pod}\n{logs}");
        }
        eprintln!(
            "\n=== the webhook\n{}",
            self.webhook_log().unwrap_or_default()
        );
    }
}

impl Scene {
    /// What the webhook has written of this namespace.
    pub fn webhook_log(&self) -> std::io::Result<String> {
        let mut lines = String::new();
        for file in fs::read_dir(self.cluster.folder().join("logs"))? {
            let path = file?.path();
            if path.to_string_lossy().contains("-webhook-") {
                let text = fs::read_to_string(path)?;
                let own = text.lines().filter(|line| line.contains(&self.namespace));
                lines.extend(own.flat_map(|line| [line, "\n"]));
            }
        }
        Ok(lines)
    }

    /// The record, from a place that may not wait: hence a thread with a runtime of its own.
    fn changes(&self) -> Vec<Change> {
        let record = &self.record;
        let read = || {
            let runtime = Builder::new_current_thread().enable_all().build().ok()?;
            runtime.block_on(record.changes()).ok()
        };
        let changes = thread::scope(|scope| scope.spawn(read).join());
        changes.ok().flatten().unwrap_or_default()
    }
}

fn line(change: &Change) -> String {
    let Change {
        revision,
        kind,
        name,
        object,
        ..
    } = change;
    let what = match (kind, object) {
        (_, None) => "deleted".to_owned(),
        (Kind::Service, Some(object)) => format!(
            "selector {} annotations {}",
            object["spec"]["selector"], object["metadata"]["annotations"]
        ),
        (Kind::Lease, Some(object)) => format!(
            "spec {} annotations {}",
            object["spec"], object["metadata"]["annotations"]
        ),
        (Kind::Pod, Some(object)) => format!(
            "labels {} ending {} ready {}",
            object["metadata"]["labels"],
            object["metadata"]["deletionTimestamp"],
            ready(object)
        ),
    };
    format!("{revision} {kind:?} {name} {what}")
}

fn ready(pod: &Value) -> &Value {
    let conditions = pod["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == "Ready")
        .map_or(&Value::Null, |condition| &condition["status"])
}
