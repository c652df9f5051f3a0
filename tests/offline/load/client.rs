//! Clients that behave as the API server does.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::ClientConfig;
use rustls::client::Resumption;

use super::calls::Call;
use super::report;
use crate::support::program::{Connection, Program, Response, client_config};

/// How many clients behave well beside those that do not.
const CLIENTS: usize = 8;

/// Lets this process open as many files as it may, for more than a thousand
/// connections. Usually it may open 1,024, since programs that use select(2) break
/// beyond, and as many more as it asks for. gapless asks for itself.
pub fn allow_many_connections() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("a soft limit");
}

/// TLS as the API server speaks it: it resumes no session.
pub fn tls(program: &Program) -> Arc<ClientConfig> {
    let mut config = client_config(&program.ca());
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// One caller, with the connection that it has at the moment. It is used again for
/// the next call, unless the answer says that it closes. A call that fails is not
/// made again.
pub struct Client {
    address: String,
    config: Arc<ClientConfig>,
    connection: Option<Connection>,
}

impl Client {
    pub fn new(program: &Program, config: &Arc<ClientConfig>) -> Client {
        Client { address: program.webhooks().to_owned(), config: config.clone(), connection: None }
    }

    /// # Errors
    /// If there is no answer.
    pub fn call(&mut self, path: &str, body: &[u8]) -> io::Result<Response> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(&self.address, self.config.clone())?,
        };
        let answer = connection.try_post(path, body)?;
        if !answer.closes() {
            self.connection = Some(connection);
        }
        Ok(answer)
    }

    /// # Errors
    /// With what came instead of the answer that is expected.
    pub fn expect(&mut self, call: &Call) -> Result<(), String> {
        match self.call(call.path, &call.body) {
            Ok(answer) if answer.status == 200 && answer.body == call.answer => Ok(()),
            Ok(answer) => Err(format!("{}: {}", answer.status, answer.text())),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Clients that make one call after another until they are told to stop.
pub struct Traffic {
    has_ended: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Traffic {
    /// Eight clients. Each waits so long after each answer.
    pub fn start(program: &Program, calls: &Arc<Vec<Call>>, pause: Duration) -> Traffic {
        let config = tls(program);
        let has_ended = Arc::<AtomicBool>::default();
        let answered = Arc::<AtomicUsize>::default();
        let clients = (0..CLIENTS).map(|number| {
            let mut client = Client::new(program, &config);
            let (end, answered, calls) = (has_ended.clone(), answered.clone(), calls.clone());
            thread::spawn(move || {
                let mut failed = Vec::new();
                // Each begins elsewhere, so that they do not all do the same.
                for call in calls.iter().cycle().skip(number * calls.len() / CLIENTS) {
                    if end.load(Ordering::Relaxed) {
                        break;
                    }
                    match client.expect(call) {
                        Ok(()) => drop(answered.fetch_add(1, Ordering::Relaxed)),
                        Err(error) => failed.push(error),
                    }
                    thread::sleep(pause);
                }
                failed
            })
        });
        let clients = clients.collect();
        Traffic { has_ended, answered, clients }
    }

    /// How many calls have been answered so far.
    pub fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    /// Waits for so many more answers; then lets the
    /// clients finish what they have begun.
    ///
    /// # Panics
    /// If a call failed.
    #[track_caller]
    pub fn finish(self, what: &str, more: usize) {
        let before = self.answered();
        crate::support::program::eventually("more answers", || self.answered() >= before + more);
        self.stop(what);
    }

    /// Lets the clients finish what they have begun.
    ///
    /// # Panics
    /// If a call failed.
    #[track_caller]
    pub fn stop(self, what: &str) {
        self.has_ended.store(true, Ordering::Relaxed);
        let failed: Vec<String> =
            self.clients.into_iter().flat_map(|client| client.join().expect("it ends by itself")).collect();
        let answered = self.answered.load(Ordering::Relaxed);
        report(&format!("{what}: {answered} calls answered, {} failed", failed.len()));
        let some = &failed[..failed.len().min(5)];
        assert!(
            failed.is_empty(),
            "{what}: {} of {} calls failed, such as {some:#?}",
            failed.len(),
            answered + failed.len()
        );
    }
}
