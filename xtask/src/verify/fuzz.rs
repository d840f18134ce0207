//! Fuzzing led by coverage: libFuzzer inside the tests that try the kept inputs otherwise.
//!
//! The compiler's own coverage is stable, and so are the flags that put it in. It needs a C++ compiler.

use std::fs;

use tokio::process::Command;

use super::{Part, test, with};
use crate::workspace::root;

/// A test, and the folder of its kept inputs in `webhook/corpus`.
pub(super) struct Target {
    test: &'static str,
    corpus: &'static str,
}

pub(super) const TARGETS: [Target; 3] = [
    Target {
        test: "admission::fuzz::every_body_gets_a_review_for_an_answer",
        corpus: "reviews",
    },
    Target {
        test: "offline::fuzz::every_value_of_an_annotation_is_obeyed_or_denied",
        corpus: "annotations",
    },
    Target {
        test: "offline::fuzz::every_manifest_is_injected_or_told_to_be_wrong",
        corpus: "manifests",
    },
];

/// What cargo-fuzz asks of the compiler, save a sanitizer: there is no unsafe code of ours.
const FLAGS: [&str; 8] = [
    "--cfg=fuzzing",
    "--cfg=fuzzing_libfuzzer",
    "-Ccodegen-units=1",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

impl Target {
    /// What is found is written to `target/fuzz`, what fails too.
    pub(super) fn part(&self, minutes: u32) -> Part {
        let Self { test: name, corpus } = self;
        let found = format!("target/fuzz/{corpus}/");
        // If there is no such folder, libFuzzer says so.
        drop(fs::create_dir_all(root().join(&found)));
        let arguments = [
            format!("-max_total_time={}", minutes * 60),
            "-max_len=65536".to_owned(),
            "-timeout=60".to_owned(),
            "-rss_limit_mb=1024".to_owned(),
            "-print_final_stats=1".to_owned(),
            format!("-artifact_prefix=../{found}failed-"),
            format!("../{found}"),
            format!("corpus/{corpus}"),
        ];
        Part {
            name: format!("{corpus} at random, {minutes} minutes"),
            remedy: "the input is in target/fuzz: mend its cause and keep it in webhook/corpus",
            command: with(
                instrumented(name),
                "BOLERO_LIBFUZZER_ARGS",
                &arguments.join(" "),
            ),
        }
    }
}

/// A test of the webhook's, built for libFuzzer.
fn instrumented(name: &str) -> Command {
    // With a target the flags are not for what runs while it is built.
    let built = ["--profile", "fuzz", "--target", "host-tuple"];
    let which = ["-p", "webhook", "--lib", name];
    let mut command = test(&[&built[..], &which[..]].concat());
    command.args(["--exact"]).env("RUSTFLAGS", FLAGS.join(" "));
    command
}
