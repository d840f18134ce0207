//! Another election that has one of this one's Services: two Leases share it. Who leads there keeps it,
//! and here nobody leads until it lets go. Were each to take what the other has for drift, both would
//! answer that they lead, and the Service would go back and forth for ever.

use crate::protocol::Notice;
use crate::state::{Predecessor, Progress, Role, State, Term};
use crate::step::Turn;
use crate::{Epoch, PodName, Service, ServiceView};

impl State {
    /// The first of these Services whose leader is one of another election that may go on leading.
    pub(crate) fn rival_in<'a>(
        &self,
        views: impl Iterator<Item = Option<&'a ServiceView>>,
    ) -> Option<(usize, &PodName)> {
        let term = self.leading()?;
        let present = |view: Option<&'a ServiceView>| view.and_then(ServiceView::present);
        views.enumerate().find_map(|(number, view)| {
            let service = present(view).filter(|service| term.yields_to(service))?;
            let leader = service.leader.as_deref()?;
            let stranger = self.strangers.iter().find(|pod| pod.as_str() == leader)?;
            Some((number, stranger))
        })
    }

    /// The same of the Services as they are known.
    pub(crate) fn rival(&self) -> Option<(usize, &PodName)> {
        self.rival_in(self.services.iter().map(Option::as_ref))
    }
}

impl Progress {
    /// Whether no Service may be written.
    pub(crate) fn is_fenced(self) -> bool {
        matches!(self, Self::Fenced { .. } | Self::Rivalled { .. })
    }
}

impl Term {
    pub(crate) fn is_rivalled(&self) -> bool {
        matches!(self.progress, Progress::Rivalled { .. })
    }

    /// What a term wrote that names another, with no higher epoch, was changed by hand.
    fn yields_to(&self, service: &Service) -> bool {
        let later = service.epoch > self.epoch;
        service.epoch > Epoch::NONE && (later || !self.switched)
    }
}

impl Turn<'_> {
    pub(crate) fn take_strangers(&mut self, strangers: Vec<PodName>) {
        self.state.strangers = strangers;
    }

    /// The answer turns false now. The Lease is kept, so that the election goes on as soon as the other's
    /// leader may lead no more, with a new epoch, without a wait: who sees its Service taken lets it be.
    pub(crate) fn yield_to_a_rival(&mut self) {
        let Some((service, leader)) = self.state.rival() else {
            return;
        };
        let leader = leader.clone();
        let look_at = self.now + self.config.timing.lease();
        let Role::Leading(term) = &mut self.state.role else {
            return;
        };
        if term.giving_up.is_some() {
            return;
        }
        term.predecessor = Predecessor::AnyBut(leader.clone());
        if term.is_rivalled() {
            return;
        }
        term.switched = false;
        term.progress = Progress::Rivalled { look_at };
        let leader = leader.to_string();
        self.report(Notice::Rivalled { service, leader });
    }
}
