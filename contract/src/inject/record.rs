//! The note on a template that says what was put in, so that exactly that can be taken out.
//!
//! Must not know: why something was put in.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::names::{self, annotation};

/// Which container a bare `kubectl logs` or `exec` means.
pub(super) const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// What was put into a template, and what was taken out of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Record {
    /// Maps and lists that were not there before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) created: Vec<Created>,
    /// The value of the annotation that names the default container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) default_container: Option<String>,
    /// The service account's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) service_account_name: Option<String>,
    /// The one that stood in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) account_before: Option<String>,
    /// `automountServiceAccountToken: false`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) automount: bool,
    /// The value of our label, which was taken out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) label: Option<String>,
    /// Annotations for a mesh, which keep it off the sidecar's port.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) mesh: Vec<Rewritten>,
}

/// An annotation that injection wrote or added to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rewritten {
    /// The annotation's key.
    pub(super) key: String,
    /// Its value since then.
    pub(super) value: String,
    /// Its value before, where it had one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) before: Option<String>,
}

impl Rewritten {
    /// The list less the port, which was put last.
    pub(super) fn list_without_port(&self) -> &str {
        self.value.rsplit_once(',').map_or("", |(list, _)| list)
    }

    /// What a user made of the list since then stays, less the port.
    fn take_back(&self, annotations: &mut Map<String, Value>) {
        let Some(list) = annotations.get(&self.key).and_then(Value::as_str) else {
            return;
        };
        let left = if *list == self.value {
            self.before.clone()
        } else {
            let port = self.value.rsplit(',').next();
            let others = list.split(',').filter(|item| Some(item.trim()) != port);
            let others: Vec<_> = others.collect();
            Some(others.join(",")).filter(|left| !left.is_empty() || list.is_empty())
        };
        match left {
            Some(left) => annotations.insert(self.key.clone(), Value::from(left)),
            None => annotations.remove(&self.key),
        };
    }
}

/// A map or list that injection had to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Created {
    /// `spec.initContainers`
    InitContainers,
    /// `spec.volumes`
    Volumes,
    /// `metadata.annotations`
    Annotations,
    /// `metadata.labels`
    Labels,
    /// `metadata`
    Metadata,
}

impl Record {
    /// The note on `template`; one that cannot be read says nothing.
    pub(super) fn on(template: &Value) -> Option<Self> {
        let annotations = template.get("metadata")?.get("annotations")?;
        let note = annotations.get(annotation::INJECTED)?;
        let read = note
            .as_str()
            .and_then(|text| serde_json::from_str(text).ok());
        Some(read.unwrap_or_default())
    }

    /// The same for a template from which somebody took the note alone: our container and our
    /// volume are known by their names, and the rest is as `old` has it.
    pub(super) fn on_or_as(template: &Value, old: Option<&Value>) -> Option<Self> {
        if let Some(record) = Self::on(template) {
            return Some(record);
        }
        let injected = has_named(template, "/spec/volumes", names::TOKEN_VOLUME)
            && ["/spec/initContainers", "/spec/containers"]
                .into_iter()
                .any(|list| has_named(template, list, names::CONTAINER));
        injected.then(|| old.and_then(Self::on).unwrap_or_default())
    }

    /// The note as an annotation's value.
    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|_| "{}".to_owned())
    }

    /// `template` as it was before. What a user changed since then stays as the user has it. What the
    /// API server itself had put into a pod, for its account, it puts in again.
    pub(super) fn take_out(&self, template: &Value) -> Value {
        let mut template = template.clone();
        if let Some(spec) = template.get_mut("spec").and_then(Value::as_object_mut) {
            self.take_out_of_spec(spec);
        }
        if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) {
            self.take_out_of_metadata(metadata);
        }
        if let Some(template) = template.as_object_mut() {
            self.drop_if_empty(template, Created::Metadata, "metadata");
        }
        template
    }

    fn take_out_of_spec(&self, spec: &mut Map<String, Value>) {
        for (list, name) in [
            ("initContainers", names::CONTAINER),
            ("containers", names::CONTAINER),
            ("volumes", names::TOKEN_VOLUME),
        ] {
            if let Some(items) = spec.get_mut(list).and_then(Value::as_array_mut) {
                items.retain(|item| !is_named(item, name));
            }
        }
        self.drop_if_empty(spec, Created::InitContainers, "initContainers");
        self.drop_if_empty(spec, Created::Volumes, "volumes");
        if let Some(account) = &self.service_account_name {
            // The API server keeps the field's forerunner equal to it.
            for key in ["serviceAccountName", "serviceAccount"] {
                let Some(found) = spec.get_mut(key).filter(|value| *value == account) else {
                    continue;
                };
                match &self.account_before {
                    Some(before) => *found = Value::from(before.as_str()),
                    None => drop(spec.remove(key)),
                }
            }
        }
        if self.automount {
            remove_if(spec, "automountServiceAccountToken", |value| {
                *value == Value::Bool(false)
            });
        }
    }

    fn take_out_of_metadata(&self, metadata: &mut Map<String, Value>) {
        if let Some(annotations) = metadata
            .get_mut("annotations")
            .and_then(Value::as_object_mut)
        {
            annotations.remove(annotation::INJECTED);
            if let Some(name) = &self.default_container {
                remove_if(annotations, DEFAULT_CONTAINER, |value| {
                    value.as_str() == Some(name)
                });
            }
            for rewritten in &self.mesh {
                rewritten.take_back(annotations);
            }
        }
        self.drop_if_empty(metadata, Created::Annotations, "annotations");
        if let Some(labels) = metadata.get_mut("labels").and_then(Value::as_object_mut) {
            remove_if(labels, names::POD_LABEL, |value| {
                *value == names::POD_LABEL_VALUE
            });
        }
        self.drop_if_empty(metadata, Created::Labels, "labels");
        if let Some(label) = &self.label
            && let Some(labels) = metadata.get_mut("labels").and_then(Value::as_object_mut)
        {
            labels
                .entry(names::LABEL)
                .or_insert_with(|| Value::from(label.as_str()));
        }
    }

    fn drop_if_empty(&self, parent: &mut Map<String, Value>, created: Created, key: &str) {
        if self.created.contains(&created) {
            remove_if(parent, key, |value| {
                value.as_array().is_some_and(Vec::is_empty)
                    || value.as_object().is_some_and(Map::is_empty)
            });
        }
    }
}

/// Whether the list at this path of a template has an item of this name.
pub(super) fn has_named(template: &Value, list: &str, name: &str) -> bool {
    items(template, list).any(|item| is_named(item, name))
}

/// The items of the list at this path of a template.
pub(super) fn items<'a>(template: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> {
    template
        .pointer(list)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// The text at this key of a map.
pub(super) fn text<'a>(map: &'a Value, key: &str) -> Option<&'a str> {
    map.get(key)?.as_str()
}

/// Whether an item of a list of containers or volumes has this name.
fn is_named(item: &Value, name: &str) -> bool {
    text(item, "name") == Some(name)
}

fn remove_if(map: &mut Map<String, Value>, key: &str, condition: impl FnOnce(&Value) -> bool) {
    if map.get(key).is_some_and(condition) {
        map.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What is left of a list that injection had written, and a user has since.
    fn left(before: Option<&str>, value: &str, now: &str) -> Option<String> {
        let rewritten = Rewritten {
            key: "ports".to_owned(),
            value: value.to_owned(),
            before: before.map(str::to_owned),
        };
        let mut annotations = Map::from_iter([("ports".to_owned(), json!(now))]);
        rewritten.take_back(&mut annotations);
        let left = annotations.get("ports")?.as_str();
        left.map(str::to_owned)
    }

    #[test]
    fn a_list_that_a_user_has_changed_since_loses_the_port_alone() {
        for (before, value, now, expected) in [
            (Some("80"), "80,28086", "80,28086", Some("80")),
            (Some("80"), "80,28086", "80,28086,9000", Some("80,9000")),
            (Some("80"), "80,28086", "28086, 9000", Some(" 9000")),
            (Some("80"), "80,28086", "80,9000", Some("80,9000")),
            (Some("80"), "80,28086", "28000-29000", Some("28000-29000")),
            (Some("80"), "80,28086", "", Some("")),
            (Some(""), "28086", "28086", Some("")),
            (None, "28086", "28086", None),
            (None, "28086", "28086,9000", Some("9000")),
            (None, "25,28086", "25,28086", None),
            (None, "25,28086", "25,28086,9000", Some("25,9000")),
            (Some("80"), "80,28086", "28086", None),
        ] {
            assert_eq!(left(before, value, now).as_deref(), expected, "{now}");
        }
    }
}
