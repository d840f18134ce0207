//! Layers: a crate uses only what stands below it, and a pure crate does nothing.

use super::graph::Graph;

/// Each crate of the workspace, with those that it may use.
const MAY_USE: [(&str, &[&str]); 9] = [
    ("contract", &[]),
    ("election", &[]),
    ("certs", &[]),
    ("sidecar", &["contract", "election"]),
    ("webhook", &["certs", "contract"]),
    ("simulator", &["election"]),
    ("workloads", &["contract"]),
    ("testcluster", &["certs"]),
    ("xtask", &["contract", "testcluster"]),
];

/// What the tests of any crate but a pure one may use besides.
const FOR_TESTS: [&str; 6] = [
    "certs",
    "contract",
    "election",
    "simulator",
    "testcluster",
    "workloads",
];

const PURE: [&str; 2] = ["contract", "election"];

/// A runtime, a client, a server: what a pure crate would act with.
const ACTING: [&str; 8] = [
    "axum",
    "hyper",
    "hyper-util",
    "k8s-openapi",
    "kube",
    "kube-client",
    "mio",
    "tokio",
];

pub(super) fn check(graph: &Graph) -> Vec<String> {
    let mut wrong = Vec::new();
    for member in graph.members() {
        let Some((_, may_use)) = MAY_USE.iter().find(|(name, _)| *name == member) else {
            wrong.push(format!(
                "{member}: a new crate: give it a layer in xtask's MAY_USE"
            ));
            continue;
        };
        let pure = PURE.contains(&member);
        for used in graph
            .uses(member, true)
            .filter(|used| !may_use.contains(used))
        {
            wrong.push(format!(
                "{member} uses {used}, which does not stand below it"
            ));
        }
        let in_tests = graph
            .uses(member, false)
            .filter(|used| !may_use.contains(used));
        for used in in_tests.filter(|used| pure || !FOR_TESTS.contains(used)) {
            wrong.push(format!(
                "the tests of {member} use {used}, which they must not know"
            ));
        }
        if pure {
            let closure = graph.closure(member);
            for acting in ACTING.iter().filter(|name| closure.contains(*name)) {
                wrong.push(format!("{member} is pure, and depends on {acting}"));
            }
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(edges: &[(&str, &str, bool)]) -> Vec<String> {
        let mut graph = Graph::default();
        for (name, _) in MAY_USE {
            graph.add_member(name);
        }
        for (user, used, normal) in edges {
            graph.add(user, used, *normal);
        }
        check(&graph)
    }

    #[test]
    fn what_stands_below_may_be_used() {
        let edges = [
            ("sidecar", "election", true),
            ("sidecar", "tokio", true),
            ("sidecar", "testcluster", false),
            ("contract", "serde", true),
            ("contract", "tokio", false),
        ];
        assert_eq!(found(&edges), Vec::<String>::new());
    }

    #[test]
    fn a_broken_layer_is_found() {
        let expected = ["webhook uses election, which does not stand below it"];
        assert_eq!(found(&[("webhook", "election", true)]), expected);
        let expected = ["the tests of election use contract, which they must not know"];
        assert_eq!(found(&[("election", "contract", false)]), expected);
    }

    #[test]
    fn a_pure_crate_that_gains_a_runtime_is_found_however_deep() {
        let edges = [("election", "thing", true), ("thing", "tokio", true)];
        assert_eq!(found(&edges), ["election is pure, and depends on tokio"]);
    }

    #[test]
    fn a_crate_without_a_layer_is_found() {
        let mut graph = Graph::default();
        graph.add_member("extra");
        assert_eq!(check(&graph).len(), 1);
    }
}
