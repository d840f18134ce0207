//! Manifests and what is made of them: decided by the injector, object by object.
//!
//! Pure. Must not know: where the texts come from, where the result goes.

use contract::{
    annotations::{self, Services, Wish},
    claim::Claim,
    facts::Facts,
    inject::{self, Decision, Denied, Reason, Request, Settings},
    names::annotation,
    rbac::Member,
    workload::{Ending, Kind},
};
use json_patch::Patch;
use serde_json::{Value, json};

use super::{
    documents::{self, Document, DocumentError},
    lists::{self, objects, objects_mut},
    place::{Identity, Place},
    remarks,
    sources::Source,
    surroundings::Surroundings,
    yaml,
};

/// Why nothing is made of the manifests.
#[derive(Debug, thiserror::Error)]
pub(super) enum ManifestError {
    #[error("{name}")]
    Document { name: String, source: DocumentError },
    #[error("{place}: {message}")]
    Denied { place: String, message: String },
    #[error("{place} cannot be changed")]
    Patch {
        place: String,
        source: json_patch::PatchError,
    },
    #[error("{place} cannot be written as YAML")]
    Added {
        place: String,
        source: serde_saphyr::ser::Error,
    },
}

/// What was done to an object.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Change {
    pub(super) place: Place,
    /// In a word.
    pub(super) what: &'static str,
    /// None: the whole object is added or replaced.
    pub(super) patch: Option<Patch>,
}

/// What became of the manifests.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) changes: Vec<Change>,
    /// The object, and what is to be said of it.
    pub(super) warnings: Vec<(Identity, String)>,
    /// The same, of what the webhook would do and nobody does without it.
    pub(super) left: Vec<(Identity, String)>,
    /// The documents that are arrays, of which nothing is read.
    pub(super) arrays: Vec<String>,
    pub(super) errors: Vec<ManifestError>,
}

#[derive(Debug)]
struct Entry {
    document: Document,
    changed: bool,
}

#[derive(Debug)]
struct Stream {
    name: String,
    entries: Vec<Entry>,
}

/// The documents of all sources.
#[derive(Debug, Default)]
pub(super) struct Manifests {
    streams: Vec<Stream>,
    added: Vec<Value>,
    /// The workloads and the pods that have a sidecar of the injector's.
    pub(super) members: Vec<Member>,
    pub(super) report: Report,
}

/// What the injector says of an object, as the webhook asks it; of one that stands in a cluster
/// already, by what it is there. None: of this kind it is not asked.
pub(super) fn decide(
    object: &Value,
    old: Option<&Value>,
    facts: &Facts,
    settings: &Settings,
) -> Option<Result<Decision, Denied>> {
    let identity = Identity::of(object);
    if let Some(kind) = Ending::of(&identity.api_version, &identity.kind) {
        return Some(Ok(inject::decide_ending(kind, object)));
    }
    let request = Request {
        kind: Kind::of(object)?,
        object,
        old,
        facts,
    };
    Some(inject::decide(&request, settings))
}

impl Manifests {
    pub(super) fn read(sources: &[Source]) -> Self {
        let mut manifests = Self::default();
        for Source { name, text } in sources {
            match documents::read(text) {
                Ok(documents) => manifests.note(name, documents),
                Err(source) => manifests.report.errors.push(ManifestError::Document {
                    name: name.clone(),
                    source,
                }),
            }
        }
        manifests
    }

    fn note(&mut self, source: &str, mut documents: Vec<Document>) {
        for document in &mut documents {
            let Some(value) = &mut document.value else {
                continue;
            };
            if value.is_array() {
                let place = format!("{source}, document {}", document.number);
                self.report.arrays.push(place);
            }
            lists::complete(value);
        }
        self.streams.push(Stream {
            name: source.to_owned(),
            entries: documents.into_iter().map(Entry::from).collect(),
        });
    }

    /// Every object, those of a List one by one.
    pub(super) fn objects(&self) -> impl Iterator<Item = (Place, &Value)> {
        self.streams.iter().flat_map(|stream| {
            stream.entries.iter().flat_map(|entry| {
                let value = entry.document.value.iter();
                let objects = value.flat_map(objects);
                objects.map(|object| (entry.place(&stream.name, object), object))
            })
        })
    }

    /// Calls `change` with every object and its place. It says what it did to the object, if anything.
    fn each(
        &mut self,
        mut change: impl FnMut(&Place, &mut Value, &mut Report) -> Option<(&'static str, Option<Patch>)>,
    ) {
        let report = &mut self.report;
        for Stream { name, entries } in &mut self.streams {
            for entry in entries {
                let number = entry.document.number;
                for object in entry.document.value.iter_mut().flat_map(objects_mut) {
                    let place = Place {
                        at: Some((name.clone(), number)),
                        object: Identity::of(object),
                    };
                    if let Some((what, patch)) = change(&place, object, report) {
                        entry.changed = true;
                        report.changes.push(Change { place, what, patch });
                    }
                }
            }
        }
    }

    /// What the documents tell of each other.
    pub(super) fn surroundings(&self) -> Surroundings {
        Surroundings::of(self.objects().map(|(_, object)| object))
    }

    /// Injects what asks for it.
    pub(super) fn inject(&mut self, settings: &Settings) {
        let surroundings = self.surroundings();
        let mut members = Vec::new();
        self.each(|place, object, report| {
            let remarks = remarks::of(object).into_iter();
            report
                .warnings
                .extend(remarks.map(|text| (place.object.clone(), text)));
            let decision = match decide(object, None, &surroundings.facts(object), settings)? {
                Ok(decision) => decision,
                Err(Denied { message }) => {
                    let place = place.to_string();
                    report.errors.push(ManifestError::Denied { place, message });
                    return None;
                }
            };
            let warnings = decision.warnings.into_iter();
            report
                .warnings
                .extend(warnings.map(|text| (place.object.clone(), text)));
            if pod(object).is_some() {
                report
                    .left
                    .push((place.object.clone(), left_to_the_webhook(&place.object)));
            }
            let changed = apply(place, object, decision.patch, report);
            if matches!(decision.reason, Reason::Injected | Reason::Kept) {
                members.extend(member(object));
            }
            changed.map(|patch| (decision.reason.as_str(), Some(patch)))
        });
        self.members = members;
    }

    /// Takes out again what was injected.
    pub(super) fn uninject(&mut self) {
        self.each(|place, object, report| {
            let patch = inject::uninject(Kind::of(object)?, object);
            let patch = apply(place, object, patch, report)?;
            Some((Reason::TakenOut.as_str(), Some(patch)))
        });
    }

    /// Adds an object. One of its name is replaced if `is_ours` says so, and else kept.
    pub(super) fn add(&mut self, wanted: &Value, is_ours: impl Fn(&Value) -> bool) {
        let identity = Identity::of(wanted);
        let mut found = false;
        self.each(|place, object, report| {
            if place.object != identity {
                return None;
            }
            found = true;
            if object == wanted {
                return None;
            }
            if !is_ours(object) {
                let text = "it is in the way of an object that the sidecar needs, and kept: give \
                            it another name, or see that it does the same";
                report.warnings.push((identity.clone(), text.to_owned()));
                return None;
            }
            object.clone_from(wanted);
            Some(("replaced", None))
        });
        if !found {
            self.added.push(wanted.clone());
            self.report.changes.push(Change {
                place: Place {
                    at: None,
                    object: identity,
                },
                what: "added",
                patch: None,
            });
        }
    }

    /// All documents. Those that were not changed are what they were, byte for byte.
    pub(super) fn text(&self) -> Result<String, ManifestError> {
        let mut streams = Vec::new();
        for stream in &self.streams {
            let texts: Result<Vec<String>, DocumentError> =
                stream.entries.iter().map(Entry::text).collect();
            streams.push(texts.map_err(|source| ManifestError::Document {
                name: stream.name.clone(),
                source,
            })?);
        }
        let added: Result<Vec<String>, ManifestError> = self.added.iter().map(added).collect();
        streams.push(added?);
        Ok(documents::join(&streams))
    }

    /// The JSON Patch of each object that was changed, one in a line.
    pub(super) fn patches(&self) -> String {
        let lines = self.report.changes.iter().filter_map(|change| {
            let Identity {
                api_version,
                kind,
                namespace,
                name,
            } = &change.place.object;
            let mut line = json!({
                "apiVersion": api_version,
                "kind": kind,
                "name": name,
                "patch": change.patch.as_ref()?,
            });
            if let (false, Some(line)) = (namespace.is_empty(), line.as_object_mut()) {
                line.insert("namespace".to_owned(), Value::from(namespace.as_str()));
            }
            Some(format!("{line}\n"))
        });
        lines.collect()
    }
}

impl From<Document> for Entry {
    fn from(document: Document) -> Self {
        Self {
            document,
            changed: false,
        }
    }
}

impl Entry {
    fn place(&self, source: &str, object: &Value) -> Place {
        Place {
            at: Some((source.to_owned(), self.document.number)),
            object: Identity::of(object),
        }
    }

    fn text(&self) -> Result<String, DocumentError> {
        match &self.document.value {
            Some(value) if self.changed => self.document.with(value),
            _ => Ok(self.document.text()),
        }
    }
}

/// Applies a patch. None: nothing is changed.
fn apply(place: &Place, object: &mut Value, patch: Patch, report: &mut Report) -> Option<Patch> {
    if patch.0.is_empty() {
        return None;
    }
    match json_patch::patch(object, &patch) {
        Ok(()) => Some(patch),
        Err(source) => {
            let place = place.to_string();
            report.errors.push(ManifestError::Patch { place, source });
            None
        }
    }
}

fn added(object: &Value) -> Result<String, ManifestError> {
    let text = yaml::write(object).map_err(|source| ManifestError::Added {
        place: Identity::of(object).to_string(),
        source,
    })?;
    Ok(format!("---\n{text}"))
}

/// The workload or the injected pod, with its account.
pub(super) fn member(object: &Value) -> Option<Member> {
    let claim = Claim::of(Kind::of(object)?, object.get("metadata")?)?;
    Some(Member::of(claim, object))
}

/// A pod of a workload whose template bears the annotation, and whose own metadata asks for nothing:
/// each is judged by itself when it is created.
pub(super) fn pod(workload: &Value) -> Option<Value> {
    if Kind::of(workload)? == Kind::Pod {
        return None;
    }
    let template = workload.pointer("/spec/template")?;
    let metadata = template.get("metadata");
    let is_left_out = matches!(
        annotations::parse(workload.get("metadata")),
        Ok(Wish::Nothing | Wish::KeepOut)
    );
    let is_asked_for = annotations::ours(metadata).contains_key(annotation::SERVICE);
    (is_left_out && is_asked_for).then(|| {
        json!({
            "apiVersion": Kind::Pod.api_version(),
            "kind": Kind::Pod.as_str(),
            "metadata": metadata,
            "spec": template.get("spec"),
        })
    })
}

fn left_to_the_webhook(workload: &Identity) -> String {
    let service = annotation::SERVICE;
    format!(
        "annotation {service} is on the template alone, whose pods the webhook injects one by one: to \
         have the template injected here, write it on the {}'s own metadata",
        workload.kind
    )
}

/// The Services that an object names, or its template in its place.
pub(super) fn services(object: &Value) -> Option<Services> {
    annotations::services(object.get("metadata"))
        .or_else(|| annotations::services(pod(object)?.get("metadata")))
}

#[cfg(test)]
mod tests;
