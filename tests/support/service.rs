//! What a Service is in a cluster: one address in front of several replicas.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Passes each new connection to the next of its replicas. It listens for as long
/// as this process runs.
pub struct Service {
    /// `127.0.0.1:PORT`
    pub address: String,
    replicas: Arc<Mutex<Vec<String>>>,
    clients: Arc<Mutex<Vec<TcpStream>>>,
}

impl Service {
    pub fn start() -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let replicas = Arc::new(Mutex::new(Vec::new()));
        let clients: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let service = Service { address, replicas: replicas.clone(), clients: clients.clone() };
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let replica = {
                    let mut replicas: std::sync::MutexGuard<Vec<String>> = replicas.lock().expect("a list");
                    if replicas.is_empty() {
                        continue;
                    }
                    replicas.rotate_left(1);
                    replicas[0].clone()
                };
                // Nobody listens: the client's connection ends, too.
                let Ok(replica) = TcpStream::connect(replica) else { continue };
                clients.lock().expect("a list").push(client.try_clone().expect("a connection"));
                connect(client, replica).expect("a connection");
            }
        });
        service
    }

    /// From now on, new connections go to these, `127.0.0.1:PORT`.
    pub fn route(&self, replicas: Vec<String>) {
        *self.replicas.lock().expect("a list") = replicas;
    }

    /// Ends all connections. New ones lead nowhere until there are replicas again.
    pub fn cut(&self) {
        self.route(Vec::new());
        for client in self.clients.lock().expect("a list").drain(..) {
            // Those that have ended by themselves are in the list too.
            let _ = client.shutdown(Shutdown::Both);
        }
    }
}

fn connect(client: TcpStream, replica: TcpStream) -> io::Result<()> {
    for stream in [&client, &replica] {
        stream.set_nodelay(true)?;
    }
    let directions = [(client.try_clone()?, replica.try_clone()?), (replica, client)];
    for (mut from, mut to) in directions {
        thread::spawn(move || {
            // However it ends: this direction is over.
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
    Ok(())
}
