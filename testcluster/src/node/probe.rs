//! Startup, readiness and liveness probes of one run of a container, as kubelet does them.

use std::convert::Infallible;

use hyper::Method;
use tokio::{sync::watch, time};

use super::{
    container::Place,
    plan::{ContainerPlan, ProbePlan},
    status::{PodState, Seen},
};
use crate::http;

/// Probes a container that has just started, and notes in the pod's state whether it is started
/// and ready. Returns the name of the probe for whose failures the container must be restarted.
pub(super) async fn run(plan: &ContainerPlan, place: &Place) -> &'static str {
    let note = |change: &dyn Fn(&mut Seen)| {
        place.state.send_if_modified(|state| {
            let seen = state.containers.entry(plan.name.clone()).or_default();
            let before = seen.clone();
            change(seen);
            *seen != before
        });
    };
    if let Some(probe) = &plan.startup
        && !judge(probe, place, |_| {}, Until::Success).await
    {
        return "startup";
    }
    note(&|seen| {
        seen.started = true;
        seen.ready = plan.readiness.is_none();
    });
    let readiness = async {
        if let Some(probe) = &plan.readiness {
            judge(
                probe,
                place,
                |ready| note(&|seen| seen.ready = ready),
                Until::Never,
            )
            .await;
        }
        std::future::pending::<Infallible>().await
    };
    let liveness = async {
        match &plan.liveness {
            Some(probe) => judge(probe, place, |_| {}, Until::Failure).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        never = readiness => match never {},
        _ = liveness => "liveness",
    }
}

/// When a probe's verdict is final.
#[derive(PartialEq)]
enum Until {
    Success,
    Failure,
    Never,
}

/// Probes, tells each verdict, and returns the final one. A startup probe is final both ways.
async fn judge(probe: &ProbePlan, place: &Place, tell: impl Fn(bool), until: Until) -> bool {
    time::sleep(probe.delay).await;
    let mut ticks = time::interval(probe.period);
    ticks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    let (mut successes, mut failures) = (0, 0);
    loop {
        ticks.tick().await;
        if is_suspended(&place.state) {
            continue;
        }
        let passed = passes(probe, place).await;
        if is_suspended(&place.state) {
            continue;
        }
        (successes, failures) = if passed {
            (successes + 1, 0)
        } else {
            (0, failures + 1)
        };
        if successes >= probe.successes {
            tell(true);
            if until == Until::Success {
                return true;
            }
        } else if failures >= probe.failures {
            // A pod that is ending is not restarted.
            tell(false);
            if until != Until::Never && place.ending.borrow().is_none() {
                return false;
            }
        }
    }
}

async fn passes(probe: &ProbePlan, place: &Place) -> bool {
    let address = (place.address, probe.port).into();
    let answer = http::fetch(
        address,
        Method::GET,
        &probe.path,
        String::new(),
        probe.timeout,
    );
    matches!(answer.await, Ok((200..400, _)))
}

fn is_suspended(state: &watch::Sender<PodState>) -> bool {
    state.borrow().frozen
}
