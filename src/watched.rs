//! Files, looked at again and again, and whoever looks kept going.
//!
//! They are opened by their paths and read each time. So it does not matter how
//! they were changed: written in place, renamed, or by the kubelet, which
//! exchanges the symbolic link `..data` in the directory of a ConfigMap or Secret.

use std::error::Error;
use std::fs::File;
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::sleep;

use crate::observe::metrics::Metrics;

/// The largest file, in bytes. A ConfigMap or Secret holds no more.
const SIZE_LIMIT: u64 = 1024 * 1024;

/// The content of each file, or why there is none.
pub type Contents<const N: usize> = [io::Result<Vec<u8>>; N];

/// Files that belong together, and what was in them at the last look.
#[derive(Debug)]
pub struct WatchedFiles<const N: usize> {
    paths: [PathBuf; N],
    /// `None`: whatever is in them is a change.
    seen: Option<[Seen; N]>,
}

/// The content of a file, or why there was none, for comparing.
type Seen = Result<Vec<u8>, String>;

impl<const N: usize> WatchedFiles<N> {
    /// Reads the files for the first time.
    pub fn open(paths: [&Path; N]) -> (Contents<N>, Self) {
        let paths = paths.map(Path::to_owned);
        let contents = read_all(&paths);
        let seen = Some(contents.each_ref().map(remember));
        (contents, WatchedFiles { paths, seen })
    }

    /// The files.
    pub fn paths(&self) -> [&Path; N] {
        self.paths.each_ref().map(PathBuf::as_path)
    }

    /// Looks at the files; `None` if all are as they were, or if they change just
    /// now: then they are still being written, and the next look will tell.
    pub fn look(&mut self) -> Option<Contents<N>> {
        let now = read_all(&self.paths).each_ref().map(remember);
        if self.seen.as_ref() == Some(&now) {
            return None;
        }
        let contents = read_all(&self.paths);
        if contents.each_ref().map(remember) != now {
            return None;
        }
        self.seen = Some(now);
        Some(contents)
    }

    /// The next look finds a change.
    pub fn forget(&mut self) {
        self.seen = None;
    }
}

fn read_all<const N: usize>(paths: &[PathBuf; N]) -> Contents<N> {
    paths.each_ref().map(|path| read(path))
}

/// The bytes of a file, which is no larger than what Kubernetes mounts.
///
/// # Errors
/// If it cannot be read, or is larger.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(SIZE_LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > SIZE_LIMIT {
        return Err(io::Error::other("it is larger than 1 MiB, and so than any ConfigMap or Secret"));
    }
    Ok(bytes)
}

fn remember(content: &io::Result<Vec<u8>>) -> Seen {
    match content {
        Ok(content) => Ok(content.clone()),
        Err(error) => Err(error.to_string()),
    }
}

/// What may have changed at each look.
pub trait Watched: Send + 'static {
    /// What it is now.
    type Change;

    /// Looks at it; `None` if it is as it was.
    fn look(&mut self) -> Option<Self::Change>;

    /// Forgets the last look, so that the next one finds a change.
    fn forget(&mut self);
}

/// Looks again and again, in a thread of its own, and acts on each change.
///
/// # Errors
/// If there is no thread for it.
pub fn follow<W: Watched>(
    mut watched: W,
    interval: Duration,
    supervisor: Supervisor,
    mut act: impl FnMut(W::Change) + Send + 'static,
) -> io::Result<()> {
    let watch = move || {
        loop {
            thread::sleep(interval);
            let turn = || watched.look().into_iter().for_each(&mut act);
            if supervisor.watch(turn).is_none() {
                watched.forget();
            }
        }
    };
    thread::Builder::new().spawn(watch).map(|_| ())
}

/// Keeps whoever follows something going. A panic is a bug in gapless, but a thread
/// or task that ended with it would leave gapless with an old configuration or
/// certificate, and without a word.
#[derive(Clone, Debug)]
pub struct Supervisor {
    follower: &'static str,
    metrics: Arc<Metrics>,
}

impl Supervisor {
    /// Over the follower of this, as it is called in the log.
    pub fn new(follower: &'static str, metrics: Arc<Metrics>) -> Self {
        Supervisor { follower, metrics }
    }

    /// One turn; `None` if it panics, which is counted and logged. The next turn has
    /// to begin from what is certain.
    pub fn watch<T>(&self, turn: impl FnOnce() -> T) -> Option<T> {
        self.outcome(catch_unwind(AssertUnwindSafe(turn)))
    }

    /// One turn of a task after the other, for good, with this pause after each.
    pub async fn repeat<T>(
        &self,
        pause: Duration,
        mut follower: T,
        mut turn: impl FnMut(&mut T) -> BoxFuture<'_, ()>,
    ) -> ! {
        loop {
            self.outcome(AssertUnwindSafe(turn(&mut follower)).catch_unwind().await);
            sleep(pause).await;
        }
    }

    fn outcome<T>(&self, outcome: thread::Result<T>) -> Option<T> {
        if outcome.is_err() {
            self.metrics.record_panic();
            tracing::error!(follower = self.follower, "it has panicked, and begins again");
        }
        outcome.ok()
    }
}

/// The error and what caused it, in one line.
pub fn describe(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::sync::mpsc;

    use tokio::sync::mpsc::UnboundedSender;

    use super::*;

    /// What came of a look, as text.
    fn look<const N: usize>(files: &mut WatchedFiles<N>) -> Option<[String; N]> {
        let shown = |content: io::Result<Vec<u8>>| match content {
            Ok(bytes) => String::from_utf8(bytes).expect("text"),
            Err(error) => error.to_string(),
        };
        files.look().map(|contents| contents.map(shown))
    }

    #[test]
    fn each_content_is_seen_once() {
        let directory = tempfile::tempdir().expect("a directory");
        let (one, two) = (directory.path().join("one"), directory.path().join("two"));
        let write = |path: &Path, text: &str| fs::write(path, text).expect("a file");
        write(&one, "1");
        let (contents, mut files) = WatchedFiles::open([&one, &two]);
        assert!(contents[0].is_ok() && contents[1].is_err());
        let missing = "No such file or directory (os error 2)";
        assert_eq!(look(&mut files), None, "one is missing, as before");

        write(&two, "2");
        assert_eq!(look(&mut files), Some(["1".to_owned(), "2".to_owned()]));
        assert_eq!(look(&mut files), None);
        write(&one, "1");
        assert_eq!(look(&mut files), None, "written again, not changed");
        fs::remove_file(&one).expect("a file");
        assert_eq!(look(&mut files), Some([missing.to_owned(), "2".to_owned()]));
        assert_eq!(look(&mut files), None);
        fs::create_dir(&one).expect("a directory");
        assert!(look(&mut files).is_some_and(|[one, _]| one.contains("directory")));
    }

    /// A file that is looked at with a panic, once for each content that asks for it.
    struct Fragile {
        files: WatchedFiles<1>,
        over: Option<String>,
    }

    impl Fragile {
        /// Panics, but not over the same text a second time.
        fn meet(over: &mut Option<String>, met: &str) {
            if over.replace(met.to_owned()).as_deref() != Some(met) {
                panic!("a bug over {met:?}");
            }
        }
    }

    impl Watched for Fragile {
        type Change = String;

        fn look(&mut self) -> Option<String> {
            let [text] = look(&mut self.files)?;
            if text.starts_with("look") {
                Fragile::meet(&mut self.over, &text);
            }
            Some(text)
        }

        fn forget(&mut self) {
            self.files.forget();
        }
    }

    fn panics(metrics: &Metrics) -> String {
        let encoded = metrics.encode().expect("metrics");
        let line = encoded.lines().find(|line| line.starts_with("gapless_panics_total "));
        line.expect("a counter").to_owned()
    }

    fn metrics() -> Arc<Metrics> {
        Arc::new(Metrics::new(&crate::config::load(None).expect("the default policy")))
    }

    #[test]
    fn a_follower_that_panics_is_counted_and_loses_no_change() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        let exchange = |text: &str| {
            let next = directory.path().join("next");
            fs::write(&next, text).expect("a file");
            fs::rename(&next, &path).expect("a file");
        };
        exchange("first");
        let (_, files) = WatchedFiles::open([&path]);
        let (metrics, (sender, changes)) = (metrics(), mpsc::channel());
        let supervisor = Supervisor::new("a file", metrics.clone());
        let mut over = None;
        let act = move |text: String| {
            if text.starts_with("act") {
                Fragile::meet(&mut over, &text);
            }
            sender.send(text).expect("a receiver");
        };
        let fragile = Fragile { files, over: None };
        follow(fragile, Duration::from_millis(1), supervisor, act).expect("a thread");
        for (text, expected) in [
            ("sound", "gapless_panics_total 0"),
            ("look at this", "gapless_panics_total 1"),
            ("act on this", "gapless_panics_total 2"),
            ("sound again", "gapless_panics_total 2"),
        ] {
            exchange(text);
            let change = changes.recv_timeout(Duration::from_secs(30));
            assert_eq!(change.as_deref(), Ok(text));
            assert_eq!(panics(&metrics), expected, "{text}");
        }
    }

    #[tokio::test]
    async fn a_task_that_panics_is_counted_and_goes_on() {
        let metrics = metrics();
        let supervisor = Supervisor::new("a Secret", metrics.clone());
        let (sender, mut turns) = tokio::sync::mpsc::unbounded_channel();
        async fn turn((number, sender): &mut (i32, UnboundedSender<i32>)) {
            *number += 1;
            tokio::task::yield_now().await;
            sender.send(*number).expect("a receiver");
            assert!(*number > 2, "a bug");
        }
        let task = tokio::spawn(async move {
            supervisor.repeat(Duration::from_millis(1), (0, sender), |it| turn(it).boxed()).await
        });
        for expected in 1..=4 {
            let turn = tokio::time::timeout(Duration::from_secs(30), turns.recv());
            assert_eq!(turn.await.expect("a turn"), Some(expected));
        }
        assert_eq!(panics(&metrics), "gapless_panics_total 2");
        task.abort();
    }

    #[test]
    fn what_the_kubelet_mounts_is_followed() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        let publish = |version: &str, text: &str| {
            fs::create_dir(at(version)).expect("a directory");
            fs::write(at(version).join("file"), text).expect("a file");
            symlink(version, at("..data_tmp")).expect("a link");
            fs::rename(at("..data_tmp"), at("..data")).expect("an exchange");
        };
        publish("..1", "old");
        symlink("..data/file", at("file")).expect("a link");
        let (_, mut files) = WatchedFiles::open([&at("file")]);
        publish("..2", "new");
        fs::remove_dir_all(at("..1")).expect("a directory");
        assert_eq!(look(&mut files), Some(["new".to_owned()]));
    }

    #[test]
    fn a_file_has_a_limit() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        fs::write(&path, vec![b' '; 1024 * 1024]).expect("a file");
        assert!(read(&path).is_ok());
        fs::write(&path, vec![b' '; 1024 * 1024 + 1]).expect("a file");
        let error = read(&path).expect_err("it is too large").to_string();
        assert_eq!(error, "it is larger than 1 MiB, and so than any ConfigMap or Secret");
    }
}
