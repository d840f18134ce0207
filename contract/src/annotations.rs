//! What a user wrote on a workload or a pod: annotations in, a [`Spec`] of checked values out.
//!
//! Must not know: what is injected, the rest of the object.

use serde_json::{Map, Value};

use crate::{
    names::{self, annotation},
    reference::{self, Key, key},
    values::{
        AccountName, ContainerName, LeaseName, LogLevel, Port, Quantity, ServiceName, Start,
        Timing, ValueError,
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

/// An annotation that cannot be obeyed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("annotation {key} is {}: {reason}", quoted(.value))]
pub struct AnnotationError {
    /// The whole key.
    pub key: &'static str,
    /// What was written.
    pub value: String,
    /// What is wrong and what to write.
    pub reason: String,
}

/// Reads the annotations of an object (`metadata`). All errors, not only the first.
pub fn parse(metadata: Option<&Value>) -> Result<Wish, Vec<AnnotationError>> {
    let Some(annotations) = annotations(metadata) else {
        return Ok(Wish::Nothing);
    };
    if !annotations.contains_key(annotation::SERVICE) {
        return Ok(Wish::Nothing);
    }
    let mut reader = Reader {
        annotations,
        errors: Vec::new(),
    };
    let inject = reader.read(&key::INJECT, parse_inject);
    if reader.errors.is_empty() && inject == Some(false) {
        return Ok(Wish::KeepOut);
    }
    let services = reader.read(&key::SERVICE, Services::parse);
    let spec = services.and_then(|services| reader.spec(services));
    match spec {
        Some(spec) if reader.errors.is_empty() => Ok(Wish::Elect(Box::new(spec))),
        _ => Err(reader.errors),
    }
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

struct Reader<'a> {
    annotations: &'a Map<String, Value>,
    errors: Vec<AnnotationError>,
}

impl Reader<'_> {
    /// The parsed value; None where it is absent, or bad and noted.
    fn read<T, E: ToString>(
        &mut self,
        key: &Key,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let value = self.annotations.get(key.name)?.as_str().unwrap_or_default();
        match parse(value) {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                let reason = error.to_string();
                self.errors.push(AnnotationError {
                    key: key.name,
                    value: value.to_owned(),
                    reason,
                });
                None
            }
        }
    }

    fn spec(&mut self, services: Services) -> Option<Spec> {
        let lease = self
            .read(&key::LEASE, LeaseName::parse)
            .or_else(|| LeaseName::parse(&names::default_name(services.first().as_str())).ok())?;
        let spec = Spec {
            lease,
            services,
            container: self.read(&key::CONTAINER, ContainerName::parse),
            port: self.read(&key::PORT, Port::parse).unwrap_or_default(),
            port_is_written: self.annotations.contains_key(annotation::PORT),
            notify_port: self.read(&key::NOTIFY_PORT, Port::parse),
            timing: self
                .read(&key::LEASE_DURATION, Timing::parse)
                .unwrap_or_default(),
            account: self.read(&key::SERVICE_ACCOUNT, AccountName::parse),
            start: self.read(&key::START, Start::parse).unwrap_or_default(),
            log_level: self.read(&key::LOG_LEVEL, LogLevel::parse),
            resources: Resources {
                cpu_request: self.read(&key::CPU_REQUEST, Quantity::parse),
                memory_request: self.read(&key::MEMORY_REQUEST, Quantity::parse),
                cpu_limit: self.read(&key::CPU_LIMIT, Quantity::parse),
                memory_limit: self.read(&key::MEMORY_LIMIT, Quantity::parse),
            },
        };
        self.not_itself(&spec);
        let resources = &spec.resources;
        self.not_above(
            annotation::CPU_REQUEST,
            resources.cpu_request.as_ref(),
            resources.cpu_limit.as_ref(),
        );
        self.not_above(
            annotation::MEMORY_REQUEST,
            resources.memory_request.as_ref(),
            resources.memory_limit.as_ref(),
        );
        Some(spec)
    }

    /// A sidecar that tells itself tells nobody.
    fn not_itself(&mut self, spec: &Spec) {
        if spec.notify_port == Some(spec.port) {
            self.errors.push(AnnotationError {
                key: annotation::NOTIFY_PORT,
                value: spec.port.number().to_string(),
                reason: "it is the sidecar's own port: write the application's".to_owned(),
            });
        }
    }

    fn not_above(
        &mut self,
        key: &'static str,
        request: Option<&Quantity>,
        limit: Option<&Quantity>,
    ) {
        let (Some(request), Some(limit)) = (request, limit) else {
            return;
        };
        if request > limit {
            self.errors.push(AnnotationError {
                key,
                value: request.as_str().to_owned(),
                reason: format!(
                    "it exceeds the limit, {}: write at most that",
                    limit.as_str()
                ),
            });
        }
    }
}

fn parse_inject(text: &str) -> Result<bool, ValueError> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(ValueError(key::INJECT.form)),
    }
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

    fn errors(annotations: &Value) -> Vec<String> {
        parse(Some(&json!({ "annotations": annotations })))
            .unwrap_err()
            .iter()
            .map(ToString::to_string)
            .collect()
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
    fn every_bad_value_is_named_at_once() {
        let errors = errors(&json!({
            annotation::SERVICE: "web,",
            annotation::INJECT: "no",
        }));
        assert_eq!(
            errors,
            [
                "annotation service-leader-election/inject is \"no\": write \"true\" or \"false\"",
                "annotation service-leader-election/service is \"web,\": \"\" in it: write at most 63 \
                 lower case letters, digits and '-', a letter first and no '-' last",
            ]
        );
    }

    #[test]
    fn a_request_above_its_limit_cannot_be_obeyed() {
        let errors = errors(&json!({
            annotation::SERVICE: "web",
            annotation::MEMORY_REQUEST: "1Gi",
            annotation::MEMORY_LIMIT: "64Mi",
        }));
        assert_eq!(errors.len(), 1);
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
