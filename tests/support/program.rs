//! A running `gapless serve`, and a client that shows what happens to its
//! connections.

use std::collections::HashMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;

/// Everything happens within milliseconds; a busy machine gets more.
pub const LIMIT: Duration = Duration::from_secs(30);

/// The command, without any setting of the caller's. It listens on free ports of
/// loopback unless the arguments say otherwise.
fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gapless"));
    command.env_clear().env("TMPDIR", directory).current_dir(directory);
    command.env("GAPLESS_BIND", "127.0.0.1:0").env("GAPLESS_OPS_BIND", "127.0.0.1:0");
    if let Some(profile) = std::env::var_os("LLVM_PROFILE_FILE") {
        command.env("LLVM_PROFILE_FILE", profile);
    }
    command.arg("serve").args(arguments);
    command
}

/// What `gapless serve` says if it does not even start.
pub fn refusal(arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().expect("a directory");
    let mut child = command(directory.path(), arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("gapless can be started");
    let deadline = Instant::now() + LIMIT;
    while child.try_wait().expect("a child").is_none() {
        if Instant::now() > deadline {
            let _ = child.kill();
        }
        thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().expect("its output")
}

/// A running program. It is killed when it is dropped.
pub struct Program {
    child: Child,
    /// Its directory for temporary files; the log is there too.
    directory: TempDir,
    /// The lines of its announcement.
    pub lines: Vec<String>,
}

impl Program {
    /// Starts it with these arguments and waits until it has said where it
    /// listens.
    #[track_caller]
    pub fn start(arguments: &[&str]) -> Program {
        let directory = tempfile::tempdir().expect("a directory");
        let command = command(directory.path(), arguments);
        Program::start_command(command, directory, arguments.contains(&"--tls-cert"))
    }

    /// The same with a soft limit on open files, which the program may raise.
    #[track_caller]
    pub fn start_with_soft_limit(files: usize) -> Program {
        let directory = tempfile::tempdir().expect("a directory");
        let gapless = command(directory.path(), &[]);
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("ulimit -S -n {files} && exec \"$0\" \"$@\"")]);
        shell.arg(gapless.get_program()).args(gapless.get_args());
        shell.env_clear().envs(gapless.get_envs().filter_map(|(name, value)| Some((name, value?))));
        shell.current_dir(directory.path());
        Program::start_command(shell, directory, false)
    }

    /// The same with certificates that it keeps in the cluster of this kubeconfig.
    #[track_caller]
    pub fn start_self_managed(kubeconfig: &Path, arguments: &[&str]) -> Program {
        let directory = tempfile::tempdir().expect("a directory");
        let mut command = command(directory.path(), &["--self-managed-certificates"]);
        command.args(arguments).env("KUBECONFIG", kubeconfig);
        Program::start_command(command, directory, true)
    }

    #[track_caller]
    fn start_command(mut command: Command, directory: TempDir, own_certificate: bool) -> Program {
        let log = fs::File::create(directory.path().join("log")).expect("a file for the log");
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().expect("gapless can be started");
        let stdout = child.stdout.take().expect("standard output is a pipe");
        // Dropped, and so ended, should the rest of this panic.
        let mut program = Program { child, directory, lines: Vec::new() };
        let count = if own_certificate { 2 } else { 4 };
        let mut lines = BufReader::new(stdout).lines();
        while program.lines.len() < count {
            match lines.next() {
                Some(line) => program.lines.push(line.expect("text")),
                None => panic!("it ended after {:?}:\n{}", program.lines, program.log()),
            }
        }
        program
    }

    /// The rest of the line that begins with `key`.
    #[track_caller]
    pub fn line(&self, key: &str) -> &str {
        let line = self.lines.iter().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no line begins with {key}: {:?}", self.lines))
    }

    /// `127.0.0.1:PORT`.
    #[track_caller]
    pub fn webhooks(&self) -> &str {
        self.line("webhooks").strip_prefix("https://").expect("an https URL")
    }

    /// The CA that it has made.
    #[track_caller]
    pub fn ca(&self) -> Vec<CertificateDer<'static>> {
        let pem = fs::read(self.line("ca")).expect("the CA can be read");
        CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().expect("the CA is PEM")
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// The files in its directory for temporary files, without the log.
    pub fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.directory.path()).expect("its directory");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        paths.filter(|path| !path.ends_with("log")).collect()
    }

    /// A new connection that trusts the CA that the program has made.
    #[track_caller]
    pub fn connect(&self) -> Connection {
        Connection::open(self.webhooks(), client_config(&self.ca())).expect("a connection")
    }

    /// GET on the ops port.
    #[track_caller]
    pub fn ops(&self, path: &str) -> Response {
        let address = self.line("ops").strip_prefix("http://").expect("an http URL");
        let mut stream = TcpStream::connect(address).expect("the ops port accepts connections");
        stream.set_read_timeout(Some(LIMIT)).expect("a timeout");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")
            .expect("a request");
        Response::read(&mut BufReader::new(stream)).expect("an answer").expect("not the end")
    }

    /// Sends a signal, named as `kill` names it.
    pub fn signal(&self, name: &str) {
        // The shell's own kill: the program of that name is not everywhere.
        let status = Command::new("sh")
            .args(["-c", "kill -s \"$0\" \"$1\"", name, &self.child.id().to_string()])
            .status();
        assert!(status.expect("sh can be run").success());
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the end of gapless", || {
            status = self.child.try_wait().expect("a child");
            status.is_some()
        });
        status.expect("it has ended")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks until the answer is yes.
#[track_caller]
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !is_so() {
        assert!(Instant::now() < deadline, "still waiting for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A TLS client that trusts these CAs.
pub fn client_config(cas: &[CertificateDer<'static>]) -> ClientConfig {
    client_config_for(cas, rustls::DEFAULT_VERSIONS)
}

/// The same with some versions of TLS only.
pub fn client_config_for(
    cas: &[CertificateDer<'static>],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for ca in cas {
        roots.add(ca.clone()).expect("a CA certificate");
    }
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// One TLS connection that speaks HTTP/1.1.
pub struct Connection {
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
}

impl Connection {
    /// Opens it and finishes the handshake.
    pub fn open(address: &str, config: impl Into<Arc<ClientConfig>>) -> io::Result<Connection> {
        let host = address.rsplit_once(':').expect("host and port").0.trim_matches(['[', ']']).to_owned();
        Connection::over(TcpStream::connect(address)?, &host, config)
    }

    /// The same over a connection of TCP, to this host.
    pub fn over(
        socket: TcpStream,
        host: &str,
        config: impl Into<Arc<ClientConfig>>,
    ) -> io::Result<Connection> {
        let name = ServerName::try_from(host.to_owned()).expect("a host");
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(LIMIT))?;
        let mut tls = ClientConnection::new(config.into(), name).map_err(io::Error::other)?;
        let mut socket_for_handshake = &socket;
        while tls.is_handshaking() {
            tls.complete_io(&mut socket_for_handshake)?;
        }
        Ok(Connection { stream: BufReader::new(StreamOwned::new(tls, socket)) })
    }

    /// The protocol that both sides agreed upon.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.stream.get_ref().conn.alpn_protocol()
    }

    /// The certificate that the server has shown, without the rest of its chain.
    #[track_caller]
    pub fn peer(&self) -> CertificateDer<'static> {
        let chain = self.stream.get_ref().conn.peer_certificates().expect("a handshake");
        chain.first().expect("a certificate").clone()
    }

    /// The version of TLS.
    pub fn tls_version(&self) -> Option<rustls::ProtocolVersion> {
        self.stream.get_ref().conn.protocol_version()
    }

    /// Sends a review and reads the answer.
    #[track_caller]
    pub fn post(&mut self, path: &str, body: &[u8]) -> Response {
        self.begin_post(path, body.len());
        self.write(body);
        self.read().expect("an answer").expect("an open connection")
    }

    /// The same for a server that may have closed the connection.
    pub fn try_post(&mut self, path: &str, body: &[u8]) -> io::Result<Response> {
        self.try_write(&head(path, body.len()))?;
        self.try_write(body)?;
        self.read()?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Sends the head of a request only.
    #[track_caller]
    pub fn begin_post(&mut self, path: &str, length: usize) {
        self.write(&head(path, length));
    }

    /// Sends a part of a request.
    #[track_caller]
    pub fn write(&mut self, bytes: &[u8]) {
        self.try_write(bytes).expect("the server reads");
    }

    /// The same for a server that may have closed the connection.
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(bytes).and_then(|()| stream.flush())
    }

    /// Reads an answer; `None` if the server has closed the connection.
    pub fn read(&mut self) -> io::Result<Option<Response>> {
        Response::read(&mut self.stream)
    }

    /// Whether the server keeps the connection open for this long.
    pub fn stays_open_for(&mut self, time: Duration) -> bool {
        self.stream.get_ref().sock.set_read_timeout(Some(time)).expect("a timeout");
        let read = self.stream.read(&mut [0]);
        self.stream.get_ref().sock.set_read_timeout(Some(LIMIT)).expect("a timeout");
        matches!(read, Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut))
    }
}

fn head(path: &str, length: usize) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nHost: gapless\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    )
    .into_bytes()
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// By name in lower case.
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Response {
    fn read(stream: &mut impl BufRead) -> io::Result<Option<Response>> {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line");
        let mut headers = HashMap::new();
        loop {
            line.clear();
            stream.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let length = headers.get("content-length").and_then(|length| length.parse().ok()).expect("a length");
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        Ok(Some(Response { status, headers, body }))
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether the server says that it closes the connection.
    pub fn closes(&self) -> bool {
        self.headers.get("connection").is_some_and(|value| value == "close")
    }
}
