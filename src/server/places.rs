//! A limited number of places for connections, and who gives way if all are taken.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};

use super::limits::LEAVING;

/// All connections.
///
/// A new one always gets a place: if none is free, the one that has been longest in an
/// unfinished handshake, head or body gives way, and if there is no such, the one that
/// has been idle for longest. So nobody can keep others out by beginning much and ending
/// nothing, and who calls, and calls again, keeps his connection.
#[derive(Debug)]
pub struct Places {
    number: usize,
    taken: Mutex<Taken>,
    /// The places, and a few more: those that have given way need a moment.
    rooms: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Taken {
    next_number: u64,
    connections: BTreeMap<u64, Arc<Progress>>,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    number: u64,
    /// What the connection is doing.
    pub progress: Arc<Progress>,
    _room: Option<OwnedSemaphorePermit>,
}

/// What a connection is doing, and since when.
#[derive(Debug)]
pub struct Progress {
    state: Mutex<State>,
    has_to_leave: Notify,
}

#[derive(Debug)]
struct State {
    stage: Stage,
    since: Instant,
    /// Requests without an answer, and those of them whose body is not complete. With
    /// HTTP/2 there may be several at once.
    requests: usize,
    bodies: usize,
}

/// What a connection is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The end of the TLS handshake.
    Handshake,
    /// The first request.
    Open,
    /// The end of a head that has begun.
    Head,
    /// The end of a body.
    Body,
    /// An answer, which is up to gapless.
    Answer,
    /// The next request.
    Idle,
}

impl Places {
    /// So many places.
    pub fn new(number: usize) -> Arc<Self> {
        let rooms = Arc::new(Semaphore::new(number + LEAVING));
        Arc::new(Places { number, taken: Mutex::default(), rooms })
    }

    /// Takes a place, which another connection may have to give up for it.
    pub async fn take(self: &Arc<Self>) -> Place {
        // Where all connections wait for an answer, one of them has it soon.
        while !self.make_room() {
            sleep(Duration::from_millis(5)).await;
        }
        // Nobody closes this semaphore.
        let room = self.rooms.clone().acquire_owned().await.ok();
        let progress = Arc::new(Progress::new());
        let number = {
            let mut taken = self.taken();
            let number = taken.next_number;
            taken.next_number += 1;
            taken.connections.insert(number, progress.clone());
            number
        };
        Place { places: self.clone(), number, progress, _room: room }
    }

    /// Whether there is a place, if need be after another connection has been told to
    /// leave.
    fn make_room(&self) -> bool {
        let mut taken = self.taken();
        if taken.connections.len() < self.number {
            return true;
        }
        let ranked = taken.connections.iter().filter_map(|(number, it)| Some((it.rank()?, *number)));
        let Some((_, number)) = ranked.min() else { return false };
        if let Some(progress) = taken.connections.remove(&number) {
            progress.has_to_leave.notify_one();
        }
        true
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken().connections.remove(&self.number);
    }
}

impl Progress {
    fn new() -> Self {
        let state = State { stage: Stage::Handshake, since: Instant::now(), requests: 0, bodies: 0 };
        Progress { state: Mutex::new(state), has_to_leave: Notify::new() }
    }

    /// Returns once the connection has to give way.
    pub async fn has_to_leave(&self) {
        self.has_to_leave.notified().await;
    }

    /// The handshake is over.
    pub fn open(&self) {
        self.state().enter(Stage::Open);
    }

    /// Bytes have arrived. Of HTTP/2, which exchanges more than requests, only the first
    /// are known to begin one.
    pub fn receive(&self, is_http2: bool) {
        let mut state = self.state();
        if state.stage == Stage::Open || (state.stage == Stage::Idle && !is_http2) {
            state.enter(Stage::Head);
        }
    }

    /// A head has come to its end.
    pub fn begin_request(self: &Arc<Self>) -> (UnderWay, Arriving) {
        self.state().count(|state| {
            state.requests += 1;
            state.bodies += 1;
        });
        (UnderWay(self.clone()), Arriving(self.clone()))
    }

    /// What it is doing, and since when.
    pub fn stage(&self) -> (Stage, Instant) {
        let state = self.state();
        (state.stage, state.since)
    }

    /// Those with the least give way first.
    fn rank(&self) -> Option<(bool, Instant)> {
        let state = self.state();
        (state.stage != Stage::Answer).then_some((state.stage == Stage::Idle, state.since))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn enter(&mut self, stage: Stage) {
        if self.stage != stage {
            self.stage = stage;
            self.since = Instant::now();
        }
    }

    fn count(&mut self, change: impl FnOnce(&mut State)) {
        change(self);
        self.enter(match (self.requests, self.bodies) {
            (0, _) => Stage::Idle,
            (requests, bodies) if bodies < requests => Stage::Answer,
            _ => Stage::Body,
        });
    }
}

/// A request without an answer, until it is dropped.
#[derive(Debug)]
pub struct UnderWay(Arc<Progress>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.state().count(|state| state.requests -= 1);
    }
}

/// A body that is not complete, until it is dropped.
#[derive(Debug)]
pub struct Arriving(Arc<Progress>);

impl Drop for Arriving {
    fn drop(&mut self) {
        self.0.state().count(|state| state.bodies -= 1);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    async fn take(places: &Arc<Places>) -> Place {
        timeout(SECOND, places.take()).await.expect("a place")
    }

    async fn has_to_leave(place: &Place) -> bool {
        timeout(Duration::ZERO, place.progress.has_to_leave()).await.is_ok()
    }

    /// The connection has brought a request.
    fn answering(place: &Place) -> UnderWay {
        place.progress.open();
        let (under_way, arriving) = place.progress.begin_request();
        drop(arriving);
        under_way
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_unfinished_gives_way_first_and_idle_connections_last() {
        let places = Places::new(5);
        let answered = take(&places).await;
        let mut under_way = vec![answering(&answered)];
        let idle = take(&places).await;
        drop(answering(&idle));
        sleep(SECOND).await;
        let head = take(&places).await;
        head.progress.open();
        let handshake = take(&places).await;
        sleep(SECOND).await;
        head.progress.receive(false);
        sleep(SECOND).await;
        let body = take(&places).await;
        body.progress.open();
        let (_under_way, _arriving) = body.progress.begin_request();

        let mut new = Vec::new();
        for leaving in [&handshake, &head, &body] {
            assert!(!has_to_leave(leaving).await);
            new.push(take(&places).await);
            under_way.push(answering(&new[new.len() - 1]));
            assert!(has_to_leave(leaving).await);
        }
        assert!(!has_to_leave(&idle).await, "it was never unfinished");
        new.push(take(&places).await);
        under_way.push(answering(&new[new.len() - 1]));
        assert!(has_to_leave(&idle).await, "nothing else is left");
        // The others are answered, and only then may one of them be sent away.
        assert!(timeout(SECOND, places.take()).await.is_err());
        under_way.remove(0);
        drop(take(&places).await);
        assert!(has_to_leave(&answered).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_is_given_back_is_free() {
        let places = Places::new(2);
        let first = take(&places).await;
        drop(take(&places).await);
        let _second = take(&places).await;
        assert!(!has_to_leave(&first).await);
    }

    #[tokio::test(start_paused = true)]
    async fn few_may_be_about_to_leave() {
        let places = Places::new(1);
        let mut leaving = Vec::new();
        for _ in 0..=LEAVING {
            leaving.push(take(&places).await);
        }
        assert!(timeout(SECOND, places.take()).await.is_err());
        leaving.remove(0);
        take(&places).await;
    }

    #[tokio::test(start_paused = true)]
    async fn several_requests_at_once_are_one_stage() {
        let progress = Arc::new(Progress::new());
        progress.open();
        let (first, first_body) = progress.begin_request();
        sleep(SECOND).await;
        let (second, second_body) = progress.begin_request();
        assert_eq!(progress.stage(), (Stage::Body, Instant::now() - SECOND));
        drop(first_body);
        assert_eq!(progress.stage().0, Stage::Answer);
        drop(first);
        assert_eq!(progress.stage().0, Stage::Body);
        drop((second, second_body));
        assert_eq!(progress.stage().0, Stage::Idle);
    }
}
