//! What is counted. Labels are bounded: no names of users' objects.

use std::time::Duration;

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// The process's metrics.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    admissions: Family<Outcome, Counter>,
    admission_seconds: Histogram,
    handler_seconds: Histogram,
    connections: Gauge,
    handshake_failures: Counter,
    reconciliations: Family<Outcome, Counter>,
    unpins_pending: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("service_leader_election_webhook");
        let admissions = Family::default();
        registry.register(
            "admissions",
            "Admission reviews answered",
            admissions.clone(),
        );
        let admission_seconds = Histogram::new([0.0005, 0.001, 0.0025, 0.01, 0.05, 0.25, 1.0, 5.0]);
        registry.register_with_unit(
            "admission",
            "Time from a review's last byte to its answer",
            Unit::Seconds,
            admission_seconds.clone(),
        );
        let handler_seconds = Histogram::new([
            0.00005, 0.0001, 0.0002, 0.0003, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.1, 1.0,
        ]);
        registry.register_with_unit(
            "handler",
            "Time from a review's last byte to its answer, less the wait for the API server",
            Unit::Seconds,
            handler_seconds.clone(),
        );
        let connections = Gauge::default();
        registry.register("connections", "Open TLS connections", connections.clone());
        let handshake_failures = Counter::default();
        registry.register(
            "tls_handshake_failures",
            "TLS handshakes that failed",
            handshake_failures.clone(),
        );
        let reconciliations = Family::default();
        registry.register(
            "reconciliations",
            "Reconciliations",
            reconciliations.clone(),
        );
        let unpins_pending = Gauge::default();
        registry.register(
            "unpins_pending",
            "Services that wait for the last pod with a sidecar to go",
            unpins_pending.clone(),
        );
        Self {
            registry,
            admissions,
            admission_seconds,
            handler_seconds,
            connections,
            handshake_failures,
            reconciliations,
            unpins_pending,
        }
    }

    /// Counts a review that took so long, and of that waited so long for the API server.
    pub(crate) fn admission(&self, outcome: &'static str, took: Duration, waited: Duration) {
        self.admissions.get_or_create(&Outcome { outcome }).inc();
        self.admission_seconds.observe(took.as_secs_f64());
        let own = took.saturating_sub(waited);
        self.handler_seconds.observe(own.as_secs_f64());
    }

    /// Counts a connection for as long as the returned value lives.
    pub(crate) fn connection(&self) -> impl Drop + Send + use<> {
        self.connections.inc();
        Connection(self.connections.clone())
    }

    pub(crate) fn handshake_failed(&self) {
        self.handshake_failures.inc();
    }

    pub(crate) fn reconciled(&self, outcome: &'static str) {
        self.reconciliations
            .get_or_create(&Outcome { outcome })
            .inc();
    }

    pub(crate) fn unpins_pending(&self, number: usize) {
        self.unpins_pending
            .set(i64::try_from(number).unwrap_or(i64::MAX));
    }

    pub(crate) fn text(&self) -> Result<String, std::fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry)?;
        Ok(out)
    }
}

struct Connection(Gauge);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.dec();
    }
}
