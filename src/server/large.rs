//! Reviews of large bodies: one after another, apart from all others.

use std::panic::resume_unwind;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::bodies::ReceivedBody;
use super::failure::Failure;
use super::limits::WEIGHT;
use super::weight::weight;

/// In how much of the room for large reviews one can be, in KiB.
const ROOM: u32 = (WEIGHT / 1024) as u32;

/// Who reviews a large body.
///
/// It is one at a time, for each takes many times its size in memory, and the pod's has a
/// limit. A caller waits for his turn until his own time is over, and gives it up when he
/// is answered, goes away, or his time is over: so nobody waits for others longer than
/// they would wait for themselves. A review that has begun cannot be stopped, though. It
/// goes on without a turn, and keeps its room until it ends. The next one begins beside
/// it if there is room for both, and there are never more than two.
#[derive(Debug)]
pub struct LargeReviews {
    turn: Semaphore,
    room: Arc<Semaphore>,
}

impl Default for LargeReviews {
    fn default() -> Self {
        LargeReviews { turn: Semaphore::new(1), room: Arc::new(Semaphore::new(ROOM as usize)) }
    }
}

impl LargeReviews {
    /// Reviews a body on a thread of its own, once it is its turn.
    ///
    /// # Errors
    /// If the body would take too much memory.
    pub async fn review<T: Send + 'static>(
        &self,
        body: ReceivedBody,
        review: impl FnOnce(&[u8]) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        // 8 MiB take some 2 ms.
        let weight = weight(body.as_ref());
        if weight > WEIGHT {
            return Err(Failure::too_heavy());
        }
        let size = u32::try_from(weight / 1024).unwrap_or(ROOM).clamp(ROOM / 2, ROOM);
        let internal = |error: tokio::sync::AcquireError| Failure::internal(error.to_string());
        let _turn = self.turn.acquire().await.map_err(internal)?;
        let room = self.room.clone().acquire_many_owned(size).await.map_err(internal)?;
        let review = spawn_blocking(move || {
            let _room = room;
            review(body.as_ref())
        });
        match review.await {
            Ok(review) => Ok(review),
            Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
            Err(error) => Err(Failure::internal(error.to_string())),
        }
    }
}
