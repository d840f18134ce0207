//! Certificates: issue, load, rotate and serve them over TLS.
//!
//! Must not know: Kubernetes, admission, who asks for a certificate and where it is kept, what
//! time it is.

pub mod issue;

pub use issue::{Authority, Pair, Validity};
