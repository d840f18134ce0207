//! What Cargo.lock may hold.

/// Where two versions would not fit together.
const ONE_VERSION: [&str; 6] = [
    "hyper",
    "k8s-openapi",
    "kube",
    "kube-client",
    "kube-core",
    "rustls",
];

/// One crypto provider: ring.
const NEVER: [&str; 5] = [
    "aws-lc-rs",
    "aws-lc-sys",
    "native-tls",
    "openssl",
    "openssl-sys",
];

pub(super) fn check(lock: &str) -> Vec<String> {
    let names: Vec<&str> = lock
        .lines()
        .filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'))
        .collect();
    let count = |name: &str| names.iter().filter(|other| **other == name).count();
    let several = ONE_VERSION
        .iter()
        .filter(|name| count(name) > 1)
        .map(|name| {
            let versions = count(name);
            format!(
                "Cargo.lock has {versions} versions of {name}: `cargo tree -d` says who wants them"
            )
        });
    let never = NEVER.iter().filter(|name| count(name) > 0).map(|name| {
        format!("Cargo.lock has {name}: `cargo tree -i {name}` says who wants it; ring is enough")
    });
    several.chain(never).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(names: &[&str]) -> String {
        let package = |name| format!("[[package]]\nname = \"{name}\"\nversion = \"1.0.0\"\n");
        names.iter().map(package).collect()
    }

    #[test]
    fn one_version_of_each_is_kept() {
        assert_eq!(
            check(&lock(&["hyper", "rustls", "ring"])),
            Vec::<String>::new()
        );
    }

    #[test]
    fn two_versions_and_another_crypto_provider_are_found() {
        let found = check(&lock(&["rustls", "rustls", "aws-lc-rs"]));
        let found: Vec<_> = found
            .iter()
            .filter_map(|text| text.split_once(':'))
            .collect();
        let expected = [
            "Cargo.lock has 2 versions of rustls",
            "Cargo.lock has aws-lc-rs",
        ];
        assert_eq!(
            found.iter().map(|(what, _)| *what).collect::<Vec<_>>(),
            expected
        );
    }
}
