//! What kube-proxy is in a cluster: the way from a ClusterIP to the pods behind it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::support::Cluster;

/// Connects the API server to the one Service of a test, for as long as this process runs.
pub struct KubeProxy {
    connections: Arc<AtomicUsize>,
}

impl KubeProxy {
    /// `service` is the address of what stands for the Service, `127.0.0.1:PORT`.
    pub fn start(cluster: &Cluster, service: &str) -> KubeProxy {
        let listener = UnixListener::bind(cluster.services()).expect("a socket");
        let service = service.to_owned();
        let connections = Arc::new(AtomicUsize::new(0));
        let proxy = KubeProxy { connections: connections.clone() };
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (service, connections) = (service.clone(), connections.clone());
                thread::spawn(move || {
                    // However it ends: the API server notices by itself.
                    let _ = connect(client, &service, &connections);
                });
            }
        });
        proxy
    }

    /// How many connections the API server has opened so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

/// Answers `CONNECT 10.0.0.7:443 HTTP/1.1`, and passes on what follows.
fn connect(mut client: UnixStream, service: &str, connections: &AtomicUsize) -> io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte)?;
        head.extend_from_slice(&byte);
    }
    let replica = TcpStream::connect(service)?;
    replica.set_nodelay(true)?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    connections.fetch_add(1, Ordering::Relaxed);

    let (mut from_client, mut to_replica) = (client.try_clone()?, replica.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut from_client, &mut to_replica);
        let _ = to_replica.shutdown(Shutdown::Write);
    });
    let (mut from_replica, mut to_client) = (replica, client);
    let _ = io::copy(&mut from_replica, &mut to_client);
    to_client.shutdown(Shutdown::Write)
}
