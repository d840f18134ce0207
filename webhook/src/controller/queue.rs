//! What is to be reconciled, and when. A key stands in it once, and is never under way twice.
//!
//! Must not know: what a key means. Time is an argument.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use super::index::Key;

/// The first pause after a failure, and the longest: it doubles in between.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// The pause after a look at what waits; where a look is dear, it doubles up to the longest.
const LOOK: Duration = Duration::from_secs(2);
const LONGEST_LOOK: Duration = Duration::from_secs(30);

/// How long something waits before that is said, and how long until it is said again.
const LONG: Duration = Duration::from_mins(2);
const AGAIN: Duration = Duration::from_hours(1);

/// For how long what this replica has let in is its own to see to first.
const OURS: Duration = Duration::from_mins(1);
/// For how long the others leave it to that one, which has seen to it by then as a rule: see [`Queue::leave`].
const DEFERENCE: Duration = Duration::from_secs(30);

/// How a reconciliation ended.
#[derive(Debug, Clone, Copy)]
pub(super) enum Outcome {
    Done,
    /// Something has to happen first that no watch shows, and a look at it is cheap.
    Soon,
    /// The same, and a look is dear.
    Later,
    Failed,
}

/// What is known of a key that waits.
#[derive(Debug)]
struct Wait {
    /// How many dear looks there were since a cheap one.
    dear: u32,
    /// From when on it is to be said that it waits.
    say_at: Instant,
}

/// When a key is to be looked at, and whether before those that another replica may be on.
#[derive(Debug, Clone, Copy)]
struct Due {
    at: Instant,
    is_first: bool,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    due: BTreeMap<Key, Due>,
    /// What is due, save what is under way, in its order: those that are first, and the others.
    first: BTreeSet<(Instant, Key)>,
    others: BTreeSet<(Instant, Key)>,
    running: BTreeSet<Key>,
    /// Something happened to them while they were under way.
    again: BTreeSet<Key>,
    failures: BTreeMap<Key, u32>,
    waiting: BTreeMap<Key, Wait>,
    ours: Ours,
}

/// What this replica has let in, and until when it is the first to see to it.
#[derive(Debug, Default)]
struct Ours {
    until: BTreeMap<Key, Instant>,
    /// The same in the order of time.
    ends: VecDeque<(Instant, Key)>,
}

impl Ours {
    fn insert(&mut self, key: Key, now: Instant) {
        while let Some((end, key)) = self.ends.pop_front_if(|(end, _)| *end <= now) {
            if self.until.get(&key) == Some(&end) {
                self.until.remove(&key);
            }
        }
        self.until.insert(key.clone(), now + OURS);
        self.ends.push_back((now + OURS, key));
    }

    fn contains(&self, key: &Key, now: Instant) -> bool {
        self.until.get(key).is_some_and(|until| now < *until)
    }
}

impl Queue {
    /// Has `keys` looked at as soon as may be.
    pub(super) fn extend(&mut self, keys: impl IntoIterator<Item = Key>, now: Instant) {
        for key in keys {
            if self.running.contains(&key) {
                self.again.insert(key);
            } else {
                self.put(key, now, true);
            }
        }
    }

    /// Has `keys` looked at as soon as may be, if this replica has let their objects in; else somewhat
    /// later, for another one has.
    pub(super) fn extend_in_turn(&mut self, keys: impl IntoIterator<Item = Key>, now: Instant) {
        for key in keys {
            let is_ours = self.ours.contains(&key, now);
            let at = if is_ours { now } else { now + DEFERENCE };
            self.add(key, at, is_ours);
        }
    }

    /// Has `keys` looked at that no replica has let in just now, and so perhaps none is on.
    pub(super) fn extend_behind(&mut self, keys: impl IntoIterator<Item = Key>, now: Instant) {
        for key in keys {
            self.add(key, now, false);
        }
    }

    fn add(&mut self, key: Key, at: Instant, is_first: bool) {
        if self.running.contains(&key) {
            self.again.insert(key);
            return;
        }
        let due = self.due.get(&key);
        let at = due.map_or(at, |due| at.min(due.at));
        let is_first = is_first || due.is_some_and(|due| due.is_first);
        self.put(key, at, is_first);
    }

    /// Notes that this replica has let the object of a key in. What its watch has brought already is
    /// not deferred any longer. A reminder is, for the object may not be stored yet.
    pub(super) fn admitted(&mut self, key: Key, now: Instant) {
        let due = self.due.get(&key).map(|due| due.at);
        if let Some(at) = due.filter(|at| *at <= now + DEFERENCE) {
            self.put(key.clone(), now.min(at), true);
        }
        self.ours.insert(key, now);
    }

    /// Whether a key is under way, or will be when the replica that let its object in has had its time.
    pub(super) fn is_on(&self, key: &Key, now: Instant) -> bool {
        let due = self.due.get(key);
        self.running.contains(key) || due.is_some_and(|due| due.at <= now + DEFERENCE)
    }

    /// Does not look at a key that another replica has seen to, where that one was being waited for.
    pub(super) fn leave(&mut self, key: &Key, now: Instant) {
        let due = self.due.get(key);
        if due.is_some_and(|due| !due.is_first && due.at > now) {
            self.take(key);
        }
    }

    /// Has a key looked at at `at`, if nothing has it looked at before.
    pub(super) fn remind(&mut self, key: Key, at: Instant) {
        let due = self.due.get(&key);
        if due.is_none_or(|due| at < due.at) {
            let is_first = due.is_some_and(|due| due.is_first);
            self.put(key, at, is_first);
        }
    }

    fn put(&mut self, key: Key, at: Instant, is_first: bool) {
        self.take(&key);
        if !self.running.contains(&key) {
            self.order(is_first).insert((at, key.clone()));
        }
        self.due.insert(key, Due { at, is_first });
    }

    fn take(&mut self, key: &Key) {
        if let Some(due) = self.due.remove(key) {
            self.order(due.is_first).remove(&(due.at, key.clone()));
        }
    }

    fn order(&mut self, is_first: bool) -> &mut BTreeSet<(Instant, Key)> {
        if is_first {
            &mut self.first
        } else {
            &mut self.others
        }
    }

    /// Takes a key that is due at `now`: one that this replica is the first to see to before all others,
    /// for nobody else is on it.
    pub(super) fn start(&mut self, now: Instant) -> Option<Key> {
        let next = [&self.first, &self.others]
            .into_iter()
            .filter_map(BTreeSet::first)
            .find(|(at, _)| *at <= now);
        let (_, key) = next.cloned()?;
        self.take(&key);
        self.running.insert(key.clone());
        Some(key)
    }

    /// Notes how a key that was started ended.
    pub(super) fn finish(&mut self, key: Key, outcome: Outcome, now: Instant) {
        self.running.remove(&key);
        if let Some(due) = self.due.get(&key).copied() {
            self.put(key.clone(), due.at, due.is_first);
        }
        let pause = match outcome {
            Outcome::Done => {
                self.failures.remove(&key);
                self.waiting.remove(&key);
                None
            }
            Outcome::Soon => {
                self.failures.remove(&key);
                self.wait(&key, now).dear = 0;
                Some(LOOK)
            }
            Outcome::Later => {
                self.failures.remove(&key);
                let dear = &mut self.wait(&key, now).dear;
                Some(next_pause(dear, LOOK, LONGEST_LOOK))
            }
            Outcome::Failed => {
                let failures = self.failures.entry(key.clone()).or_default();
                Some(next_pause(failures, FIRST_PAUSE, LONGEST_PAUSE))
            }
        };
        if self.again.remove(&key) {
            self.put(key, now, true);
        } else if let Some(pause) = pause {
            self.put(key, now + pause, true);
        }
    }

    fn wait(&mut self, key: &Key, now: Instant) -> &mut Wait {
        self.waiting.entry(key.clone()).or_insert(Wait {
            dear: 0,
            say_at: now + LONG,
        })
    }

    /// Whether a key has waited for longer than a rollout usually takes, and this was not said within
    /// the hour.
    pub(super) fn is_overdue(&mut self, key: &Key, now: Instant) -> bool {
        let wait = self.waiting.get_mut(key);
        let overdue = wait.filter(|wait| wait.say_at <= now);
        overdue.map(|wait| wait.say_at = now + AGAIN).is_some()
    }

    /// When the next key is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let next = [&self.first, &self.others].into_iter();
        next.filter_map(BTreeSet::first).map(|(at, _)| *at).min()
    }

    /// How many Services wait to be given back.
    pub(super) fn waiting(&self) -> usize {
        let keys = self.waiting.keys();
        keys.filter(|key| matches!(key, Key::Service { .. }))
            .count()
    }
}

/// The pause after so many before it, which it counts.
fn next_pause(before: &mut u32, first: Duration, longest: Duration) -> Duration {
    let doubled = 2_u32.saturating_pow((*before).min(16));
    *before = before.saturating_add(1);
    first.saturating_mul(doubled).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn key(service: &str) -> Key {
        Key::Service {
            namespace: "shop".to_owned(),
            service: service.to_owned(),
        }
    }

    #[test]
    fn a_key_is_not_under_way_twice_and_runs_again_after_an_event() {
        let now = clock::instant();
        let mut queue = Queue::default();
        queue.extend([key("web"), key("web")], now);
        assert_eq!(queue.start(now), Some(key("web")));
        queue.extend([key("web")], now);
        assert_eq!(queue.start(now), None);
        queue.finish(key("web"), Outcome::Done, now);
        assert_eq!(queue.start(now), Some(key("web")));
        queue.finish(key("web"), Outcome::Done, now);
        assert_eq!(queue.next_due(), None);
    }

    /// The pauses, in milliseconds, after reconciliations that end so.
    fn pauses<const N: usize>(outcome: Outcome) -> [u128; N] {
        let mut at = clock::instant();
        let mut queue = Queue::default();
        queue.extend([key("web")], at);
        std::array::from_fn(|_| {
            assert_eq!(queue.start(at), Some(key("web")));
            queue.finish(key("web"), outcome, at);
            let due = queue.next_due().unwrap();
            let pause = due.duration_since(at).as_millis();
            at = due;
            pause
        })
    }

    #[test]
    fn pauses_double_up_to_a_minute() {
        assert_eq!(
            pauses(Outcome::Failed),
            [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]
        );
    }

    #[test]
    fn where_a_look_is_dear_what_waits_is_looked_at_ever_more_seldom() {
        let dear = [2000, 4000, 8000, 16_000, 30_000, 30_000];
        assert_eq!(pauses(Outcome::Later), dear);
        assert_eq!(pauses(Outcome::Soon), [2000; 6]);
    }

    #[test]
    fn a_reminder_is_kept_beside_what_is_under_way() {
        let now = clock::instant();
        let later = now + Duration::from_mins(1);
        let mut queue = Queue::default();
        queue.extend([key("web")], now);
        assert_eq!(queue.start(now), Some(key("web")));
        queue.remind(key("web"), later);
        assert_eq!((queue.start(later), queue.next_due()), (None, None));
        queue.finish(key("web"), Outcome::Done, now);
        assert_eq!((queue.start(now), queue.next_due()), (None, Some(later)));
        assert_eq!(queue.start(later), Some(key("web")));
    }

    #[test]
    fn a_reminder_delays_nothing() {
        let now = clock::instant();
        let mut queue = Queue::default();
        queue.extend([key("web")], now);
        queue.remind(key("web"), now + Duration::from_mins(1));
        assert_eq!(queue.start(now), Some(key("web")));
        queue.finish(key("web"), Outcome::Done, now);
        for minutes in [12, 2, 7] {
            queue.remind(key("web"), now + Duration::from_mins(minutes));
        }
        assert_eq!(queue.next_due(), Some(now + Duration::from_mins(2)));
    }

    #[test]
    fn what_another_replica_has_let_in_is_left_to_that_one_for_a_moment() {
        let now = clock::instant();
        let mut queue = Queue::default();
        queue.admitted(key("ours"), now);
        queue.extend_in_turn([key("ours"), key("theirs")], now);
        assert_eq!(queue.start(now), Some(key("ours")));
        assert_eq!(
            (queue.start(now), queue.next_due()),
            (None, Some(now + DEFERENCE))
        );
        // The watch was faster than the admission's own word.
        queue.admitted(key("theirs"), now);
        assert_eq!(queue.start(now), Some(key("theirs")));
        queue.finish(key("ours"), Outcome::Done, now);
        let later = now + OURS;
        queue.extend_in_turn([key("ours")], later);
        assert_eq!(queue.next_due(), Some(later + DEFERENCE));
        queue.extend([key("ours")], later);
        assert_eq!(queue.start(later), Some(key("ours")));
    }

    #[test]
    fn what_another_replica_has_seen_to_is_left() {
        let now = clock::instant();
        let mut queue = Queue::default();
        queue.extend_in_turn([key("web")], now);
        queue.leave(&key("web"), now);
        assert_eq!(queue.next_due(), None);
        // A change after that is looked at.
        queue.extend_in_turn([key("web")], now);
        let later = now + DEFERENCE;
        queue.leave(&key("web"), later);
        assert_eq!(queue.start(later), Some(key("web")));
        // So is what failed here, what was there when this replica began, and what it has let in.
        queue.finish(key("web"), Outcome::Failed, later);
        queue.leave(&key("web"), later);
        assert_eq!(queue.next_due(), Some(later + FIRST_PAUSE));
        queue.extend_behind([key("api")], later);
        queue.leave(&key("api"), later);
        assert_eq!(queue.start(later), Some(key("api")));
        queue.extend_in_turn([key("ours")], later);
        queue.admitted(key("ours"), later);
        queue.leave(&key("ours"), later);
        assert_eq!(queue.start(later), Some(key("ours")));
    }

    #[test]
    fn a_key_is_on_until_it_is_done_and_a_far_reminder_is_not() {
        let now = clock::instant();
        let mut queue = Queue::default();
        queue.extend_in_turn([key("web")], now);
        assert!(queue.is_on(&key("web"), now));
        let later = now + DEFERENCE;
        queue.start(later);
        assert!(queue.is_on(&key("web"), later));
        queue.finish(key("web"), Outcome::Done, later);
        assert!(!queue.is_on(&key("web"), later));
        queue.remind(key("web"), later + Duration::from_mins(2));
        assert!(!queue.is_on(&key("web"), later));
    }

    #[test]
    fn in_a_burst_what_this_replica_has_let_in_goes_first() {
        let now = clock::instant();
        let mut queue = Queue::default();
        queue.extend_in_turn([key("theirs")], now);
        let later = now + DEFERENCE;
        queue.admitted(key("ours"), later);
        queue.extend_in_turn([key("ours")], later);
        assert_eq!(queue.start(later), Some(key("ours")));
        assert_eq!(queue.start(later), Some(key("theirs")));
    }

    #[test]
    fn an_admission_has_nothing_looked_at_before_its_object_is_stored() {
        let now = clock::instant();
        let later = now + Duration::from_mins(2);
        let mut queue = Queue::default();
        queue.remind(key("web"), later);
        queue.admitted(key("web"), now);
        assert_eq!((queue.start(now), queue.next_due()), (None, Some(later)));
        queue.extend_in_turn([key("web")], now);
        assert_eq!(queue.start(now), Some(key("web")));
    }

    #[test]
    fn what_waits_is_counted_until_it_is_done() {
        let now = clock::instant();
        let mut queue = Queue::default();
        queue.extend([key("web")], now);
        queue.start(now);
        queue.finish(key("web"), Outcome::Later, now);
        assert_eq!((queue.waiting(), queue.start(now)), (1, None));
        assert_eq!(queue.start(now + LOOK), Some(key("web")));
        queue.finish(key("web"), Outcome::Done, now);
        assert_eq!(queue.waiting(), 0);
    }
    #[test]
    fn what_waits_for_long_is_to_be_said_once_an_hour_until_it_is_done() {
        let now = clock::instant();
        let mut queue = Queue::default();
        let mut look = |at, outcome| {
            queue.extend([key("web")], at);
            queue.start(at);
            let overdue = queue.is_overdue(&key("web"), at);
            queue.finish(key("web"), outcome, at);
            overdue
        };
        assert!(!look(now, Outcome::Soon));
        assert!(!look(now + LOOK, Outcome::Later));
        assert!(look(now + LONG, Outcome::Later));
        assert!(!look(now + LONG + LOOK, Outcome::Failed));
        assert!(look(now + LONG + AGAIN, Outcome::Done));
        assert!(!look(now + LONG + AGAIN + AGAIN, Outcome::Later));
    }
}
