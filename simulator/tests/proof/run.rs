//! One seeded run: a random schedule with every fault, then rest, then one loss of a leader after
//! the other, each with its bound.

use std::time::Duration;

use election::{Notice, Timing};
use simulator::{Budget, Cause, Choice, Schedule, Setup, Violation, World};

/// What a run proves wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// An invariant that does not hold.
    Broken(Violation),
    /// Nothing goes wrong any more, and there is no leader whom the Services name.
    Leaderless,
    /// I9: nothing went wrong, and a Service was written.
    Restless,
    /// I3: another leader came too late, or never.
    Late(Cause, Option<Duration>),
    /// A server that did not answer moved the leadership.
    MovedByOutage,
    /// The leader was lost while the server stumbled now and then, and nobody followed in time.
    LateThroughHiccups(Option<Duration>),
    /// A leader that got unready soon after an outage handed over to a pod that was unready, too.
    LedUnready,
    /// A leader that got unready soon after an outage handed over too late, or never.
    LateAfterOutage(Option<Duration>),
    /// A pod that did not lead was deleted, and the leadership moved.
    MovedByUpkeep,
}

/// The server stumbles after so long, for so long.
pub(crate) const PERIOD: Duration = Duration::from_secs(4);
pub(crate) const STUMBLE: Duration = Duration::from_millis(2500);

/// A run that ended well.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Account {
    /// Virtual time.
    pub(crate) time: Duration,
    pub(crate) faults: u32,
    /// Terms that began.
    pub(crate) terms: u32,
    /// Services that were switched to another pod.
    pub(crate) switches: u32,
}

/// A run, and what happened in it.
#[derive(Debug)]
pub(crate) struct Run {
    world: World,
    numbers: Numbers,
    account: Account,
    /// The last turns, for a person. Kept only when it is wanted.
    pub(crate) trace: Option<Vec<String>>,
}

/// The numbers of a seed. The constants of Knuth's MMIX generator; its high bits are the better ones.
#[derive(Debug, Clone, Copy)]
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(self.0 >> 32).unwrap_or(0)
    }

    fn below(&mut self, end: u32) -> u32 {
        self.next() % end
    }
}

const FAULTS: Budget = Budget {
    ticks: 400,
    losses: 12,
    crashes: 4,
    removals: 3,
    deletions: 2,
    drifts: 3,
    flips: 6,
    stops: 3,
    evictions: 4,
    duplicates: 4,
    refusals: 6,
    staleness: 4,
    breaks: 0,
    recreations: 1,
    unpins: 1,
    requests: 3,
    intruders: 1,
};

impl Run {
    /// The same seed is the same run.
    pub(crate) fn new(
        seed: u64,
        #[cfg(feature = "seeded-defects")] defect: Option<election::Defect>,
    ) -> Self {
        let mut numbers = Numbers(seed);
        numbers.next();
        // Few pods meet each other's requests more often than many.
        let most = if numbers.below(8) == 0 { 9 } else { 3 };
        let pods = 2 + numbers.below(most) as usize;
        let services = 1 + numbers.below(4) as usize / 3;
        let wrong = numbers.below(2) == 0;
        let rate = 700 + numbers.below(701);
        // A newcomer who finds neither Lease nor Service as they were cannot know that somebody led:
        // people delete the one or the other within a lease, but not both.
        let either = if numbers.below(2) == 0 {
            Budget {
                deletions: 0,
                ..FAULTS
            }
        } else {
            Budget {
                recreations: 0,
                unpins: 0,
                ..FAULTS
            }
        };
        // Not every seed, so that one that broke something stays what it was.
        let breaks = if seed.is_multiple_of(2) { 4 } else { 0 };
        let setup = Setup {
            slow: pods,
            services,
            rate: wrong.then_some((0, rate)),
            budget: Budget { breaks, ..either },
            #[cfg(feature = "seeded-defects")]
            defect,
            ..Setup::quiet(pods)
        };
        Self {
            world: World::new(&setup),
            numbers,
            account: Account::default(),
            trace: None,
        }
    }

    /// Runs to the end, or to the first failure.
    pub(crate) fn go(&mut self) -> Result<Account, Failure> {
        self.shake()?;
        self.rest()?;
        self.stay()?;
        // Each run tries two ways to lose a leader, and an outage or hiccups.
        for _ in 0..2 {
            let cause = Cause::ALL.get(self.numbers.below(7) as usize);
            self.lose_leader(cause.copied().unwrap_or(Cause::Lost))?;
        }
        if self.numbers.below(2) == 0 {
            self.lose_server()?;
        } else {
            self.hiccup()?;
        }
        self.lose_leader_after_outage()?;
        match self.numbers.below(3) {
            0 => self.roll_out()?,
            1 => self.drain()?,
            _ => self.scale_down()?,
        }
        Ok(self.account)
    }

    /// A random schedule with every fault.
    fn shake(&mut self) -> Result<(), Failure> {
        let mut schedule = Schedule::default();
        for _ in 0..100 + self.numbers.below(500) {
            let number = self.numbers.next();
            let Some(choice) = schedule.pick(&self.world, number) else {
                break;
            };
            let notices = self.world.apply(choice);
            self.count(choice, &notices);
            self.judge()?;
        }
        Ok(())
    }

    fn count(&mut self, choice: Choice, notices: &[Notice]) {
        self.account.faults += u32::from(choice.is_fault());
        if choice == Choice::Tick {
            self.account.time += self.world.tick();
        }
        for notice in notices {
            match notice {
                Notice::Elected { .. } => self.account.terms += 1,
                Notice::Switched { .. } => self.account.switches += 1,
                _ => {}
            }
        }
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{choice:?} {notices:?}"));
        }
    }

    fn judge(&self) -> Result<(), Failure> {
        let broken = self.world.violation.clone();
        broken.map_or(Ok(()), |violation| Err(Failure::Broken(violation)))
    }

    fn note(&mut self, what: &str) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("-- {what}: {:?}", self.world.leaders()));
        }
    }

    /// Two leases, and a lease of patience after lost writes.
    fn rest(&mut self) -> Result<(), Failure> {
        const ENOUGH: Duration = Duration::from_mins(1);
        self.note("resting");
        self.pass(ENOUGH)?;
        if !self.world.is_settled() {
            return Err(Failure::Leaderless);
        }
        Ok(())
    }

    fn pass(&mut self, span: Duration) -> Result<(), Failure> {
        self.world.settle(span);
        self.account.time += span;
        self.judge()
    }

    /// Nothing goes wrong, and nothing happens.
    fn stay(&mut self) -> Result<(), Failure> {
        let before = self.world.server.services.clone();
        self.world.set_clocks_right();
        self.pass(Duration::from_secs(30))?;
        if self.world.server.services != before {
            return Err(Failure::Restless);
        }
        Ok(())
    }

    fn lose_leader(&mut self, cause: Cause) -> Result<(), Failure> {
        // Somebody who is ready must be left besides a successor who is silent.
        if cause == Cause::EvictedToSilence && self.world.pods() < 3 {
            return Ok(());
        }
        self.note("losing the leader");
        let took = self.world.recover(cause);
        self.account.time += took.unwrap_or_default();
        self.judge()?;
        if took.is_none_or(|took| took > cause.bound(&Timing::default())) {
            return Err(Failure::Late(cause, took));
        }
        self.account.switches += 1;
        self.rest()
    }

    fn lose_server(&mut self) -> Result<(), Failure> {
        self.note("losing the server");
        let before: Vec<_> = self.world.leaders().into_iter().cloned().collect();
        let span = Duration::from_secs(u64::from(1 + self.numbers.below(60)));
        self.world.lose_the_server(span);
        self.account.time += span;
        self.rest()?;
        let after: Vec<_> = self.world.leaders().into_iter().cloned().collect();
        if before != after {
            return Err(Failure::MovedByOutage);
        }
        Ok(())
    }

    /// The server was away for longer than a deadline, and answers lists of pods late.
    fn lose_leader_after_outage(&mut self) -> Result<(), Failure> {
        // Somebody who is ready must be left besides the leader and whom it would name.
        if self.world.pods() < 3 {
            return Ok(());
        }
        self.note("losing the leader after an outage");
        let timing = Timing::default();
        let away = timing.deadline() + Duration::from_secs(u64::from(1 + self.numbers.below(30)));
        let late = Duration::from_secs(u64::from(self.numbers.below(20)));
        let followed = self.world.recover_blind(away, late);
        let took = followed.map(|(_, took)| took);
        self.account.time += away + took.unwrap_or_default();
        self.judge()?;
        let bound = late.min(timing.lease()) + Cause::Unready.bound(&timing);
        if took.is_none_or(|took| took > bound) {
            return Err(Failure::LateAfterOutage(took));
        }
        // The API server is heard of before the pause after the last failure is over.
        let waits = late + timing.poll() < timing.lease();
        if waits && followed.is_some_and(|(ready, _)| !ready) {
            return Err(Failure::LedUnready);
        }
        self.account.switches += 1;
        self.rest()
    }

    /// Every pod is replaced, one after the other, the leader's last, as its deletion cost has it: one
    /// switch in all.
    fn roll_out(&mut self) -> Result<(), Failure> {
        self.note("rolling out");
        for node in self.others() {
            self.keep_leading(node)?;
            self.pass(Duration::from_secs(2))?;
        }
        let leader = self.world.leading().into_iter().collect::<Vec<_>>();
        self.move_from(&leader)
    }

    /// The leader's node is drained, and with it about half of the other pods.
    fn drain(&mut self) -> Result<(), Failure> {
        self.note("draining");
        let others = self.others();
        let some = others.iter().skip(1).copied();
        let mut gone: Vec<usize> = some.filter(|_| self.numbers.below(2) == 0).collect();
        gone.extend(self.world.leading());
        self.move_from(&gone)
    }

    /// All but the leader go, as its deletion cost has it, and none comes: no switch.
    fn scale_down(&mut self) -> Result<(), Failure> {
        self.note("scaling down");
        for node in self.others() {
            self.keep_leading(node)?;
            self.world.retire(node);
        }
        self.rest()
    }

    fn others(&self) -> Vec<usize> {
        let leader = self.world.leading();
        let all = 0..self.world.pods();
        all.filter(|node| Some(*node) != leader).collect()
    }

    fn keep_leading(&mut self, other: usize) -> Result<(), Failure> {
        let before = self.world.leading();
        let took = self.world.evict_all(&[other]);
        self.judge()?;
        if took != Some(Duration::ZERO) || self.world.leading() != before {
            return Err(Failure::MovedByUpkeep);
        }
        Ok(())
    }

    fn move_from(&mut self, nodes: &[usize]) -> Result<(), Failure> {
        let took = self.world.evict_all(nodes);
        self.account.time += took.unwrap_or_default();
        self.judge()?;
        if took.is_none_or(|took| took > Cause::Evicted.bound(&Timing::default())) {
            return Err(Failure::Late(Cause::Evicted, took));
        }
        self.account.switches += 1;
        self.rest()
    }

    /// The server stumbles now and then, and what stood before does not count: thrice a lease must do.
    fn hiccup(&mut self) -> Result<(), Failure> {
        self.note("losing the leader through hiccups");
        let took = self.world.recover_through_hiccups(PERIOD, STUMBLE);
        self.account.time += took.unwrap_or_default();
        self.judge()?;
        let enough = 3 * Timing::default().lease();
        if took.is_none_or(|took| took > enough) {
            return Err(Failure::LateThroughHiccups(took));
        }
        self.rest()
    }
}
