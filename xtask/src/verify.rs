//! The long runs, of which a change is tested with slices.

mod fuzz;

use anyhow::Result;
use clap::ValueEnum as _;
use tokio::process::Command;

use crate::{
    steps::Steps,
    workspace::{cargo, run},
};

/// Explore the model whole, run seeds in numbers, and do every harm to the real API server's clients
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which of the proofs [default: all, in this order]
    #[arg(value_enum)]
    proofs: Vec<Proof>,
    /// How many seeded schedules
    #[arg(long, default_value_t = 1_000_000)]
    seeds: u32,
    /// For how many minutes the soak goes on
    #[arg(long, default_value_t = 20)]
    soak: u32,
    /// How often the election tests run
    #[arg(long, default_value_t = 5)]
    repeat: u32,
    /// How many generated workloads each property of the injection is tried on
    #[arg(long, default_value_t = 100_000)]
    workloads: u32,
    /// For how many minutes each kind of input is fuzzed
    #[arg(long, default_value_t = 10)]
    fuzz: u32,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Proof {
    /// Every schedule within the model's bounds
    Model,
    /// Every seeded defect is noticed
    Defects,
    /// Seeded schedules
    Seeds,
    /// The modelled API server answers as the real one
    Conformance,
    /// Every write of every flow with every fate, on the real API server
    Writes,
    /// 30 runs of a minute under random faults, on the real API server
    Faults,
    /// One long run under random faults
    Soak,
    /// The election tests, again and again
    Elections,
    /// The properties of the injection, on generated workloads
    Properties,
    /// What Pod Security "restricted" admits before an injection it admits after it, on the real API server
    Restricted,
    /// Whatever the webhook and the commands are sent, led by coverage
    Fuzz,
}

impl Args {
    pub(crate) async fn run(self) -> Result<()> {
        let all = Proof::value_variants();
        let proofs = if self.proofs.is_empty() {
            all
        } else {
            &self.proofs
        };
        let mut steps = Steps::begin();
        for mut part in proofs.iter().flat_map(|proof| self.parts(*proof)) {
            let work = run(&mut part.command);
            steps.step(&part.name, part.remedy, work).await?;
        }
        steps.end("cargo xtask verify: everything passed");
        Ok(())
    }

    fn parts(&self, proof: Proof) -> Vec<Part> {
        let Self {
            proofs: _,
            seeds,
            soak,
            repeat,
            workloads,
            fuzz: minutes_of_fuzz,
        } = self;
        let minutes = soak * 60;
        let part = match proof {
            Proof::Model => Part {
                name: "the whole model".to_owned(),
                remedy: "the path that breaks an invariant is printed above",
                command: with(simulated("model::"), "MODEL", &"full"),
            },
            Proof::Defects => Part {
                name: "every seeded defect, by the model and by seeds".to_owned(),
                remedy: "a defect that nothing notices: which rule became needless?",
                command: simulated("defects"),
            },
            Proof::Seeds => Part {
                name: format!("{seeds} seeded schedules"),
                remedy: "the seed is printed above; SEED=<seed> prints its turns",
                command: with(simulated("seeds"), "SEEDS", seeds),
            },
            Proof::Conformance => Part {
                name: "the modelled API server beside the real one".to_owned(),
                remedy: "the first answer that differs is printed above",
                command: test(&["-p", "sidecar", "--lib", "conformance"]),
            },
            Proof::Writes => Part {
                name: "every write of every flow, with every fate".to_owned(),
                remedy: "CASE=<a part of its line> runs one case again",
                command: with(real("faults", "enumeration"), "FAULTS", &"full"),
            },
            Proof::Faults => random_faults(30, 60),
            Proof::Soak => random_faults(1, minutes),
            Proof::Elections => {
                return (1..=*repeat)
                    .map(|time| Part {
                        name: format!("election tests, {time} of {repeat}"),
                        remedy: "the record of the failed test is printed above",
                        command: real("election", ""),
                    })
                    .collect();
            }
            Proof::Properties => Part {
                name: format!("the properties of the injection, on {workloads} workloads each"),
                remedy: "the smallest workload that breaks one is printed above",
                command: with(
                    test(&["--release", "-p", "workloads", "--test", "properties"]),
                    "WORKLOADS",
                    workloads,
                ),
            },
            Proof::Restricted => Part {
                name: "restricted before an injection, restricted after it".to_owned(),
                remedy: "the pod that is refused is printed above",
                command: with(real("restricted", ""), "RESTRICTED", &5_000),
            },
            Proof::Fuzz => return fuzz::TARGETS.map(|it| it.part(*minutes_of_fuzz)).into(),
        };
        vec![part]
    }
}

/// A step of a verification.
struct Part {
    name: String,
    remedy: &'static str,
    command: Command,
}

fn random_faults(runs: u32, seconds: u32) -> Part {
    let random = with(real("faults", "random"), "FAULT_RUNS", &runs);
    Part {
        name: format!("random faults: {runs} runs of {seconds} s"),
        remedy: "FAULT_SEED=<seed> FAULT_RUNS=1 runs one again",
        command: with(random, "FAULT_SECONDS", &seconds),
    }
}

fn with(mut command: Command, setting: &str, value: &dyn ToString) -> Command {
    command.env(setting, value.to_string());
    command
}

/// Tests of the rig's whose names have this part.
fn real(target: &str, part: &str) -> Command {
    test(&["-p", "testcluster", "--test", target, part])
}

/// A part of the simulator's proof, in a release build, one test after the other.
fn simulated(part: &str) -> Command {
    const FEATURES: [&str; 2] = ["--features", "seeded-defects"];
    let which = ["--release", "-p", "simulator", "--test", "proof", part];
    let mut command = test(&[&FEATURES[..], &which[..]].concat());
    command.args(["--test-threads", "1"]);
    command
}

/// Tests that print what they find.
fn test(which: &[&str]) -> Command {
    let mut command = cargo();
    command.args(["test", "--locked"]).args(which);
    command.args(["--", "--nocapture"]);
    command
}
