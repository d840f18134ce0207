//! A review's body, within bounds of size, time and memory.
//!
//! Must not know: what is in it.

use axum::{
    body::Body,
    http::{HeaderMap, header},
};
use futures::StreamExt;
use tokio::time::{Instant, timeout_at};

use super::{
    room::{Room, Share},
    unread::{JSON, MOST_BYTES, PATIENCE, Unread},
};

/// Reads a body into `bytes`, as far as it goes, with a share of the room for it.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Body,
    room: &Room,
    bytes: &mut Vec<u8>,
) -> Result<Share, Unread> {
    is_json(headers)?;
    let deadline = Instant::now() + PATIENCE;
    let mut share = Share::default();
    // No memory is used before it is written.
    bytes.reserve(length(headers).min(MOST_BYTES));
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = timeout_at(deadline, chunks.next())
        .await
        .map_err(|_elapsed| Unread::Slow)?
    {
        let chunk = chunk.map_err(Unread::Broken)?;
        let most = MOST_BYTES - bytes.len();
        if let Some(begin) = chunk.get(..most).filter(|_| chunk.len() > most) {
            bytes.extend_from_slice(begin);
            // A client that is still sending would not read the answer.
            let rest = async { while let Some(Ok(_)) = chunks.next().await {} };
            drop(timeout_at(deadline, rest).await);
            return Err(Unread::TooLong);
        }
        let room = room.for_body(&mut share, chunk.len());
        let waited = timeout_at(deadline, room).await;
        waited.map_err(|_elapsed| Unread::Busy)?;
        bytes.extend_from_slice(&chunk);
    }
    Ok(share)
}

/// What the client says.
fn length(headers: &HeaderMap) -> usize {
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    length.unwrap_or_default()
}

/// As the API server sends it, with or without parameters.
fn is_json(headers: &HeaderMap) -> Result<(), Unread> {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.map(|kind| String::from_utf8_lossy(kind.as_bytes()));
    let kind = kind.unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case(JSON) {
        return Ok(());
    }
    Err(Unread::NotJson(kind.chars().take(64).collect()))
}
