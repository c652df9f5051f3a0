//! Boots etcd, kube-apiserver and kube-controller-manager on loopback.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::bench::Bench;
use super::client::Invocation;
use super::namespace::Namespace;
use super::process::{Tied, signal, tied};
use super::{notice, test_name};

/// Everything is up in three seconds; a machine that also compiles needs longer.
const BOOT_LIMIT: Duration = Duration::from_secs(120);

/// Name, token and groups of the users, as the API server's token file has them.
const USERS: &str = "\
admin-token,admin,admin,system:masters
team-token,team,team
";

/// One line for each request that the API server has answered, without bodies.
const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
";

/// The socket that the API server asks for connections to Services.
const SERVICES: &str = "services.sock";

/// Rollouts, deletion, and what fills the ClusterRoles `view`, `edit` and `admin`.
const CONTROLLERS: &str =
    "deployment,replicaset,statefulset,daemonset,namespace,garbagecollector,clusterrole-aggregation";

/// A control plane without nodes: Deployments get ReplicaSets and those get Pods,
/// which stay Pending. It ends with this process.
pub struct Cluster {
    bench: Bench,
    server: String,
    /// Further arguments of the API server.
    apiserver_arguments: Vec<String>,
    /// Of etcd and the API server; none of a node's.
    ports: Option<(u16, u16)>,
    // Dropped in this order: the processes before their directory.
    processes: Mutex<Vec<Tied>>,
    directory: TempDir,
    namespaces: AtomicUsize,
}

impl Cluster {
    /// Boots a control plane. A port that somebody else took in the meantime is no
    /// reason to fail: it is tried again with other ports, once.
    pub fn boot(bench: Bench, apiserver_arguments: &[String]) -> Result<Cluster, String> {
        match Cluster::try_boot(bench.clone(), apiserver_arguments) {
            Err(why) if why.contains("address already in use") => {
                Cluster::try_boot(bench, apiserver_arguments)
            }
            outcome => outcome,
        }
    }

    fn try_boot(bench: Bench, apiserver_arguments: &[String]) -> Result<Cluster, String> {
        let io = |error: io::Error| format!("cannot prepare the control plane: {error}");
        let [etcd_port, peer_port, port] = free_ports().map_err(io)?;
        let mut directory = tempfile::Builder::new().prefix("gapless-cluster-").tempdir().map_err(io)?;
        if keep() {
            directory.disable_cleanup(true);
            notice(&format!("the control plane is in {}", directory.path().display()));
        }
        let cluster = Cluster {
            bench,
            server: format!("https://127.0.0.1:{port}"),
            apiserver_arguments: apiserver_arguments.to_vec(),
            ports: Some((etcd_port, port)),
            processes: Mutex::default(),
            directory,
            namespaces: AtomicUsize::new(0),
        };
        cluster.write_files().map_err(io)?;
        let deadline = Instant::now() + BOOT_LIMIT;

        cluster.start_etcd(etcd_port, peer_port).map_err(io)?;
        // The API server asks for etcd once a second: it should find it at once.
        cluster.wait("listen", deadline, |_| {
            TcpStream::connect((Ipv4Addr::LOCALHOST, etcd_port)).map_err(|error| error.to_string())
        })?;
        cluster.start_apiserver(etcd_port, port).map_err(io)?;
        cluster.wait("become ready", deadline, Cluster::is_ready)?;
        cluster.start_controller_manager().map_err(io)?;
        Ok(cluster)
    }

    /// The control plane of a node that a process of [`super::lab`] has brought up, in
    /// the place of one of its own. It has the one user `admin`, and no audit log.
    pub(super) fn of_node(
        bench: Bench,
        directory: TempDir,
        node: Tied,
        admin_kubeconfig: &Path,
    ) -> io::Result<Cluster> {
        let kubeconfig: Value = serde_saphyr::from_str(&fs::read_to_string(admin_kubeconfig)?)
            .map_err(|error| io::Error::other(format!("{}: {error}", admin_kubeconfig.display())))?;
        let server = kubeconfig["clusters"][0]["cluster"]["server"].as_str().unwrap_or_default().to_owned();
        let cluster = Cluster {
            bench,
            server,
            apiserver_arguments: Vec::new(),
            ports: None,
            processes: Mutex::new(vec![node]),
            directory,
            namespaces: AtomicUsize::new(0),
        };
        fs::create_dir(cluster.home())?;
        fs::copy(admin_kubeconfig, cluster.kubeconfig("admin"))?;
        Ok(cluster)
    }

    fn write_files(&self) -> io::Result<()> {
        fs::create_dir(self.home())?;
        fs::write(self.file("users.csv"), USERS)?;
        fs::write(self.file("audit-policy.yaml"), AUDIT_POLICY)?;
        fs::write(self.file("egress.json"), self.egress().to_string())?;
        let key = rcgen::KeyPair::generate().map_err(io::Error::other)?;
        fs::write(self.file("service-account.key"), key.serialize_pem())?;
        fs::write(self.file("service-account.pub"), key.public_key_pem())?;
        for user in USERS.lines() {
            let mut columns = user.split(',');
            if let (Some(token), Some(name)) = (columns.next(), columns.next()) {
                self.write_kubeconfig(name, token);
            }
        }
        Ok(())
    }

    /// Without kube-proxy nobody is behind the ClusterIP of a Service. Webhooks with a
    /// URL are called directly all the same: they do not count as `cluster`.
    /// <https://kubernetes.io/docs/tasks/extend-kubernetes/setup-konnectivity/>
    fn egress(&self) -> Value {
        json!({
            "apiVersion": "apiserver.k8s.io/v1beta1",
            "kind": "EgressSelectorConfiguration",
            "egressSelections": [{"name": "cluster", "connection": {
                "proxyProtocol": "HTTPConnect",
                "transport": {"uds": {"udsName": self.services()}},
            }}],
        })
    }

    fn start_etcd(&self, port: u16, peer_port: u16) -> io::Result<()> {
        let mut etcd = self.component("etcd");
        let clients = format!("http://127.0.0.1:{port}");
        let peers = format!("http://127.0.0.1:{peer_port}");
        etcd.arg("--data-dir").arg(self.file("etcd"));
        etcd.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
        etcd.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
        etcd.args(["--initial-cluster", &format!("default={peers}")]);
        etcd.args(["--unsafe-no-fsync", "--log-level", "error"]);
        self.start("etcd", etcd)
    }

    fn start_apiserver(&self, etcd_port: u16, port: u16) -> io::Result<()> {
        let mut apiserver = self.component("kube-apiserver");
        apiserver.args(["--etcd-servers", &format!("http://127.0.0.1:{etcd_port}")]);
        apiserver.args(["--bind-address", "127.0.0.1", "--secure-port", &port.to_string()]);
        // Nobody has to find this server through the `kubernetes` Service. Left to
        // itself it looks for an address that is not loopback, and fails offline.
        apiserver.args(["--advertise-address", "127.0.0.1", "--endpoint-reconciler-type", "none"]);
        apiserver.args(["--service-cluster-ip-range", "10.0.0.0/24"]);
        apiserver.arg("--cert-dir").arg(self.file("certs"));
        apiserver.args(["--service-account-issuer", "https://kubernetes.default.svc"]);
        apiserver.arg("--service-account-key-file").arg(self.file("service-account.pub"));
        apiserver.arg("--service-account-signing-key-file").arg(self.file("service-account.key"));
        apiserver.arg("--token-auth-file").arg(self.file("users.csv"));
        apiserver.args(["--authorization-mode", "RBAC", "--allow-privileged"]);
        // It would hold every Pod back until its namespace has a ServiceAccount.
        apiserver.args(["--disable-admission-plugins", "ServiceAccount"]);
        apiserver.arg("--audit-policy-file").arg(self.file("audit-policy.yaml"));
        apiserver.arg("--audit-log-path").arg(self.file("audit.log"));
        apiserver.arg("--egress-selector-config-file").arg(self.file("egress.json"));
        // In MiB: never rotated, so that it has everything.
        apiserver.args(["--audit-log-maxsize", "100000"]);
        apiserver.args(&self.apiserver_arguments);
        self.start("kube-apiserver", apiserver)
    }

    fn start_controller_manager(&self) -> io::Result<()> {
        let mut manager = self.component("kube-controller-manager");
        manager.arg("--kubeconfig").arg(self.kubeconfig("admin"));
        manager.args(["--leader-elect=false", "--secure-port", "0"]);
        manager.args(["--use-service-account-credentials=false"]);
        manager.args(["--controllers", CONTROLLERS]);
        // Its usual 20 requests a second are for a fleet of clients.
        manager.args(["--kube-api-qps", "1000", "--kube-api-burst", "1000"]);
        self.start("kube-controller-manager", manager)
    }

    /// The command line of one component, up to its own flags.
    fn component(&self, name: &str) -> Command {
        let remove = if keep() { None } else { Some(self.directory.path()) };
        let mut command = tied(&self.bench, &self.home(), remove, &self.bench.program);
        command.arg(name);
        command
    }

    fn start(&self, name: &str, command: Command) -> io::Result<()> {
        let process = Tied::start(command, &self.file(&format!("{name}.log")))?;
        self.processes().push(process);
        Ok(())
    }

    fn processes(&self) -> MutexGuard<'_, Vec<Tied>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the component that was started last. All of them have to stay alive:
    /// who answers in place of one that has ended is somebody else on the same port.
    fn wait<T>(
        &self,
        what: &str,
        deadline: Instant,
        ask: impl Fn(&Cluster) -> Result<T, String>,
    ) -> Result<(), String> {
        loop {
            let answer = ask(self);
            let mut processes = self.processes();
            for process in processes.iter_mut() {
                process.check_running()?;
            }
            match answer {
                Ok(_) => return Ok(()),
                Err(seen) if Instant::now() > deadline => {
                    let newest = processes.last();
                    let log = newest.map(|process| process.report(&format!("did not {what}")));
                    return Err(format!("{}\n{seen}", log.unwrap_or_default()));
                }
                Err(_) => {
                    drop(processes);
                    thread::sleep(Duration::from_millis(50));
                }
            }
        }
    }

    fn is_ready(&self) -> Result<(), String> {
        let readyz = self.kubectl(["get", "--raw", "/readyz"]).run();
        if readyz.status.success() { Ok(()) } else { Err(readyz.to_string()) }
    }

    /// Ends the API server and starts it anew, at the same address.
    pub fn restart_apiserver(&self) {
        let (etcd_port, port) = self.ports.expect("a control plane without a node");
        let is_it = |process: &mut Tied| process.name() == "kube-apiserver";
        for mut apiserver in self.processes().extract_if(.., is_it) {
            // Left to itself, `tied` would take the directory with it. With the first signal the
            // API server waits for those who watch, with the second it ends.
            while apiserver.wait(Duration::from_millis(200)).is_none() {
                signal("TERM", apiserver.id());
            }
        }
        self.start_apiserver(etcd_port, port).unwrap();
        self.wait("become ready again", Instant::now() + BOOT_LIMIT, Cluster::is_ready).unwrap();
    }

    /// The program that this control plane consists of.
    pub fn bench(&self) -> &Bench {
        &self.bench
    }

    /// `https://127.0.0.1:PORT`
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The path of a file of this control plane; tests may put their own there too.
    /// It is removed with everything else.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The socket at which the API server asks for a connection to the ClusterIP of a
    /// Service, by HTTP CONNECT. A test that wants it to get one listens there.
    pub fn services(&self) -> PathBuf {
        self.file(SERVICES)
    }

    /// The home directory of every program that is started here.
    pub fn home(&self) -> PathBuf {
        self.file("home")
    }

    /// The kubeconfig file of a user: `admin`, `team`, or one that has been written.
    pub fn kubeconfig(&self, user: &str) -> PathBuf {
        self.file(&format!("{user}.kubeconfig"))
    }

    /// Writes a kubeconfig file, for example for a token of a ServiceAccount
    /// (`kubectl create token`), and returns its path.
    pub fn write_kubeconfig(&self, user: &str, token: &str) -> PathBuf {
        let path = self.kubeconfig(user);
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "bench", "cluster": {
                "server": self.server,
                // Written by the API server: its certificate, and the CA that signed it.
                "certificate-authority": self.file("certs/apiserver.crt"),
            }}],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": user}}],
            "current-context": "bench",
        });
        fs::write(&path, config.to_string()).expect("a kubeconfig file can be written");
        path
    }

    /// kubectl with these arguments, as `admin` in the namespace `default` unless told otherwise.
    pub fn kubectl<I>(&self, arguments: I) -> Invocation<'_>
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        Invocation::new(self, "kubectl").args(arguments)
    }

    /// Helm with these arguments.
    pub fn helm<I>(&self, arguments: I) -> Invocation<'_>
    where
        I: IntoIterator,
        I::Item: AsRef<OsStr>,
    {
        Invocation::new(self, "helm").args(arguments)
    }

    /// A new namespace that nobody else uses.
    #[track_caller]
    pub fn namespace(&self) -> Namespace<'_> {
        self.namespace_labelled(&[])
    }

    /// A new namespace that nobody else uses, with labels such as `gapless.dev/profile`.
    #[track_caller]
    pub fn namespace_labelled(&self, labels: &[(&str, &str)]) -> Namespace<'_> {
        let (namespace, manifest) = self.unmade_namespace(labels);
        self.kubectl(["create", "-f", "-"]).stdin(manifest.to_string()).ok();
        namespace
    }

    /// The same for a caller that creates it: with its manifest.
    pub fn unmade_namespace(&self, labels: &[(&str, &str)]) -> (Namespace<'_>, Value) {
        let name = namespace_name(&test_name(), self.namespaces.fetch_add(1, Ordering::Relaxed));
        let labels: serde_json::Map<String, Value> =
            labels.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        let manifest = json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": labels},
        });
        (Namespace::new(self, name), manifest)
    }

    /// Every request that the API server has answered so far, oldest first: events
    /// of `audit.k8s.io/v1` at level Metadata.
    pub fn audit_log(&self) -> Vec<Value> {
        self.audit_log_with("")
    }

    /// The events in whose line this text is: to read all others takes seconds, once there
    /// are many.
    pub(super) fn audit_log_with(&self, text: &str) -> Vec<Value> {
        let log = fs::read_to_string(self.file("audit.log")).expect("there is an audit log");
        // A last line without its end is still being written.
        let complete = log.rfind('\n').map_or("", |end| &log[..end]);
        complete
            .lines()
            .filter(|line| line.contains(text))
            .map(|line| serde_json::from_str(line).expect("each line of the audit log is JSON"))
            .collect()
    }
}

/// Three ports that nothing listens on. They are free again on return, so somebody
/// else may be quicker; [`Cluster::boot`] copes with that.
fn free_ports() -> io::Result<[u16; 3]> {
    let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let listeners = [listen()?, listen()?, listen()?];
    let mut ports = [0; 3];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

/// A DNS label with the name of the test in it: whoever reads a log finds the test.
fn namespace_name(test: &str, number: usize) -> String {
    let function = test.rsplit("::").next().unwrap_or(test);
    let readable: String = function
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .take(50)
        .collect();
    format!("{}-{number}", readable.trim_matches('-'))
}

fn keep() -> bool {
    std::env::var_os("GAPLESS_TEST_KEEP").is_some()
}
