//! A real control plane in a temporary folder, with pods as processes: for tests and the demo.
//!
//! [`Cluster::start`] runs the real etcd, kube-apiserver and kube-controller-manager, without root
//! and beside other rigs (Linux). Its process [`Node`] plays scheduler and kubelet: it runs the
//! programs of this workspace for this product's images, and a small HTTP server for every other
//! image. A [`Forwarder`] plays a Service; a [`Recorder`] keeps every revision, and checks what
//! must hold at each. By [`troubleshooting`] a test proves that users find a message explained.
//!
//! A rig, not a product. Must not know: how leaders are elected, what the webhook injects.

mod cluster;
mod control_plane;
mod faults;
mod forwarder;
mod http;
mod injector;
mod loopback;
mod node;
mod programs;
mod reaper;
mod record;
mod steady;
mod surroundings;
mod tools;
pub mod troubleshooting;

pub use cluster::{Cluster, Options, Output};
pub use faults::{Asked, Fate, Faults};
pub use forwarder::Forwarder;
pub use injector::Injector;
pub use node::{NODE, Node, UNSUPPORTED};
pub use programs::{Programs, programs};
pub use reaper::MARK;
pub use record::{Change, Kind, Pin, Recorder};
pub use rustix::process::Signal;
pub use tools::{HELM, KUBERNETES, Tool};
