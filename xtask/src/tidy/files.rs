//! What source files and manifests must say, and must not.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

const MOST_LINES: usize = 500;

/// Folders that hold no source of ours.
const NOT_OURS: [&str; 2] = ["docs", "target"];

/// Written in two parts, or they would find themselves here.
const NEVER: [(&str, &str); 4] = [
    (concat!("TO", "DO"), "do it, or open an issue"),
    (concat!("FIX", "ME"), "do it, or open an issue"),
    (
        concat!("-D", " warnings"),
        "only CI turns warnings into errors",
    ),
    (
        concat!("deny(", "warnings)"),
        "only CI turns warnings into errors",
    ),
];

#[derive(Debug)]
pub(super) struct File {
    /// From the repository's root, with `/`.
    pub(super) path: String,
    pub(super) text: String,
}

/// Every Rust file and manifest.
pub(super) fn read(root: &Path) -> Result<Vec<File>> {
    let mut files = Vec::new();
    let mut left: Vec<PathBuf> = vec![root.to_owned()];
    while let Some(folder) = left.pop() {
        let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                if !name.starts_with('.') && !NOT_OURS.contains(&name.as_str()) {
                    left.push(path);
                }
            } else if has_extension(&name, "rs") || has_extension(&name, "toml") {
                let text = fs::read_to_string(&path);
                files.push(File {
                    path: path.strip_prefix(root)?.display().to_string(),
                    text: text.with_context(|| path.display().to_string())?,
                });
            }
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files)
}

fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path)
        .extension()
        .is_some_and(|other| other == extension)
}

/// The rules for each file.
pub(super) fn check_file(file: &File) -> Vec<String> {
    let File { path, text } = file;
    let mut wrong = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        for (word, remedy) in NEVER.iter().filter(|(word, _)| line.contains(word)) {
            // Chores are CI: xtask may hand the flag to cargo.
            if !(path == "xtask/src/test.rs" && word.starts_with("-D")) {
                wrong.push(format!("{path}:{number}: {word}: {remedy}"));
            }
        }
    }
    if has_extension(path, "rs") {
        if !text.starts_with("//! ") {
            wrong.push(format!(
                "{path}:1: begin with a module doc: why does this file exist?"
            ));
        }
        let lines = text.lines().count();
        if path.contains("/src/") && lines > MOST_LINES {
            wrong.push(format!(
                "{path}: {lines} lines, and {MOST_LINES} are the most: split it"
            ));
        }
    }
    wrong
}

/// The rules for each crate of the workspace.
pub(super) fn check_crate(name: &str, files: &[File]) -> Vec<String> {
    let text = |path: String| {
        let file = files.iter().find(|file| file.path == path);
        file.map(|file| file.text.as_str())
    };
    let mut wrong = Vec::new();
    let manifest = text(format!("{name}/Cargo.toml")).unwrap_or_default();
    if !manifest.contains("[lints]\nworkspace = true") {
        wrong.push(format!("{name}/Cargo.toml: inherit the workspace's lints"));
    }
    let top = text(format!("{name}/src/lib.rs")).or_else(|| text(format!("{name}/src/main.rs")));
    let doc = top
        .unwrap_or_default()
        .lines()
        .take_while(|line| line.starts_with("//!"));
    if !doc.collect::<String>().contains("Must not know: ") {
        wrong.push(format!(
            "{name}: the crate's doc has no \"Must not know: ...\""
        ));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    const NOTHING: Vec<String> = Vec::new();

    #[test]
    fn a_file_that_keeps_the_rules_passes() {
        assert_eq!(check_file(&file("a/src/lib.rs", "//! Why.\n")), NOTHING);
    }

    #[test]
    fn a_file_without_a_module_doc_is_found() {
        let expected = ["a/src/b.rs:1: begin with a module doc: why does this file exist?"];
        assert_eq!(check_file(&file("a/src/b.rs", "use std::fs;\n")), expected);
    }

    #[test]
    fn a_long_file_is_found_in_src_only() {
        let text = "//! Long.\n".repeat(501);
        let expected = ["a/src/b.rs: 501 lines, and 500 are the most: split it"];
        assert_eq!(check_file(&file("a/src/b.rs", &text)), expected);
        assert_eq!(check_file(&file("a/tests/b.rs", &text)), NOTHING);
    }

    #[test]
    fn every_word_that_must_not_stand_is_found_with_its_line() {
        for (word, remedy) in NEVER {
            let found = check_file(&file("a/Cargo.toml", &format!("# a\n# {word}\n")));
            assert_eq!(found, [format!("a/Cargo.toml:2: {word}: {remedy}")]);
        }
    }

    #[test]
    fn a_crate_must_inherit_lints_and_say_what_it_must_not_know() {
        let manifest = file("a/Cargo.toml", "[lints]\nworkspace = true\n");
        let library = file("a/src/lib.rs", "//! Does.\n//!\n//! Must not know: b.\n");
        assert_eq!(check_crate("a", &[manifest, library]), NOTHING);
        let silent = [
            file("a/Cargo.toml", ""),
            file("a/src/main.rs", "//! Does.\n"),
        ];
        assert_eq!(check_crate("a", &silent).len(), 2);
        let late = file("b/src/lib.rs", "//! Does.\nuse c;\n//! Must not know: b.\n");
        let manifest = file("b/Cargo.toml", "[lints]\nworkspace = true\n");
        assert_eq!(check_crate("b", &[manifest, late]).len(), 1);
    }
}
