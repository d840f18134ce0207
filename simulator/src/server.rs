//! The modelled API server: one revision counter, compare-and-swap, reads from a quorum; a write that
//! changes nothing keeps the revision.

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
    /// The election's Services; `None`: it was deleted.
    pub services: Vec<Option<Service>>,
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
    /// It has a deletionTimestamp.
    pub leaving: bool,
}

impl PodObject {
    /// Whether traffic may go to it.
    pub fn may_serve(&self) -> bool {
        self.ready && !self.leaving
    }
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
    /// A server with so many Services, which select nobody, and these pods.
    pub fn new(services: usize, pods: Vec<PodObject>) -> Self {
        let revision = 1;
        let service = new_service(Version::new(revision));
        Self {
            revision,
            lease: None,
            services: vec![Some(service); services],
            pods,
        }
    }

    /// How many writes there have been.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    fn next_version(&mut self) -> Version {
        self.revision += 1;
        Version::new(self.revision)
    }

    /// Carries out a request: the answer.
    pub fn answer(&mut self, request: &Request) -> Event {
        self.execute(request).0
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
        let Some(before) = self.services.get(service).cloned().flatten() else {
            return conflict;
        };
        if seen != any && seen != before.version {
            return conflict;
        }
        if before.says(pod.as_str(), epoch) {
            let answer = Event::ServiceWritten(Ok(before.version));
            return (answer, Change::Nothing);
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
            *stored = Some(after.clone());
        }
        (
            Event::ServiceWritten(Ok(version)),
            Change::Service { before, after },
        )
    }

    pub(crate) fn views(&self) -> Vec<ServiceView> {
        let view = |service: &Option<Service>| {
            service
                .clone()
                .map_or(ServiceView::Missing, ServiceView::Present)
        };
        self.services.iter().map(view).collect()
    }

    /// Somebody deletes the Lease, if there is one.
    pub fn delete_lease(&mut self) {
        self.revision += 1;
        self.lease = None;
    }

    /// Somebody points the Services at nobody, and leaves the epoch.
    pub fn drift(&mut self) {
        self.each_service(|service| service.selected = Some("nobody".to_owned()));
    }

    /// The controller gives the Services back: key and leader go, and the epoch rises by one.
    pub(crate) fn unpin(&mut self) {
        self.each_service(|service| {
            if service.selected.take().is_some() {
                // Every revision is above the epochs before it.
                let epoch = service.epoch.to_string().parse().unwrap_or(0) + 1;
                service.epoch = Version::new(epoch).epoch();
            }
            service.leader = None;
        });
    }

    /// Somebody deletes the Services.
    pub fn delete_services(&mut self) {
        self.revision += 1;
        self.services.fill(None);
    }

    /// New objects of the same names: nothing is stored in them.
    pub fn create_services(&mut self) {
        for i in 0..self.services.len() {
            let version = self.next_version();
            if let Some(service @ None) = self.services.get_mut(i) {
                *service = Some(new_service(version));
            }
        }
    }

    fn each_service(&mut self, change: impl Fn(&mut Service)) {
        for i in 0..self.services.len() {
            let Some(before) = self.services.get(i).cloned().flatten() else {
                continue;
            };
            let mut after = before.clone();
            change(&mut after);
            if after != before {
                after.version = self.next_version();
                if let Some(service) = self.services.get_mut(i) {
                    *service = Some(after);
                }
            }
        }
    }

    /// Somebody edits the Lease: the record is another one from now on.
    pub fn edit_lease(&mut self, change: impl FnOnce(&mut LeaseRecord)) {
        let Some((before, _)) = self.lease.clone() else {
            return;
        };
        let mut record = before.record.clone();
        change(&mut record);
        if record != before.record {
            let version = self.next_version();
            self.lease = Some((Lease { record, version }, Duration::ZERO));
        }
    }

    /// The pod of this name.
    pub(crate) fn pod(&self, name: &str) -> Option<&PodObject> {
        self.pods
            .iter()
            .find(|pod| pod.identity.pod.as_str() == name)
    }

    /// Whether each Service that exists names a pod to which traffic may go.
    pub(crate) fn serves(&self) -> bool {
        let named = |service: &Service| {
            let pod = service.selected.as_deref().and_then(|name| self.pod(name));
            pod.is_some_and(PodObject::may_serve)
        };
        self.services.iter().flatten().all(named)
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

fn new_service(version: Version) -> Service {
    Service {
        version,
        selected: None,
        leader: None,
        epoch: Epoch::NONE,
    }
}
