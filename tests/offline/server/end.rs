//! The end of `gapless serve`, for clients that come in the last moment and for those
//! that say nothing.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustls::client::Resumption;

use super::reviews;
use crate::support::program::{Connection, Program, client_config, eventually};

/// As a client of HTTP/2 begins, with a request for `/`, in frames of RFC 9113 and
/// fields of RFC 7541's static table.
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\
    \0\0\0\x04\0\0\0\0\0\
    \0\0\x03\x01\x05\0\0\0\x01\x82\x84\x87";

/// Clients that open a new connection for each call, from before the end until nobody
/// accepts any. A connection that has come about is a promise.
#[test]
fn who_is_accepted_in_the_last_moment_is_answered() {
    const TIMES: usize = 6;
    const CLIENTS: usize = 16;
    let body = Arc::new(reviews::body(&reviews::sound()));
    let (mut answered, mut lost) = (0, Vec::new());
    for _ in 0..TIMES {
        let mut program = Program::start(&["--shutdown-delay", "0"]);
        let mut config = client_config(&program.ca());
        config.resumption = Resumption::disabled();
        let config = Arc::new(config);
        let count = Arc::<AtomicUsize>::default();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (address, config) = (program.webhooks().to_owned(), config.clone());
                let (body, count) = (body.clone(), count.clone());
                thread::spawn(move || {
                    while let Ok(socket) = TcpStream::connect(&address) {
                        let call = Connection::over(socket, "127.0.0.1", config.clone())
                            .and_then(|mut connection| connection.try_post("/mutate", &body));
                        match call {
                            Ok(answer) => assert_eq!(answer.status, 200, "{}", answer.text()),
                            Err(error) => return Some(error.to_string()),
                        }
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    None
                })
            })
            .collect();
        eventually("some answers", || count.load(Ordering::Relaxed) >= 5 * CLIENTS);
        program.signal("TERM");
        lost.extend(clients.into_iter().filter_map(|client| client.join().expect("no panic")));
        answered += count.load(Ordering::Relaxed);
        assert_eq!(program.wait().code(), Some(0), "{}", program.log());
    }
    println!("{answered} calls answered, {} lost", lost.len());
    assert!(lost.is_empty(), "{} of {answered} calls are lost: {lost:?}", lost.len());
}

#[test]
fn silent_clients_do_not_hold_it_up() {
    let mut program = Program::start(&["--shutdown-delay", "0"]);
    let mut config = client_config(&program.ca());
    config.alpn_protocols = vec![b"h2".to_vec()];
    let mut http2 = Connection::open(program.webhooks(), config).expect("a connection");
    http2.write(HTTP2);
    let mut http1 = program.connect();
    http1.post("/mutate", b"{");
    let unused = program.connect();
    thread::sleep(Duration::from_millis(100));

    program.signal("TERM");
    let begin = Instant::now();
    assert_eq!(program.wait().code(), Some(0), "{}", program.log());
    assert!(program.log().contains("every request is answered"), "{}", program.log());
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    drop((http1, http2, unused));
}
