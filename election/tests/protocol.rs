//! What one candidate does about one event, rule by rule.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::time::Duration;

use election::{
    Action, Config, Epoch, Event, Holder, Identity, Lease, LeaseRecord, Notice, OwnPod, Peer,
    PodFate, PodName, PodUid, Service, ServiceView, State, Timing, Version, step,
};

const READY: OwnPod = OwnPod {
    candidate: true,
    leaving: false,
    gone: false,
};

fn identity(name: &str) -> Identity {
    Identity {
        pod: PodName::parse(name).unwrap(),
        uid: PodUid::new("1"),
    }
}

fn lease(holder: Option<&str>, given_up_by: Option<&str>, version: u64) -> Lease {
    let record = LeaseRecord {
        holder: holder.map(|name| Holder::Candidate(identity(name))),
        given_up_by: given_up_by.map(identity),
        duration: Duration::from_secs(12),
        transitions: 1,
        term: 1,
        switchover_to: None,
        paused: false,
    };
    Lease {
        record,
        version: Version::new(version),
    }
}

fn service(leader: &str, epoch: &str, version: u64) -> ServiceView {
    ServiceView::Present(Service {
        version: Version::new(version),
        selected: Some(leader.to_owned()),
        leader: Some(leader.to_owned()),
        epoch: Epoch::stored(Some(epoch)),
    })
}

/// A candidate `me` and its time in milliseconds.
struct Candidate {
    config: Config,
    state: Option<State>,
    now: Duration,
}

impl Candidate {
    fn ready() -> Self {
        let config = Config::new(identity("me"), Timing::default(), 1);
        let mut it = Self {
            config,
            state: Some(State::new(Duration::ZERO)),
            now: Duration::ZERO,
        };
        it.take(Event::Pod(READY));
        it
    }

    fn take(&mut self, event: Event) -> Vec<Action> {
        let state = self.state.take().unwrap();
        let (state, actions) = step(&self.config, state, event, self.now);
        self.state = Some(state);
        actions
    }

    fn at(&mut self, millis: u64, event: Event) -> Vec<Action> {
        self.now = Duration::from_millis(millis);
        self.take(event)
    }

    fn leads(&self) -> bool {
        self.state
            .as_ref()
            .unwrap()
            .is_leader(&self.config, self.now)
    }
}

fn writes_lease(actions: &[Action]) -> bool {
    actions
        .iter()
        .any(|action| matches!(action, Action::WriteLease { .. }))
}

fn writes_service(actions: &[Action]) -> bool {
    actions
        .iter()
        .any(|action| matches!(action, Action::WriteService { .. }))
}

/// Reads the Lease, acquires it at version 7, and reads the Service.
fn acquire(it: &mut Candidate, lease: Option<Lease>, service: ServiceView) -> Vec<Action> {
    assert!(writes_lease(&it.take(Event::LeaseRead(Ok(lease)))));
    it.take(Event::LeaseWritten(Ok(Version::new(7))));
    it.take(Event::ServicesRead(Ok(vec![service])))
}

#[test]
fn the_first_candidate_makes_the_lease_then_switches_then_leads() {
    let mut it = Candidate::ready();
    let actions = acquire(&mut it, None, service("no_leader", "", 3));
    let epoch = Version::new(7).epoch();
    let seen = Version::new(3);
    assert_eq!(
        actions,
        [Action::WriteService {
            service: 0,
            seen,
            epoch
        }]
    );
    assert!(!it.leads(), "not before its own switch");
    it.take(Event::ServiceWritten(Ok(Version::new(8))));
    assert!(it.leads());
}

#[test]
fn a_service_that_cannot_be_switched_is_said_once() {
    let missing = || ServiceView::Missing;
    let said = [Action::Report(Notice::Missing { service: 0 })];
    let mut it = Candidate::ready();
    let seen = |view| Event::ServiceSeen { service: 0, view };
    it.take(seen(missing()));
    assert_eq!(acquire(&mut it, None, missing()), said);
    assert!(it.leads(), "nothing that exists names another");
    assert_eq!(it.take(seen(missing())), []);
    let bare = it.take(seen(ServiceView::WithoutSelector));
    let service = 0;
    assert_eq!(bare, [Action::Report(Notice::WithoutSelector { service })]);
    it.take(seen(self::service("no_leader", "", 9)));
    assert!(it.take(seen(missing())).contains(&said[0]));
}

#[test]
fn standby_waits_a_full_lease_after_first_sight() {
    let mut it = Candidate::ready();
    it.take(Event::LeaseRead(Ok(Some(lease(Some("other"), None, 5)))));
    assert!(!writes_lease(&it.at(11_999, Event::Tick)));
    let read = it.take(Event::LeaseRead(Ok(Some(lease(Some("other"), None, 5)))));
    assert!(!writes_lease(&read), "one millisecond early");
    it.at(12_000, Event::Tick);
    let read = it.take(Event::LeaseRead(Ok(Some(lease(Some("other"), None, 5)))));
    assert!(writes_lease(&read));
}

#[test]
fn an_outage_does_not_count_towards_expiry() {
    let mut it = Candidate::ready();
    it.take(Event::LeaseRead(Ok(Some(lease(Some("other"), None, 5)))));
    it.at(6_000, Event::Tick);
    it.at(8_000, Event::LeaseRead(Err(election::Failure::Unknown)));
    it.at(30_000, Event::Tick);
    let read = it.take(Event::LeaseRead(Ok(Some(lease(Some("other"), None, 5)))));
    assert!(!writes_lease(&read), "the holder could not renew either");
}

#[test]
fn a_pod_that_is_gone_is_not_waited_for() {
    let mut it = Candidate::ready();
    it.take(Event::LeaseRead(Ok(Some(lease(Some("other"), None, 5)))));
    let me = Peer {
        identity: identity("me"),
        candidate: true,
        finished: false,
    };
    assert_eq!(it.take(Event::Peers(vec![me])), [Action::ReadLease]);
    let actions = it.take(Event::LeaseRead(Ok(Some(lease(Some("other"), None, 5)))));
    assert_eq!(actions, [Action::ReadPod(identity("other"))]);
    assert!(writes_lease(&it.take(Event::PodRead(Ok(PodFate::Gone)))));
}

#[test]
fn a_pod_that_is_there_is_waited_for() {
    let mut it = Candidate::ready();
    it.take(Event::LeaseRead(Ok(Some(lease(Some("other"), None, 5)))));
    let me = Peer {
        identity: identity("me"),
        candidate: true,
        finished: false,
    };
    it.take(Event::Peers(vec![me]));
    it.take(Event::LeaseRead(Ok(Some(lease(Some("other"), None, 5)))));
    assert_eq!(it.take(Event::PodRead(Ok(PodFate::Present))), []);
}

#[test]
fn a_higher_epoch_is_never_overwritten() {
    let mut it = Candidate::ready();
    let actions = acquire(
        &mut it,
        Some(lease(None, Some("other"), 5)),
        service("other", "9", 3),
    );
    assert!(!writes_service(&actions));
    let fenced = |action: &Action| matches!(action, Action::Report(Notice::Fenced { .. }));
    assert!(actions.iter().any(fenced), "{actions:?}");
    assert!(!it.leads());
}

#[test]
fn a_successor_does_not_wait_for_the_one_who_gave_up() {
    let mut it = Candidate::ready();
    let read = it.take(Event::LeaseRead(Ok(Some(lease(None, Some("other"), 5)))));
    assert!(writes_lease(&read));
    // The watch shows the own write before its answer comes.
    it.take(Event::LeaseSeen(Some(lease(Some("me"), None, 7))));
    it.take(Event::LeaseWritten(Ok(Version::new(7))));
    let actions = it.take(Event::ServicesRead(Ok(vec![service("other", "4", 3)])));
    assert!(writes_service(&actions), "{actions:?}");
}

#[test]
fn a_leader_whose_lease_was_deleted_may_answer_true_until_its_deadline() {
    let mut it = Candidate::ready();
    let actions = acquire(&mut it, None, service("other", "4", 3));
    assert!(
        !writes_service(&actions),
        "somebody leads by a Lease that is gone"
    );
    let wake = it.state.as_ref().unwrap().wake_at(&it.config);
    assert_eq!(
        wake,
        Some(Duration::from_secs(4)),
        "its own renewal comes first"
    );
}

#[test]
fn giving_up_turns_the_answer_false_before_the_lease_is_written() {
    let mut it = Candidate::ready();
    acquire(&mut it, None, service("no_leader", "", 3));
    it.take(Event::ServiceWritten(Ok(Version::new(8))));
    let actions = it.take(Event::Stop);
    assert!(!it.leads());
    let [
        Action::Report(Notice::Lost(_)),
        Action::WriteLease { record, seen, .. },
    ] = &actions[..]
    else {
        panic!("{actions:?}")
    };
    assert_eq!((&record.holder, *seen), (&None, Some(Version::new(7))));
    assert_eq!(record.given_up_by, Some(identity("me")));
    it.take(Event::LeaseWritten(Ok(Version::new(9))));
    assert!(it.state.as_ref().unwrap().is_finished(&it.config));
}

#[test]
fn the_answer_is_false_at_the_deadline_although_nothing_happened() {
    let mut it = Candidate::ready();
    acquire(&mut it, None, service("no_leader", "", 3));
    it.take(Event::ServiceWritten(Ok(Version::new(8))));
    it.now = Duration::from_millis(7_999);
    assert!(it.leads());
    it.now = Duration::from_secs(8);
    assert!(!it.leads());
}

#[test]
fn another_programs_lease_is_waited_out_and_told() {
    let mut it = Candidate::ready();
    let mut foreign = lease(None, None, 5);
    foreign.record.holder = Some(Holder::Foreign("them".to_owned()));
    let actions = it.take(Event::LeaseRead(Ok(Some(foreign))));
    assert_eq!(
        actions,
        [Action::Report(Notice::ForeignHolder("them".to_owned()))]
    );
}

fn peers(names: &[&str]) -> Event {
    let peer = |name: &&str| Peer {
        identity: identity(name),
        candidate: true,
        finished: false,
    };
    Event::Peers(names.iter().map(peer).collect())
}

/// Leads by epoch 7, with the Lease at revision 7; `standby` ranks first.
fn lead(it: &mut Candidate) {
    acquire(it, None, service("no_leader", "", 3));
    it.take(peers(&["standby", "me", "last"]));
    it.take(Event::ServiceWritten(Ok(Version::new(8))));
    assert!(it.leads());
}

fn written(actions: &[Action]) -> Option<&LeaseRecord> {
    actions.iter().find_map(|action| match action {
        Action::WriteLease { record, .. } => Some(record),
        _ => None,
    })
}

#[test]
fn a_leader_hands_over_to_the_best_ranked_candidate_for_two_seconds() {
    let mut it = Candidate::ready();
    lead(&mut it);
    let leaving = OwnPod {
        leaving: true,
        ..READY
    };
    let actions = it.take(Event::Pod(leaving));
    let record = written(&actions).unwrap();
    assert_eq!(record.candidate(), Some(&identity("standby")));
    assert_eq!(record.given_up_by, Some(identity("me")));
    assert_eq!(record.duration, Duration::from_secs(2));
    assert_eq!(record.transitions, 1);
}

#[test]
fn a_named_successor_begins_at_once_and_need_not_fear_the_giver() {
    let mut it = Candidate::ready();
    it.take(peers(&["other", "me"]));
    let mut named = lease(Some("me"), Some("other"), 5);
    named.record.duration = Duration::from_secs(2);
    it.take(Event::LeaseSeen(Some(named.clone())));
    let actions = it.take(Event::LeaseRead(Ok(Some(named))));
    let record = written(&actions).unwrap();
    assert_eq!(record.given_up_by, Some(identity("other")));
    assert_eq!(record.term, 2);
    assert_eq!(record.duration, Duration::from_secs(12));
    it.take(Event::LeaseWritten(Ok(Version::new(7))));
    let actions = it.take(Event::ServicesRead(Ok(vec![service("other", "4", 3)])));
    assert!(writes_service(&actions), "{actions:?}");
}

#[test]
fn a_silent_successor_is_passed_over_but_nobody_before_it_is_forgotten() {
    let mut it = Candidate::ready();
    let mut named = lease(Some("silent"), Some("other"), 5);
    named.record.duration = Duration::from_secs(2);
    it.take(Event::LeaseRead(Ok(Some(named.clone()))));
    it.at(2_000, Event::Tick);
    assert!(writes_lease(&it.take(Event::LeaseRead(Ok(Some(named))))));
    it.take(Event::LeaseWritten(Ok(Version::new(7))));
    let actions = it.take(Event::ServicesRead(Ok(vec![service("third", "4", 3)])));
    assert!(
        !writes_service(&actions),
        "two seconds are no lease: a third pod may believe to lead"
    );
}

#[test]
fn an_operators_request_is_obeyed_and_taken_away_in_one_write() {
    let mut it = Candidate::ready();
    lead(&mut it);
    let mut asked = lease(Some("me"), None, 9);
    asked.record.switchover_to = Some(election::Target::Pod("last".to_owned()));
    assert_eq!(
        it.take(Event::LeaseSeen(Some(asked.clone()))),
        [Action::ReadLease]
    );
    let actions = it.take(Event::LeaseRead(Ok(Some(asked))));
    assert!(!it.leads(), "false before the handover is written");
    let record = written(&actions).unwrap();
    assert_eq!(record.candidate(), Some(&identity("last")));
    assert_eq!(record.switchover_to, None);
}

#[test]
fn a_request_that_cannot_be_obeyed_is_taken_away_and_told() {
    let mut it = Candidate::ready();
    lead(&mut it);
    let mut asked = lease(Some("me"), None, 9);
    asked.record.switchover_to = Some(election::Target::Pod("nobody".to_owned()));
    it.take(Event::LeaseSeen(Some(asked.clone())));
    let actions = it.take(Event::LeaseRead(Ok(Some(asked))));
    let record = written(&actions).unwrap();
    assert_eq!(record.candidate(), Some(&identity("me")));
    assert_eq!(record.switchover_to, None);
    let told = it.take(Event::LeaseWritten(Ok(Version::new(10))));
    let refused = |action: &Action| {
        matches!(
            action,
            Action::Report(Notice::SwitchoverRefused {
                leads_already: false,
                ..
            })
        )
    };
    assert!(told.iter().any(refused), "{told:?}");
    assert!(it.leads());
}

#[test]
fn while_paused_an_expired_lease_is_nobodys() {
    let mut it = Candidate::ready();
    let mut paused = lease(Some("other"), None, 5);
    paused.record.paused = true;
    it.take(Event::LeaseRead(Ok(Some(paused.clone()))));
    it.at(60_000, Event::Tick);
    let actions = it.take(Event::LeaseRead(Ok(Some(paused))));
    assert!(!writes_lease(&actions), "{actions:?}");
}

#[test]
fn who_is_denied_its_switch_lets_another_try() {
    let mut it = Candidate::ready();
    acquire(&mut it, None, service("no_leader", "", 3));
    it.take(peers(&["standby", "me"]));
    let actions = it.take(Event::ServiceWritten(Err(election::Failure::Denied)));
    let record = written(&actions).unwrap();
    assert_eq!(record.holder, None, "a named one would be denied as soon");
    let emptied = Lease {
        record: record.clone(),
        version: Version::new(9),
    };
    it.take(Event::LeaseWritten(Ok(Version::new(9))));
    it.at(11_000, Event::Tick);
    let actions = it.take(Event::LeaseRead(Ok(Some(emptied))));
    assert!(!writes_lease(&actions), "not again within a lease");
}

#[test]
fn who_cannot_switch_for_two_leases_lets_another_try() {
    let mut it = Candidate::ready();
    acquire(&mut it, None, service("no_leader", "", 3));
    it.take(peers(&["standby", "me"]));
    for (version, second) in (8..).zip(1..24) {
        it.at(
            1_000 * second,
            Event::ServiceWritten(Err(election::Failure::Unknown)),
        );
        let actions = it.take(Event::Tick);
        assert!(written(&actions).is_none_or(|r| r.holder.is_some()));
        it.take(Event::LeaseWritten(Ok(Version::new(version))));
        it.take(Event::ServicesRead(Ok(vec![service("no_leader", "", 3)])));
    }
    let actions = it.at(24_000, Event::Tick);
    assert_eq!(written(&actions).map(|record| &record.holder), Some(&None));
}

#[test]
fn a_restarted_sidecar_of_an_unready_pod_hands_over() {
    let mut it = Candidate::ready();
    it.take(Event::LeaseSeen(Some(lease(Some("me"), None, 5))));
    it.take(Event::LeaseRead(Err(election::Failure::Unknown)));
    it.take(peers(&["standby"]));
    let unready = OwnPod {
        candidate: false,
        ..READY
    };
    assert_eq!(it.at(1_000, Event::Pod(unready)), []);
    assert_eq!(it.at(5_999, Event::Tick), []);
    let actions = it.at(6_000, Event::Tick);
    let record = written(&actions).unwrap();
    assert_eq!(record.candidate(), Some(&identity("standby")));
}

#[test]
fn a_successor_whose_acquiring_reply_is_lost_need_not_fear_the_giver_either() {
    let mut it = Candidate::ready();
    it.take(peers(&["other", "me"]));
    let mut named = lease(Some("me"), Some("other"), 5);
    named.record.duration = Duration::from_secs(2);
    let actions = it.take(Event::LeaseRead(Ok(Some(named))));
    let record = written(&actions).unwrap().clone();
    it.take(Event::LeaseWritten(Err(election::Failure::Unknown)));
    let stored = Lease {
        record,
        version: Version::new(6),
    };
    it.at(200, Event::Tick);
    let actions = it.take(Event::LeaseRead(Ok(Some(stored))));
    assert_eq!(written(&actions).map(|record| record.term), Some(3));
    it.take(Event::LeaseWritten(Ok(Version::new(7))));
    let actions = it.take(Event::ServicesRead(Ok(vec![service("other", "4", 3)])));
    assert!(writes_service(&actions), "{actions:?}");
    it.take(Event::ServiceWritten(Ok(Version::new(8))));
    let renewal = it.at(4_200, Event::Tick);
    let renewed = written(&renewal).map(|record| record.given_up_by.clone());
    assert_eq!(
        renewed,
        Some(None),
        "it has switched, and others may forget"
    );
}

#[test]
fn what_the_watch_has_shown_since_outruns_a_read() {
    let mut it = Candidate::ready();
    it.take(Event::LeaseSeen(Some(lease(Some("other"), None, 5))));
    // Deleted, asked for, and made again before the answer comes.
    it.take(Event::LeaseRead(Ok(Some(lease(Some("other"), None, 5)))));
    assert_eq!(it.take(Event::LeaseSeen(None)), [Action::ReadLease]);
    it.take(Event::LeaseSeen(Some(lease(Some("third"), None, 7))));
    assert_eq!(it.take(Event::LeaseRead(Ok(None))), [Action::ReadLease]);
    it.take(Event::LeaseRead(Ok(Some(lease(Some("third"), None, 7)))));
    let holder = it.state.as_ref().unwrap().holder();
    assert_eq!(holder, Some(&Holder::Candidate(identity("third"))));
}

#[test]
fn a_leader_whose_lease_is_gone_does_not_overwrite_who_took_it_meanwhile() {
    let mut it = Candidate::ready();
    lead(&mut it);
    // Its pod was removed, another led by evidence, and then somebody deleted the Lease: it knows
    // of the last of these only.
    it.take(Event::LeaseSeen(None));
    let actions = it.take(Event::LeaseRead(Ok(None)));
    assert!(writes_lease(&actions), "the last holder makes it again");
    it.take(Event::LeaseWritten(Ok(Version::new(20))));
    let actions = it.take(Event::ServicesRead(Ok(vec![service("standby", "15", 16)])));
    assert!(!writes_service(&actions), "{actions:?}");
}

const UNREADY: OwnPod = OwnPod {
    candidate: false,
    ..READY
};

/// Renews when that is due, up to this time.
fn renew_until(it: &mut Candidate, millis: u64) {
    for (version, at) in (9_u64..).zip((4_000..millis).step_by(4_000)) {
        let renewal = it.at(at, Event::Tick);
        let record = written(&renewal).unwrap();
        assert_eq!(record.candidate(), Some(&identity("me")), "at {at} ms");
        it.take(Event::LeaseWritten(Ok(Version::new(version))));
    }
}

#[test]
fn an_unready_leader_whose_peers_watch_broke_hands_over_by_what_it_shows_next() {
    let mut it = Candidate::ready();
    lead(&mut it);
    it.take(Event::PeersStale);
    assert_eq!(it.at(1_000, Event::Pod(UNREADY)), []);
    renew_until(&mut it, 10_000);
    assert!(it.leads(), "it lives, and nobody better is known");
    let actions = it.at(10_000, peers(&["last", "me"]));
    let record = written(&actions).unwrap();
    assert_eq!(record.candidate(), Some(&identity("last")));
}

#[test]
fn an_unready_leader_waits_for_a_broken_peers_watch_no_longer_than_a_lease() {
    let mut it = Candidate::ready();
    lead(&mut it);
    it.take(Event::PeersStale);
    it.at(1_000, Event::Pod(UNREADY));
    renew_until(&mut it, 12_000);
    it.at(11_500, Event::PeersStale);
    assert_eq!(it.at(11_999, Event::Tick), []);
    let due = it.state.as_ref().unwrap().wake_at(&it.config);
    assert_eq!(due, Some(Duration::from_secs(12)));
    let actions = it.at(12_000, Event::Tick);
    let record = written(&actions).unwrap();
    assert_eq!(record.candidate(), Some(&identity("standby")));
}

#[test]
fn a_leader_that_is_deleted_or_asked_to_end_cannot_wait_for_a_broken_peers_watch() {
    let leaving = OwnPod {
        leaving: true,
        ..READY
    };
    for end in [Event::Pod(leaving), Event::Stop] {
        let mut waiting = Candidate::ready();
        lead(&mut waiting);
        waiting.take(Event::PeersStale);
        assert_eq!(waiting.take(Event::Pod(UNREADY)), []);
        let mut begun = Candidate::ready();
        lead(&mut begun);
        begun.take(Event::Pod(UNREADY));
        begun.take(Event::LeaseWritten(Err(election::Failure::Unknown)));
        begun.take(Event::PeersStale);
        assert_eq!(begun.at(1_000, Event::Tick), []);
        for mut it in [waiting, begun] {
            let actions = it.take(end.clone());
            let record = written(&actions).unwrap();
            assert_eq!(record.candidate(), Some(&identity("standby")));
        }
    }
}

#[test]
fn a_handover_that_was_begun_waits_for_a_peers_watch_that_breaks_on_the_way() {
    let mut it = Candidate::ready();
    lead(&mut it);
    assert!(writes_lease(&it.take(Event::Pod(UNREADY))));
    it.take(Event::LeaseWritten(Err(election::Failure::Unknown)));
    it.take(Event::PeersStale);
    assert_eq!(it.at(1_000, Event::Tick), []);
    assert!(!it.leads());
    let actions = it.take(peers(&["last", "me"]));
    let record = written(&actions).unwrap();
    assert_eq!(record.candidate(), Some(&identity("last")));
}

#[test]
fn an_outage_does_not_count_towards_the_wait_for_a_broken_peers_watch() {
    let mut it = Candidate::ready();
    it.take(Event::LeaseRead(Ok(Some(lease(Some("me"), None, 5)))));
    it.take(Event::LeaseWritten(Err(election::Failure::Unknown)));
    it.take(peers(&["standby", "me"]));
    it.take(Event::PeersStale);
    assert_eq!(it.at(6_000, Event::Tick), [Action::ReadLease]);
    it.take(Event::LeaseRead(Err(election::Failure::Unknown)));
    it.at(8_000, Event::Tick);
    it.at(
        20_000,
        Event::LeaseRead(Ok(Some(lease(Some("me"), None, 5)))),
    );
    it.take(Event::LeaseWritten(Err(election::Failure::Unknown)));
    it.at(21_000, Event::Pod(UNREADY));
    assert_eq!(it.at(31_999, Event::Tick), []);
    let actions = it.at(32_000, Event::Tick);
    let record = written(&actions).unwrap();
    assert_eq!(record.candidate(), Some(&identity("standby")));
}

fn strangers(names: &[&str]) -> Event {
    Event::Strangers(
        names
            .iter()
            .map(|name| PodName::parse(name).unwrap())
            .collect(),
    )
}

fn is_rivalled(actions: &[Action]) -> bool {
    let rivalled = |action: &Action| matches!(action, Action::Report(Notice::Rivalled { .. }));
    actions.iter().any(rivalled)
}

/// One that holds its Lease at version 7, and has read that `other`, of another election, leads its Service at epoch
/// 4; and what it did about that.
fn beside_a_rival() -> (Candidate, Vec<Action>) {
    let mut it = Candidate::ready();
    it.take(strangers(&["other"]));
    let given_up = Some(lease(None, Some("other"), 5));
    let actions = acquire(&mut it, given_up, service("other", "4", 3));
    (it, actions)
}

#[test]
fn a_service_whose_leader_is_of_another_election_is_not_taken() {
    let (mut it, actions) = beside_a_rival();
    assert!(
        !writes_service(&actions) && is_rivalled(&actions),
        "{actions:?}"
    );
    // It goes on renewing, looks again, and writes no Service for as long as the other may lead.
    let (mut version, mut looks) = (7, 0);
    for seconds in (4..=120).step_by(4) {
        let actions = it.at(seconds * 1000, Event::Tick);
        assert!(writes_lease(&actions), "{actions:?}");
        version += 1;
        it.take(Event::LeaseWritten(Ok(Version::new(version))));
        if actions.contains(&Action::ReadServices) {
            looks += 1;
            let actions = it.take(Event::ServicesRead(Ok(vec![service("other", "4", 3)])));
            assert!(
                !writes_service(&actions) && !is_rivalled(&actions),
                "{actions:?}"
            );
        }
        assert!(!it.leads());
    }
    assert_eq!(looks, 10, "once in a lease of 12 s");
}

#[test]
fn it_is_taken_by_a_new_term_as_soon_as_the_other_may_lead_no_more() {
    let (mut it, _) = beside_a_rival();
    let begins = it.at(1000, strangers(&[]));
    assert!(writes_lease(&begins), "{begins:?}");
    it.take(Event::LeaseWritten(Ok(Version::new(9))));
    let writes = it.take(Event::ServicesRead(Ok(vec![service("other", "4", 3)])));
    assert!(writes_service(&writes), "{writes:?}");
    it.take(Event::ServiceWritten(Ok(Version::new(20))));
    assert!(it.leads());
}

#[test]
fn a_successor_in_the_other_election_is_let_be_too() {
    let (mut it, _) = beside_a_rival();
    let seen = |leader, epoch, version| Event::ServiceSeen {
        service: 0,
        view: service(leader, epoch, version),
    };
    it.take(strangers(&["next", "other"]));
    it.take(seen("next", "6", 8));
    assert_eq!(it.take(strangers(&["next"])), []);
    let begins = it.take(strangers(&[]));
    assert!(writes_lease(&begins), "{begins:?}");
    it.take(Event::LeaseWritten(Ok(Version::new(9))));
    let writes = it.take(Event::ServicesRead(Ok(vec![service("next", "6", 8)])));
    assert!(writes_service(&writes), "{writes:?}");
}

#[test]
fn a_leader_whose_service_another_election_has_taken_lets_it_be() {
    for strangers_first in [true, false] {
        let mut it = Candidate::ready();
        acquire(&mut it, None, service("no_leader", "", 3));
        it.take(Event::ServiceWritten(Ok(Version::new(8))));
        assert!(it.leads());
        let news = [
            strangers(&["other"]),
            Event::ServiceSeen {
                service: 0,
                view: service("other", "9", 10),
            },
        ];
        let [first, second] = if strangers_first {
            news
        } else {
            let [strangers, seen] = news;
            [seen, strangers]
        };
        let actions = [it.take(first), it.take(second)].concat();
        assert!(is_rivalled(&actions), "{actions:?}");
        assert!(!it.leads() && !writes_service(&actions));
    }
}

#[test]
fn a_selector_that_somebody_pointed_at_another_elections_pod_is_restored() {
    let mut it = Candidate::ready();
    acquire(&mut it, None, service("no_leader", "", 3));
    it.take(Event::ServiceWritten(Ok(Version::new(8))));
    it.take(strangers(&["other"]));
    let actions = it.take(Event::ServiceSeen {
        service: 0,
        view: service("other", "7", 10),
    });
    assert!(
        writes_lease(&actions) && !is_rivalled(&actions),
        "{actions:?}"
    );
    assert!(it.leads());
}
