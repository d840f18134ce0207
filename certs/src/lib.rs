//! Certificates: issue, load, rotate and serve them over TLS.
//!
//! Must not know: Kubernetes, admission, who asks for a certificate and where it is kept, what
//! time it is.

pub mod issue;
pub mod load;
pub mod serve;

pub use issue::{Authority, Pair, Validity};
pub use load::Identity;
pub use serve::{Rotating, server_config};
