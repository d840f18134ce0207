//! Why a request is not read as a review.
//!
//! Must not know: how it is answered.

use std::{fmt, time::Duration};

use axum::http::StatusCode;

/// The largest review. An object has up to 3 MiB, and an update brings two of them.
pub(super) const MOST_BYTES: usize = 16 << 20;

/// How long a review may take to come, and wait for room. The API server itself waits for 5 s.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// The content type that the API server sends.
pub(super) const JSON: &str = "application/json";

#[derive(Debug)]
pub(super) enum Unread {
    /// It is of this content type.
    NotJson(String),
    /// It is longer than [`MOST_BYTES`].
    TooLong,
    /// It would take more memory than there is for all reviews.
    TooMuch,
    /// It did not come within [`PATIENCE`].
    Slow,
    /// Others have had the memory for as long.
    Busy,
    /// It broke off.
    Broken(axum::Error),
}

impl Unread {
    /// What a client of HTTP is told.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::NotJson(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLong | Self::TooMuch => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Broken(_) => StatusCode::BAD_REQUEST,
        }
    }
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = PATIENCE.as_secs();
        match self {
            Self::NotJson(kind) => {
                write!(f, "the content-type is {kind:?}: send the review as {JSON}")
            }
            Self::TooLong => write!(f, "the review is longer than {} MiB", MOST_BYTES >> 20),
            Self::TooMuch => f.write_str(
                "the object has too many parts to be judged: write fewer entries of lists and maps",
            ),
            Self::Slow => write!(f, "the review did not come to its end within {seconds} s"),
            Self::Busy => write!(
                f,
                "other reviews have taken all the memory for {seconds} s: try again"
            ),
            Self::Broken(error) => write!(f, "the review did not come to its end: {error}"),
        }
    }
}
