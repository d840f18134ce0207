//! Tells what happens as it happens, each line with the time since the beginning.

use std::time::Duration;

use tokio::time::Instant;

/// A story that is being told.
#[derive(Debug)]
pub(crate) struct Story {
    begun: Instant,
}

impl Story {
    pub(crate) fn begin() -> Self {
        Self {
            begun: Instant::now(),
        }
    }

    /// Something happened now.
    pub(crate) fn tell(&self, text: &str) {
        println!("{:6.1} s  {text}", self.begun.elapsed().as_secs_f64());
    }

    /// A new chapter begins.
    pub(crate) fn chapter(&self, text: &str) {
        println!();
        self.tell(text);
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }
}

/// More about what was told last: each line indented.
pub(crate) fn more(text: &str) {
    for line in text.trim_end().lines() {
        println!("{}", format!("          {line}").trim_end());
    }
}

/// As people say it: milliseconds below ten seconds.
pub(crate) fn span(time: Duration) -> String {
    if time < Duration::from_secs(10) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}
