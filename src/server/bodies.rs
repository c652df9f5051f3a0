//! Bodies on their way in, and the memory that they take.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::{Body, HttpBody};
use futures_util::StreamExt;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::failure::Failure;
use super::limits::{BODIES_SIZE, BODY_SIZE, BODY_TIME};

/// All bodies that take up memory.
///
/// What counts is what has arrived: a client that announces a body and never
/// sends it takes nothing from anybody. When there is no room for more, bodies
/// that are slow in coming give way to others, the oldest first; so nobody can
/// hold all the room by sending the most part of some bodies.
#[derive(Debug)]
pub struct Bodies {
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    free: usize,
    /// By number, which is the order of their arrival.
    bodies: BTreeMap<u64, HeldBody>,
    next_number: u64,
}

#[derive(Debug)]
struct HeldBody {
    size: usize,
    since: Instant,
    /// Dropped to tell that this body has to give way; `None` once it is complete,
    /// since then it is about to be reviewed.
    evict: Option<oneshot::Sender<Infallible>>,
}

impl HeldBody {
    fn gives_way(&self) -> bool {
        self.evict.is_some() && self.size > 0 && self.since.elapsed() >= BODY_TIME
    }
}

/// The part of the room that one body takes, until it is dropped.
#[derive(Debug)]
struct Share {
    bodies: Arc<Bodies>,
    number: u64,
}

/// A complete body. Its room is free again when it is dropped.
#[derive(Debug)]
pub struct ReceivedBody {
    bytes: Vec<u8>,
    _share: Share,
}

impl AsRef<[u8]> for ReceivedBody {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Default for Bodies {
    fn default() -> Self {
        let held = Held { free: BODIES_SIZE, bodies: BTreeMap::new(), next_number: 0 };
        Bodies { held: Mutex::new(held) }
    }
}

impl Bodies {
    /// Reads a body to its end.
    ///
    /// # Errors
    /// If it breaks off, is too large, is slow while others need its room, or if
    /// there is no room. In the last case it is read all the same, and thrown
    /// away: so the client hears of it for sure, and its connection stays usable.
    pub async fn receive(self: &Arc<Self>, body: Body) -> Result<ReceivedBody, Failure> {
        if body.size_hint().lower() > BODY_SIZE as u64 {
            return Err(Failure::too_large());
        }
        let (share, evicted) = self.share();
        tokio::select! {
            biased;
            _ = evicted => Err(Failure::too_slow()),
            bytes = read(body, &share) => {
                let bytes = bytes?;
                share.complete();
                Ok(ReceivedBody { bytes, _share: share })
            }
        }
    }

    fn share(self: &Arc<Self>) -> (Share, oneshot::Receiver<Infallible>) {
        let (evict, evicted) = oneshot::channel();
        let mut held = self.held();
        let number = held.next_number;
        held.next_number += 1;
        held.bodies.insert(number, HeldBody { size: 0, since: Instant::now(), evict: Some(evict) });
        (Share { bodies: self.clone(), number }, evicted)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Whether there is room for that much more, if need be after slow bodies have
    /// given way.
    fn make_room(&mut self, size: usize) -> bool {
        while self.free < size {
            let slow = self.bodies.iter().find(|(_, body)| body.gives_way()).map(|(number, _)| *number);
            let Some(slow) = slow.and_then(|number| self.bodies.remove(&number)) else { return false };
            self.free += slow.size;
        }
        true
    }
}

impl Share {
    /// Takes more, or else gives back all that it has.
    fn grow(&self, size: usize) -> bool {
        let mut held = self.bodies.held();
        let has_room = held.make_room(size);
        let Held { free, bodies, .. } = &mut *held;
        let Some(body) = bodies.get_mut(&self.number) else { return false };
        if has_room {
            *free -= size;
            body.size += size;
        } else {
            *free += std::mem::take(&mut body.size);
        }
        has_room
    }

    fn complete(&self) {
        if let Some(body) = self.bodies.held().bodies.get_mut(&self.number) {
            body.evict = None;
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.bodies.held();
        if let Some(body) = held.bodies.remove(&self.number) {
            held.free += body.size;
        }
    }
}

async fn read(body: Body, share: &Share) -> Result<Vec<u8>, Failure> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(BODY_SIZE);
    let mut pieces = body.into_data_stream();
    let mut bytes = Vec::new();
    let mut size = 0;
    let mut has_room = true;
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| Failure::unreadable(&error))?;
        size += piece.len();
        if size > BODY_SIZE {
            return Err(Failure::too_large());
        }
        if size > bytes.capacity() {
            // Twice as much, so that not every piece moves those before; but never
            // more than there is going to be.
            let capacity = (2 * bytes.capacity()).min(announced).max(size);
            has_room = has_room && share.grow(capacity - bytes.capacity());
            if has_room {
                bytes.reserve_exact(capacity - bytes.len());
            } else {
                bytes = Vec::new();
            }
        }
        if has_room {
            bytes.extend_from_slice(&piece);
        }
    }
    if has_room { Ok(bytes) } else { Err(Failure::overloaded()) }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::io;
    use std::time::Duration;

    use axum::body::Bytes;
    use axum::http::StatusCode;
    use futures_util::stream;
    use tokio::time::{sleep, timeout};

    use super::*;

    const MIB: usize = 1024 * 1024;

    fn piece(size: usize) -> io::Result<Bytes> {
        Ok(vec![b' '; size].into())
    }

    /// A body that is there at once.
    fn whole(size: usize) -> Body {
        Body::from_stream(stream::iter([piece(size)]))
    }

    /// A body of which all but the end is there at once, and the end never comes.
    fn stalled(size: usize) -> Body {
        Body::from_stream(stream::iter([piece(size)]).chain(stream::pending()))
    }

    /// Begins to receive a body.
    async fn begin(
        bodies: &Arc<Bodies>,
        body: Body,
    ) -> std::pin::Pin<Box<impl Future<Output = Result<ReceivedBody, Failure>> + use<>>> {
        let bodies = bodies.clone();
        let mut receiving = Box::pin(async move { bodies.receive(body).await });
        assert!(timeout(Duration::ZERO, &mut receiving).await.is_err(), "it is not complete");
        receiving
    }

    fn code(result: Result<ReceivedBody, Failure>) -> StatusCode {
        result.expect_err("no body").code
    }

    fn free(bodies: &Bodies) -> usize {
        bodies.held().free
    }

    #[tokio::test]
    async fn a_body_takes_room_until_it_is_dropped() {
        let bodies = Arc::<Bodies>::default();
        let pieces = ["{\"a\"", ": 1}"].map(|text| Ok::<_, io::Error>(Bytes::from(text)));
        let body = bodies.receive(Body::from_stream(stream::iter(pieces))).await.expect("a body");
        assert_eq!(body.as_ref(), b"{\"a\": 1}");
        assert_eq!(free(&bodies), BODIES_SIZE - body.bytes.capacity());
        drop(body);
        assert_eq!(free(&bodies), BODIES_SIZE);
    }

    #[tokio::test]
    async fn a_client_that_goes_away_leaves_its_room() {
        let bodies = Arc::<Bodies>::default();
        let receiving = begin(&bodies, stalled(MIB)).await;
        assert_eq!(free(&bodies), BODIES_SIZE - MIB);
        drop(receiving);
        assert_eq!(free(&bodies), BODIES_SIZE);

        let broken = stream::iter([piece(MIB), Err(io::Error::other("gone"))]);
        assert_eq!(code(bodies.receive(Body::from_stream(broken)).await), StatusCode::BAD_REQUEST);
        assert_eq!(free(&bodies), BODIES_SIZE);
    }

    #[tokio::test]
    async fn a_body_that_is_too_large_is_refused_at_once() {
        let bodies = Arc::<Bodies>::default();
        assert!(bodies.receive(whole(BODY_SIZE)).await.is_ok());
        assert_eq!(code(bodies.receive(whole(BODY_SIZE + 1)).await), StatusCode::PAYLOAD_TOO_LARGE);
        // This one says so itself, and nothing of it is read.
        let announced = Body::from(vec![b' '; BODY_SIZE + 1]);
        assert_eq!(code(bodies.receive(announced).await), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(free(&bodies), BODIES_SIZE);
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_the_room_a_body_is_refused_and_takes_nothing() {
        let bodies = Arc::<Bodies>::default();
        let mut complete = Vec::new();
        for _ in 0..BODIES_SIZE / BODY_SIZE {
            complete.push(bodies.receive(whole(BODY_SIZE)).await.expect("a body"));
        }
        assert_eq!(free(&bodies), 0);
        // However long it takes: what is complete does not give way.
        sleep(10 * BODY_TIME).await;
        assert_eq!(code(bodies.receive(whole(1)).await), StatusCode::TOO_MANY_REQUESTS);
        complete.pop();
        assert!(bodies.receive(whole(BODY_SIZE)).await.is_ok());
        // It has given back the part that it had room for.
        let pieces = Body::from_stream(stream::iter([piece(BODY_SIZE / 2), piece(BODY_SIZE / 2)]));
        let other = bodies.receive(whole(BODY_SIZE * 3 / 4)).await.expect("a body");
        assert_eq!(code(bodies.receive(pieces).await), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(free(&bodies), BODY_SIZE / 4);
        drop((other, complete));
        assert_eq!(free(&bodies), BODIES_SIZE);
    }

    #[tokio::test(start_paused = true)]
    async fn slow_bodies_give_way_the_oldest_first() {
        let bodies = Arc::<Bodies>::default();
        let nothing = begin(&bodies, Body::from_stream(stream::pending::<io::Result<Bytes>>())).await;
        let oldest = begin(&bodies, stalled(BODY_SIZE)).await;
        let mut others = Vec::new();
        for _ in 1..BODIES_SIZE / BODY_SIZE {
            others.push(begin(&bodies, stalled(BODY_SIZE)).await);
        }
        // So soon none of them is slow.
        assert_eq!(code(bodies.receive(whole(MIB)).await), StatusCode::TOO_MANY_REQUESTS);
        sleep(BODY_TIME).await;
        let body = bodies.receive(whole(MIB)).await.expect("a body");
        assert_eq!(code(oldest.await), StatusCode::GATEWAY_TIMEOUT);
        assert_eq!(free(&bodies), BODY_SIZE - MIB);
        for other in &mut others {
            assert!(timeout(Duration::ZERO, other).await.is_err(), "there was room without it");
        }
        assert!(timeout(Duration::ZERO, nothing).await.is_err(), "it has no room to give");
        drop((body, others));
        assert_eq!(free(&bodies), BODIES_SIZE);
    }
}
