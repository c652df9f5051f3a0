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
}

impl Service {
    pub fn start() -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let replicas = Arc::new(Mutex::new(Vec::new()));
        let service = Service { address, replicas: replicas.clone() };
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
                connect(client, replica).expect("a connection");
            }
        });
        service
    }

    /// From now on, new connections go to these, `127.0.0.1:PORT`.
    pub fn route(&self, replicas: Vec<String>) {
        *self.replicas.lock().expect("a list") = replicas;
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
