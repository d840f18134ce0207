//! Files that are made of the source and committed, so that a change of them can be read.
//!
//! Must not know: what stands in them.

mod annotations;

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use crate::workspace::{cargo, root, run};

/// Write every file that is made of the source: docs/annotations.md, and what the injector makes of each case
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

impl Args {
    pub(crate) async fn run(self) -> Result<()> {
        let Self {} = self;
        for Made { path, text } in made() {
            fs::write(root().join(path), text).with_context(|| path.to_owned())?;
        }
        let mut cases = cargo();
        cases.args(["test", "--locked", "-p", "contract", "--test", "golden"]);
        run(cases.env("UPDATE_GOLDEN", "1")).await
    }
}

/// A file, from the repository's root.
struct Made {
    path: &'static str,
    text: String,
}

fn made() -> [Made; 1] {
    [Made {
        path: "docs/annotations.md",
        text: annotations::page(),
    }]
}

/// The committed files that differ from what would be made.
pub(crate) fn outdated(root: &Path) -> Vec<String> {
    made()
        .iter()
        .filter(|Made { path, text }| {
            let found = fs::read_to_string(root.join(path));
            found.ok().as_ref() != Some(text)
        })
        .map(|made| {
            format!(
                "{} is not what the source makes of it: run `cargo xtask golden`",
                made.path
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_changed_by_hand_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let Made { path, text } = &made()[0];
        let expected = [format!(
            "{path} is not what the source makes of it: run `cargo xtask golden`"
        )];
        assert_eq!(outdated(folder.path()), expected);
        fs::create_dir(folder.path().join("docs")).unwrap();
        fs::write(folder.path().join(path), text).unwrap();
        assert_eq!(outdated(folder.path()), Vec::<String>::new());
        fs::write(folder.path().join(path), format!("{text}more\n")).unwrap();
        assert_eq!(outdated(folder.path()), expected);
    }
}
