//! Whatever is sent: no panic, no hang, no memory without bound. What is sent and checked stands with what
//! answers it; here is what tries it.
//!
//! `cargo test -p webhook fuzz` tries the kept inputs, `corpus/*`, and then such as are made of them at
//! random, for `FUZZ_SECONDS` (10) each. Under `cargo xtask verify fuzz` libFuzzer stands in the place of that,
//! which is led by what each input covers.

#[cfg(not(fuzzing))]
mod kept;
#[cfg(not(fuzzing))]
mod mutation;

use std::time::Duration;

use contract::inject::{PullPolicy, Settings};
use rustix::time::{ClockId, clock_gettime};

/// The most time of a processor for one input.
const MOST_TIME: Duration = Duration::from_secs(2);

/// The most memory at a time: for any input, and more for each of its bytes. It holds the answer, and what
/// is checked of it.
const MOST_BYTES: u64 = 4 << 20;
const MOST_BYTES_PER_BYTE: u64 = 2 << 10;

/// Tries one input after the other, among them those of a folder of `corpus`.
#[cfg(fuzzing)]
pub(crate) fn fuzz(_corpus: &str, check: fn(&[u8])) {
    bolero::check!().for_each(|input: &[u8]| within_bounds(input, check));
}

/// Tries one input after the other, among them those of a folder of `corpus`.
#[cfg(not(fuzzing))]
pub(crate) fn fuzz(corpus: &str, check: fn(&[u8])) {
    kept::fuzz(corpus, check);
}

/// Fails if a check does, or takes too much time or memory.
fn within_bounds(input: &[u8], check: fn(&[u8])) {
    let began = processor_time();
    let memory = allocation_counter::measure(|| check(input));
    let took = processor_time().saturating_sub(began);
    assert!(took <= MOST_TIME, "it takes {took:?}");
    let most = MOST_BYTES + MOST_BYTES_PER_BYTE * input.len() as u64;
    assert!(
        memory.bytes_max <= most,
        "it takes {} bytes",
        memory.bytes_max
    );
}

/// What this thread has had of a processor: on a busy machine it is not more.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap())
}

/// How a sidecar is injected.
pub(crate) fn settings(native: bool) -> Settings {
    Settings {
        image: "sidecar:1".to_owned(),
        pull_policy: PullPolicy::default(),
        native,
        run_as_user: None,
    }
}

/// Whether a person can be told this: it is one line, and not empty.
pub(crate) fn is_line(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_control)
}

/// Whether the API server hands this on as it is.
pub(crate) fn is_warning(text: &str) -> bool {
    is_line(text) && text.chars().count() < 256
}

#[cfg(not(fuzzing))]
mod tests {
    use super::*;

    fn is_noticed(check: fn(&[u8])) -> bool {
        std::panic::catch_unwind(|| within_bounds(b"x", check)).is_err()
    }

    #[test]
    fn an_input_that_panics_or_takes_too_much_is_noticed() {
        assert!(!is_noticed(|_| {}));
        assert!(is_noticed(|_| panic!("on purpose")));
        assert!(is_noticed(|_| drop(vec![0_u8; 5 << 20])));
        assert!(is_noticed(|_| {
            let began = processor_time();
            while processor_time() <= began + MOST_TIME {}
        }));
    }
}
