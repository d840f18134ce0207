//! The loop that owns the clock and the I/O: events to the core, its actions to the API server.
//!
//! Must not know: who ought to lead. It performs what the core says, in that order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use election::{Action, Config, Event, OwnPod, Peer, State};
use futures::{FutureExt as _, Stream, StreamExt as _};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tracing::{debug, info, warn};

use crate::api::{Api, Error, Kind};
use crate::clock::Clock;
use crate::deletion_cost::DeletionCost;
use crate::feeds::News;
use crate::hand_back::HandBack;
use crate::http::Snapshot;
use crate::known::Known;
use crate::lanes::{Answer, Found, Lane, Names, answer, ask_for_services, ask_for_the_lease};
use crate::metrics::Metrics;
use crate::notices::Herald;
use crate::notify::{Notify, Told};
use crate::own_pod::Own;
use crate::peers::Labelled;
use crate::service::{Sight, matches};
use crate::stopwatch::Stopwatch;
use crate::strangers::Rivals;
use crate::{lease, service};

/// How an election came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Everything was given up in order.
    Finished,
    /// The time for that was over, or a second signal came.
    Aborted,
}

/// What the driver is made of.
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    pub(crate) api: Api,
    pub(crate) names: Arc<Names>,
    pub(crate) own: Own,
    pub(crate) herald: Herald,
    pub(crate) notify: Notify,
    pub(crate) metrics: Metrics,
    pub(crate) snapshot: watch::Sender<Snapshot>,
    pub(crate) reopen: watch::Sender<u64>,
    pub(crate) news: mpsc::Receiver<News>,
}

/// One candidate.
pub(crate) struct Driver {
    parts: Parts,
    state: State,
    /// The Lease lane has connections of its own, which are made anew after a failure.
    lease_api: Api,
    lease_lane: Lane,
    service_lane: Lane,
    lease: Option<lease::Object>,
    services: Vec<Known>,
    /// The pods of the election, best-ranked first, while a watch shows them, and what the core was
    /// told of them.
    pods: Option<Vec<Labelled>>,
    peers: Option<Vec<Peer>>,
    rivals: Rivals,
    own: OwnPod,
    cost: DeletionCost,
    hand_back: HandBack,
    stopwatch: Stopwatch,
    /// Requests have gone unanswered since the last answer.
    silent: bool,
    /// The newest Lease that a read has shown before the watch.
    ahead: Option<election::Version>,
}

impl Driver {
    pub(crate) fn new(parts: Parts) -> Self {
        let services = vec![Known::Nothing; parts.names.services.len()];
        let state = State::new(parts.clock.now());
        let lease_api = parts.api.on_new_connections();
        let cost = DeletionCost::new(parts.config.identity.clone());
        Self {
            parts,
            state,
            lease_api,
            lease_lane: None,
            service_lane: None,
            lease: None,
            services,
            pods: None,
            peers: None,
            rivals: Rivals::default(),
            own: OwnPod::default(),
            cost,
            hand_back: HandBack::default(),
            stopwatch: Stopwatch::default(),
            silent: false,
            ahead: None,
        }
    }

    /// Runs until it was asked to stop and has nothing left to do.
    pub(crate) async fn run(mut self, mut stop: impl Stream<Item = ()> + Unpin) -> Ending {
        let mut give_up_at = None;
        self.step(Event::Tick);
        while !self.state.is_finished(&self.parts.config) {
            let pause = self.pause();
            // Answers first: they are what the core waits for.
            tokio::select! {
                biased;
                answer = answer(&mut self.lease_lane) => self.take_lease_answer(answer),
                answer = answer(&mut self.service_lane) => self.take_service_answer(answer),
                signal = stop.next() => match (signal, give_up_at) {
                    (Some(()), None) => {
                        info!("asked to end: giving up what is held");
                        give_up_at = Some(self.now() + self.parts.config.timing.deadline());
                        self.step(Event::Stop);
                    }
                    _ => return Ending::Aborted,
                },
                () = self.parts.notify.done() => {}
                result = self.parts.own.repaired() => self.take_repair(result),
                pod = self.cost.done() => self.take_cost(pod),
                written = self.hand_back.done() => self.take_hand_back(written),
                Some(news) = self.parts.news.recv() => self.take_news(news),
                () = sleep(pause) => self.step(Event::Tick),
            }
            if give_up_at.is_some_and(|at| self.now() >= at) {
                break;
            }
        }
        if self.state.is_still_held(&self.parts.config) {
            warn!("the API server did not answer in time: ending with the lease still held");
            return Ending::Aborted;
        }
        Ending::Finished
    }

    fn now(&self) -> Duration {
        self.parts.clock.now()
    }

    /// Until the core wants to be woken. A minute where it does not say, a millisecond at least.
    fn pause(&self) -> Duration {
        const LONGEST: Duration = Duration::from_mins(1);
        const SHORTEST: Duration = Duration::from_millis(1);
        let due = self.state.wake_at(&self.parts.config);
        due.map_or(LONGEST, |at| {
            at.saturating_sub(self.now()).clamp(SHORTEST, LONGEST)
        })
    }

    fn step(&mut self, event: Event) {
        debug!(?event, "step");
        let now = self.now();
        let state = std::mem::replace(&mut self.state, State::new(now));
        let (state, actions) = election::step(&self.parts.config, state, event, now);
        self.state = state;
        self.parts.notify.heed(&actions);
        // Who asks must hear of a loss before the first request goes out.
        self.publish(now);
        for action in actions {
            self.perform(action);
        }
        self.tend_cost(now);
        self.hand_back(now);
    }

    /// Off the way of a switch: only once this pod leads, and one Service at a time.
    fn hand_back(&mut self, now: Duration) {
        let leads = self.state.is_leader(&self.parts.config, now);
        if !leads || !self.hand_back.is_free() {
            return;
        }
        let epoch = self.state.epoch();
        let owed = self.hand_back.next(&self.services, epoch);
        if let Some((service, seen, managed)) = owed
            && let Some(name) = self.parts.names.services.get(service)
        {
            let api = &self.parts.api;
            self.hand_back.begin(api, service, name, seen, managed);
        }
    }

    fn take_hand_back(&mut self, written: Option<(usize, service::Object)>) {
        let Some((service, object)) = written else {
            return self.step(Event::Tick);
        };
        if let Ok(sight) = Sight::of(object) {
            self.take_news(News::Service(service, Some(sight)));
        }
    }

    fn tend_cost(&mut self, now: Duration) {
        let leads = self.state.is_leader(&self.parts.config, now);
        let pod = self.parts.own.object();
        if self.cost.tend(&self.parts.api, pod, leads) {
            self.parts.herald.keep_cost();
        }
    }

    fn take_cost(&mut self, pod: Option<Box<crate::pod::Object>>) {
        if pod.is_some() {
            self.parts.own.see(pod);
        }
        self.after_own_pod();
    }

    fn perform(&mut self, action: Action) {
        debug!(?action, "perform");
        let names = Arc::clone(&self.parts.names);
        match action {
            Action::Report(notice) => self.parts.herald.tell(&notice),
            Action::ReadLease | Action::WriteLease { .. } | Action::ReadPod(_) => {
                if matches!(action, Action::ReadLease) && self.state.epoch().is_some() {
                    self.parts.metrics.slow_path();
                }
                let (api, known) = (self.lease_api.clone(), self.lease.clone());
                let clock = self.parts.clock.clone();
                let told = self.parts.notify.before(&action);
                let request = ask_for_the_lease(action, api, names, known, clock);
                self.lease_lane = Some(match told {
                    // A planned handover waits until the application knows, within a bound.
                    Some(told) => Box::pin(told.then(|()| request)),
                    None => request,
                });
            }
            Action::ReadServices | Action::WriteService { .. } => {
                self.service_lane = Some(ask_for_services(action, self.parts.api.clone(), names));
            }
        }
    }

    fn take_lease_answer(&mut self, answer: Answer) {
        let Answer {
            event,
            found,
            error,
        } = answer;
        if error.as_ref().is_some_and(Error::is_silence) {
            self.lease_api = self.lease_api.on_new_connections();
        }
        self.mind(error);
        match found {
            Found::Lease(lease) => self.read_lease(lease),
            Found::Written(lease) => self.know_lease(lease),
            Found::Services(_) | Found::Nothing => {}
        }
        self.step(event);
    }

    fn take_service_answer(&mut self, answer: Answer) {
        let Answer {
            event,
            found,
            error,
        } = answer;
        if error.as_ref().is_some_and(Error::is_silence) {
            self.parts.api = self.parts.api.on_new_connections();
        }
        self.mind(error);
        if let Found::Services(sights) = found {
            for (service, sight) in sights.into_iter().enumerate() {
                self.know_service(service, Known::Seen(sight));
            }
            self.judge_own_pod();
            self.judge_strangers();
        }
        self.step(event);
    }

    /// Says once that the API server is out of reach, and once that it is back; then the watches
    /// are opened again, for theirs may be connections that are dead and do not know it.
    fn mind(&mut self, error: Option<Error>) {
        match error {
            Some(error) if error.is_silence() => {
                if !self.silent {
                    self.silent = true;
                    warn!(error = error.chain(), "the API server does not answer");
                }
            }
            Some(error) => {
                debug!(error = error.chain(), "request failed");
                if matches!(error.code(), Some(403 | 422)) {
                    self.parts.herald.refuse(&error);
                }
            }
            None => {
                if std::mem::take(&mut self.silent) {
                    info!("the API server answers again");
                    self.parts.reopen.send_modify(|count| *count += 1);
                }
            }
        }
    }

    fn take_repair(&mut self, result: Result<crate::pod::Object, Error>) {
        match result {
            Ok(pod) => {
                self.parts.metrics.label_repairs.inc();
                self.parts.own.see(Some(Box::new(pod)));
            }
            Err(error) => self.mind(Some(error)),
        }
        self.after_own_pod();
    }

    fn take_news(&mut self, news: News) {
        match news {
            News::Lease(lease) => {
                let seen = lease.as_ref().map(|lease| lease.lease().clone());
                self.ahead = self
                    .ahead
                    .filter(|ahead| seen.as_ref().is_some_and(|seen| seen.version < *ahead));
                if let Some(lease) = lease {
                    self.know_lease(lease);
                }
                self.step(Event::LeaseSeen(seen));
            }
            News::Service(service, None) => {
                // What was seen before rights were taken away is the best that is known.
                if matches!(self.services.get(service), Some(Known::Nothing)) {
                    self.know_service(service, Known::Hidden);
                }
                self.judge_own_pod();
            }
            News::Service(service, Some(sight)) => {
                let view = sight.view.clone();
                self.know_service(service, Known::Seen(sight));
                self.judge_own_pod();
                self.judge_peers();
                self.judge_strangers();
                self.step(Event::ServiceSeen { service, view });
            }
            News::Pod(pod) => {
                self.parts.own.see(pod);
                self.after_own_pod();
            }
            News::Peers(pods) => {
                self.pods = Some(pods);
                self.judge_peers();
            }
            News::Strangers(strangers) => {
                self.rivals.know(strangers);
                self.judge_strangers();
            }
            News::PeersStale => {
                if self.pods.take().is_some() {
                    self.peers = None;
                    self.step(Event::PeersStale);
                }
            }
            News::Forbidden(kind) => debug!(kind = kind.name(), "forbidden"),
        }
    }

    fn after_own_pod(&mut self) {
        let now = self.now();
        self.parts.own.repair_label(&self.parts.api, now);
        self.tend_cost(now);
        self.judge_own_pod();
    }

    /// Tells the core when the other pods are something else now: whom a Service does not select
    /// may not lead.
    fn judge_peers(&mut self) {
        let Some(pods) = &self.pods else { return };
        let wanted: Vec<_> = self.services.iter().filter_map(Known::wanted).collect();
        let judge = |pod: &Labelled| {
            let matched = wanted.iter().all(|wanted| matches(wanted, &pod.labels));
            Peer {
                candidate: pod.peer.candidate && matched,
                ..pod.peer.clone()
            }
        };
        let peers: Vec<Peer> = pods.iter().map(judge).collect();
        if self.peers.as_ref() != Some(&peers) {
            self.peers = Some(peers.clone());
            self.step(Event::Peers(peers));
        }
    }

    /// Tells the core when other strangers than it knows lead a Service.
    fn judge_strangers(&mut self) {
        let leaders: Vec<_> = self.services.iter().filter_map(Known::leader).collect();
        if let Some(rivals) = self.rivals.among(&leaders) {
            self.step(Event::Strangers(rivals));
        }
    }

    /// Tells the core when the own pod is something else now.
    fn judge_own_pod(&mut self) {
        let known = self
            .services
            .iter()
            .all(|known| !matches!(known, Known::Nothing));
        let wanted: Vec<&BTreeMap<String, String>> =
            self.services.iter().filter_map(Known::wanted).collect();
        let verdict = self.parts.own.verdict(known.then_some(&wanted), self.own);
        let Some(own) = verdict.filter(|own| *own != self.own) else {
            return;
        };
        self.own = own;
        info!(
            name = %self.parts.names.pod,
            candidate = own.candidate,
            leaving = own.leaving,
            gone = own.gone,
            "own pod"
        );
        self.step(Event::Pod(own));
    }

    /// A quorum shows the Lease. When the watch has not shown as much by the next time, it hangs.
    fn read_lease(&mut self, lease: Option<lease::Object>) {
        let version = lease.as_ref().map(|lease| lease.lease().version);
        if self.ahead.is_some() && version >= self.ahead {
            debug!(
                kind = Kind::Lease.name(),
                "the watch is behind: opening all again"
            );
            self.parts.reopen.send_modify(|count| *count += 1);
            self.ahead = None;
        } else {
            let known = self.lease.as_ref().map(|lease| lease.lease().version);
            self.ahead = version.filter(|version| Some(*version) > known);
        }
        match lease {
            Some(lease) => self.know_lease(lease),
            None => self.lease = None,
        }
    }

    fn know_lease(&mut self, lease: lease::Object) {
        let version = |lease: &lease::Object| lease.lease().version;
        if self
            .lease
            .as_ref()
            .is_none_or(|known| version(known) <= version(&lease))
        {
            self.parts.herald.know_lease(lease.uid());
            self.lease = Some(lease);
        }
    }

    fn know_service(&mut self, service: usize, known: Known) {
        if let Known::Seen(sight) = &known {
            // Who is to be named is the writer of what this pod will set right.
            let epoch = self.state.epoch().unwrap_or(election::Epoch::NONE);
            let pod = self.parts.names.pod.as_str();
            let right = sight.view.present().is_some_and(|s| s.says(pod, epoch));
            let writer = sight.other_writer.as_deref().filter(|_| !right);
            let herald = &mut self.parts.herald;
            herald.know_service(service, sight.uid.as_deref(), writer);
        }
        if let Some(place) = self.services.get_mut(service) {
            *place = known;
        }
    }

    fn publish(&mut self, now: Duration) {
        let (config, state) = (&self.parts.config, &self.state);
        let valid_until = state.valid_until(config);
        let seen = self.lease.as_ref().map(lease::Object::lease);
        let stored = self.services.iter().filter_map(Known::epoch).max();
        let epoch = state.epoch().or(stored);
        let snapshot = Snapshot {
            leader: state.holder().map(|holder| holder.name().to_owned()),
            leads_until: valid_until.filter(|_| state.is_leader(config, now)),
            renewed: valid_until.and_then(|end| end.checked_sub(config.timing.deadline())),
            epoch: epoch.map(|epoch| epoch.to_string()),
            term: state.term().or(seen.map(|lease| lease.record.term)),
            contact: seen.map(|_| state.last_contact()),
            fenced: state.is_fenced(),
            due: state.wake_at(config),
        };
        let leads = snapshot.leads_until.is_some();
        if let Some(took) = self.stopwatch.see(valid_until.is_some(), leads, now) {
            self.parts
                .metrics
                .switch_duration
                .observe(took.as_secs_f64());
        }
        self.parts.notify.tell(&Told {
            leader: snapshot.leader.clone(),
            leads,
            epoch: snapshot.epoch.clone(),
            term: snapshot.term,
        });
        self.parts.snapshot.send_replace(snapshot);
    }
}
