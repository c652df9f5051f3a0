//! More clients than there are places, who send half a request and come again as soon
//! as they are sent away.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::calls;
use super::client::{Client, Traffic, tls};
use super::memory::Memory;
use super::{alone, report};
use crate::support::program::Program;

/// Clients that send half a request.
const HALF_OPEN: usize = 3000;

/// Threads that they share.
const THREADS: usize = 4;

/// How long it may take until all have been there: each of them has a handshake.
const PATIENCE: Duration = Duration::from_secs(300);

/// How long they go on once all have been there.
const TIME: Duration = Duration::from_secs(20);

/// Between two new callers.
const PAUSE: Duration = Duration::from_millis(250);

/// What gapless may take with all of them.
const LIMIT: Memory = Memory::mib(64);

/// In so much time a new caller is to have its answer.
const NEW_CALLER: Duration = Duration::from_secs(3);

/// What a client sends of its request.
#[derive(Clone, Copy)]
enum Half {
    Handshake,
    /// A head of so many bytes, without its end.
    Head(usize),
    /// A head, and so many bytes of a body of twice as many.
    Body(usize),
}

impl Half {
    fn open(self, address: &str, config: &Arc<ClientConfig>) -> std::io::Result<TcpStream> {
        let name = ServerName::try_from("127.0.0.1").expect("a name");
        let mut tls = ClientConnection::new(config.clone(), name).map_err(std::io::Error::other)?;
        let mut socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(Duration::from_secs(30)))?;
        let begin = "POST /mutate HTTP/1.1\r\nHost: gapless\r\nContent-Type: application/json\r\n";
        let text = match self {
            Half::Handshake => {
                let mut hello = Vec::new();
                tls.write_tls(&mut hello)?;
                socket.write_all(hello.get(..hello.len() / 2).expect("a half"))?;
                return Ok(socket);
            }
            Half::Head(size) => format!("{begin}X-Long: {}", "a".repeat(size)),
            Half::Body(size) => format!("{begin}Content-Length: {}\r\n\r\n{}", 2 * size, " ".repeat(size)),
        };
        while tls.is_handshaking() {
            tls.complete_io(&mut socket)?;
        }
        std::io::copy(&mut text.as_bytes(), &mut tls.writer())?;
        while tls.wants_write() {
            tls.write_tls(&mut socket)?;
        }
        Ok(socket)
    }
}

/// Whether the server has closed this connection. What it has sent is thrown away.
fn is_closed(socket: &mut TcpStream) -> bool {
    let _ = socket.set_nonblocking(true);
    loop {
        match socket.read(&mut [0; 4096]) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        }
    }
}

/// All these clients, until they are dropped.
struct HalfOpen {
    has_ended: Arc<AtomicBool>,
    opened: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
}

impl HalfOpen {
    fn start(program: &Program, kinds: &[Half]) -> HalfOpen {
        let config = tls(program);
        let has_ended = Arc::<AtomicBool>::default();
        let opened = Arc::<AtomicUsize>::default();
        let threads = (0..THREADS).map(|thread| {
            let (address, config) = (program.webhooks().to_owned(), config.clone());
            let (has_ended, opened) = (has_ended.clone(), opened.clone());
            let numbers = (thread..HALF_OPEN).step_by(THREADS);
            let mut clients: Vec<(Half, Option<TcpStream>)> =
                numbers.map(|number| (kinds[number % kinds.len()], None)).collect();
            thread::spawn(move || {
                while !has_ended.load(Ordering::Relaxed) {
                    for (half, socket) in &mut clients {
                        if has_ended.load(Ordering::Relaxed) {
                            break;
                        }
                        if socket.as_mut().is_none_or(is_closed) {
                            *socket = half.open(&address, &config).ok();
                            opened.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    thread::sleep(Duration::from_millis(5));
                }
            })
        });
        HalfOpen { threads: threads.collect(), has_ended, opened }
    }

    /// How often one of them has connected.
    fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }
}

impl Drop for HalfOpen {
    fn drop(&mut self) {
        self.has_ended.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[track_caller]
fn survives(what: &str, kinds: &[Half]) {
    let _alone = alone();
    let program = Program::start(&[]);
    let calls = Arc::new(calls::mixed(&program));
    let config = tls(&program);
    let largest = &serde_json::to_vec(&calls::update(3 * 1024 * 1024)).expect("JSON can be written");
    let half_open = HalfOpen::start(&program, kinds);
    let traffic = Traffic::start(&program, &calls, Duration::from_millis(20));
    let begin = Instant::now();
    while half_open.opened() < HALF_OPEN {
        assert!(begin.elapsed() < PATIENCE, "{} of {HALF_OPEN} in {PATIENCE:?}", half_open.opened());
        thread::sleep(Duration::from_millis(50));
    }

    let begin = Instant::now();
    let mut times = Vec::new();
    for call in calls.iter().cycle() {
        if begin.elapsed() > TIME {
            break;
        }
        let called = Instant::now();
        let answer = Client::new(&program, &config).expect(call);
        times.push(called.elapsed());
        assert_eq!(answer, Ok(()), "a new caller, after {:?}", called.elapsed());
        thread::sleep(PAUSE);
    }
    let longest = times.iter().max().expect("there were callers");
    let peak = Memory::peak(program.id());
    report(&format!(
        "{what}: {} connections; {} new callers, the longest {longest:?}; peak {peak}, now {}",
        half_open.opened(),
        times.len(),
        Memory::now(program.id())
    ));
    // And one review beside them of an object as large as etcd takes it.
    let mut client = Client::new(&program, &config);
    let answer = client.call("/mutate?timeout=30s", largest).expect("an answer");
    let with_largest = Memory::peak(program.id());
    report(&format!("{what}: peak {with_largest} with a review of {} KB", largest.len() / 1024));
    traffic.stop(what);
    drop(half_open);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(with_largest < Memory::of_pod(), "{with_largest}");
    assert!(*longest <= NEW_CALLER, "{longest:?}");
    assert!(peak < LIMIT, "{peak}");
}

#[test]
fn three_thousand_that_send_half_a_request_and_come_again() {
    survives(
        "3,000 with half a handshake, head or body",
        &[Half::Handshake, Half::Head(300), Half::Body(3000)],
    );
}

#[test]
fn three_thousand_with_heads_as_long_as_they_may_be() {
    survives("3,000 with a long head", &[Half::Head(15 * 512)]);
}
