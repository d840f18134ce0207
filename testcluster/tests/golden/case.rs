//! One folder of `contract/testdata`: what is written, in which surroundings, and what is to come
//! of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde_json::{Value, json};

use crate::support::KEY;

/// A case. Its name is that of its folder, and of its namespace.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) input: Value,
    /// What it was before, for an update.
    pub(crate) old: Option<Value>,
    pub(crate) golden: Golden,
    pub(crate) settings: Settings,
    /// Labels and annotations of the namespace.
    pub(crate) namespace: Value,
    /// What is known of the Services, by name; null for one that is missing.
    facts: BTreeMap<String, Value>,
}

/// What is to come of it.
#[derive(Debug)]
pub(crate) enum Golden {
    Denied {
        message: String,
    },
    Admitted {
        object: Value,
        warnings: Vec<String>,
    },
}

/// What differs between webhooks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Settings {
    image: String,
    native: bool,
    user: Option<u64>,
}

impl Settings {
    /// As variables of the webhook, for `kubectl set env`.
    pub(crate) fn variables(&self) -> [String; 3] {
        let Self {
            image,
            native,
            user,
        } = self;
        let native = if *native { "always" } else { "never" };
        let user = user.map_or("-".to_owned(), |user| format!("={user}"));
        [
            format!("SERVICE_LEADER_ELECTION_WEBHOOK_SIDECAR_IMAGE={image}"),
            format!("SERVICE_LEADER_ELECTION_WEBHOOK_SIDECAR_NATIVE={native}"),
            format!("SERVICE_LEADER_ELECTION_WEBHOOK_SIDECAR_USER{user}"),
        ]
    }
}

/// Every case.
pub(crate) fn all() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../contract/testdata");
    let folders = fs::read_dir(folder).unwrap();
    let mut cases: Vec<_> = folders
        .map(|entry| Case::read(&entry.unwrap().path()))
        .collect();
    cases.sort_by(|one, other| one.name.cmp(&other.name));
    cases
}

impl Case {
    fn read(folder: &Path) -> Self {
        let read = |file: &str| -> Option<Value> {
            let path = folder.join(file);
            let text = fs::read_to_string(&path).ok()?;
            let value = serde_saphyr::from_str(&text);
            Some(value.unwrap_or_else(|error| panic!("{}: {error}", path.display())))
        };
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let in_own_namespace = |mut object: Value| {
            object["metadata"]["namespace"] = json!(name);
            object
        };
        let input = in_own_namespace(read("input.yaml").unwrap());
        let report = read("report.json").unwrap();
        let setup = read("case.yaml").unwrap_or_default();
        let golden = match report["denied"].as_str() {
            Some(message) => Golden::Denied {
                message: message.to_owned(),
            },
            None => Golden::Admitted {
                object: patched(&input, read("patch.json")),
                warnings: serde_json::from_value(report["warnings"].clone()).unwrap(),
            },
        };
        let settings = Settings {
            image: setup["image"]
                .as_str()
                .unwrap_or("service-leader-election/sidecar:1")
                .to_owned(),
            native: setup["native"].as_bool().unwrap_or(true),
            user: setup["runAsUser"].as_u64(),
        };
        let facts = setup["services"].as_object().cloned().unwrap_or_default();
        Self {
            old: read("old.yaml").map(in_own_namespace),
            facts: facts.into_iter().collect(),
            namespace: setup["namespace"]["metadata"].clone(),
            name,
            input,
            golden,
            settings,
        }
    }

    /// The Services that the case takes to be there. One of which it says nothing is one of which
    /// nothing is to be said.
    pub(crate) fn services(&self) -> Vec<Value> {
        let mut facts = self.facts.clone();
        let mut labels = match self.input["kind"].as_str() {
            Some("Pod") => self.input["metadata"]["labels"].clone(),
            _ => self.input["spec"]["template"]["metadata"]["labels"].clone(),
        };
        if let Some(labels) = labels.as_object_mut() {
            labels.remove(KEY);
            for name in self.named() {
                let fits = json!({"spec": {"selector": labels}});
                facts.entry(name).or_insert(fits);
            }
        }
        facts.retain(|_, fact| !fact.is_null());
        facts.into_iter().map(service).collect()
    }

    /// The accounts without which the API server refuses a pod.
    pub(crate) fn accounts(&self) -> BTreeSet<&str> {
        let golden = match &self.golden {
            Golden::Admitted { object, .. } => object,
            Golden::Denied { .. } => &self.input,
        };
        let pods = [&self.input, golden].into_iter();
        let pods = pods.filter(|object| object["kind"] == "Pod");
        pods.map(|pod| {
            pod["spec"]["serviceAccountName"]
                .as_str()
                .unwrap_or("default")
        })
        .collect()
    }

    /// The Services that are named, if their names are such.
    fn named(&self) -> BTreeSet<String> {
        let annotations = &self.input["metadata"]["annotations"];
        let names = annotations["service-leader-election/service"].as_str();
        let names = names.unwrap_or_default().split(',').map(str::trim);
        let letters = |name: &&str| {
            let begins = name.starts_with(|first: char| first.is_ascii_lowercase());
            let is_one = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            begins && name.len() <= 63 && !name.ends_with('-') && name.chars().all(is_one)
        };
        names.filter(letters).map(str::to_owned).collect()
    }
}

fn patched(input: &Value, patch: Option<Value>) -> Value {
    let mut object = input.clone();
    if let Some(patch) = patch {
        let patch: json_patch::Patch = serde_json::from_value(patch).unwrap();
        json_patch::patch(&mut object, &patch).unwrap();
    }
    object
}

fn service((name, fact): (String, Value)) -> Value {
    let mut service = json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}});
    if let Some(annotations) = fact["metadata"].get("annotations") {
        service["metadata"]["annotations"] = annotations.clone();
    }
    for (key, value) in fact["spec"].as_object().into_iter().flatten() {
        service["spec"][key] = value.clone();
    }
    service
}
