//! What a sidecar says that cannot start.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
};

use testcluster::troubleshooting::documented;

/// A cluster that is never asked.
const KUBECONFIG: &str = "\
apiVersion: v1
kind: Config
current-context: none
contexts: [{name: none, context: {cluster: none, user: none}}]
clusters: [{name: none, cluster: {server: 'http://127.0.0.1:1'}}]
users: [{name: none, user: {}}]
";

/// What it writes to its end, in a folder that is its home.
fn end(home: &Path, flags: &[&str]) -> String {
    let ended = Command::new(env!("CARGO_BIN_EXE_service-leader-election-sidecar"))
        .args(["--service-name=web", "--pod-name=web-0"])
        .args(flags)
        .env_clear()
        .env("HOME", home)
        .output()
        .unwrap();
    assert!(!ended.status.success());
    String::from_utf8(ended.stderr).unwrap()
}

fn home(name: &str) -> PathBuf {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(home.join(".kube")).unwrap();
    home
}

#[test]
fn without_a_way_to_a_cluster_it_says_what_to_mount() {
    let said = end(&home("nowhere"), &[]);
    documented("exit-no-cluster", &said).unwrap();
}

#[test]
fn a_port_that_is_taken_is_named() {
    let home = home("taken");
    fs::write(home.join(".kube/config"), KUBECONFIG).unwrap();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap();
    let said = end(&home, &[&format!("--listen={address}")]);
    documented("exit-port-taken", &said).unwrap();
}
