//! The Service lane: what to do next about the Services, and when.
//!
//! Safety stands here and not on the Lease: a switch carries the revision that was read and an
//! epoch that is never below the stored one.

use std::time::Duration;

use crate::config::Defect;
use crate::protocol::{Action, Failure, Notice, Why};
use crate::state::{Predecessor, Progress, Queue, Role, ServiceCall, State, Term};
use crate::step::Turn;
use crate::{Epoch, Service, ServiceView, Timing, Version};

impl State {
    /// When the Service lane, if it is free, reads all Services in order to write them.
    pub(crate) fn switch_at(&self) -> Option<Duration> {
        let term = self.leading()?;
        let free = self.service_call.is_none() && !term.confirm && term.giving_up.is_none();
        match (term.progress, &term.predecessor) {
            (Progress::Due { at, .. }, Predecessor::Until(until)) if free => Some(at.max(*until)),
            (Progress::Due { at, .. } | Progress::Rivalled { look_at: at }, _) if free => Some(at),
            _ => None,
        }
    }
}

impl Turn<'_> {
    pub(crate) fn run_service_lane(&mut self) {
        if self.state.switch_at().is_some_and(|at| at <= self.now)
            && let Role::Leading(term) = &mut self.state.role
        {
            let epoch = term.epoch;
            if let Progress::Rivalled { look_at } = &mut term.progress {
                *look_at = self.now + self.config.timing.lease();
            }
            self.state.service_call = Some(ServiceCall::Read { epoch });
            self.actions.push(Action::ReadServices);
        }
    }

    pub(crate) fn take_services_read(&mut self, answer: Result<Vec<ServiceView>, Failure>) {
        let Some(ServiceCall::Read { epoch }) = self.state.service_call.take() else {
            return;
        };
        if !self.may_switch(epoch) {
            return;
        }
        let Ok(views) = answer else {
            self.try_again(answer.err());
            return;
        };
        for (service, view) in views.iter().enumerate() {
            self.report_what_cannot_be_switched(service, view);
        }
        if self.meets_a_rival(&views) {
            self.remember(views);
            return;
        }
        if self.waits_for_another(&views) {
            return;
        }
        if let Some((service, stored)) = self.fence(&views, epoch) {
            self.report(Notice::Fenced {
                service,
                stored,
                ours: epoch,
            });
            let until = self.now + self.config.timing.lease();
            if let Role::Leading(term) = &mut self.state.role {
                if std::mem::take(&mut term.switched) {
                    term.since = self.now;
                }
                term.progress = Progress::Fenced { until };
            }
            return;
        }
        let queue = self.unwritten(&views, epoch);
        // Somebody changed what this term has written already: that takes a new epoch.
        let drifted = queue.iter().any(|(_, service)| service.epoch == epoch)
            && !self.config.breaks(Defect::CachedConfirmation);
        self.remember(views);
        if drifted && let Role::Leading(term) = &mut self.state.role {
            term.progress = Progress::Drifted;
            return;
        }
        self.write_next(epoch, queue);
    }

    pub(crate) fn take_service_written(&mut self, answer: Result<Version, Failure>) {
        let Some(ServiceCall::Write { epoch, mut queue }) = self.state.service_call.take() else {
            return;
        };
        if queue.is_empty() || !self.may_switch(epoch) {
            return;
        }
        let (service, before) = queue.remove(0);
        match answer {
            Ok(version) => {
                self.report_switch(service, &before, epoch);
                let me = self.config.identity.pod.as_str().to_owned();
                let written = Service {
                    version,
                    selected: Some(me.clone()),
                    leader: Some(me),
                    epoch,
                };
                self.take_written(service, written);
                self.write_next(epoch, queue);
            }
            Err(failure) => self.try_again(Some(failure)),
        }
    }

    /// Another election has one of the Services: none is written. What was just read may say that it has let
    /// go, and then a new term begins first.
    fn meets_a_rival(&self, views: &[ServiceView]) -> bool {
        let term = self.state.leading();
        term.is_some_and(Term::is_rivalled) || self.state.rival_in(views.iter().map(Some)).is_some()
    }

    /// A Service names a leader who may believe to lead still, by a Lease that was deleted: it can
    /// renew no longer, so a whole lease is waited once.
    fn waits_for_another(&mut self, views: &[ServiceView]) -> bool {
        let me = self.config.identity.pod.as_str();
        let Role::Leading(term) = &mut self.state.role else {
            return false;
        };
        let named = views
            .iter()
            .filter_map(ServiceView::present)
            .filter(|s| s.epoch > Epoch::NONE);
        let mut leaders = named.filter_map(|service| service.leader.as_deref());
        let waits = leaders.any(|pod| pod != me && term.predecessor.may_be(pod));
        if waits {
            term.predecessor = Predecessor::Until(self.now + self.config.timing.lease());
        }
        waits
    }

    /// An answer for a term that has ended, or is about to, is not acted upon.
    fn may_switch(&self, epoch: Epoch) -> bool {
        self.state.leading().is_some_and(|term| {
            let valid = self.now < term.valid_until(self.config);
            let valid = valid || self.config.breaks(Defect::Deadline);
            term.epoch == epoch && term.giving_up.is_none() && valid
        })
    }

    /// The first Service that stores a higher epoch than ours, if there is one: then a later term
    /// has begun (or somebody forged one), and none is written.
    fn fence(&self, views: &[ServiceView], epoch: Epoch) -> Option<(usize, Epoch)> {
        let stored = views
            .iter()
            .map(|view| view.present().map_or(Epoch::NONE, |s| s.epoch));
        let higher = stored.enumerate().find(|(_, stored)| *stored > epoch);
        higher.filter(|_| !self.config.breaks(Defect::EpochCheck))
    }

    /// What this term has not written yet, in name order. A new term writes also the Service that
    /// names this pod already, or the precondition of a paused old leader would still hold.
    fn unwritten(&self, views: &[ServiceView], epoch: Epoch) -> Queue {
        let me = self.config.identity.pod.as_str();
        let spares = self.config.breaks(Defect::WriteInNewTerm);
        let present = views
            .iter()
            .enumerate()
            .filter_map(|(i, v)| Some((i, v.present()?)));
        present
            .filter(|(_, s)| !s.says(me, epoch))
            .filter(|(_, s)| !spares || s.selected.as_deref() != Some(me))
            .map(|(i, s)| (i, s.clone()))
            .collect()
    }

    fn write_next(&mut self, epoch: Epoch, queue: Queue) {
        if self.state.leading().is_some_and(Term::is_rivalled) {
            return;
        }
        let Some((service, read)) = queue.first() else {
            if let Role::Leading(term) = &mut self.state.role {
                term.progress = Progress::Done;
                term.switched = true;
                // No instant that a model checker would tell apart.
                term.since = Duration::ZERO;
                term.predecessor = Predecessor::Outwaited;
            }
            return;
        };
        let seen = self.precondition(read.version);
        self.actions.push(Action::WriteService {
            service: *service,
            seen,
            epoch,
        });
        self.state.service_call = Some(ServiceCall::Write { epoch, queue });
    }

    /// Revision 0 matches any object, here as in the real API server.
    fn precondition(&self, read: Version) -> Version {
        if self.config.breaks(Defect::CompareAndSwap) {
            Version::new(0)
        } else {
            read
        }
    }

    /// On a conflict, start over from the Lease; on anything else, from the Services.
    fn try_again(&mut self, failure: Option<Failure>) {
        let denied = failure == Some(Failure::Denied);
        let refused = denied || failure == Some(Failure::Refused);
        let pause = if refused {
            self.config.timing.poll()
        } else {
            Timing::RETRY
        };
        let conflict = failure == Some(Failure::Conflict);
        let pause = if conflict { Duration::ZERO } else { pause };
        if let Role::Leading(term) = &mut self.state.role
            && let Progress::Due { at, .. } = &mut term.progress
        {
            *at = self.now + pause;
            term.confirm |= conflict;
        }
        if refused {
            self.report(Notice::Refused);
        }
        if denied && self.state.has_other_candidate(self.config) {
            self.step_back(Why::Denied);
        }
    }

    /// Once, until it can be switched.
    pub(crate) fn report_what_cannot_be_switched(&mut self, service: usize, view: &ServiceView) {
        let told = &mut self.state.reported_services;
        told.resize(self.config.services, None);
        let Some(told) = told.get_mut(service) else {
            return;
        };
        let trouble = Some(view.clone()).filter(|view| view.present().is_none());
        if *told == trouble {
            return;
        }
        told.clone_from(&trouble);
        match trouble {
            Some(ServiceView::Missing) => self.report(Notice::Missing { service }),
            Some(ServiceView::WithoutSelector) => self.report(Notice::WithoutSelector { service }),
            Some(ServiceView::Present(_)) | None => {}
        }
    }

    fn report_switch(&mut self, service: usize, before: &Service, epoch: Epoch) {
        let me = Some(self.config.identity.pod.as_str());
        let from = before.selected.clone();
        let untouched = before.selected.as_deref() == me && before.leader.as_deref() == me;
        let repairs = matches!(
            self.state.leading(),
            Some(Term {
                progress: Progress::Due { repair: true, .. },
                ..
            })
        );
        match () {
            () if repairs && !untouched => self.report(Notice::Restored {
                service,
                from,
                epoch,
            }),
            () if from.as_deref() != me => self.report(Notice::Switched {
                service,
                from,
                epoch,
            }),
            () => {}
        }
    }

    fn remember(&mut self, views: Vec<ServiceView>) {
        self.state.services.resize(self.config.services, None);
        for (known, read) in self.state.services.iter_mut().zip(views) {
            let newer = known
                .as_ref()
                .and_then(ServiceView::present)
                .map(|s| s.version)
                > read.present().map(|s| s.version);
            if !newer || read.present().is_none() {
                *known = Some(read);
            }
        }
    }

    fn take_written(&mut self, service: usize, written: Service) {
        let Some(known) = self.state.services.get_mut(service) else {
            return;
        };
        let seen = known
            .as_ref()
            .and_then(ServiceView::present)
            .map(|s| s.version);
        if seen < Some(written.version) {
            *known = Some(ServiceView::Present(written));
        }
    }
}
