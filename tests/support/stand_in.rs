//! An API server that only says what a test has it say.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::thread;

use serde_json::{Value, json};

/// An API server that gives these answers to the lists of Deployments, one after
/// the other, and ends with the last; other requests get an empty list.
pub fn fake_api_server(answers: Vec<(u16, Value)>) -> (tempfile::TempDir, [(&'static str, String); 1]) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let mut answers = answers.into_iter();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let request = lines.next().unwrap_or_default();
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let (code, body) = match request.contains("/deployments?") {
                true => answers.next().unwrap(),
                false => (200, json!({"items": []})),
            };
            let body = body.to_string();
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 {code} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            )
            .unwrap();
        }
    });
    let directory = tempfile::tempdir().unwrap();
    let kubeconfig = directory.path().join("kubeconfig");
    let content = json!({
        "clusters": [{"name": "fake", "cluster": {"server": server}}],
        "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "nobody"}}],
        "current-context": "fake",
    });
    fs::write(&kubeconfig, content.to_string()).unwrap();
    (directory, [("KUBECONFIG", kubeconfig.display().to_string())])
}
