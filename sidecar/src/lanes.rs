//! The requests that the core asks for: each lane runs one, as one future, and each ends in one
//! event, also when nobody answers.
//!
//! Must not know: what the core makes of the answers.

use std::sync::Arc;
use std::time::Duration;

use election::{Action, Event, Failure, PodName, Timing};
use futures::future::BoxFuture;

use crate::api::{Api, Error};
use crate::clock::Clock;
use crate::{lease, pod, service};

/// A request under way, if there is one.
pub(crate) type Lane = Option<BoxFuture<'static, Answer>>;

/// How a request ended.
#[derive(Debug)]
pub(crate) struct Answer {
    /// What the core is told.
    pub(crate) event: Event,
    /// What was read besides.
    pub(crate) found: Found,
    /// Why there is no result, for people.
    pub(crate) error: Option<Error>,
}

/// What a request brought, besides what the core is told.
#[derive(Debug)]
pub(crate) enum Found {
    Nothing,
    /// The Lease as a quorum has it; `None`: there is none.
    Lease(Option<lease::Object>),
    /// The Lease as this pod wrote it.
    Written(lease::Object),
    /// All Services, in name order.
    Services(Vec<service::Sight>),
}

/// What every request needs to know.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) pod: PodName,
    pub(crate) lease: String,
    /// In name order.
    pub(crate) services: Vec<String>,
}

/// Waits for the request under way; for ever, if there is none.
pub(crate) async fn answer(lane: &mut Lane) -> Answer {
    let Some(request) = lane else {
        return futures::future::pending().await;
    };
    let answer = request.await;
    *lane = None;
    answer
}

/// A request of the Lease lane. `known`: the Lease as it was last read, seen or written.
pub(crate) fn ask_for_the_lease(
    action: Action,
    api: Api,
    names: Arc<Names>,
    known: Option<lease::Object>,
    clock: Clock,
) -> BoxFuture<'static, Answer> {
    Box::pin(async move {
        match action {
            Action::WriteLease {
                record,
                seen,
                timeout,
                cause,
            } => {
                let change = lease::Change {
                    record: &record,
                    cause: &cause,
                    now: clock.wall(),
                };
                let written = lease::write(&api, &names.lease, known, &change, seen, timeout);
                let (result, object, error) = written.await;
                let found = object.map_or(Found::Nothing, Found::Written);
                Answer {
                    event: Event::LeaseWritten(result),
                    found,
                    error,
                }
            }
            Action::ReadPod(identity) => match pod::fate(&api, &identity, Timing::REQUEST).await {
                Ok(fate) => told(Event::PodRead(Ok(fate))),
                Err(error) => failed(Event::PodRead(Err(error.failure())), error),
            },
            _ => match lease::read(&api, &names.lease, Timing::REQUEST).await {
                Ok(object) => Answer {
                    event: Event::LeaseRead(Ok(object.as_ref().map(|o| o.lease().clone()))),
                    found: Found::Lease(object),
                    error: None,
                },
                Err((failure, error)) => Answer {
                    event: Event::LeaseRead(Err(failure)),
                    found: Found::Nothing,
                    error,
                },
            },
        }
    })
}

/// A request of the Service lane.
pub(crate) fn ask_for_services(
    action: Action,
    api: Api,
    names: Arc<Names>,
) -> BoxFuture<'static, Answer> {
    const TIMEOUT: Duration = Timing::REQUEST;
    Box::pin(async move {
        if let Action::WriteService {
            service,
            seen,
            epoch,
        } = action
        {
            let Some(name) = names.services.get(service) else {
                return told(Event::ServiceWritten(Err(Failure::Unknown)));
            };
            let written = service::switch(&api, name, &names.pod, seen, epoch, TIMEOUT).await;
            return match written {
                Ok(version) => told(Event::ServiceWritten(Ok(version))),
                Err((failure, error)) => Answer {
                    event: Event::ServiceWritten(Err(failure)),
                    found: Found::Nothing,
                    error,
                },
            };
        }
        match service::read_all(&api, &names.services, TIMEOUT).await {
            Ok(sights) => Answer {
                event: Event::ServicesRead(Ok(sights.iter().map(|s| s.view.clone()).collect())),
                found: Found::Services(sights),
                error: None,
            },
            Err((failure, error)) => Answer {
                event: Event::ServicesRead(Err(failure)),
                found: Found::Nothing,
                error,
            },
        }
    })
}

fn told(event: Event) -> Answer {
    Answer {
        event,
        found: Found::Nothing,
        error: None,
    }
}

fn failed(event: Event, error: Error) -> Answer {
    Answer {
        event,
        found: Found::Nothing,
        error: Some(error),
    }
}
