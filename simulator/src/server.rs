//! The modelled API server: one revision counter, compare-and-swap, reads from a quorum.

use std::time::Duration;

use election::{
    Epoch, Event, Failure, Holder, Identity, Lease, LeaseRecord, PodFate, PodName, Service,
    ServiceView, Version,
};

/// What the server stores.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Server {
    revision: u64,
    /// The Lease, and how long its record has stood.
    pub lease: Option<(Lease, Duration)>,
    /// The election's Services.
    pub services: Vec<Service>,
    /// The pods, by number.
    pub pods: Vec<PodObject>,
}

/// A pod as the server stores it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PodObject {
    /// Its name and UID.
    pub identity: Identity,
    /// It is Ready.
    pub ready: bool,
}

/// What a candidate asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Request {
    /// GET of the Lease.
    ReadLease,
    /// PUT of the Lease.
    WriteLease {
        /// The new record.
        record: LeaseRecord,
        /// The revision it must have; `None`: there must be none.
        seen: Option<Version>,
    },
    /// GET of a pod.
    ReadPod(Identity),
    /// GET of all Services.
    ReadServices,
    /// PATCH of one Service.
    WriteService {
        /// Its number.
        service: usize,
        /// The revision it must have; 0 matches any.
        seen: Version,
        /// The epoch to store.
        epoch: Epoch,
        /// The pod to select.
        pod: PodName,
    },
}

/// What a request changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Nothing,
    Lease { before: Option<(Lease, Duration)> },
    Service { before: Service, after: Service },
}

impl Server {
    pub(crate) fn new(services: usize, pods: Vec<PodObject>) -> Self {
        let revision = 1;
        let service = Service {
            version: Version::new(revision),
            selected: None,
            leader: None,
            epoch: Epoch::NONE,
        };
        Self {
            revision,
            lease: None,
            services: vec![service; services],
            pods,
        }
    }

    fn next_version(&mut self) -> Version {
        self.revision += 1;
        Version::new(self.revision)
    }

    /// Carries out a request: the answer, and what it changed.
    pub(crate) fn execute(&mut self, request: &Request) -> (Event, Change) {
        match request {
            Request::ReadLease => {
                let lease = self.lease.as_ref().map(|(lease, _)| lease.clone());
                (Event::LeaseRead(Ok(lease)), Change::Nothing)
            }
            Request::ReadPod(identity) => {
                let present = self.pods.iter().any(|pod| pod.identity == *identity);
                let fate = if present {
                    PodFate::Present
                } else {
                    PodFate::Gone
                };
                (Event::PodRead(Ok(fate)), Change::Nothing)
            }
            Request::ReadServices => (Event::ServicesRead(Ok(self.views())), Change::Nothing),
            Request::WriteLease { record, seen } => self.write_lease(record, *seen),
            Request::WriteService {
                service,
                seen,
                epoch,
                pod,
            } => self.write_service(*service, *seen, *epoch, pod),
        }
    }

    fn write_lease(&mut self, record: &LeaseRecord, seen: Option<Version>) -> (Event, Change) {
        if self.lease.as_ref().map(|(lease, _)| lease.version) != seen {
            return (Event::LeaseWritten(Err(Failure::Conflict)), Change::Nothing);
        }
        let version = self.next_version();
        let lease = Lease {
            record: record.clone(),
            version,
        };
        let before = self.lease.replace((lease, Duration::ZERO));
        (Event::LeaseWritten(Ok(version)), Change::Lease { before })
    }

    fn write_service(
        &mut self,
        service: usize,
        seen: Version,
        epoch: Epoch,
        pod: &PodName,
    ) -> (Event, Change) {
        let any = Version::new(0);
        let conflict = (
            Event::ServiceWritten(Err(Failure::Conflict)),
            Change::Nothing,
        );
        let Some(before) = self.services.get(service).cloned() else {
            return conflict;
        };
        if seen != any && seen != before.version {
            return conflict;
        }
        let pod = Some(pod.to_string());
        let version = self.next_version();
        let after = Service {
            version,
            selected: pod.clone(),
            leader: pod,
            epoch,
        };
        if let Some(stored) = self.services.get_mut(service) {
            *stored = after.clone();
        }
        (
            Event::ServiceWritten(Ok(version)),
            Change::Service { before, after },
        )
    }

    pub(crate) fn views(&self) -> Vec<ServiceView> {
        self.services
            .iter()
            .cloned()
            .map(ServiceView::Present)
            .collect()
    }

    /// Somebody deletes the Lease.
    pub(crate) fn delete_lease(&mut self) {
        self.revision += 1;
        self.lease = None;
    }

    /// Somebody points the Services at nobody, and leaves the epoch.
    pub(crate) fn drift(&mut self) {
        for i in 0..self.services.len() {
            let version = self.next_version();
            if let Some(service) = self.services.get_mut(i) {
                service.version = version;
                service.selected = Some("nobody".to_owned());
            }
        }
    }

    pub(crate) fn pass(&mut self, span: Duration) {
        if let Some((_, age)) = &mut self.lease {
            *age = (*age + span).min(election::State::OLDEST);
        }
    }

    /// The holder of the Lease, if it is a candidate.
    pub fn holder(&self) -> Option<&Identity> {
        match &self.lease.as_ref()?.0.record.holder {
            Some(Holder::Candidate(identity)) => Some(identity),
            Some(Holder::Foreign(_)) | None => None,
        }
    }
}
