//! What can be counted. Labels are bounded: no names of pods, no texts of errors.
//!
//! Must not know: how the figures come about.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::clock::{System, Time as _};
use crate::process;

/// The content type of [`Metrics::encode`].
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The buckets of the switch's duration, in seconds.
const SWITCH_SECONDS: [f64; 11] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0,
];

/// Every metric of one candidate. Clones count together.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    election: Election,
    /// Seconds since 1970.
    started: f64,
    master: Family<Election, Gauge>,
    slow_path: Family<Election, Counter>,
    pub(crate) terms: Counter,
    pub(crate) losses: Counter,
    pub(crate) switches: Counter,
    pub(crate) switch_duration: Histogram,
    pub(crate) repairs: Counter,
    pub(crate) label_repairs: Counter,
    fenced: Gauge,
    renewal_age: Gauge<f64, AtomicU64>,
    contact_age: Gauge<f64, AtomicU64>,
    requests: Family<Request, Counter>,
    notifications: Family<Notification, Counter>,
}

/// What is true at the moment of a scrape.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) leads: bool,
    pub(crate) fenced: bool,
    /// Seconds since the last acknowledged renewal was sent; `None`: this pod does not lead.
    pub(crate) renewal_age: Option<f64>,
    /// Seconds since the Lease was last heard of; `None`: never.
    pub(crate) contact_age: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Election {
    name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    resource: &'static str,
    verb: &'static str,
    outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Notification {
    path: &'static str,
    outcome: Outcome,
}

/// How a request to the API server, or to the application, ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(
    non_camel_case_types,
    reason = "the variants' names are the label's values"
)]
pub(crate) enum Outcome {
    ok,
    not_found,
    conflict,
    refused,
    error,
    timeout,
}

impl Metrics {
    /// Nothing counted yet, for the election of this Lease.
    pub(crate) fn new(lease: &str) -> Self {
        Self {
            election: Election {
                name: lease.to_owned(),
            },
            started: System.wall().as_duration().as_secs_f64(),
            master: Family::default(),
            slow_path: Family::default(),
            terms: Counter::default(),
            losses: Counter::default(),
            switches: Counter::default(),
            switch_duration: Histogram::new(SWITCH_SECONDS),
            repairs: Counter::default(),
            label_repairs: Counter::default(),
            fenced: Gauge::default(),
            renewal_age: Gauge::default(),
            contact_age: Gauge::default(),
            requests: Family::default(),
            notifications: Family::default(),
        }
    }

    pub(crate) fn request(&self, resource: &'static str, verb: &'static str, outcome: Outcome) {
        self.requests
            .get_or_create(&Request {
                resource,
                verb,
                outcome,
            })
            .inc();
    }

    /// The leader reads its Lease before it writes it.
    pub(crate) fn slow_path(&self) {
        self.slow_path.get_or_create(&self.election).inc();
    }

    /// The application was called, at `path` without its slash.
    pub(crate) fn notification(&self, path: &'static str, outcome: Outcome) {
        self.notifications
            .get_or_create(&Notification { path, outcome })
            .inc();
    }

    /// The text that a scrape gets.
    pub(crate) fn encode(&self, now: Now) -> String {
        self.master
            .get_or_create(&self.election)
            .set(i64::from(now.leads));
        // A counter is there before it counts.
        drop(self.slow_path.get_or_create(&self.election));
        self.fenced.set(i64::from(now.fenced));
        self.renewal_age.set(now.renewal_age.unwrap_or(f64::NAN));
        self.contact_age.set(now.contact_age.unwrap_or(f64::NAN));
        let mut text = String::new();
        // Writing to a String does not fail.
        encode(&mut text, &self.registry()).unwrap_or_default();
        text
    }

    fn registry(&self) -> Registry {
        let mut all = Registry::default();
        all.register(
            "leader_election_master_status",
            "1 on the pod that leads, 0 elsewhere, as client-go names it",
            self.master.clone(),
        );
        all.register(
            "leader_election_slowpath",
            "Times that the leader had to read its Lease before it could write it, as client-go names it",
            self.slow_path.clone(),
        );
        process::register(&mut all, self.started);
        let ours = all.sub_registry_with_prefix("service_leader_election");
        ours.register("terms", "Terms that this pod began", self.terms.clone());
        ours.register(
            "losses",
            "Terms that this pod lost or gave up",
            self.losses.clone(),
        );
        ours.register(
            "switches",
            "Services pointed at this pod",
            self.switches.clone(),
        );
        ours.register(
            "switch_duration_seconds",
            "From the acknowledged write of the Lease until every Service named this pod",
            self.switch_duration.clone(),
        );
        ours.register(
            "repairs",
            "Services set right while leading",
            self.repairs.clone(),
        );
        ours.register(
            "label_repairs",
            "Writes of the own pod's label",
            self.label_repairs.clone(),
        );
        ours.register(
            "fenced",
            "1 while a Service stores a higher epoch than this pod's term, or another election has it",
            self.fenced.clone(),
        );
        ours.register(
            "renewal_age_seconds",
            "Time since the last acknowledged renewal was sent; NaN where this pod does not lead",
            self.renewal_age.clone(),
        );
        ours.register(
            "lease_contact_age_seconds",
            "Time since the Lease was last heard of; NaN before the first time",
            self.contact_age.clone(),
        );
        ours.register(
            "api_requests",
            "Requests to the API server",
            self.requests.clone(),
        );
        ours.register(
            "notifications",
            "Calls to the application's own port",
            self.notifications.clone(),
        );
        all
    }
}

#[cfg(test)]
mod tests {
    use super::{Metrics, Now, Outcome};

    /// What each metric means is written down for users.
    #[test]
    fn every_metric_is_documented() {
        const DOCUMENTED: &str = include_str!("../../docs/metrics.md");
        let metrics = Metrics::new("web-lease");
        metrics.request("lease", "update", Outcome::ok);
        metrics.notification("promote", Outcome::ok);
        let now = Now {
            leads: false,
            fenced: false,
            renewal_age: None,
            contact_age: None,
        };
        let text = metrics.encode(now);
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let mut count = 0;
        for line in types {
            let (name, kind) = line.split_once(' ').unwrap();
            let suffix = if kind == "counter" { "_total" } else { "" };
            let row = |end: &str| format!("| `{name}{suffix}{end}");
            let found = ["`", "{"].map(row);
            assert!(
                DOCUMENTED
                    .lines()
                    .any(|line| found.iter().any(|row| line.starts_with(row))
                        && line.contains(&format!("| {kind} |"))),
                "{name} is missing in docs/metrics.md, or no {kind} there"
            );
            count += 1;
        }
        assert!(count >= 16, "{count}: this proves nothing\n{text}");
    }

    #[test]
    fn a_scrape_tells_who_leads_by_client_gos_name() {
        let metrics = Metrics::new("web-lease");
        metrics.request("lease", "update", Outcome::ok);
        let now = Now {
            leads: true,
            fenced: false,
            renewal_age: Some(1.5),
            contact_age: None,
        };
        let text = metrics.encode(now);
        for line in [
            "leader_election_master_status{name=\"web-lease\"} 1",
            "leader_election_slowpath_total{name=\"web-lease\"} 0",
            "service_leader_election_renewal_age_seconds 1.5",
            "service_leader_election_lease_contact_age_seconds NaN",
            "service_leader_election_api_requests_total\
             {resource=\"lease\",verb=\"update\",outcome=\"ok\"} 1",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} is missing in\n{text}"
            );
        }
    }
}
