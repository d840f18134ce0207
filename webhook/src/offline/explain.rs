//! A decision of the injector, step by step, in words.
//!
//! Pure. Must not know: where the object comes from.

use contract::{
    annotations::{self, Spec, Wish},
    facts::{Facts, Meshes, ServiceFact},
    inject::{Decision, Denied, Reason, Settings},
    names::{self, annotation},
    values::{AccountName, ContainerName, LogLevel, Port, Quantity, ServiceName, Start},
    workload::{Ending, Kind},
};
use json_patch::PatchOperation;
use serde_json::Value;

use super::{manifests, place::Identity, remarks, rules, yaml};

/// Numbered steps under a heading.
#[derive(Debug)]
pub(super) struct Steps {
    text: String,
    number: u32,
}

impl Steps {
    pub(super) fn under(heading: &str) -> Self {
        Self {
            text: format!("{heading}\n"),
            number: 0,
        }
    }

    pub(super) fn step(&mut self, text: &str) {
        self.number += 1;
        let line = format!("  {}. {text}\n", self.number);
        self.text.push_str(&line);
    }

    pub(super) fn details(&mut self, lines: impl IntoIterator<Item = impl AsRef<str>>) {
        for line in lines {
            let line = format!("       {}\n", line.as_ref());
            self.text.push_str(&line);
        }
    }

    pub(super) fn text(self) -> String {
        self.text
    }
}

/// Explains what the injector decides of an object, which may stand in a cluster already, and of the
/// pods that are made of it, where that is not the same. Whether they are let in.
pub(super) fn explain(
    steps: &mut Steps,
    object: &Value,
    old: Option<&Value>,
    facts: &Facts,
    settings: &Settings,
) -> bool {
    let identity = Identity::of(object);
    let Identity {
        api_version, kind, ..
    } = &identity;
    let in_words = identity.kind_in_words();
    let Some(decided) = manifests::decide(object, old, facts, settings) else {
        let kinds: Vec<_> = Kind::ALL
            .iter()
            .map(|kind| format!("{} of {}", kind.as_str(), kind.api_version()))
            .collect();
        steps.step(&format!(
            "kind: {in_words} is left as it is; injected are {}",
            kinds.join(", ")
        ));
        remarks(steps, object);
        return true;
    };
    steps.step(&match Ending::of(api_version, kind) {
        Some(_) => format!("kind: {in_words} makes pods that end"),
        None if kind == Kind::Pod.as_str() => {
            format!("kind: {in_words} is injected when it is created")
        }
        None => format!("kind: {in_words} bears a pod template"),
    });
    remarks(steps, object);
    steps.step(&format!("webhook: {}", rules::asked(object)));
    let is_let_in = judged(steps, object, decided, facts);
    let Some(pod) = manifests::pod(object) else {
        return is_let_in;
    };
    steps.step(&format!(
        "its pods: the template bears {}, so each is judged by itself",
        annotation::SERVICE
    ));
    steps.step(&format!("webhook: {}", rules::asked(&pod)));
    let decided = manifests::decide(&pod, None, facts, settings);
    is_let_in && decided.is_none_or(|decided| judged(steps, &pod, decided, facts))
}

/// What people take for something that the injector is asked about.
fn remarks(steps: &mut Steps, object: &Value) {
    for remark in remarks::of(object) {
        steps.step(&format!("warning: {remark}"));
    }
}

/// Whether it is let in.
fn judged(
    steps: &mut Steps,
    object: &Value,
    decided: Result<Decision, Denied>,
    facts: &Facts,
) -> bool {
    asked(steps, object);
    if let Ok(Wish::Elect(spec)) = annotations::parse(object.get("metadata")) {
        steps.step("values:");
        steps.details(values(&spec, object));
        steps.step("what is known of the Services and the namespace:");
        steps.details(spec.services.iter().map(|name| known(name, facts)));
        steps.details([asks_for(facts.meshes())]);
    }
    match decided {
        Ok(decision) => {
            result(steps, &decision);
            true
        }
        Err(denied) => {
            steps.step(&format!("decision: denied: {denied}"));
            false
        }
    }
}

/// What the annotations ask for.
fn asked(steps: &mut Steps, object: &Value) {
    let ours = annotations::ours(object.get("metadata"));
    let text = |key| ours.get(key).and_then(Value::as_str);
    steps.step(&match text(annotation::SERVICE) {
        Some(services) => format!(
            "annotation {} is {services:?}: an election is asked for",
            annotation::SERVICE
        ),
        None => format!(
            "annotation {} is absent: no election is asked for",
            annotation::SERVICE
        ),
    });
    if let Some(inject) = text(annotation::INJECT) {
        steps.step(&format!("annotation {} is {inject:?}", annotation::INJECT));
    }
}

/// Each value that can be written, as it is or by default.
fn values(spec: &Spec, object: &Value) -> Vec<String> {
    let written = annotations::ours(object.get("metadata"));
    let generated = names::default_name(spec.services.first().as_str());
    let account = format!("the one that is written, else {generated}");
    let sidecars = "as in the container below";
    let start = match spec.start {
        Start::Closed => "open, for closed is not obeyed yet",
        Start::Open => "open",
    };
    let or = |value: Option<&str>, default: &str| value.unwrap_or(default).to_owned();
    let number = |port: Port| port.number().to_string();
    let amount = |value: &Option<Quantity>| or(value.as_ref().map(Quantity::as_str), sidecars);
    let resources = &spec.resources;
    let values = [
        (annotation::LEASE, spec.lease.to_string()),
        (
            annotation::LEASE_DURATION,
            format!("{} s", spec.timing.seconds()),
        ),
        (
            annotation::CONTAINER,
            or(
                spec.container.as_ref().map(ContainerName::as_str),
                "the whole pod",
            ),
        ),
        (annotation::PORT, number(spec.port)),
        (
            annotation::NOTIFY_PORT,
            spec.notify_port
                .map_or_else(|| "nobody is told".to_owned(), number),
        ),
        (
            annotation::SERVICE_ACCOUNT,
            or(spec.account.as_ref().map(AccountName::as_str), &account),
        ),
        (annotation::START, start.to_owned()),
        (
            annotation::LOG_LEVEL,
            or(spec.log_level.map(LogLevel::as_str), "info"),
        ),
        (annotation::CPU_REQUEST, amount(&resources.cpu_request)),
        (
            annotation::MEMORY_REQUEST,
            amount(&resources.memory_request),
        ),
        (annotation::CPU_LIMIT, amount(&resources.cpu_limit)),
        (annotation::MEMORY_LIMIT, amount(&resources.memory_limit)),
    ];
    let line = |(key, value): (&str, String)| {
        let short = key.strip_prefix(names::PREFIX).unwrap_or(key);
        let source = if written.contains_key(key) {
            ""
        } else {
            " (default)"
        };
        format!("{short:<16} {value}{source}")
    };
    values.into_iter().map(line).collect()
}

fn known(service: &ServiceName, facts: &Facts) -> String {
    match facts.of(service) {
        ServiceFact::Unknown => format!("{service}: nothing, so nothing is said of it"),
        ServiceFact::Missing => format!("{service}: it does not exist"),
        ServiceFact::WithoutSelector => format!("{service}: it has no selector"),
        ServiceFact::ExternalName => format!("{service}: it is of type ExternalName"),
        ServiceFact::Selects(selecting) if selecting.labels.is_empty() => format!(
            "{service}: nothing, save that it is claimed by {} too",
            selecting.claimed_by.join(", ")
        ),
        ServiceFact::Selects(selecting) => {
            let labels: Vec<String> = selecting
                .labels
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            format!("{service}: it selects {}", labels.join(","))
        }
    }
}

/// What the namespace asks for.
fn asks_for(meshes: Option<&Meshes>) -> &'static str {
    match meshes {
        None => "the namespace: nothing, so the template alone says which service mesh it is in",
        Some(Meshes { istio, linkerd, .. }) => match (istio, linkerd) {
            (false, false) => "the namespace: it asks for no service mesh",
            (true, false) => "the namespace: it asks for Istio's proxy",
            (false, true) => "the namespace: it asks for Linkerd's proxy",
            (true, true) => "the namespace: it asks for the proxies of Istio and Linkerd",
        },
    }
}

fn result(steps: &mut Steps, decision: &Decision) {
    let Decision {
        patch,
        warnings,
        reason,
    } = decision;
    steps.step(&format!("decision: {reason}: {}", because(*reason)));
    if patch.0.is_empty() {
        let already = match reason {
            Reason::Injected => ", for the sidecar is there already",
            _ => "",
        };
        steps.step(&format!("changes: none{already}"));
    } else {
        steps.step("changes:");
        for operation in &patch.0 {
            change(steps, operation);
        }
    }
    if warnings.is_empty() {
        steps.step("warnings: none");
    } else {
        steps.step("warnings:");
        steps.details(warnings);
    }
}

fn because(reason: Reason) -> &'static str {
    match reason {
        Reason::Injected => "the annotation names a Service",
        Reason::Kept => "the sidecar is there, and nothing changed that concerns it, so it stays",
        Reason::TakenOut => "the annotation is gone, and so is what it had brought",
        Reason::NotAnnotated => "no annotation names a Service",
        Reason::KeptOut => "the annotations say so",
        Reason::ByHand => "the sidecar that is there was added by hand",
        Reason::Controlled => "another object controls this one, and says what is in it",
        Reason::Unsupported => "pods that end have nobody to take over",
        Reason::Unlabelled => "our label is taken out, for a copy's Service would select it",
    }
}

fn change(steps: &mut Steps, operation: &PatchOperation) {
    let (what, value) = match operation {
        PatchOperation::Add(add) => ("add", Some(&add.value)),
        PatchOperation::Replace(replace) => ("replace", Some(&replace.value)),
        PatchOperation::Remove(_) => ("remove", None),
        PatchOperation::Move(_) => ("move", None),
        PatchOperation::Copy(_) => ("copy", None),
        PatchOperation::Test(_) => ("test", None),
    };
    let path = operation.path();
    match value {
        Some(value @ (Value::Object(_) | Value::Array(_))) => {
            steps.details([format!("{what} {path}:")]);
            let text = yaml::write(value).unwrap_or_else(|_| value.to_string());
            steps.details(text.lines().map(|line| format!("  {line}")));
        }
        Some(value) => steps.details([format!("{what} {path}: {value}")]),
        None => steps.details([format!("{what} {path}")]),
    }
}

#[cfg(test)]
mod tests {
    use contract::reference::KEYS;
    use serde_json::json;

    use super::*;
    use crate::fuzz;

    fn settings() -> Settings {
        fuzz::settings(true)
    }

    fn explained(object: &Value, facts: &Facts) -> (String, bool) {
        let mut steps = Steps::under("it");
        let admitted = explain(&mut steps, object, None, facts, &settings());
        (steps.text(), admitted)
    }

    fn deployment(annotations: &Value) -> Value {
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": { "name": "web", "annotations": annotations },
            "spec": { "replicas": 1, "template": { "spec": { "containers": [{ "name": "app" }] } } },
        })
    }

    fn has(text: &str, lines: &[&str]) {
        let mut found = text.lines();
        for line in lines {
            assert!(
                found.any(|other| other == *line),
                "{line:?} is not in\n{text}"
            );
        }
    }

    #[test]
    fn every_step_of_an_injection_is_told() {
        let object = deployment(&json!({
            annotation::SERVICE: "web", annotation::LEASE_DURATION: "20"
        }));
        let mut facts = Facts::default();
        let service = json!({ "spec": { "selector": { "app": "shop" } } });
        facts.note(
            &ServiceName::parse("web").unwrap(),
            ServiceFact::of(&service),
        );
        let (text, admitted) = explained(&object, &facts);
        assert!(admitted);
        has(
            &text,
            &[
                "it",
                "  1. kind: Deployment of apps/v1 bears a pod template",
                "  2. webhook: workloads.service-leader-election.io, when it is created and when its template \
                 or an annotation of ours changes",
                "  3. annotation service-leader-election/service is \"web\": an election is asked for",
                "       lease            service-leader-election-web (default)",
                "       lease-duration   20 s",
                "       start            open, for closed is not obeyed yet (default)",
                "       web: it selects app=shop",
                "  6. decision: injected: the annotation names a Service",
                "       add /spec/template/spec/initContainers:",
                "       add /spec/template/spec/serviceAccountName: \"service-leader-election-web\"",
                "  8. warnings:",
            ],
        );
        assert!(text.contains("image: sidecar:1"), "{text}");
        assert!(
            text.contains("selects \"app=shop\", which the template's labels"),
            "{text}"
        );
    }

    #[test]
    fn each_value_that_can_be_written_is_told() {
        let object = deployment(&json!({ annotation::SERVICE: "web" }));
        let (text, _) = explained(&object, &Facts::default());
        let elsewhere = [annotation::SERVICE, annotation::INJECT];
        for key in KEYS.map(|key| key.name) {
            let short = key.strip_prefix(names::PREFIX).unwrap();
            let line = format!("       {short:<16} ");
            let told = text.lines().any(|told| told.starts_with(&line));
            assert!(told || elsewhere.contains(&key), "{key} is not in\n{text}");
        }
    }

    #[test]
    fn a_value_that_cannot_be_obeyed_is_told() {
        let (text, admitted) = explained(
            &deployment(&json!({ annotation::SERVICE: "Web" })),
            &Facts::default(),
        );
        assert!(!admitted);
        assert!(text.contains("decision: denied: annotation"), "{text}");
    }

    #[test]
    fn what_becomes_of_the_pods_of_an_annotated_template_is_told() {
        let mut object = deployment(&json!({}));
        let metadata = |service| json!({ "annotations": { annotation::SERVICE: service } });
        object["spec"]["template"]["metadata"] = metadata("web");
        let (text, admitted) = explained(&object, &Facts::default());
        assert!(admitted);
        has(
            &text,
            &[
                "  2. webhook: workloads.service-leader-election.io, when it is created and when its template \
                 or an annotation of ours changes",
                "  5. changes: none",
                "  7. its pods: the template bears service-leader-election/service, so each is judged by \
                 itself",
                "  8. webhook: pods.service-leader-election.io, when it is created",
                "       lease            service-leader-election-web (default)",
                "  12. decision: injected: the annotation names a Service",
                "       add /spec/initContainers:",
            ],
        );
        object["spec"]["template"]["metadata"] = metadata("Web");
        let (text, admitted) = explained(&object, &Facts::default());
        assert!(!admitted);
        assert!(text.contains("decision: denied: annotation"), "{text}");
    }

    #[test]
    fn a_sidecar_that_the_cluster_has_stays_whatever_image_is_asked_for() {
        let mut object = deployment(&json!({ annotation::SERVICE: "web" }));
        let mut settings = settings();
        let facts = Facts::default();
        let decided = manifests::decide(&object, None, &facts, &settings).unwrap();
        json_patch::patch(&mut object, &decided.unwrap().patch).unwrap();
        settings.image = "sidecar:2".to_owned();
        let mut steps = Steps::under("it");
        explain(&mut steps, &object, Some(&object), &facts, &settings);
        has(
            &steps.text(),
            &[
                "  6. decision: kept: the sidecar is there, and nothing changed that concerns it, so it \
                 stays",
                "  7. changes: none",
            ],
        );
    }

    #[test]
    fn what_is_left_alone_is_told_why() {
        let (text, admitted) = explained(&deployment(&json!({})), &Facts::default());
        assert!(admitted);
        has(
            &text,
            &[
                "  4. decision: not-annotated: no annotation names a Service",
                "  5. changes: none",
            ],
        );
        let (text, _) = explained(
            &json!({ "apiVersion": "v1", "kind": "Secret" }),
            &Facts::default(),
        );
        assert!(text.contains("Secret of v1 is left as it is"), "{text}");
        assert!(!text.contains("warning"), "{text}");
        let mut object = deployment(&json!({ annotation::SERVICE: "web" }));
        object["apiVersion"] = json!("extensions/v1beta1");
        let (text, _) = explained(&object, &Facts::default());
        assert!(text.contains("  2. warning: annotation"), "{text}");
    }
}
