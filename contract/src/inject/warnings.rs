//! What a user is told at `kubectl apply`, although the object is let in.
//!
//! Must not know: what is injected. The API server drops a warning with a line break and cuts
//! long ones, so each is one line of fewer than 256 characters.

use serde_json::Value;

use super::{
    Request, Settings, mesh, pod,
    ports::{self, Probe},
    template,
    token::Token,
};
use crate::{
    annotations::{self, Spec, Wish},
    facts::{Selecting, ServiceFact},
    names::{self, annotation},
    values::{AccountName, ServiceName, Start},
    wording::{fitted, quoted, shortened},
    workload::{self, Ending, Kind},
};

/// The most characters of a warning.
const MOST: usize = 255;

/// How many there are at most: of more, the API server would hand on the beginnings only.
const AT_MOST: usize = 16;

/// How many keys of a place are told, if they are misspelt or overruled, so that other warnings have
/// room beside them.
const MOST_KEYS: usize = 8;

/// Warnings, in the order in which they were found.
#[derive(Debug, Default)]
pub(super) struct Warnings(Vec<String>);

/// What can be said of an annotated object, whose template is `plain` without us, at any time.
pub(super) fn of(
    request: &Request<'_>,
    settings: &Settings,
    spec: &Spec,
    plain: &Value,
) -> Warnings {
    let mut warnings = Warnings::default();
    warnings.unknown_keys(request.object.get("metadata"), "");
    if request.kind == Kind::Pod {
        if template::label(plain).is_some() {
            warnings.label();
        }
        warnings.redirected(spec, plain);
    } else {
        warnings.unknown_keys(plain.get("metadata"), " on the template");
        warnings.overruled(request, plain);
    }
    warnings.start(request);
    for service in spec.services.iter() {
        warnings.service(request, service, plain);
    }
    if request.kind.replicas(request.object) == Some(1) {
        warnings.add(
            "spec.replicas is 1: while its only pod is away nobody can take over; write 2 or more",
        );
    }
    warnings.probes(spec, plain);
    if template::sidecar(plain, settings).is_none() {
        warnings.port(spec, plain);
    }
    warnings
}

/// What can be said of annotations none of which names a Service, and of those of the object's
/// template: its pods are made by a controller, to which nobody listens.
pub(super) fn without_service(request: &Request<'_>) -> Vec<String> {
    let mut warnings = Warnings::default();
    let metadata = request.object.get("metadata");
    warnings.unknown_keys(metadata, "");
    warnings.ineffective(metadata);
    if request.kind != Kind::Pod {
        let of_pods = of_pods(request);
        warnings.unknown_keys(of_pods, " on the template");
        if annotations::parse(of_pods) == Ok(Wish::Nothing) {
            warnings.ineffective(of_pods);
        }
        warnings.pods(request);
    }
    warnings.list()
}

/// What can be said of a workload that is kept out: its template may ask for an election by itself.
pub(super) fn kept_out(request: &Request<'_>) -> Vec<String> {
    let mut warnings = Warnings::default();
    warnings.pods(request);
    warnings.list()
}

/// The metadata with which a workload's pods are created.
fn of_pods<'a>(request: &Request<'a>) -> Option<&'a Value> {
    workload::template(request.kind, request.object)?.get("metadata")
}

/// What can be said of an annotation at this place of an object whose pods end.
pub(super) fn ending(place: &str, kind: Ending) -> Vec<String> {
    let mut warnings = Warnings::default();
    warnings.add(&format!(
        "annotation {} has no effect on {place} {}, whose pods end, so that nothing could take \
         over: use a Deployment",
        annotation::SERVICE,
        kind.as_str()
    ));
    warnings.list()
}

impl Warnings {
    pub(super) fn list(self) -> Vec<String> {
        self.0
    }

    pub(super) fn by_hand(&mut self, sidecar: &str) {
        self.add(&format!(
            "container {} is a sidecar added by hand: it is kept as it is and nothing is \
             injected; take it out to have it injected",
            quoted(sidecar)
        ));
    }

    pub(super) fn rewritten(&mut self) {
        self.add(&format!(
            "container {} stays as it was, for the webhook writes it: change it by annotations that \
             begin with {}, such as {} or {}",
            quoted(names::CONTAINER),
            names::PREFIX,
            annotation::LOG_LEVEL,
            annotation::MEMORY_LIMIT
        ));
    }

    pub(super) fn label(&mut self) {
        self.add(&format!(
            "label {} is taken out of the new pod: its value is the pod's own name, and its sidecar \
             sets it",
            names::LABEL
        ));
    }

    /// What becomes of pods whose template alone asks for an election, if anything does.
    fn pods(&mut self, request: &Request<'_>) {
        let metadata = request.object.get("metadata");
        match annotations::parse(of_pods(request)) {
            Ok(Wish::Elect(_)) if annotations::says(metadata, annotation::INJECT, "false") => {
                self.add(&format!(
                    "annotation {} on the {} keeps no sidecar out of its pods, for the template's own annotations \
                     ask for one: write \"false\" on the template too",
                    annotation::INJECT,
                    request.kind.as_str()
                ));
            }
            Ok(_) => {}
            Err(errors) => {
                for error in errors {
                    self.add(&format!("no pod of the template can be created: {error}"));
                }
            }
        }
    }

    /// Known keys beside which no Service is named.
    fn ineffective(&mut self, metadata: Option<&Value>) {
        for key in annotations::ours(metadata).keys() {
            if annotations::is_known(key) && key != annotation::INJECT {
                self.add(&format!(
                    "annotation {key} has no effect without {}: write the name of a Service there",
                    annotation::SERVICE
                ));
            }
        }
    }

    fn unknown_keys(&mut self, metadata: Option<&Value>, place: &str) {
        for (key, nearest) in annotations::unknown_keys(metadata).take(MOST_KEYS) {
            self.add(&format!(
                "annotation {}{place} has no effect: did you mean {nearest}?",
                quoted(key)
            ));
        }
    }

    /// Known keys of the template that the workload's own annotations do not say as well.
    fn overruled(&mut self, request: &Request<'_>, plain: &Value) {
        let own = annotations::ours(request.object.get("metadata"));
        let on_the_template = annotations::ours(plain.get("metadata"));
        let overruled = on_the_template
            .iter()
            .filter(|(key, value)| annotations::is_known(key) && own.get(*key) != Some(value));
        for (key, _) in overruled.take(MOST_KEYS) {
            self.add(&format!(
                "annotation {key} on the template has no effect, for the {}'s own annotations count: \
                 write it there",
                request.kind.as_str()
            ));
        }
    }

    /// A Service that is to be closed, and cannot be yet.
    fn start(&mut self, request: &Request<'_>) {
        let metadata = request.object.get("metadata");
        if annotations::says(metadata, annotation::START, Start::CLOSED) {
            self.add(&format!(
                "annotation {} is {}, which is not obeyed yet: before the first leader every ready pod gets \
                 traffic; let the application serve only while its /leader says isLeader",
                annotation::START,
                quoted(Start::CLOSED)
            ));
        }
    }

    fn service(&mut self, request: &Request<'_>, service: &ServiceName, plain: &Value) {
        match request.facts.of(service) {
            ServiceFact::Unknown => {}
            ServiceFact::Missing => self.add(&format!(
                "Service {service} does not exist in this namespace: create it, or correct the \
                 annotation; the election runs meanwhile"
            )),
            ServiceFact::WithoutSelector => self.add(&format!(
                "Service {service} has no selector, so its traffic cannot be switched: give it \
                 the selector of these pods"
            )),
            ServiceFact::ExternalName => self.add(&format!(
                "Service {service} is of type ExternalName, so its traffic cannot be switched: \
                 make it a ClusterIP Service with a selector"
            )),
            ServiceFact::Selects(selecting) => {
                self.labels(request, service, selecting, plain);
                if selecting.headless {
                    self.headless(request, service);
                }
                // Bare pods share an election by their nature.
                if request.kind != Kind::Pod {
                    self.claimants(request, service, selecting);
                }
            }
        }
    }

    fn labels(
        &mut self,
        request: &Request<'_>,
        service: &ServiceName,
        selecting: &Selecting,
        plain: &Value,
    ) {
        let labels = plain.pointer("/metadata/labels");
        let added = request.kind.labels_of_its_controller();
        let missing = selecting.labels.iter().find(|(key, value)| {
            !added.contains(&key.as_str())
                && labels.and_then(|l| l.get(key)).and_then(Value::as_str) != Some(value)
        });
        if let Some((key, value)) = missing {
            let selected = quoted(&format!("{key}={value}"));
            let follows = match request.kind {
                Kind::Pod => "the pod's labels do not match: it cannot lead",
                _ => "the template's labels do not match: no pod of it can lead",
            };
            self.add(&format!(
                "Service {service} selects {selected}, which {follows}; correct the selector or the \
                 labels"
            ));
        }
    }

    fn headless(&mut self, request: &Request<'_>, service: &ServiceName) {
        self.add(&format!(
            "Service {service} is headless: clients find the leader's address by DNS and may keep \
             an old one until its TTL ends; a Service with a cluster IP switches at once"
        ));
        let governing = request.object.pointer("/spec/serviceName");
        if request.kind == Kind::StatefulSet
            && governing.and_then(Value::as_str) == Some(service.as_str())
        {
            self.add(&format!(
                "Service {service} is the StatefulSet's spec.serviceName too, so only the leader \
                 keeps a DNS name of its own: name another Service in the annotation"
            ));
        }
    }

    fn claimants(&mut self, request: &Request<'_>, service: &ServiceName, selecting: &Selecting) {
        let name = request.object.pointer("/metadata/name");
        let own = format!(
            "{}/{}",
            request.kind.as_str(),
            name.and_then(Value::as_str).unwrap_or_default()
        );
        let others = || selecting.claimed_by.iter().filter(|other| **other != own);
        let Some(first) = others().next() else {
            return;
        };
        let more = match others().count() {
            1 => String::new(),
            count => format!(" and {} more", count - 1),
        };
        self.add(&format!(
            "Service {service} is claimed by {}{more} too: with one Lease all their pods elect one \
             leader, with two one waits; use one Lease, or name another Service",
            shortened(first, 32)
        ));
    }

    /// A mesh that was asked before us has read the pod's annotations already.
    fn redirected(&mut self, spec: &Spec, pod: &Value) {
        let port = spec.port.number();
        if let Some((container, ports)) = mesh::redirecting(pod, port) {
            self.add(&format!(
                "the pod has {container} already, which redirects port {port} too, so that kubelet may not \
                 reach the sidecar: write {port} in {ports} yourself, or annotate the workload itself"
            ));
        }
    }

    fn probes(&mut self, spec: &Spec, plain: &Value) {
        for asking in ports::asking_who_leads(plain, spec.port.number()) {
            let follows = match asking.probe {
                Probe::Readiness => {
                    "no other pod gets ready, nobody can take over and a rollout waits for ever"
                }
                Probe::Liveness | Probe::Startup => "the others are restarted again and again",
            };
            self.add(&format!(
                "the {} of container {} asks the sidecar's /ready, which only the leader passes: \
                 {follows}; ask the application",
                asking.probe.field(),
                quoted(asking.container),
            ));
        }
    }

    /// Two that want the sidecar's port. One that the user chose is denied, not warned of.
    fn port(&mut self, spec: &Spec, plain: &Value) {
        if spec.port_is_written {
            return;
        }
        let port = spec.port.number();
        if let Some(container) = ports::taken_by(plain, port) {
            self.add(&format!(
                "container {} has port {port}, which is the sidecar's: only one of them can \
                 listen there; write another port in {}",
                quoted(container),
                annotation::PORT
            ));
        }
        if plain.pointer("/spec/hostNetwork").and_then(Value::as_bool) == Some(true) {
            self.add(&format!(
                "hostNetwork is true: on each node one pod only can have port {port}, a second \
                 one with a sidecar waits; write a port of this workload's own in {}",
                annotation::PORT
            ));
        }
    }

    /// As whom the pods run, where that is to change.
    pub(super) fn account(&mut self, request: &Request<'_>, spec: &Spec, plain: &Value) {
        let written = workload::written_account(request.kind, plain);
        let named = spec.account.as_ref().map(AccountName::as_str);
        if written.or(named) == Some("default") {
            let place = match written {
                Some(_) => "serviceAccountName".to_owned(),
                None => format!("annotation {}", annotation::SERVICE_ACCOUNT),
            };
            self.add(&format!(
                "{place} is default: every pod of the namespace that uses it gets the sidecar's \
                 rights; leave it out, or name an account of your own"
            ));
        }
        if written.or(named).is_some() {
            return;
        }
        let generated = names::default_name(spec.services.first().as_str());
        if pod::keeps_account(request, spec) {
            self.add(&format!(
                "the pod will run as {generated}, which does not exist yet, and this dry run does \
                 not make it: here the pod keeps the account that it has"
            ));
        }
        let remedy = match request.kind {
            Kind::Pod => format!("name its account in {}", annotation::SERVICE_ACCOUNT),
            _ => "write its serviceAccountName into the template".to_owned(),
        };
        let (pods, they) = match request.kind {
            Kind::Pod => ("the pod runs", "it mounts"),
            _ => ("the pods run", "they mount"),
        };
        match Token::of(request.kind, plain) {
            Token::Refused => {}
            Token::Lost => self.add(&format!(
                "{pods} as {generated} and the application gets no token: if it calls the \
                 Kubernetes API, {remedy}"
            )),
            Token::Generated => self.add(&format!(
                "{pods} as {generated}, and any token that {they} is that account's: for \
                 another's, {remedy}"
            )),
        }
    }

    fn add(&mut self, text: &str) {
        let text: String = text
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        // What to do stands at the end. A line of all characters that there may be is one that was cut.
        let line: String = fitted(&text, MOST - 1).chars().take(MOST).collect();
        if self.0.len() < AT_MOST && !self.0.contains(&line) {
            self.0.push(line);
        }
    }
}
