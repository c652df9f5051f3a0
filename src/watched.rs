//! Files, looked at again and again.
//!
//! They are opened by their paths and read each time. So it does not matter how
//! they were changed: written in place, renamed, or by the kubelet, which
//! exchanges the symbolic link `..data` in the directory of a ConfigMap or Secret.

use std::error::Error;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// The largest file, in bytes. A ConfigMap or Secret holds no more.
const SIZE_LIMIT: u64 = 1024 * 1024;

/// The content of each file, or why there is none.
pub type Contents<const N: usize> = [io::Result<Vec<u8>>; N];

/// Files that belong together, and what was in them at the last look.
#[derive(Debug)]
pub struct WatchedFiles<const N: usize> {
    paths: [PathBuf; N],
    seen: [Seen; N],
}

/// The content of a file, or why there was none, for comparing.
type Seen = Result<Vec<u8>, String>;

impl<const N: usize> WatchedFiles<N> {
    /// Reads the files for the first time.
    pub fn open(paths: [&Path; N]) -> (Contents<N>, Self) {
        let paths = paths.map(Path::to_owned);
        let contents = read_all(&paths);
        let seen = contents.each_ref().map(remember);
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
        if now == self.seen {
            return None;
        }
        let contents = read_all(&self.paths);
        if contents.each_ref().map(remember) != now {
            return None;
        }
        self.seen = now;
        Some(contents)
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

/// Looks again and again, in a thread of its own, and acts on each change.
///
/// # Errors
/// If there is no thread for it.
pub fn follow<T>(
    interval: Duration,
    mut look: impl FnMut() -> Option<T> + Send + 'static,
    mut act: impl FnMut(T) + Send + 'static,
) -> io::Result<()> {
    let watch = move || {
        loop {
            thread::sleep(interval);
            if let Some(change) = look() {
                act(change);
            }
        }
    };
    thread::Builder::new().spawn(watch).map(|_| ())
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
