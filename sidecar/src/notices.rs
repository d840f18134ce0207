//! What people are told: a log line, a Kubernetes Event, a count.
//!
//! Must not know: how anything is decided.

use std::sync::Arc;

use contract::names::reason;
use election::{Epoch, How, Notice, Target};
use tracing::{info, warn};

use crate::api::{Error, Kind};
use crate::events::{Note, Object, Queue};
use crate::lanes::Names;
use crate::metrics::Metrics;
use crate::reasons::{cause, right};

/// Tells people. Knows the UIDs, without which an Event is not shown with its object.
#[derive(Debug)]
pub(crate) struct Herald {
    names: Arc<Names>,
    namespace: String,
    pod_uid: String,
    lease_uid: Option<String>,
    service_uids: Vec<Option<String>>,
    /// Who else wrote each Service last.
    other_writers: Vec<Option<String>>,
    events: Queue,
    metrics: Metrics,
    /// Requests that were refused since the last success.
    refusals: u32,
}

impl Herald {
    pub(crate) fn new(
        names: Arc<Names>,
        namespace: &str,
        pod_uid: &str,
        events: Queue,
        metrics: Metrics,
    ) -> Self {
        Self {
            namespace: namespace.to_owned(),
            pod_uid: pod_uid.to_owned(),
            lease_uid: None,
            service_uids: vec![None; names.services.len()],
            other_writers: vec![None; names.services.len()],
            names,
            events,
            metrics,
            refusals: 0,
        }
    }

    pub(crate) fn know_lease(&mut self, uid: Option<&str>) {
        if uid.is_some() && self.lease_uid.as_deref() != uid {
            self.lease_uid = uid.map(str::to_owned);
        }
    }

    pub(crate) fn know_service(&mut self, service: usize, uid: Option<&str>, writer: Option<&str>) {
        if let (Some(known), Some(writer)) = (self.other_writers.get_mut(service), writer)
            && known.as_deref() != Some(writer)
        {
            *known = Some(writer.to_owned());
        }
        if let (Some(known), Some(uid)) = (self.service_uids.get_mut(service), uid)
            && known.as_deref() != Some(uid)
        {
            *known = Some(uid.to_owned());
        }
    }

    /// A request was refused. Said once in a term, and not of the first few for want of rights: an
    /// API server that has just started does not know them yet.
    pub(crate) fn refuse(&mut self, error: &Error) {
        const PATIENCE: u32 = 3;
        let rights = error.code() == Some(403);
        self.refusals = self
            .refusals
            .saturating_add(if rights { 1 } else { PATIENCE });
        let due = if rights {
            PATIENCE..=PATIENCE
        } else {
            PATIENCE..=2 * PATIENCE - 1
        };
        if !due.contains(&self.refusals) {
            return;
        }
        let error = error.chain();
        let (ns, name) = (self.namespace.as_str(), self.names.pod.as_str());
        let why = if rights {
            warn!(
                ns,
                name, error, "rights are missing: add them to the Role; trying until then"
            );
            "rights are missing, add them to the Role"
        } else {
            warn!(
                ns,
                name, error, "a policy or validation denies a request of the election"
            );
            "a policy or validation denies it"
        };
        let text = format!("{why}: {error}");
        self.put(self.pod(), reason::FORBIDDEN, true, &text);
    }

    pub(crate) fn tell(&mut self, notice: &Notice) {
        let (ns, pod) = (self.namespace.as_str(), self.names.pod.as_str());
        match notice {
            Notice::Elected { epoch, term, how } => {
                let right = right(how);
                info!(ns, name = pod, %epoch, term, how = right, "leading");
                self.metrics.terms.inc();
                self.refusals = 0;
                // The same leader goes on: no news for those who watch the Service.
                if !matches!(how, How::Repair) {
                    let text = format!("{pod} leads: {right} (term {term}, epoch {epoch})");
                    self.put_on_all(reason::LEADER_ELECTED, &text);
                }
            }
            Notice::Lost(why) => {
                let why = cause(*why);
                info!(ns, name = pod, why, "leading no longer");
                self.metrics.losses.inc();
                self.put_on_all(
                    reason::LEADER_LOST,
                    &format!("{pod} leads no longer: {why}"),
                );
            }
            Notice::Switched {
                service,
                from,
                epoch,
            } => {
                let from = from.as_deref().unwrap_or("every pod");
                info!(ns, name = self.service(*service), from, to = pod, %epoch, "switched");
                self.metrics.switches.inc();
                let text = format!("selects {pod} in place of {from} (epoch {epoch})");
                self.put(self.about(*service), reason::SERVICE_SWITCHED, false, &text);
            }
            Notice::Restored {
                service,
                from,
                epoch,
            } => {
                let from = from.as_deref().unwrap_or("every pod");
                let writer = self.other_writers.get(*service).cloned().flatten();
                let writer = writer.as_deref().unwrap_or("somebody");
                let name = self.service(*service);
                warn!(ns, name, from, to = pod, by = writer, %epoch, "restored");
                self.metrics.repairs.inc();
                let text = format!(
                    "selects {pod} again: {writer} had changed the selector or our annotations, and \
                     it selected {from} (epoch {epoch})"
                );
                self.put(self.about(*service), reason::SELECTOR_RESTORED, true, &text);
            }
            Notice::Missing { service } => {
                let name = self.service(*service);
                warn!(
                    ns,
                    name, "the service does not exist: create it, or correct --service-name"
                );
                let text = format!(
                    "service {name} does not exist: create it, or correct the annotation; it is \
                     switched once it exists"
                );
                self.put(self.pod(), reason::SERVICE_MISSING, true, &text);
            }
            Notice::WithoutSelector { service } => {
                let name = self.service(*service);
                warn!(
                    ns,
                    name, "the service has no selector: give it the one of the pods"
                );
                let text = "has no selector of its own, so it cannot be switched: give it the selector \
                            of the pods";
                self.put(
                    self.about(*service),
                    reason::SERVICE_WITHOUT_SELECTOR,
                    true,
                    text,
                );
            }
            Notice::Fenced {
                service,
                stored,
                ours,
            } => self.fenced(*service, *stored, *ours),
            Notice::Rivalled { service, leader } => self.contended(*service, leader),
            Notice::ForeignHolder(holder) => self.foreign(holder),
            Notice::SwitchoverRefused { to, leads_already } => {
                self.refuse_switchover(to, *leads_already);
            }
            // The request's own error has been told of.
            Notice::Refused => {}
        }
    }

    fn fenced(&self, service: usize, stored: Epoch, ours: Epoch) {
        let (ns, name) = (self.namespace.as_str(), self.service(service));
        warn!(ns, name, %stored, epoch = %ours, "a higher epoch is stored: not switched");
        let text = format!(
            "not switched to {}: stores epoch {stored}, above this term's {ours}; if no later leader \
             has it, as after a restored backup, delete the Service and create it again",
            self.names.pod
        );
        self.put(self.about(service), reason::FENCED, true, &text);
    }

    fn contended(&self, service: usize, leader: &str) {
        let (ns, name) = (self.namespace.as_str(), self.service(service));
        let lease = self.names.lease.as_str();
        warn!(
            ns,
            name, leader, lease, "a pod of another lease leads it: not switched"
        );
        let text = format!(
            "not switched to {}: {leader}, whose Lease is not {lease}, leads it, and keeps it while it is ready; \
             give both workloads the same annotation service-leader-election/lease, or take this Service from one",
            self.names.pod
        );
        self.put(self.about(service), reason::CONTENDED, true, &text);
    }

    fn foreign(&self, holder: &str) {
        let (ns, name) = (self.namespace.as_str(), self.names.lease.as_str());
        warn!(ns, name, holder, "another program holds the lease");
        let text = format!(
            "held by {holder}, another program: waiting until it expires; two programs need two Leases"
        );
        self.put(self.lease(), reason::FOREIGN_LEASE, true, &text);
    }

    /// The user's own deletion cost stays on the leader.
    pub(crate) fn keep_cost(&self) {
        warn!(
            ns = self.namespace,
            name = %self.names.pod,
            "the pod has a deletion cost of its own, so a rollout may delete the leader first"
        );
        let text = "leads with a deletion cost that somebody else set: a rollout or a scale-down may \
                    delete it first; leave the annotation out of the template to let it go last";
        self.put(self.pod(), reason::DELETION_COST_KEPT, true, text);
    }

    fn refuse_switchover(&self, to: &Target, leads_already: bool) {
        let to = match to {
            Target::Any => "any other pod",
            Target::Pod(name) => name.as_str(),
        };
        let why = if leads_already {
            "it leads already"
        } else {
            "no such pod is ready: name one that is, or \"any\""
        };
        let (ns, name) = (self.namespace.as_str(), self.names.lease.as_str());
        warn!(ns, name, to, why, "a requested switchover is refused");
        let text = format!("no switchover to {to}: {why}");
        self.put(self.lease(), reason::SWITCHOVER_REFUSED, true, &text);
    }

    fn put_on_all(&self, reason: &'static str, text: &str) {
        for service in 0..self.names.services.len() {
            self.put(self.about(service), reason, false, text);
        }
        self.put(self.pod(), reason, false, text);
        self.put(self.lease(), reason, false, text);
    }

    fn put(&self, about: Object, reason: &'static str, warning: bool, text: &str) {
        let text = text.chars().take(1000).collect();
        self.events.put(Note {
            about,
            reason,
            warning,
            text,
        });
    }

    fn service(&self, service: usize) -> &str {
        self.names.services.get(service).map_or("", String::as_str)
    }

    fn about(&self, service: usize) -> Object {
        let uid = self.service_uids.get(service).cloned().flatten();
        Object {
            kind: Kind::Service,
            name: self.service(service).to_owned(),
            uid,
        }
    }

    fn pod(&self) -> Object {
        let name = self.names.pod.as_str().to_owned();
        Object {
            kind: Kind::Pod,
            name,
            uid: Some(self.pod_uid.clone()),
        }
    }

    fn lease(&self) -> Object {
        Object {
            kind: Kind::Lease,
            name: self.names.lease.clone(),
            uid: self.lease_uid.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use contract::names;
    use election::{PodName, Why};
    use testcluster::troubleshooting::explains;

    use super::*;
    use crate::events::queue;

    /// A refusal, as the API server answers it.
    fn refusal(code: u16) -> Error {
        let status = kube::core::Status::failure("not you", "Reason").with_code(code);
        Error::Failed {
            request: "update leases/web".to_owned(),
            source: Box::new(kube::Error::Api(status.boxed())),
        }
    }

    /// The reasons that have a name, less the controller's.
    fn reasons() -> BTreeSet<&'static str> {
        let names = include_str!("../../contract/src/names.rs");
        let (_, names) = names.split_once("pub mod reason {").unwrap();
        let (names, _) = names.split_once("\n}").unwrap();
        let quoted = names.split('"').skip(1).step_by(2);
        let controllers = [reason::UNPINNED, reason::UNPIN_WAITS, reason::NAME_TAKEN];
        quoted.filter(|name| !controllers.contains(name)).collect()
    }

    #[test]
    fn every_event_is_explained_on_a_page() {
        let (queue, mut waiting) = queue();
        let names = Arc::new(Names {
            pod: PodName::parse("web-0").unwrap(),
            lease: names::default_name("web"),
            services: vec!["web".to_owned()],
        });
        let metrics = Metrics::new(&names.lease);
        let mut herald = Herald::new(names, "shop", "u-1", queue, metrics);
        herald.refuse(&refusal(422));
        let epoch = |text| Epoch::stored(Some(text));
        let switchover = |leads_already| Notice::SwitchoverRefused {
            to: Target::Any,
            leads_already,
        };
        for notice in [
            Notice::Elected {
                epoch: epoch("7"),
                term: 1,
                how: How::Vacant,
            },
            Notice::Lost(Why::Deadline),
            Notice::Switched {
                service: 0,
                from: None,
                epoch: epoch("7"),
            },
            Notice::Restored {
                service: 0,
                from: None,
                epoch: epoch("7"),
            },
            Notice::Missing { service: 0 },
            Notice::WithoutSelector { service: 0 },
            Notice::Fenced {
                service: 0,
                stored: epoch("8"),
                ours: epoch("7"),
            },
            Notice::Rivalled {
                service: 0,
                leader: "api-0".to_owned(),
            },
            Notice::ForeignHolder("other".to_owned()),
            switchover(true),
            switchover(false),
        ] {
            herald.tell(&notice);
        }
        herald.keep_cost();
        (0..3).for_each(|_| herald.refuse(&refusal(403)));
        let mut told = BTreeSet::new();
        while let Ok(note) = waiting.try_recv() {
            explains(&note.text).unwrap();
            told.insert(note.reason);
        }
        assert_eq!(told, reasons());
    }
}
