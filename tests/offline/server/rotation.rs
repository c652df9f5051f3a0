//! The kubelet exchanges the token of a running pod.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::program::Program;

/// kube reads a token's file again when what it has is 50 s old.
const LIMIT: Duration = Duration::from_secs(90);

#[test]
fn a_new_token_is_used_within_a_minute() {
    let directory = tempfile::tempdir().unwrap();
    let (token, kubeconfig) = (directory.path().join("token"), directory.path().join("kubeconfig"));
    let server = Server::start();
    fs::write(&token, "first").unwrap();
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": server.url}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {"token": "one beside the file", "tokenFile": token}}],
    });
    fs::write(&kubeconfig, config.to_string()).unwrap();
    let arguments = "--certificate-secret s --certificate-host h --webhook-configurations w \
                     --certificate-poll-interval 200ms";
    let arguments: Vec<_> = arguments.split_whitespace().collect();
    let _gapless = Program::start_self_managed(&kubeconfig, &arguments);
    let started = Instant::now();
    server.is_asked_with("Bearer first", started);

    // As the kubelet does: another file under the same name.
    let next = directory.path().join("next");
    fs::write(&next, "second").unwrap();
    fs::rename(&next, &token).unwrap();
    server.is_asked_with("Bearer second", started);
}

/// An API server that knows no object. It keeps the `Authorization` of the last
/// request.
struct Server {
    url: String,
    last: Arc<Mutex<String>>,
}

impl Server {
    fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let last = Arc::new(Mutex::new(String::new()));
        let kept = last.clone();
        thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let kept = kept.clone();
                thread::spawn(move || answer(&connection, &kept));
            }
        });
        Server { url, last }
    }

    #[track_caller]
    fn is_asked_with(&self, authorization: &str, started: Instant) {
        while *self.last.lock().unwrap() != authorization {
            let asked = self.last.lock().unwrap().clone();
            assert!(started.elapsed() < LIMIT, "the last request came with {asked:?}, not {authorization:?}");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Answers all requests of a connection.
fn answer(mut connection: &TcpStream, kept: &Mutex<String>) {
    let body =
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404});
    let body = body.to_string();
    let mut lines = BufReader::new(connection).lines().map_while(Result::ok);
    loop {
        let head: Vec<_> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
        let Some(request) = head.first() else { return };
        let value = |line: &String| Some(line.split_once(": ")?.1.to_owned());
        let is_token = |line: &&String| line.to_ascii_lowercase().starts_with("authorization: ");
        *kept.lock().unwrap() = head.iter().find(is_token).and_then(value).unwrap_or_default();
        let keep = if request.starts_with("GET ") { "keep-alive" } else { "close" };
        let answer = format!(
            "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nConnection: {keep}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        if connection.write_all(answer.as_bytes()).is_err() || keep == "close" {
            return;
        }
    }
}
