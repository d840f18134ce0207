//! The memory that all reviews may take together, so that no client takes what the process has.
//!
//! Must not know: what a review is, apart from JSON.

use std::sync::Arc;

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::unread::{PATIENCE, Unread};

/// For the bodies, while they are read.
const BODIES: usize = 24 << 20;
/// For the trees that are made of them, while they are judged: it takes about as much again.
const TREES: usize = 48 << 20;

/// How many reviews are judged at a time. More would only wait for one another, and take memory meanwhile.
const AT_ONCE: usize = 16;

/// A map has room for eleven keys and values as soon as it has one.
const MAP: usize = 560;
/// A value in a list, which may have twice the room that it needs.
const VALUE: usize = 64;
/// A text beside its letters.
const TEXT: usize = 32;

/// Where reviews wait for memory.
#[derive(Debug)]
pub(super) struct Room {
    bodies: Arc<Semaphore>,
    trees: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

/// A review's turn to be judged, with room for its tree. Both are given back when this is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _tree: Share,
    turn: Option<OwnedSemaphorePermit>,
}

impl Turn {
    /// It is judged: only its tree is still there.
    pub(super) fn end(&mut self) {
        drop(self.turn.take());
    }
}

/// Some of the room. It is given back when this is dropped.
#[derive(Debug, Default)]
pub(super) struct Share(Option<OwnedSemaphorePermit>);

impl Default for Room {
    fn default() -> Self {
        Self {
            bodies: Arc::new(Semaphore::new(BODIES)),
            trees: Arc::new(Semaphore::new(TREES)),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }
}

impl Room {
    /// Waits for room for so many more bytes of a body.
    pub(super) async fn for_body(&self, share: &mut Share, bytes: usize) {
        share.add(take(&self.bodies, bytes).await);
    }

    /// Waits for the turn of a body, and for room for what is made of it.
    pub(super) async fn for_tree(&self, body: &[u8]) -> Result<Turn, Unread> {
        let weight = weight(body);
        if weight > TREES {
            return Err(Unread::TooMuch);
        }
        let taken = async {
            Turn {
                turn: take(&self.turns, 1).await,
                _tree: Share(take(&self.trees, weight).await),
            }
        };
        timeout(PATIENCE, taken)
            .await
            .map_err(|_elapsed| Unread::Busy)
    }
}

impl Share {
    fn add(&mut self, more: Option<OwnedSemaphorePermit>) {
        match (&mut self.0, more) {
            (Some(share), Some(more)) => share.merge(more),
            (share, more) => *share = more,
        }
    }
}

/// None only of a semaphore that is closed, which none is.
async fn take(semaphore: &Arc<Semaphore>, bytes: usize) -> Option<OwnedSemaphorePermit> {
    let bytes = u32::try_from(bytes).ok()?;
    Arc::clone(semaphore).acquire_many_owned(bytes).await.ok()
}

/// About how many bytes the tree of a JSON text takes, by what stands in it outside of strings.
fn weight(json: &[u8]) -> usize {
    let mut weight = json.len();
    let (mut in_text, mut escaped, mut previous) = (false, false, 0);
    for &byte in json {
        if in_text {
            in_text = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        match byte {
            b'"' => {
                in_text = true;
                weight += TEXT;
            }
            b'{' => weight += MAP,
            // Nothing is kept for an empty map.
            b'}' if previous == b'{' => weight -= MAP,
            b'[' | b',' => weight += VALUE,
            _ => {}
        }
        previous = byte;
    }
    weight
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_a_string_makes_no_tree() {
        for (json, beside) in [
            ("", 0),
            ("null", 0),
            (r#""a{b[c,""#, TEXT),
            (r#""\"{\\\"{""#, TEXT),
            (r#""\\",1"#, TEXT + VALUE),
            ("{}", 0),
            (r#"{"a":{},"b":[1,2]}"#, MAP + 3 * VALUE + 2 * TEXT),
        ] {
            assert_eq!(weight(json.as_bytes()), json.len() + beside, "{json}");
        }
    }

    #[tokio::test]
    async fn a_share_that_is_given_back_makes_room() {
        let room = Room::default();
        let mut first = Share::default();
        room.for_body(&mut first, BODIES - 1).await;
        room.for_body(&mut first, 1).await;
        let mut second = Share::default();
        let mut waits = std::pin::pin!(room.for_body(&mut second, BODIES));
        assert!(futures::poll!(waits.as_mut()).is_pending());
        drop(first);
        waits.await;
    }

    #[tokio::test]
    async fn few_reviews_are_judged_at_a_time() {
        let room = Room::default();
        let mut turns = Vec::new();
        for _ in 0..AT_ONCE {
            turns.push(room.for_tree(b"{}").await.unwrap());
        }
        let mut waits = std::pin::pin!(room.for_tree(b"{}"));
        assert!(futures::poll!(waits.as_mut()).is_pending());
        turns[0].end();
        let next = waits.await.unwrap();
        assert_eq!(room.trees.available_permits(), TREES - 17 * weight(b"{}"));
        drop((turns, next));
        assert_eq!(room.trees.available_permits(), TREES);
    }

    #[tokio::test]
    async fn a_tree_for_which_there_is_never_room_is_not_waited_for() {
        let maps = [r#"{"a":"#, "[", &"{\"a\":1},".repeat(TREES / MAP)].concat();
        let refused = Room::default().for_tree(maps.as_bytes()).await;
        assert!(matches!(refused, Err(Unread::TooMuch)), "{refused:?}");
    }
}
