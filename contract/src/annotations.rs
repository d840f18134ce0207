//! What a user wrote on a workload or a pod: annotations in, a [`Spec`] of checked values out.
//!
//! Must not know: what is injected, the rest of the object.

mod reader;

use serde_json::{Map, Value};

pub use self::reader::AnnotationError;
use crate::{
    names::{self, annotation},
    reference,
    values::{
        AccountName, ContainerName, LeaseName, LogLevel, Port, Quantity, ServiceName, Start, Timing,
    },
    wording::{nearest, quoted, shortened},
};

/// How many Services one election may switch.
const MOST_SERVICES: usize = 16;

/// What the annotations of one workload ask for.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// The Services to switch, at least one, in the order in which they were written.
    pub services: Services,
    /// The Lease that holds the election.
    pub lease: LeaseName,
    /// The container whose readiness counts, where it is not the whole pod's.
    pub container: Option<ContainerName>,
    /// The sidecar's port.
    pub port: Port,
    /// Whether the user chose the port.
    pub port_is_written: bool,
    /// The application's own port, where it wants to be told.
    pub notify_port: Option<Port>,
    /// The lease's length.
    pub timing: Timing,
    /// The service account that the user names.
    pub account: Option<AccountName>,
    /// What the Service does before its first leader.
    pub start: Start,
    /// The sidecar's log level, where the user sets it.
    pub log_level: Option<LogLevel>,
    /// The sidecar's resources, where the user sets them.
    pub resources: Resources,
}

/// One Service or several; never none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Services {
    first: ServiceName,
    rest: Vec<ServiceName>,
}

impl Services {
    /// The first, after which Lease, account and RBAC are named.
    pub fn first(&self) -> &ServiceName {
        &self.first
    }

    /// All of them, in the order in which they were written.
    pub fn iter(&self) -> impl Iterator<Item = &ServiceName> {
        std::iter::once(&self.first).chain(&self.rest)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut names = Vec::new();
        for part in text.split(',') {
            let part = part.trim();
            let name = ServiceName::parse(part).map_err(|error| {
                let several = text.contains(',');
                if several {
                    format!("{} in it: {error}", quoted(part))
                } else {
                    error.to_string()
                }
            })?;
            if names.contains(&name) {
                return Err(format!(
                    "{} stands in it twice: write it once",
                    quoted(part)
                ));
            }
            names.push(name);
        }
        if names.len() > MOST_SERVICES {
            return Err(format!(
                "it names {} Services: write at most {MOST_SERVICES}",
                names.len()
            ));
        }
        let mut names = names.into_iter();
        let first = names.next().ok_or("write the name of a Service")?;
        Ok(Self {
            first,
            rest: names.collect(),
        })
    }
}

/// What the sidecar may use, as far as the user says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Resources {
    /// Requested CPU.
    pub cpu_request: Option<Quantity>,
    /// Requested memory.
    pub memory_request: Option<Quantity>,
    /// Most CPU.
    pub cpu_limit: Option<Quantity>,
    /// Most memory.
    pub memory_limit: Option<Quantity>,
}

/// What the annotations of an object come to.
#[derive(Debug, Clone, PartialEq)]
pub enum Wish {
    /// No annotation names a Service.
    Nothing,
    /// `inject: "false"`.
    KeepOut,
    /// An election.
    Elect(Box<Spec>),
}

/// Reads the annotations of an object (`metadata`). All errors, not only the first.
pub fn parse(metadata: Option<&Value>) -> Result<Wish, Vec<AnnotationError>> {
    let Some(annotations) = annotations(metadata) else {
        return Ok(Wish::Nothing);
    };
    if !annotations.contains_key(annotation::SERVICE) {
        return Ok(Wish::Nothing);
    }
    reader::read(annotations)
}

/// The Services that an object claims, even where another annotation cannot be obeyed: a Service
/// is given up because somebody said so, not for a misspelt number.
pub fn services(metadata: Option<&Value>) -> Option<Services> {
    if says(metadata, annotation::INJECT, "false") {
        return None;
    }
    let services = annotations(metadata)?.get(annotation::SERVICE)?.as_str();
    Services::parse(services?).ok()
}

/// Whether an annotation has this value.
pub(crate) fn says(metadata: Option<&Value>, key: &str, value: &str) -> bool {
    let written = annotations(metadata).and_then(|annotations| annotations.get(key)?.as_str());
    written == Some(value)
}

/// Whether a user may write this key.
pub fn is_known(key: &str) -> bool {
    reference::KEYS.iter().any(|known| known.name == key)
}

/// Keys with our prefix that mean nothing, each with the known key that is nearest.
pub fn unknown_keys(
    metadata: Option<&Value>,
) -> impl Iterator<Item = (&String, &'static str)> + use<'_> {
    annotations(metadata)
        .into_iter()
        .flat_map(Map::keys)
        .filter(|key| key.starts_with(names::PREFIX) && *key != annotation::INJECTED)
        .filter(|key| !is_known(key))
        .map(|key| {
            let known = reference::KEYS.iter().map(|key| key.name);
            // Longer than any key may be.
            let begin = shortened(key, 128);
            (key, nearest(&begin, known).unwrap_or(annotation::SERVICE))
        })
}

/// The annotations with our prefix.
pub fn ours(metadata: Option<&Value>) -> Map<String, Value> {
    annotations(metadata)
        .into_iter()
        .flatten()
        .filter(|(key, _)| key.starts_with(names::PREFIX))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn annotations(metadata: Option<&Value>) -> Option<&Map<String, Value>> {
    metadata?.get("annotations")?.as_object()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn elect(annotations: &Value) -> Spec {
        match parse(Some(&json!({ "annotations": annotations }))) {
            Ok(Wish::Elect(spec)) => *spec,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_annotation_is_enough() {
        let spec = elect(&json!({ annotation::SERVICE: "web" }));
        assert_eq!(spec.services.first().as_str(), "web");
        assert_eq!(spec.lease.as_str(), "service-leader-election-web");
        assert_eq!(spec.timing.seconds(), 12);
        assert_eq!(spec.port.number(), 28086);
    }

    #[test]
    fn several_services_name_the_lease_after_the_first() {
        let spec = elect(&json!({ annotation::SERVICE: "web, web-internal" }));
        let names: Vec<_> = spec.services.iter().map(ServiceName::as_str).collect();
        assert_eq!(names, ["web", "web-internal"]);
        assert_eq!(spec.lease.as_str(), "service-leader-election-web");
    }

    #[test]
    fn a_misspelt_key_is_answered_with_the_nearest() {
        let metadata = json!({ "annotations": {
            "service-leader-election/leese-duration": "12", "example.org/x": "y"
        }});
        let unknown = "service-leader-election/leese-duration".to_owned();
        let found: Vec<_> = unknown_keys(Some(&metadata)).collect();
        assert_eq!(found, [(&unknown, annotation::LEASE_DURATION)]);
    }

    #[test]
    fn an_object_kept_out_is_not_judged_further() {
        let metadata =
            json!({ "annotations": { annotation::SERVICE: "", annotation::INJECT: "false" } });
        assert_eq!(parse(Some(&metadata)), Ok(Wish::KeepOut));
    }
}
