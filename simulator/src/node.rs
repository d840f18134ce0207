//! One candidate: the real core, its requests under way, and what its watches have yet to show.

use election::{Action, Config, Event, Failure, Identity, Notice, OwnPod, Peer, State, step};

use crate::server::{PodObject, Request, Server};

/// A pod with its sidecar's process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    pub(crate) config: Config,
    /// `None`: the process is dead.
    pub(crate) process: Option<State>,
    pub(crate) messages: Vec<Message>,
    pub(crate) behind: Behind,
    /// The watch of all pods is broken.
    pub(crate) blind: bool,
    /// What a cache kept, to show it once more.
    pub(crate) kept: Option<Box<Server>>,
    /// The pod is gone for good: nothing happens there any more.
    pub(crate) retired: bool,
}

/// What the watches have yet to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Behind {
    pub(crate) lease: bool,
    pub(crate) services: bool,
    pub(crate) pods: bool,
}

/// A request and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Message {
    pub(crate) sender: Identity,
    pub(crate) request: Request,
    /// The server's answer, once it was carried out.
    pub(crate) answer: Option<Event>,
    /// Whether the candidate still waits for the answer.
    pub(crate) awaited: bool,
}

impl Node {
    pub(crate) fn new(config: Config) -> Self {
        let process = Some(State::new(State::ANCHOR));
        Self {
            config,
            process,
            messages: Vec::new(),
            behind: Behind::all(),
            blind: false,
            kept: None,
            retired: false,
        }
    }

    pub(crate) fn is_leader(&self) -> bool {
        self.process
            .as_ref()
            .is_some_and(|state| state.is_leader(&self.config, State::ANCHOR))
    }

    pub(crate) fn epoch(&self) -> Option<election::Epoch> {
        self.process.as_ref().and_then(State::epoch)
    }

    /// Whether the timer is due.
    pub(crate) fn is_due(&self) -> bool {
        let wake = self
            .process
            .as_ref()
            .and_then(|state| state.wake_at(&self.config));
        wake.is_some_and(|at| at <= State::ANCHOR)
    }

    pub(crate) fn forget(&mut self) {
        self.process = None;
        for message in &mut self.messages {
            message.awaited = false;
        }
        self.messages.retain(|message| message.answer.is_none());
        self.kept = None;
    }

    pub(crate) fn start(&mut self, identity: Identity) {
        self.config.identity = identity;
        self.process = Some(State::new(State::ANCHOR));
        self.behind = Behind::all();
        self.blind = false;
    }

    pub(crate) fn take(&mut self, event: Event) -> Vec<Notice> {
        let Some(state) = self.process.take() else {
            return Vec::new();
        };
        let (state, actions) = step(&self.config, state, event, State::ANCHOR);
        // A process that was asked to end, and has nothing left to do, ends.
        self.process =
            Some(state.normalise(State::ANCHOR)).filter(|s| !s.is_finished(&self.config));
        let mut notices = Vec::new();
        for action in actions {
            let request = match action {
                Action::Report(notice) => {
                    notices.push(notice);
                    continue;
                }
                Action::ReadLease => Request::ReadLease,
                Action::ReadPod(identity) => Request::ReadPod(identity),
                Action::ReadServices => Request::ReadServices,
                Action::WriteLease {
                    record,
                    seen,
                    timeout: _,
                    cause: _,
                } => Request::WriteLease { record, seen },
                Action::WriteService {
                    service,
                    seen,
                    epoch,
                } => {
                    let pod = self.config.identity.pod.clone();
                    Request::WriteService {
                        service,
                        seen,
                        epoch,
                        pod,
                    }
                }
            };
            let sender = self.config.identity.clone();
            self.messages.push(Message {
                sender,
                request,
                answer: None,
                awaited: true,
            });
        }
        notices
    }

    pub(crate) fn see_pods(&mut self, server: &Server) -> Vec<Notice> {
        let me = &self.config.identity;
        let own = server.pods.iter().find(|pod| pod.identity == *me);
        let pod = OwnPod {
            candidate: own.is_some_and(PodObject::may_serve),
            leaving: own.is_some_and(|pod| pod.leaving),
            gone: own.is_none(),
        };
        let mut notices = self.take(Event::Pod(pod));
        notices.extend(self.see_peers(server));
        notices
    }

    pub(crate) fn see_peers(&mut self, server: &Server) -> Vec<Notice> {
        if self.blind {
            return Vec::new();
        }
        let peer = |pod: &PodObject| Peer {
            identity: pod.identity.clone(),
            candidate: pod.may_serve(),
            finished: false,
        };
        self.take(Event::Peers(server.pods.iter().map(peer).collect()))
    }

    pub(crate) fn see_services(&mut self, server: &Server) -> Vec<Notice> {
        let views = server.views().into_iter().enumerate();
        views
            .flat_map(|(service, view)| self.take(Event::ServiceSeen { service, view }))
            .collect()
    }

    pub(crate) fn see_lease(&mut self, server: &Server) -> Vec<Notice> {
        let lease = server.lease.as_ref().map(|(lease, _)| lease.clone());
        self.take(Event::LeaseSeen(lease))
    }
}

impl Behind {
    pub(crate) fn all() -> Self {
        Self {
            lease: true,
            services: true,
            pods: true,
        }
    }
}

impl Message {
    /// What the candidate hears when there is no result; `Unknown`: when it stops waiting.
    pub(crate) fn failure(&self, failure: Failure) -> Event {
        match self.request {
            Request::ReadLease => Event::LeaseRead(Err(failure)),
            Request::WriteLease { .. } => Event::LeaseWritten(Err(failure)),
            Request::ReadPod(_) => Event::PodRead(Err(failure)),
            Request::ReadServices => Event::ServicesRead(Err(failure)),
            Request::WriteService { .. } => Event::ServiceWritten(Err(failure)),
        }
    }

    pub(crate) fn is_write(&self) -> bool {
        matches!(
            self.request,
            Request::WriteLease { .. } | Request::WriteService { .. }
        )
    }
}
