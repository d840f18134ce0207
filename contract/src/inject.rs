//! The one injector: object and settings in; patch, warnings and reason out. The webhook, the
//! offline command and the tests call it.
//!
//! Must not know: where the object comes from, what the cluster does with the patch.

mod lease;
mod mesh;
mod pod;
mod ports;
mod record;
pub(crate) mod sidecar;
mod template;
mod token;
mod warnings;

use std::{borrow::Cow, fmt};

use json_patch::Patch;
use serde_json::Value;

use self::{record::Record, template::Injection};
use crate::{
    annotations::{self, Spec, Wish},
    facts::Facts,
    workload::{self, Ending, Kind},
};

/// What holds for every injection of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The sidecar's image.
    pub image: String,
    /// When the image is pulled.
    pub pull_policy: PullPolicy,
    /// Whether the cluster runs init containers with `restartPolicy: Always` (1.29 and newer).
    pub native: bool,
    /// The sidecar's user; None leaves it to the image, or to the cluster (OpenShift), save beside root.
    pub run_as_user: Option<u32>,
}

/// When an image is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PullPolicy {
    /// At each start.
    Always,
    /// Where it is absent.
    #[default]
    IfNotPresent,
    /// Never.
    Never,
}

impl PullPolicy {
    /// The policy, as the API has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

impl std::str::FromStr for PullPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Always, Self::IfNotPresent, Self::Never]
            .into_iter()
            .find(|policy| policy.as_str() == text)
            .ok_or_else(|| "write Always, IfNotPresent or Never".to_owned())
    }
}

/// What is to be judged.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The object's kind.
    pub kind: Kind,
    /// The object as it shall become.
    pub object: &'a Value,
    /// On an update, the object as it is.
    pub old: Option<&'a Value>,
    /// What is known of the Services that the object names.
    pub facts: &'a Facts,
}

/// What to do with an object that is let in.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What to change; empty for nothing.
    pub patch: Patch,
    /// For the user; each is one line of fewer than 256 characters.
    pub warnings: Vec<String>,
    /// Why.
    pub reason: Reason,
}

/// Why an object is changed, or is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The annotation names a Service.
    Injected,
    /// Neither the template nor our annotations changed: the sidecar stays, byte for byte.
    Kept,
    /// The annotation is gone, and so is what it had brought.
    TakenOut,
    /// No annotation names a Service.
    NotAnnotated,
    /// `inject: "false"`.
    KeptOut,
    /// The template has a sidecar that was written by hand.
    ByHand,
    /// Another object controls this one, and says what is in it.
    Controlled,
    /// The object's pods end when their work is done.
    Unsupported,
    /// A new pod that names no Service bore our label, which was taken out.
    Unlabelled,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Injected,
        Self::Kept,
        Self::TakenOut,
        Self::NotAnnotated,
        Self::KeptOut,
        Self::ByHand,
        Self::Controlled,
        Self::Unsupported,
        Self::Unlabelled,
    ];

    /// A word for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Injected => "injected",
            Self::Kept => "kept",
            Self::TakenOut => "taken-out",
            Self::NotAnnotated => "not-annotated",
            Self::KeptOut => "kept-out",
            Self::ByHand => "by-hand",
            Self::Controlled => "controlled",
            Self::Unsupported => "unsupported",
            Self::Unlabelled => "unlabelled",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An object that cannot be obeyed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Denied {
    /// What is wrong and what to write.
    pub message: String,
}

impl Denied {
    fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
        }
    }
}

/// Judges one object.
pub fn decide(request: &Request<'_>, settings: &Settings) -> Result<Decision, Denied> {
    let metadata = request.object.get("metadata");
    if request.kind.is_left_to_its_controller(metadata) {
        return Ok(unchanged(Reason::Controlled));
    }
    if request.kind == Kind::Pod {
        return pod::decide(request, settings);
    }
    match wish(metadata)? {
        Wish::Elect(spec) => elect(request, settings, &spec),
        Wish::KeepOut => {
            lease::check_template(request)?;
            Ok(Decision {
                warnings: warnings::kept_out(request),
                ..take_out(request, Reason::KeptOut)
            })
        }
        Wish::Nothing => {
            lease::check_template(request)?;
            Ok(Decision {
                warnings: warnings::without_service(request),
                ..take_out(request, Reason::NotAnnotated)
            })
        }
    }
}

/// Judges an object whose pods end. It is let in as it is. Its template is looked at too, for
/// nobody is there to be told when its pods are created.
pub fn decide_ending(kind: Ending, object: &Value) -> Decision {
    let template = object.pointer(kind.template());
    let template = disregarded(template.and_then(|template| template.get("metadata")));
    let (reason, place) = match (disregarded(object.get("metadata")), template) {
        (Reason::NotAnnotated, template) => (template, "the template of a"),
        (own, _) => (own, "a"),
    };
    let warnings = match reason {
        Reason::Unsupported => warnings::ending(place, kind),
        _ => Vec::new(),
    };
    Decision {
        warnings,
        ..unchanged(reason)
    }
}

/// Why an object is not injected whose pods end.
fn disregarded(metadata: Option<&Value>) -> Reason {
    match annotations::parse(metadata) {
        Ok(Wish::Nothing) => Reason::NotAnnotated,
        Ok(Wish::KeepOut) => Reason::KeptOut,
        // A bad value does no harm where none is obeyed.
        Ok(Wish::Elect(_)) | Err(_) => Reason::Unsupported,
    }
}

fn wish(metadata: Option<&Value>) -> Result<Wish, Denied> {
    annotations::parse(metadata).map_err(|errors| {
        let messages: Vec<_> = errors.iter().map(ToString::to_string).collect();
        Denied::new(messages.join("; "))
    })
}

/// What takes out again what was put into an object, whatever its annotations ask for; empty where
/// nothing was.
pub fn uninject(kind: Kind, object: &Value) -> Patch {
    if kind.is_left_to_its_controller(object.get("metadata")) {
        return Patch::default();
    }
    let request = Request {
        kind,
        object,
        old: None,
        facts: &Facts::default(),
    };
    take_out(&request, Reason::NotAnnotated).patch
}

fn elect(request: &Request<'_>, settings: &Settings, spec: &Spec) -> Result<Decision, Denied> {
    let Some(template) = workload::template(request.kind, request.object) else {
        // The API server has a word for it.
        return Ok(unchanged(Reason::Injected));
    };
    let record = Record::on_or_as(template, old_template(request));
    let plain = match &record {
        Some(record) => Cow::Owned(record.take_out(template)),
        None => Cow::Borrowed(template),
    };
    let mut warnings = warnings::of(request, settings, spec, &plain);
    if let Some(old) = carried_over(request, settings, &plain) {
        if template::is_rewritten(template, old) {
            warnings.rewritten();
        }
        return Ok(changed(
            request,
            template,
            old,
            warnings.list(),
            Reason::Kept,
        ));
    }
    if let Some(sidecar) = template::sidecar(&plain, settings) {
        warnings.by_hand(sidecar);
        return Ok(changed(
            request,
            template,
            &plain,
            warnings.list(),
            Reason::ByHand,
        ));
    }
    lease::check(request, spec)?;
    let record = record.unwrap_or_default();
    if record.service_account_name.is_none() {
        warnings.account(request, spec, &plain);
    }
    let injection = Injection {
        spec,
        settings,
        request,
        mesh_before: &record.mesh,
    };
    injection.check(&plain)?;
    Ok(Decision {
        patch: injection.patch(template, plain),
        warnings: warnings.list(),
        reason: Reason::Injected,
    })
}

/// The old template, where the user's part of it and our annotations are what they were.
fn carried_over<'a>(
    request: &Request<'a>,
    settings: &Settings,
    plain: &Value,
) -> Option<&'a Value> {
    let template = old_template(request)?;
    let same_template = Record::on(template)?.take_out(template) == *plain;
    let same_annotations = annotations::ours(request.old?.get("metadata"))
        == annotations::ours(request.object.get("metadata"));
    let is_injected = template::sidecar(template, settings).is_some();
    (same_template && same_annotations && is_injected).then_some(template)
}

fn old_template<'a>(request: &Request<'a>) -> Option<&'a Value> {
    workload::template(request.kind, request.old?)
}

fn take_out(request: &Request<'_>, reason: Reason) -> Decision {
    let found = workload::template(request.kind, request.object)
        .and_then(|template| Some((template, Record::on_or_as(template, old_template(request))?)));
    match found {
        Some((template, record)) => {
            let plain = record.take_out(template);
            changed(request, template, &plain, Vec::new(), Reason::TakenOut)
        }
        None => unchanged(reason),
    }
}

fn unchanged(reason: Reason) -> Decision {
    Decision {
        patch: Patch::default(),
        warnings: Vec::new(),
        reason,
    }
}

fn changed(
    request: &Request<'_>,
    template: &Value,
    wanted: &Value,
    warnings: Vec<String>,
    reason: Reason,
) -> Decision {
    debug_assert_eq!(
        workload::template(request.kind, request.object),
        Some(template)
    );
    Decision {
        patch: template::patch(request.kind, template, wanted),
        warnings,
        reason,
    }
}
