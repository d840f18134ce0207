//! A real etcd, kube-apiserver and kube-controller-manager, with pods as processes.
//!
//! Must not know: what is elected, injected or switched.
