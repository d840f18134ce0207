//! The injector without the webhook: manifests in, manifests or an explanation out.
//!
//! Nothing is written before all of it is known to be right. Must not know: how an object is
//! judged.

mod documents;
mod explain;
#[cfg(test)]
mod fuzz;
mod grants;
mod lists;
mod live;
mod manifests;
mod place;
mod remarks;
mod rights;
mod rules;
mod sources;
mod surroundings;
mod yaml;

use std::{
    error::Error,
    io::{self, Write},
    path::PathBuf,
};

use contract::{inject::Settings, wording::in_one_line};

pub(crate) use self::live::Target;
use self::{explain::Steps, manifests::Manifests, place::Place};
use crate::cluster::Cluster;

/// What is written of what was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    /// Every document, the others as they came in.
    Yaml,
    /// The JSON Patch of each changed object, in a line with its kind and name.
    Patch,
}

/// What is to be injected, and how.
#[derive(Debug)]
pub(crate) struct Inject {
    pub(crate) paths: Vec<PathBuf>,
    pub(crate) settings: Settings,
    /// Add the rights too.
    pub(crate) rbac: bool,
    /// Write nothing, but fail where something would be changed.
    pub(crate) check: bool,
    pub(crate) output: Output,
}

/// What is to be explained.
#[derive(Debug)]
pub(crate) struct Explain {
    /// Without any, and without a target: standard input.
    pub(crate) paths: Vec<PathBuf>,
    pub(crate) targets: Vec<Target>,
    pub(crate) settings: Settings,
}

/// Injects the sidecar into manifests. Whether all went well.
pub(crate) fn inject(inject: Inject) -> bool {
    let Inject {
        paths,
        settings,
        rbac,
        check,
        output,
    } = inject;
    let Some(mut manifests) = read(&paths) else {
        return false;
    };
    manifests.inject(&settings);
    if rbac {
        grants::grant(&mut manifests);
    }
    if check {
        return is_done(&manifests);
    }
    finish(&manifests, output)
}

/// Takes the sidecar out of manifests. Whether all went well.
pub(crate) fn uninject(paths: &[PathBuf], output: Output) -> bool {
    let Some(mut manifests) = read(paths) else {
        return false;
    };
    manifests.uninject();
    finish(&manifests, output)
}

/// Explains what would be decided of manifests, and of objects of a cluster. Whether all of them
/// would be let in.
pub(crate) async fn explain(explain: Explain, cluster: Option<(Cluster, String)>) -> bool {
    let Explain {
        paths,
        targets,
        settings,
    } = explain;
    let mut texts = Vec::new();
    let mut admitted = true;
    if !paths.is_empty() || targets.is_empty() {
        let Some(manifests) = read(&paths).filter(tell) else {
            return false;
        };
        let surroundings = manifests.surroundings();
        for (place, object) in manifests.objects() {
            let mut steps = Steps::under(&heading(&place));
            let facts = surroundings.facts(object);
            admitted &= explain::explain(&mut steps, object, None, &facts, &settings);
            texts.push(steps.text());
        }
    }
    if let Some((cluster, namespace)) = &cluster {
        for target in &targets {
            match live::explain(cluster, namespace, target, &settings).await {
                Ok((text, is_let_in)) => {
                    admitted &= is_let_in;
                    texts.push(text);
                }
                Err(error) => return fail(&error),
            }
        }
    }
    write(&texts.join("\n")) && admitted
}

fn heading(place: &Place) -> String {
    let object = &place.object;
    match &place.at {
        Some((source, number)) => format!("{object} ({source}, document {number})"),
        None => object.to_string(),
    }
}

fn read(paths: &[PathBuf]) -> Option<Manifests> {
    match sources::read(paths) {
        Ok(sources) => Some(Manifests::read(&sources)),
        Err(error) => {
            fail(&error);
            None
        }
    }
}

fn finish(manifests: &Manifests, output: Output) -> bool {
    if !tell(manifests) {
        return false;
    }
    match output {
        Output::Patch => write(&manifests.patches()),
        Output::Yaml => match manifests.text() {
            Ok(text) => write(&text),
            Err(error) => fail(&error),
        },
    }
}

/// Whether nothing is left to be changed; what is, is told.
fn is_done(manifests: &Manifests) -> bool {
    let changes = &manifests.report.changes;
    for change in changes {
        say(&format!("would be {}: {}", change.what, change.place));
    }
    tell(manifests) && changes.is_empty()
}

/// Tells warnings and errors. Whether there is no error.
fn tell(manifests: &Manifests) -> bool {
    let report = &manifests.report;
    for document in &report.arrays {
        say(&format!(
            "warning: {document}: an array is not read: write a List with its items, or one document for \
             each"
        ));
    }
    for (object, text) in report.warnings.iter().chain(&report.left) {
        say(&format!("warning: {object}: {text}"));
    }
    for error in &report.errors {
        fail(error);
    }
    report.errors.is_empty()
}

/// Tells an error. Never well.
pub(crate) fn fail(error: &dyn Error) -> bool {
    say(&format!("error: {}", in_one_line(error)));
    false
}

/// To standard error: standard output is for what was asked for.
fn say(line: &str) {
    // Nobody is left to be told that it is closed.
    drop(writeln!(io::stderr(), "{line}"));
}

fn write(text: &str) -> bool {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => true,
        Err(error) => fail(&error),
    }
}

#[cfg(test)]
mod tests;
