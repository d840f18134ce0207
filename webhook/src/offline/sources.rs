//! Where manifests are read from: files, folders, standard input.
//!
//! Must not know: what stands in them.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// What stands for standard input.
const STDIN: &str = "-";

/// The files of a folder that hold manifests.
const EXTENSIONS: [&str; 3] = ["json", "yaml", "yml"];

/// One text.
#[derive(Debug)]
pub(super) struct Source {
    /// The file's path, or `stdin`.
    pub(super) name: String,
    pub(super) text: String,
}

/// Why there is nothing to read.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    #[error("{name} cannot be read")]
    Read { name: String, source: io::Error },
    #[error("folder {name} has no *.yaml, *.yml or *.json: name another one")]
    Empty { name: String },
}

/// Reads all of them; of a folder everything below it, in the order of the names.
pub(super) fn read(paths: &[PathBuf]) -> Result<Vec<Source>, SourceError> {
    let stdin = [PathBuf::from(STDIN)];
    let paths = if paths.is_empty() { &stdin } else { paths };
    let mut sources = Vec::new();
    for path in paths {
        if path.as_os_str() == STDIN {
            sources.push(standard_input()?);
        } else if path.is_dir() {
            let before = sources.len();
            folder(path, &mut sources)?;
            if sources.len() == before {
                let name = path.display().to_string();
                return Err(SourceError::Empty { name });
            }
        } else {
            sources.push(file(path)?);
        }
    }
    Ok(sources)
}

fn standard_input() -> Result<Source, SourceError> {
    let name = "stdin".to_owned();
    let mut text = String::new();
    match io::stdin().lock().read_to_string(&mut text) {
        Ok(_) => Ok(Source { name, text }),
        Err(source) => Err(SourceError::Read { name, source }),
    }
}

fn file(path: &Path) -> Result<Source, SourceError> {
    let name = path.display().to_string();
    match fs::read_to_string(path) {
        Ok(text) => Ok(Source { name, text }),
        Err(source) => Err(SourceError::Read { name, source }),
    }
}

fn folder(path: &Path, sources: &mut Vec<Source>) -> Result<(), SourceError> {
    let failed = |source| SourceError::Read {
        name: path.display().to_string(),
        source,
    };
    let entries: Result<Vec<_>, _> = fs::read_dir(path).map_err(failed)?.collect();
    let mut entries = entries.map_err(failed)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if entry.file_type().map_err(failed)?.is_dir() {
            folder(&path, sources)?;
        } else if is_manifest(&path) && path.is_file() {
            sources.push(file(&path)?);
        }
    }
    Ok(())
}

fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| EXTENSIONS.contains(&extension))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_read_to_its_depth_in_the_order_of_the_names() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("b")).unwrap();
        for name in ["c.yml", "a.yaml", "b/x.json", "b/README.md", "d.yaml.bak"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        let sources = read(&[folder.path().to_owned()]).unwrap();
        let texts: Vec<_> = sources.iter().map(|source| source.text.as_str()).collect();
        assert_eq!(texts, ["a.yaml", "b/x.json", "c.yml"]);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let nothing = read(&[folder.path().to_owned()]).unwrap_err();
        assert!(
            nothing.to_string().contains("name another one"),
            "{nothing}"
        );
        let absent = read(&[folder.path().join("absent.yaml")]).unwrap_err();
        assert!(absent.to_string().contains("absent.yaml"), "{absent}");
    }
}
