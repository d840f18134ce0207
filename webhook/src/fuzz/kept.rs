//! The kept inputs, and mutations of them for a while.

use std::{
    fs,
    path::Path,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::TestRunner,
};

use super::{mutation, within_bounds};
use crate::clock;

/// Longer than any input takes on a machine that is busy.
const HANGS: Duration = Duration::from_mins(1);

/// So few inputs in all that time say nothing.
const LEAST: u32 = 100;

pub(super) fn fuzz(corpus: &str, check: fn(&[u8])) {
    let kept = kept(corpus);
    assert!(!kept.is_empty(), "nothing is kept in {corpus}");
    let seconds = std::env::var_os("FUZZ_SECONDS");
    let seconds = seconds
        .and_then(|it| it.to_str()?.parse().ok())
        .unwrap_or(10);
    let end = clock::instant() + Duration::from_secs(seconds);
    let (inputs, tried_inputs) = mpsc::channel();
    let fuzzing = thread::spawn(move || {
        let mutated = mutation::mutated(kept.clone());
        let mut runner = TestRunner::default();
        let more = std::iter::from_fn(|| {
            let next = mutated.new_tree(&mut runner).unwrap().current();
            (clock::instant() < end).then_some(next)
        });
        for input in kept.into_iter().chain(more) {
            inputs.send(input.clone()).unwrap();
            within_bounds(&input, check);
        }
    });
    let (mut last, mut tried) = (Vec::new(), 0);
    loop {
        match tried_inputs.recv_timeout(HANGS) {
            Ok(input) => (last, tried) = (input, tried + 1),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => panic!("it hangs: {}", written(&last)),
        }
    }
    assert!(fuzzing.join().is_ok(), "see above: {}", written(&last));
    assert!(tried > LEAST, "only {tried} inputs were tried");
    println!("{corpus}: {tried} inputs");
}

/// The inputs in a folder of `corpus`, each a file.
fn kept(corpus: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(corpus);
    let files = fs::read_dir(folder).unwrap();
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Where an input was written, to be kept once its cause is mended.
fn written(input: &[u8]) -> String {
    let (file, path) = tempfile::NamedTempFile::new().unwrap().keep().unwrap();
    drop(file);
    fs::write(&path, input).unwrap();
    path.display().to_string()
}
