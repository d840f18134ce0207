//! Puts the sidecar into a pod template that has none, or into a pod, which is its own template.
//!
//! Must not know: earlier versions of the template.

use std::borrow::Cow;

use json_patch::{
    AddOperation, Patch, PatchOperation, RemoveOperation, ReplaceOperation,
    jsonptr::{Pointer, PointerBuf},
};
use serde_json::{Map, Value, json};

use super::{
    Denied, Request, Settings, mesh, pod, ports,
    record::{Created, DEFAULT_CONTAINER, Record, Rewritten, has_named, items, text},
    sidecar, token,
};
use crate::{
    annotations::Spec,
    names::{self, annotation},
    sidecars::{is_sidecar, is_version_of},
    wording::quoted,
    workload::{self, Kind},
};

/// One injection.
pub(super) struct Injection<'a> {
    pub(super) spec: &'a Spec,
    pub(super) settings: &'a Settings,
    pub(super) request: &'a Request<'a>,
    /// What an injection before had written for a mesh.
    pub(super) mesh_before: &'a [Rewritten],
}

impl Injection<'_> {
    /// What makes of `template` one with the sidecar. `plain` is what it is without one: itself, if borrowed.
    pub(super) fn patch(&self, template: &Value, plain: Cow<'_, Value>) -> Patch {
        let kind = self.request.kind;
        match plain {
            // Most of a template is its containers, which stay as they are, but for a pod's.
            Cow::Borrowed(plain) if kind != Kind::Pod => {
                let lean = without_containers(plain);
                patch(kind, &lean, &self.apply(plain, lean.clone()))
            }
            plain => patch(
                kind,
                template,
                &self.apply(&plain, plain.clone().into_owned()),
            ),
        }
    }

    /// `template` with the sidecar: a copy of `plain`, or as much of it as is changed. One that the API server
    /// will refuse comes back as it is.
    fn apply(&self, plain: &Value, mut template: Value) -> Value {
        if !is_readable(plain) {
            return template;
        }
        let mut record = Record::default();
        let is_written = workload::written_account(self.request.kind, plain).is_some();
        let Some(map) = template.as_object_mut() else {
            return template;
        };
        let Some(spec) = map.get_mut("spec").and_then(Value::as_object_mut) else {
            return template;
        };
        if !is_written && !pod::keeps_account(self.request, self.spec) {
            record.account_before = workload::account(plain).map(str::to_owned);
            self.account(spec, &mut record);
        }
        self.containers(spec, &mut record);
        self.metadata(map, first_container(plain), &mut record);
        template
    }

    fn containers(&self, spec: &mut Map<String, Value>, record: &mut Record) {
        let container = sidecar::container(self.spec, self.settings, spec);
        if self.settings.native {
            push(
                spec,
                "initContainers",
                container,
                Created::InitContainers,
                record,
            );
        } else if let Some(list) = spec.get_mut("containers").and_then(Value::as_array_mut) {
            list.push(container);
        }
        push(
            spec,
            "volumes",
            sidecar::token_volume(),
            Created::Volumes,
            record,
        );
    }

    /// A written account is the user's. Where none is written, the application would otherwise
    /// hold a token that may do what the sidecar may.
    fn account(&self, spec: &mut Map<String, Value>, record: &mut Record) {
        let named = self
            .spec
            .account
            .as_ref()
            .map(|account| account.as_str().to_owned());
        if named.is_none()
            && spec
                .get("automountServiceAccountToken")
                .is_none_or(Value::is_null)
        {
            spec.insert(
                "automountServiceAccountToken".to_owned(),
                Value::Bool(false),
            );
            record.automount = true;
            if self.request.kind == Kind::Pod {
                token::take_out(spec);
            }
        }
        let name =
            named.unwrap_or_else(|| names::default_name(self.spec.services.first().as_str()));
        // The field's forerunner, where the API server has filled it in already.
        let mirror = workload::template(self.request.kind, self.request.object)
            .and_then(|template| template.pointer("/spec/serviceAccount"));
        if spec.contains_key("serviceAccount") || mirror.is_some_and(|mirror| *mirror == name) {
            spec.insert("serviceAccount".to_owned(), Value::from(name.as_str()));
        }
        spec.insert("serviceAccountName".to_owned(), Value::from(name.as_str()));
        record.service_account_name = Some(name);
    }

    fn metadata(
        &self,
        template: &mut Map<String, Value>,
        default_container: Option<String>,
        record: &mut Record,
    ) {
        let Some(metadata) = child(template, "metadata", Created::Metadata, record) else {
            return;
        };
        if let Some(labels) = metadata.get_mut("labels").and_then(Value::as_object_mut)
            && let Some(label) = labels.get(names::LABEL).and_then(Value::as_str)
        {
            record.label = Some(label.to_owned());
            labels.remove(names::LABEL);
        }
        if self.request.kind == Kind::Pod
            && let Some(labels) = child(metadata, "labels", Created::Labels, record)
        {
            labels.insert(names::POD_LABEL.to_owned(), names::POD_LABEL_VALUE.into());
        }
        record.mesh = mesh::left_alone(
            metadata,
            self.spec.port.number(),
            self.request.facts.meshes(),
            self.mesh_before,
        );
        let Some(annotations) = child(metadata, "annotations", Created::Annotations, record) else {
            return;
        };
        if let Some(name) = default_container
            && !annotations.contains_key(DEFAULT_CONTAINER)
        {
            annotations.insert(DEFAULT_CONTAINER.to_owned(), Value::from(name.as_str()));
            record.default_container = Some(name);
        }
        for rewritten in &record.mesh {
            annotations.insert(rewritten.key.clone(), Value::from(rewritten.value.as_str()));
        }
        annotations.insert(annotation::INJECTED.to_owned(), Value::from(record.text()));
    }

    /// Fails where it would not do what the user wrote.
    pub(super) fn check(&self, template: &Value) -> Result<(), Denied> {
        let Request { kind, object, .. } = *self.request;
        let whole = kind.part();
        if selects_by_our_label(object) {
            return Err(Denied::new(format!(
                "spec.selector has the label {}, which every pod bears with a value of its own: \
                 take it out of the selector and of the template",
                names::LABEL
            )));
        }
        if is_for_windows(template) {
            return Err(Denied::new(format!(
                "the {whole} is for Windows, and the sidecar runs on Linux alone: take the annotation {} \
                 off",
                annotation::SERVICE
            )));
        }
        if has_named(template, "/spec/volumes", names::TOKEN_VOLUME) {
            return Err(Denied::new(format!(
                "the {whole} has a volume {}, which is the sidecar's: give it another name",
                names::TOKEN_VOLUME
            )));
        }
        if let Some(container) = &self.spec.container
            && !has_named(template, "/spec/containers", container.as_str())
        {
            return Err(Denied::new(format!(
                "annotation {} is {}, but the {whole}'s containers are {}: write one of them",
                annotation::CONTAINER,
                quoted(container.as_str()),
                container_names(template),
            )));
        }
        let port = self.spec.port.number();
        if self.spec.port_is_written
            && let Some(container) = ports::taken_by(template, port)
        {
            return Err(Denied::new(format!(
                "annotation {} is \"{port}\", which container {} has already: write a port that no \
                 container of the {whole} has",
                annotation::PORT,
                quoted(container),
            )));
        }
        match (
            &self.spec.account,
            workload::written_account(kind, template),
        ) {
            (Some(named), Some(written)) if named.as_str() != written => Err(Denied::new(format!(
                "annotation {} is {}, but the {whole}'s serviceAccountName says {}: write one of \
                 the two, or the same twice",
                annotation::SERVICE_ACCOUNT,
                quoted(named.as_str()),
                quoted(written),
            ))),
            _ => Ok(()),
        }
    }
}

/// Whether all that injection looks at is of the type that it must be, or null, which is nothing.
fn is_readable(template: &Value) -> bool {
    const CONTAINERS: &str = "/spec/containers";
    const LISTS: [&str; 2] = ["/spec/initContainers", "/spec/volumes"];
    const MAPS: [&str; 3] = ["/metadata", "/metadata/labels", "/metadata/annotations"];
    const TEXTS: [&str; 2] = ["/spec/serviceAccountName", "/spec/serviceAccount"];
    const FLAGS: [&str; 1] = ["/spec/automountServiceAccountToken"];
    let all = |paths: &[&str], is: fn(&Value) -> bool| {
        let found = |path: &&str| template.pointer(path).filter(|it| !it.is_null());
        paths.iter().filter_map(found).all(is)
    };
    template.pointer(CONTAINERS).is_some_and(Value::is_array)
        && all(&LISTS, Value::is_array)
        && all(&MAPS, Value::is_object)
        && all(&TEXTS, Value::is_string)
        && all(&FLAGS, Value::is_boolean)
}

fn is_for_windows(template: &Value) -> bool {
    let node = template.pointer("/spec/nodeSelector");
    let os = template.pointer("/spec/os/name");
    [os, node.and_then(|labels| labels.get("kubernetes.io/os"))]
        .into_iter()
        .flatten()
        .any(|name| name == "windows")
}

fn selects_by_our_label(object: &Value) -> bool {
    let labels = object.pointer("/spec/selector/matchLabels");
    labels.and_then(|labels| labels.get(names::LABEL)).is_some()
        || items(object, "/spec/selector/matchExpressions")
            .any(|expression| text(expression, "key") == Some(names::LABEL))
}

/// The name of the template's sidecar, which may be one of this cluster's by its image and a flag.
pub(super) fn sidecar<'a>(template: &'a Value, settings: &Settings) -> Option<&'a str> {
    containers(template)
        .filter(|it| is_sidecar(*it) || is_version_of(&settings.image, *it))
        .find_map(|container| text(container, "name"))
}

/// Whether somebody changed our container, which both have.
pub(super) fn is_rewritten(template: &Value, old: &Value) -> bool {
    let ours = |template| {
        containers(template).find(|container| text(container, "name") == Some(names::CONTAINER))
    };
    matches!((ours(template), ours(old)), (Some(now), Some(before)) if now != before)
}

/// All of them, those that come first before the others.
pub(super) fn containers(template: &Value) -> impl Iterator<Item = &Value> {
    ["/spec/initContainers", "/spec/containers"]
        .into_iter()
        .flat_map(|list| items(template, list))
}

/// The value of our label, with which a pod would be selected that is a mere copy.
pub(super) fn label(template: &Value) -> Option<&str> {
    text(template.pointer("/metadata/labels")?, names::LABEL)
}

/// The patch of an object that makes `wanted` of its template.
pub(super) fn patch(kind: Kind, template: &Value, wanted: &Value) -> Patch {
    let base = PointerBuf::parse(kind.place()).unwrap_or_default();
    let operations = json_patch::diff(template, wanted)
        .0
        .into_iter()
        .map(|operation| {
            let under = |path: &Pointer| {
                let mut whole = base.clone();
                whole.append(path);
                whole
            };
            match operation {
                PatchOperation::Add(add) => PatchOperation::Add(AddOperation {
                    path: under(&add.path),
                    value: add.value,
                }),
                PatchOperation::Remove(remove) => PatchOperation::Remove(RemoveOperation {
                    path: under(&remove.path),
                }),
                PatchOperation::Replace(replace) => PatchOperation::Replace(ReplaceOperation {
                    path: under(&replace.path),
                    value: replace.value,
                }),
                // `diff` yields the three above.
                other => other,
            }
        });
    Patch(operations.collect())
}

/// A template in which nothing is said of its containers but how many there are.
fn without_containers(template: &Value) -> Value {
    let nothing_said = |containers: &Value| match containers {
        Value::Array(containers) => vec![Value::Null; containers.len()].into(),
        other => other.clone(),
    };
    let lean = |spec: &Value| match spec {
        Value::Object(spec) => copy(spec, &["containers", "initContainers"], nothing_said),
        other => other.clone(),
    };
    match template {
        Value::Object(template) => copy(template, &["spec"], lean),
        other => other.clone(),
    }
}

/// A copy of a map, with something else made of the values of some keys.
fn copy(map: &Map<String, Value>, keys: &[&str], make: impl Fn(&Value) -> Value) -> Value {
    let copied = map.iter().map(|(key, value)| {
        let is_one_of_them = keys.contains(&key.as_str());
        let value = if is_one_of_them {
            make(value)
        } else {
            value.clone()
        };
        (key.clone(), value)
    });
    Value::Object(copied.collect())
}

/// The map at `key`, made where it is absent or null, which is the same.
fn child<'a>(
    parent: &'a mut Map<String, Value>,
    key: &str,
    created: Created,
    record: &mut Record,
) -> Option<&'a mut Map<String, Value>> {
    if parent.get(key).is_none_or(Value::is_null) {
        parent.insert(key.to_owned(), json!({}));
        record.created.push(created);
    }
    parent.get_mut(key)?.as_object_mut()
}

/// Appends to the list at `key`, which is made where it is absent or null.
fn push(
    spec: &mut Map<String, Value>,
    key: &str,
    item: Value,
    created: Created,
    record: &mut Record,
) {
    if spec.get(key).is_none_or(Value::is_null) {
        spec.insert(key.to_owned(), json!([]));
        record.created.push(created);
    }
    if let Some(list) = spec.get_mut(key).and_then(Value::as_array_mut) {
        list.push(item);
    }
}

fn first_container(template: &Value) -> Option<String> {
    Some(
        template
            .pointer("/spec/containers/0/name")?
            .as_str()?
            .to_owned(),
    )
}

/// The first of them, where there are many.
fn container_names(template: &Value) -> String {
    let names: Vec<_> = items(template, "/spec/containers")
        .filter_map(|container| container.get("name")?.as_str())
        .take(10)
        .map(quoted)
        .collect();
    names.join(", ")
}
