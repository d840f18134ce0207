//! What holds for the injection of every workload, generated at random; and that each of the checks
//! notices an injector with a defect.
//!
//! `WORKLOADS=100000 cargo test --release -p workloads --test properties` tries so many.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in its helpers too"
)]

mod case;
mod census;
mod defects;
mod injector;
mod properties;
mod touched;
