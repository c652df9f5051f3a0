//! Builds the programs of the tests that are written in Go, above all the test
//! bench: all of `tests/cluster` in one executable, for each Kubernetes release.

use std::env;
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Instant;

use super::notice;

/// The variable that chooses a Kubernetes release by its minor version: `1.30`.
const CHOICE: &str = "GAPLESS_TEST_KUBERNETES";

/// A Go module whose script `build` makes one executable of it.
pub struct GoModule {
    /// Where it is in the repository; it has no directories of its own.
    pub directory: &'static str,
    /// The name of the executable in Cargo's target directory.
    pub program: &'static str,
    /// What it is, for people.
    pub name: &'static str,
    /// How long it takes to build the first time.
    pub takes: &'static str,
}

/// A Kubernetes release that the tests can be run against.
struct Release {
    bench: GoModule,
    go_mod: &'static str,
}

/// What the tests run against unless told otherwise.
static NEWEST: Release = Release {
    bench: GoModule {
        directory: "tests/cluster",
        program: "cluster-bench",
        name: "the Kubernetes test bench",
        takes: "ten minutes",
    },
    go_mod: include_str!("../cluster/go.mod"),
};

/// The oldest that the chart admits.
static OLDEST: Release = Release {
    bench: GoModule {
        directory: "tests/cluster/1.30",
        program: "cluster-bench-1.30",
        name: "the test bench of Kubernetes 1.30",
        takes: "five minutes",
    },
    go_mod: include_str!("../cluster/1.30/go.mod"),
};

impl Release {
    /// The release that [`CHOICE`] names, or else the newest.
    fn chosen() -> Result<&'static Release, Unavailable> {
        let Some(choice) = env::var_os(CHOICE) else { return Ok(&NEWEST) };
        let known = [&NEWEST, &OLDEST];
        known.into_iter().find(|release| choice == *release.minor_version()).ok_or_else(|| {
            let known = known.map(Release::minor_version).join(" and ");
            Unavailable::Failed(format!("{CHOICE} is {}, and the tests know {known}", choice.display()))
        })
    }

    /// For example `v1.37.2`.
    fn version(&self) -> &'static str {
        self.go_mod
            .lines()
            .find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes "))
            .expect("go.mod requires k8s.io/kubernetes")
    }

    /// For example `1.37`.
    fn minor_version(&self) -> &'static str {
        let version = self.version().trim_start_matches('v');
        version.rsplit_once('.').expect("a version has three parts").0
    }

    /// For example 37.
    fn minor(&self) -> u32 {
        let minor = self.minor_version().strip_prefix("1.").expect("Kubernetes is at version 1");
        minor.parse().expect("a minor version is a number")
    }
}

/// Why there is no test bench, or nothing that needs one.
pub enum Unavailable {
    /// The machine lacks something, such as the Go toolchain.
    Missing(String),
    /// Anything else: a broken build, a control plane that does not start.
    Failed(String),
}

/// The program that is etcd, kube-apiserver, kube-controller-manager and kubectl of one
/// release, depending on its first argument.
#[derive(Clone)]
pub struct Bench {
    /// The executable.
    pub program: PathBuf,
}

impl Bench {
    /// Builds the program of the chosen release, unless it is up to date.
    pub fn build() -> Result<Bench, Unavailable> {
        Bench::of(Release::chosen()?)
    }

    /// The newest whatever is chosen: it alone has Helm and what a node runs.
    pub fn build_newest() -> Result<Bench, Unavailable> {
        Bench::of(&NEWEST)
    }

    fn of(release: &Release) -> Result<Bench, Unavailable> {
        Ok(Bench { program: release.bench.build()? })
    }

    /// The program whose first argument can be `helm`. Built when it is first asked for,
    /// as most tests against an older release do without.
    ///
    /// # Panics
    /// If it cannot be built.
    pub fn with_helm() -> &'static Path {
        static NEWEST: OnceLock<PathBuf> = OnceLock::new();
        NEWEST.get_or_init(|| match Bench::build_newest() {
            Ok(bench) => bench.program,
            Err(Unavailable::Missing(why) | Unavailable::Failed(why)) => panic!("no Helm: {why}"),
        })
    }
}

impl GoModule {
    /// Builds the program into Cargo's target directory, unless the one that is
    /// there was built from the same sources, and returns its path. Test binaries
    /// that run at the same time wait for each other.
    pub fn build(&self) -> Result<PathBuf, Unavailable> {
        let program = target_directory().join(self.program);
        let stamp = self.beside("stamp");

        let _lock = self.lock(&self.beside("lock"))?;
        let built_from = self.sources()?;
        let up_to_date =
            program.exists() && fs::read_to_string(&stamp).is_ok_and(|stamped| stamped == built_from);
        if !up_to_date {
            self.go_build(&program)?;
            fs::write(&stamp, built_from).map_err(|error| cannot("write", &stamp, &error))?;
        }
        Ok(program)
    }

    fn lock(&self, path: &Path) -> Result<File, Unavailable> {
        let file = File::create(path).map_err(|error| cannot("create", path, &error))?;
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {
                notice(&format!("waiting for another test that builds {}", self.name));
            }
            Err(TryLockError::Error(error)) => return Err(cannot("lock", path, &error)),
        }
        file.lock().map_err(|error| cannot("lock", path, &error))?;
        Ok(file)
    }

    /// Everything that the program is built from: the script with the linker's flags,
    /// the module files, which pin the content of all dependencies, and the Go files.
    fn sources(&self) -> Result<String, Unavailable> {
        let directory = self.path();
        let mut files: Vec<PathBuf> = fs::read_dir(&directory)
            .map_err(|error| cannot("read", &directory, &error))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            // A directory is another module.
            .filter(|path| path.is_file())
            .collect();
        files.sort();
        let mut text = String::new();
        for file in files {
            let content = fs::read_to_string(&file).map_err(|error| cannot("read", &file, &error))?;
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            text.push_str(&format!("\n=== {name}\n{content}"));
        }
        Ok(text)
    }

    fn go_build(&self, program: &Path) -> Result<(), Unavailable> {
        require_go()?;
        let GoModule { name, takes, .. } = self;
        let started = Instant::now();
        notice(&format!("building {name} ({takes} the first time, seconds after that)"));
        // Beside the program and then renamed: a test that still runs the old one keeps it.
        let fresh = self.beside("new");
        let build = self.path().join("build");
        let status =
            Command::new(&build).arg(&fresh).status().map_err(|error| cannot("run", &build, &error))?;
        if !status.success() {
            return Err(Unavailable::Failed(format!(
                "{name} cannot be built: {} ended with {status}, its errors are above",
                build.display()
            )));
        }
        fs::rename(&fresh, program).map_err(|error| cannot("create", program, &error))?;
        notice(&format!("built {name} in {} s", started.elapsed().as_secs()));
        Ok(())
    }

    /// A file beside the program, such as `cluster-bench.lock`.
    fn beside(&self, extension: &str) -> PathBuf {
        target_directory().join(format!("{}.{extension}", self.program))
    }

    fn path(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(self.directory)
    }
}

/// The Kubernetes release that the tests run against, for example `v1.37.2`.
///
/// # Panics
/// If the one that is asked for is unknown.
pub fn kubernetes_version() -> &'static str {
    chosen().version()
}

/// The same for a test of what API servers have learned or changed since the oldest one:
/// 37 for Kubernetes 1.37.
///
/// # Panics
/// If the one that is asked for is unknown.
pub fn kubernetes_minor() -> u32 {
    chosen().minor()
}

/// The minor versions that the tests know: the newest, the oldest.
pub fn known_minor_versions() -> [&'static str; 2] {
    [NEWEST.minor_version(), OLDEST.minor_version()]
}

fn chosen() -> &'static Release {
    match Release::chosen() {
        Ok(release) => release,
        Err(Unavailable::Missing(why) | Unavailable::Failed(why)) => panic!("{why}"),
    }
}

/// Cargo's target directory, wherever it has been put.
pub fn target_directory() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("CARGO_TARGET_TMPDIR is a directory in the target directory")
        .to_owned()
}

fn require_go() -> Result<(), Unavailable> {
    match Command::new("go").arg("version").output() {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Unavailable::Missing(
            "Go is not installed (https://go.dev/dl), programs of the tests are built with it".to_owned(),
        )),
        Err(error) => Err(cannot("run", Path::new("go"), &error)),
    }
}

fn cannot(verb: &str, path: &Path, error: &std::io::Error) -> Unavailable {
    Unavailable::Failed(format!("cannot {verb} {}: {error}", path.display()))
}
