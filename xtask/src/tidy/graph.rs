//! Who depends on whom, out of `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use cargo_metadata::{DependencyKind, Metadata};

/// Crates by name. Where two versions have one name, they count as one.
#[derive(Debug, Default)]
pub(super) struct Graph {
    members: BTreeSet<String>,
    normal: BTreeMap<String, BTreeSet<String>>,
    other: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    pub(super) fn read(metadata: &Metadata) -> Result<Self> {
        let names: BTreeMap<_, _> = metadata
            .packages
            .iter()
            .map(|package| (&package.id, package.name.to_string()))
            .collect();
        let name = |id| names.get(id).cloned().context("cargo metadata has a gap");
        let mut graph = Self::default();
        for member in &metadata.workspace_members {
            graph.members.insert(name(member)?);
        }
        let resolve = metadata.resolve.as_ref();
        for node in &resolve.context("cargo metadata resolves nothing")?.nodes {
            let user = name(&node.id)?;
            for dependency in &node.deps {
                let dependency_name = name(&dependency.pkg)?;
                for kind in &dependency.dep_kinds {
                    graph.add(&user, &dependency_name, kind.kind == DependencyKind::Normal);
                }
            }
        }
        Ok(graph)
    }

    pub(super) fn add(&mut self, user: &str, dependency: &str, normal: bool) {
        let edges = if normal {
            &mut self.normal
        } else {
            &mut self.other
        };
        let edges = edges.entry(user.to_owned()).or_default();
        edges.insert(dependency.to_owned());
    }

    #[cfg(test)]
    pub(super) fn add_member(&mut self, name: &str) {
        self.members.insert(name.to_owned());
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(String::as_str)
    }

    /// The members that a member uses itself: to run, or else to build or to be tested.
    pub(super) fn uses(&self, member: &str, normal: bool) -> impl Iterator<Item = &str> {
        let edges = if normal { &self.normal } else { &self.other };
        let used = edges.get(member).into_iter().flatten();
        used.filter(|name| self.members.contains(*name))
            .map(String::as_str)
    }

    /// Everything that a crate needs to run.
    pub(super) fn closure<'a>(&'a self, of: &'a str) -> BTreeSet<&'a str> {
        let mut found = BTreeSet::new();
        let mut left = vec![of];
        while let Some(next) = left.pop() {
            for used in self.normal.get(next).into_iter().flatten() {
                if found.insert(used.as_str()) {
                    left.push(used);
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_itself_is_read() {
        let graph = Graph::read(&crate::workspace::metadata().unwrap()).unwrap();
        assert!(graph.members().any(|name| name == "election"));
        let direct: Vec<_> = graph.uses("sidecar", true).collect();
        assert_eq!(direct, ["contract", "election"]);
        let closure = graph.closure("sidecar");
        assert!(closure.contains("tokio") && closure.contains("kube-client"));
    }
}
