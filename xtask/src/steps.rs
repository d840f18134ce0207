//! Steps, one after another, each named and timed. The first that fails is the last.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::Instant;

/// A chore of several steps.
#[derive(Debug)]
pub(crate) struct Steps {
    begun: Instant,
    taken: Vec<(String, Duration)>,
}

impl Steps {
    pub(crate) fn begin() -> Self {
        Self {
            begun: Instant::now(),
            taken: Vec::new(),
        }
    }

    /// Takes a step. `remedy` says what to do when it fails.
    pub(crate) async fn step(
        &mut self,
        name: &str,
        remedy: &str,
        work: impl Future<Output = Result<()>>,
    ) -> Result<()> {
        println!("\n== {name}");
        let begun = Instant::now();
        let done = work.await;
        let took = begun.elapsed();
        done.with_context(|| format!("{name} failed after {}: {remedy}", minutes(took)))?;
        println!("== {name}: {}", minutes(took));
        self.taken.push((name.to_owned(), took));
        Ok(())
    }

    /// Says how long everything took.
    pub(crate) fn end(self, what: &str) {
        println!();
        for (name, took) in &self.taken {
            println!("{:>10}  {name}", minutes(*took));
        }
        println!("{:>10}  {what}", minutes(self.begun.elapsed()));
    }
}

/// `2 min 05 s`
pub(crate) fn minutes(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 60.. => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}
