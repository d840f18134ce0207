//! Reads annotations one by one, and notes each value that cannot be obeyed.
//!
//! Must not know: on which object they stand.

use serde_json::{Map, Value};

use super::{Resources, Services, Spec, Wish};
use crate::{
    inject::sidecar,
    names::{self, annotation},
    reference::{Key, key},
    values::{
        AccountName, ContainerName, LeaseName, LogLevel, Port, Quantity, Start, Timing, ValueError,
    },
    wording::{quoted, shortened},
};

/// An annotation that cannot be obeyed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("annotation {key} is {value}: {reason}")]
pub struct AnnotationError {
    /// The whole key.
    pub key: &'static str,
    /// What was written, as it is told.
    pub value: String,
    /// What is wrong and what to write.
    pub reason: String,
}

/// What annotations come to that name a Service, somehow.
pub(super) fn read(annotations: &Map<String, Value>) -> Result<Wish, Vec<AnnotationError>> {
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
        let text = match self.annotations.get(key.name)? {
            Value::String(text) => text.as_str(),
            // So the API server reads it.
            Value::Null => "",
            other => {
                self.no_text(key, other);
                return None;
            }
        };
        match parse(text) {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                self.wrong(key.name, text, error.to_string());
                None
            }
        }
    }

    fn wrong(&mut self, key: &'static str, value: &str, reason: impl Into<String>) {
        self.errors.push(AnnotationError {
            key,
            value: quoted(value),
            reason: reason.into(),
        });
    }

    /// What YAML takes for something else than the text that it must be.
    fn no_text(&mut self, key: &Key, value: &Value) {
        let (value, reason) = match value {
            Value::Array(_) | Value::Object(_) => {
                ("no text".to_owned(), format!("write {}", key.form))
            }
            other => {
                let written = shortened(&other.to_string(), 64);
                let reason = format!("write {}", quoted(&written));
                (format!("{written} without quotes"), reason)
            }
        };
        self.errors.push(AnnotationError {
            key: key.name,
            value,
            reason,
        });
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
        self.not_too_little(
            annotation::MEMORY_REQUEST,
            resources.memory_request.as_ref(),
            None,
        );
        self.not_too_little(
            annotation::MEMORY_LIMIT,
            resources.memory_limit.as_ref(),
            Quantity::parse(sidecar::LEAST_MEMORY_LIMIT).ok().as_ref(),
        );
        Some(spec)
    }

    /// A sidecar that tells itself tells nobody.
    fn not_itself(&mut self, spec: &Spec) {
        if spec.notify_port == Some(spec.port) {
            self.wrong(
                annotation::NOTIFY_PORT,
                &spec.port.number().to_string(),
                "it is the sidecar's own port: write the application's",
            );
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
            let reason = format!(
                "it exceeds the limit, {}: write at most that",
                limit.as_str()
            );
            self.wrong(key, request.as_str(), reason);
        }
    }

    /// So little memory is a slip of the unit.
    fn not_too_little(
        &mut self,
        key: &'static str,
        memory: Option<&Quantity>,
        least: Option<&Quantity>,
    ) {
        let Some(memory) = memory else {
            return;
        };
        let reason = match (memory.whole(), least) {
            (0, _) => "it is less than a byte: write Mi for the unit, as in 64Mi".to_owned(),
            (bytes, Some(least)) if memory < least => format!(
                "it is {bytes} bytes, and the sidecar needs {}: write at least that, such as 64Mi",
                least.as_str()
            ),
            _ => return,
        };
        self.wrong(key, memory.as_str(), reason);
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

    fn errors(annotations: &Value) -> Vec<String> {
        read(annotations.as_object().unwrap())
            .unwrap_err()
            .iter()
            .map(ToString::to_string)
            .collect()
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
    fn a_value_without_quotes_is_told_as_it_stands() {
        let errors = errors(&json!({
            annotation::SERVICE: "web",
            annotation::PORT: 9000,
            annotation::LEASE_DURATION: 12.5,
            annotation::INJECT: true,
            annotation::CONTAINER: ["app"],
            annotation::LEASE: null,
        }));
        let beginnings = [
            "annotation service-leader-election/inject is true without quotes: write \"true\"",
            "annotation service-leader-election/lease is \"\": write at most 253",
            "annotation service-leader-election/container is no text: write at most 63",
            "annotation service-leader-election/port is 9000 without quotes: write \"9000\"",
            "annotation service-leader-election/lease-duration is 12.5 without quotes: write \"12.5\"",
        ];
        assert_eq!(errors.len(), beginnings.len(), "{errors:?}");
        for (error, begins) in errors.iter().zip(beginnings) {
            assert!(error.starts_with(begins), "{error}");
        }
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
    fn memory_in_which_nothing_runs_is_a_slip_of_the_unit() {
        let errors = |request, limit| {
            let service = (annotation::SERVICE.to_owned(), json!("web"));
            let request = (annotation::MEMORY_REQUEST.to_owned(), json!(request));
            let limit = (annotation::MEMORY_LIMIT.to_owned(), json!(limit));
            read(&[service, request, limit].into_iter().collect()).map_or_else(|it| it.len(), |_| 0)
        };
        for (request, limit, expected) in [
            ("1Mi", "8Mi", 0),
            ("64", "8388608", 0),
            ("1", "8388607", 1),
            ("1", "64", 1),
            ("1", "1k", 1),
            ("64m", "64Mi", 1),
            ("64m", "64m", 2),
            ("0.5", "0.5Gi", 1),
        ] {
            assert_eq!(errors(request, limit), expected, "{request} {limit}");
        }
    }
}
