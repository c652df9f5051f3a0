//! Builds the programs of the tests that are written in Go, above all the test
//! bench: all of `tests/cluster` in one executable.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use super::notice;

const GO_MOD: &str = include_str!("../cluster/go.mod");

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

const CLUSTER: GoModule = GoModule {
    directory: "tests/cluster",
    program: "cluster-bench",
    name: "the Kubernetes test bench",
    takes: "ten minutes",
};

/// Why there is no test bench, or nothing that needs one.
pub enum Unavailable {
    /// The machine lacks something, such as the Go toolchain.
    Missing(String),
    /// Anything else: a broken build, a control plane that does not start.
    Failed(String),
}

/// The program that is etcd, kube-apiserver, kube-controller-manager, kubectl and
/// helm, depending on its first argument.
#[derive(Clone)]
pub struct Bench {
    /// The executable.
    pub program: PathBuf,
}

impl Bench {
    /// Builds the program, unless it is up to date.
    pub fn build() -> Result<Bench, Unavailable> {
        Ok(Bench { program: CLUSTER.build()? })
    }
}

impl GoModule {
    /// Builds the program into Cargo's target directory, unless the one that is
    /// there was built from the same sources, and returns its path. Test binaries
    /// that run at the same time wait for each other.
    pub fn build(&self) -> Result<PathBuf, Unavailable> {
        let program = target_directory().join(self.program);
        let stamp = program.with_extension("stamp");

        let _lock = self.lock(&program.with_extension("lock"))?;
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
        let fresh = program.with_extension("new");
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

    fn path(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(self.directory)
    }
}

/// The Kubernetes release that the bench is built from, for example `v1.37.2`.
pub fn kubernetes_version() -> &'static str {
    GO_MOD
        .lines()
        .find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes "))
        .expect("tests/cluster/go.mod requires k8s.io/kubernetes")
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
