//! A run of gapless that ends by itself, and what it said.

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::thread;

use serde_json::Value;

/// What was written, and how it went.
#[derive(Debug)]
pub struct Ran {
    /// The exit code.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl From<Output> for Ran {
    #[track_caller]
    fn from(output: Output) -> Self {
        Ran {
            code: output.status.code().expect("no signal has ended it"),
            stdout: String::from_utf8(output.stdout).expect("text"),
            stderr: String::from_utf8(output.stderr).expect("text"),
        }
    }
}

impl Ran {
    /// The standard output of a command with `-f json`.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("not JSON ({error}): {self:?}"))
    }

    /// The JSON in the page of a command with `-f html`.
    #[track_caller]
    pub fn data_of_page(&self) -> Value {
        let start = "<script type=\"application/json\" id=\"report\">";
        let (_, rest) = self.stdout.split_once(start).unwrap_or_else(|| panic!("no page: {self:?}"));
        let (json, _) = rest.split_once("</script>").expect("an end of the data");
        assert!(!json.contains('<'), "{json}");
        serde_json::from_str(json).expect("JSON")
    }

    /// That nothing could be read, and that this was said in one paragraph.
    #[track_caller]
    pub fn failed_with(&self, message: &str) {
        assert_eq!((self.code, self.stdout.as_str()), (2, ""), "{self:?}");
        let error = self.stderr.lines().last().unwrap_or_default();
        assert_eq!(error, format!("error: {message}"), "{self:?}");
    }
}

/// `gapless VERB ARGUMENTS`, whatever the environment of the tests says of its
/// configuration and of colours.
pub fn gapless(verb: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gapless"));
    command.arg(verb).args(arguments);
    for variable in ["GAPLESS_CONFIG", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
        command.env_remove(variable);
    }
    command
}

/// Runs it with this text on its standard input.
#[track_caller]
pub fn with_stdin(mut command: Command, stdin: &str) -> Ran {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("gapless can be run");
    let mut pipe = child.stdin.take().expect("standard input is a pipe");
    let stdin = stdin.to_owned();
    let writer = thread::spawn(move || pipe.write_all(stdin.as_bytes()));
    let output = child.wait_with_output().expect("the output can be read");
    writer.join().expect("no panic").expect("it reads all of its input");
    output.into()
}
