//! Clients that are slow or silent, beside some that behave well.

use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use super::calls;
use super::client::{Traffic, tls};
use super::memory::{Memory, USUAL_LIMIT};
use super::{alone, report};
use crate::support::program::{Connection, Program, eventually};

/// Answers that the clients that behave well are to get beside the others.
const ANSWERS: usize = 400;

/// How long each of those waits after an answer.
const PAUSE: Duration = Duration::from_millis(20);

/// Between two drops of a client that sends by drops.
const DROP: Duration = Duration::from_millis(100);

/// Longer than it takes until a body counts as slow.
const SLOW: Duration = Duration::from_secs(2);

/// A running program with clients that behave well, who have begun.
struct Scene {
    program: Program,
    traffic: Traffic,
}

impl Scene {
    fn begin(arguments: &[&str]) -> Scene {
        Scene::go_on(Program::start(arguments))
    }

    fn go_on(program: Program) -> Scene {
        let calls = Arc::new(calls::mixed(&program));
        let traffic = Traffic::start(&program, &calls, PAUSE);
        Scene { program, traffic }
    }

    /// Ends once there have been enough answers while `others` were there.
    #[track_caller]
    fn end<T>(self, what: &str, others: T) {
        self.traffic.finish(what, ANSWERS);
        let peak = Memory::peak(self.program.id());
        report(&format!("{what}: peak {peak}"));
        assert!(peak < USUAL_LIMIT, "{what}: {peak}");
        drop(others);
    }
}

/// Sends to many connections by drops, until it is dropped.
struct Dripping {
    has_ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Dripping {
    /// `drip` sends the next drop on a connection; one that fails is left alone from
    /// then on.
    fn start<C: Send + 'static>(
        connections: Vec<C>,
        drip: impl Fn(&mut C, usize) -> io::Result<()> + Send + 'static,
    ) -> Dripping {
        let has_ended = Arc::<AtomicBool>::default();
        let end = has_ended.clone();
        let thread = thread::spawn(move || {
            let mut connections: Vec<_> = connections.into_iter().map(Some).collect();
            for round in 0.. {
                if end.load(Ordering::Relaxed) {
                    break;
                }
                for place in &mut connections {
                    let is_over = place.as_mut().is_some_and(|connection| drip(connection, round).is_err());
                    if is_over {
                        *place = None;
                    }
                }
                thread::sleep(DROP);
            }
        });
        Dripping { has_ended, thread: Some(thread) }
    }
}

impl Drop for Dripping {
    fn drop(&mut self) {
        self.has_ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn many<T>(count: usize, open: impl Fn() -> T) -> Vec<T> {
    (0..count).map(|_| open()).collect()
}

/// The first message of a TLS handshake.
fn client_hello(program: &Program) -> Vec<u8> {
    let name = ServerName::try_from("127.0.0.1").expect("a name");
    let mut tls = ClientConnection::new(tls(program), name).expect("a TLS client");
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).expect("a message");
    hello
}

#[test]
fn connections_that_begin_no_handshake_or_do_not_finish_it() {
    let _alone = alone();
    let scene = Scene::begin(&[]);
    let address = scene.program.webhooks();
    let connect = || TcpStream::connect(address).expect("a connection");
    let silent = many(400, connect);
    let hello = client_hello(&scene.program);
    let slow = Dripping::start(many(400, connect), move |connection, round| {
        connection.write_all(&hello[round % hello.len()..][..1])
    });
    scene.end("400 silent connections, 400 with a slow handshake", (silent, slow));
}

#[test]
fn requests_whose_head_never_ends() {
    let _alone = alone();
    let scene = Scene::begin(&[]);
    let config = tls(&scene.program);
    let begin = || {
        let mut connection =
            Connection::open(scene.program.webhooks(), config.clone()).expect("a connection");
        connection.write(b"POST /mutate HTTP/1.1\r\nHost: gapless\r\nContent-Type: applic");
        connection
    };
    let stopped = many(100, begin);
    let slow = Dripping::start(many(100, begin), |connection, _| connection.try_write(b"a"));
    scene.end("100 heads that stop, 100 that come by drops", (stopped, slow));
}

#[test]
fn bodies_that_never_end() {
    let _alone = alone();
    // More than may be under way at once.
    let scene = Scene::begin(&["--max-in-flight", "100"]);
    let config = tls(&scene.program);
    let begin = || {
        let mut connection =
            Connection::open(scene.program.webhooks(), config.clone()).expect("a connection");
        connection.begin_post("/mutate", 60_000);
        connection
    };
    let silent = many(150, begin);
    let slow = Dripping::start(many(150, begin), |connection, _| connection.try_write(b" "));
    scene.end("150 bodies that do not come, 150 that come by drops", (silent, slow));
}

/// They take all the memory that there is for bodies: of each, all but the end has
/// been sent.
#[test]
fn large_bodies_that_stop_before_their_end() {
    const LENGTH: usize = 1024 * 1024;
    let _alone = alone();
    let program = Program::start(&[]);
    let config = tls(&program);
    let stopped = many(40, || {
        let mut connection = Connection::open(program.webhooks(), config.clone()).expect("a connection");
        connection.begin_post("/mutate", LENGTH);
        connection.write(&vec![b' '; LENGTH - 1]);
        connection
    });
    // By then nobody takes them for bodies that are on their way.
    thread::sleep(SLOW);
    Scene::go_on(program).end("40 bodies of 1 MiB that stop", stopped);
}

#[test]
fn a_thousand_idle_connections() {
    let _alone = alone();
    let program = Program::start(&[]);
    let config = tls(&program);
    let before = Memory::now(program.id());
    let small = br#"{"apiVersion": "admission.k8s.io/v1"}"#;
    let mut idle = many(1000, || {
        let mut connection = Connection::open(program.webhooks(), config.clone()).expect("a connection");
        assert_eq!(connection.post("/mutate", small).status, 400);
        connection
    });
    let with_them = Memory::now(program.id());
    report(&format!("memory {before} without idle connections, {with_them} with a thousand"));
    let scene = Scene::go_on(program);
    // None of them has been closed meanwhile.
    for connection in &mut idle {
        assert_eq!(connection.post("/mutate", small).status, 400);
    }
    scene.end("1000 idle connections", idle);
}

/// Usually a process may open 1,024 files until it asks for more; containerd 2 no
/// longer asks for its containers.
#[test]
fn more_connections_than_the_usual_soft_limit() {
    let _alone = alone();
    let program = Program::start_with_soft_limit(64);
    let connections = many(200, || TcpStream::connect(program.webhooks()).expect("a connection"));
    // The kernel has accepted them; has gapless?
    eventually("an answer", || program.connect().try_post("/mutate", b"{").is_ok_and(|it| it.status == 400));
    // Nor did it have to wait until it could.
    assert!(!program.log().contains("cannot accept a connection"), "{}", program.log());
    drop(connections);
}
