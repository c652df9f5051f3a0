//! How far long work is, in one line on a terminal. Nothing of it goes into a pipe or a file.

use std::io::{self, IsTerminal, Write};

/// To the start of the line, and nothing on it any more (ECMA-48, EL).
pub const CLEAR: &str = "\r\x1b[K";

/// The line.
pub struct Progress {
    /// What is counted, in the plural.
    what: String,
    is_terminal: bool,
    is_shown: bool,
}

impl Progress {
    /// A line on standard error, if that is a terminal.
    pub fn new(what: impl Into<String>) -> Self {
        Progress { what: what.into(), is_terminal: io::stderr().is_terminal(), is_shown: false }
    }

    /// Says how many are done, and how many remain if that is known. What nothing
    /// remains of when it is first heard of was quick, and is not shown.
    pub fn show(&mut self, done: usize, remaining: Option<u64>) {
        self.show_to(done, remaining, &mut io::stderr());
    }

    fn show_to(&mut self, done: usize, remaining: Option<u64>, to: &mut impl Write) {
        if !self.is_terminal || (remaining.is_none() && !self.is_shown) {
            return;
        }
        self.is_shown = true;
        let all = remaining.map(|rest| format!(" of {}", done as u64 + rest)).unwrap_or_default();
        // Nothing hangs on it.
        let _ = write!(to, "{CLEAR}{done}{all} {}", self.what).and_then(|()| to.flush());
    }

    /// Takes the line away, so that something else can be written.
    pub fn clear(&mut self) {
        self.clear_on(&mut io::stderr());
    }

    fn clear_on(&mut self, to: &mut impl Write) {
        if self.is_shown {
            let _ = to.write_all(CLEAR.as_bytes()).and_then(|()| to.flush());
            self.is_shown = false;
        }
    }
}

/// An error that ends the work early is written where the line was.
impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// The items one after another, with a line that says how far it is. It is there from the
/// hundredth on, and gone after the last.
pub fn counted<T>(what: &str, items: Vec<T>) -> impl Iterator<Item = T> + use<T> {
    const EVERY: usize = 100;
    let mut progress = Progress::new(what);
    let all = items.len();
    let mut items = items.into_iter().enumerate();
    std::iter::from_fn(move || match items.next() {
        Some((done, item)) => {
            if done > 0 && done % EVERY == 0 {
                progress.show(done, Some((all - done) as u64));
            }
            Some(item)
        }
        None => {
            progress.clear();
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(is_terminal: bool, pages: &[(usize, Option<u64>)]) -> String {
        let mut progress = Progress { what: "Deployments".to_owned(), is_terminal, is_shown: false };
        let mut to = Vec::new();
        for (seen, remaining) in pages {
            progress.show_to(*seen, *remaining, &mut to);
        }
        progress.clear_on(&mut to);
        String::from_utf8(to).expect("text")
    }

    #[test]
    fn progress_is_for_terminals_and_long_work() {
        assert_eq!(written(false, &[(500, Some(700)), (1_000, Some(200)), (1_200, None)]), "");
        assert_eq!(written(true, &[(500, None)]), "");
        assert_eq!(
            written(true, &[(500, Some(700)), (1_200, None)]),
            "\r\x1b[K500 of 1200 Deployments\r\x1b[K1200 Deployments\r\x1b[K"
        );
    }

    #[test]
    fn what_is_counted_is_all_there() {
        assert_eq!(counted("files", (0..250).collect()).collect::<Vec<_>>(), (0..250).collect::<Vec<_>>());
    }
}
