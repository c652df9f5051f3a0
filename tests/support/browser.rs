//! A real browser without a window: Chromium, which is told what to do over pipes (the
//! Chrome DevTools Protocol).

use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::bench::{Unavailable, target_directory};
use super::fixtures::repository_file;

/// The browser answers within this time, on the slowest machine.
const LIMIT: Duration = Duration::from_secs(120);

/// What it is called where it is installed.
const NAMES: [&str; 4] = ["chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"];

/// The Debian package, and where its program is.
const PACKAGE: &str = "chromium-headless-shell";
const PROGRAM: &str = "usr/lib/chromium/chromium-headless-shell";

/// A browser with one page.
pub struct Browser {
    child: Child,
    to: ChildStdin,
    from: Receiver<Value>,
    calls: u64,
    session: Option<String>,
    events: Vec<Value>,
    _profile: TempDir,
}

impl Browser {
    /// Starts a browser: that of this machine, or else Debian's, which is fetched once.
    pub fn start() -> Result<Browser, Unavailable> {
        let mut command = program()?;
        let profile = tempfile::tempdir().expect("a directory");
        // Its pipes are the descriptors 3 and 4.
        command.args(["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]);
        command.args(["--disable-background-networking", "--disable-component-update", "--headless"]);
        command.arg(format!("--user-data-dir={}", profile.path().display())).arg("--remote-debugging-pipe");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("a shell");
        let to = child.stdin.take().expect("a pipe");
        let mut answers = BufReader::new(child.stdout.take().expect("a pipe"));
        let (send, from) = mpsc::channel();
        thread::spawn(move || {
            let mut message = Vec::new();
            while answers.read_until(0, &mut message).is_ok_and(|length| length > 0) {
                message.pop();
                let read = serde_json::from_slice(&message).expect("JSON");
                if send.send(read).is_err() {
                    return;
                }
                message.clear();
            }
        });
        let mut browser =
            Browser { child, to, from, calls: 0, session: None, events: Vec::new(), _profile: profile };
        let target = browser.call("Target.createTarget", &json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", &attach);
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        Ok(browser)
    }

    /// Opens a file, and waits until it is loaded.
    pub fn open(&mut self, file: &Path) {
        self.events.clear();
        self.call("Page.navigate", &json!({"url": format!("file://{}", file.display())}));
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            self.wait_for_message();
        }
    }

    /// What a script makes of the page.
    #[track_caller]
    pub fn evaluate(&mut self, script: &str) -> Value {
        let parameters = json!({"expression": script, "returnByValue": true, "awaitPromise": true});
        let answer = self.call("Runtime.evaluate", &parameters);
        assert!(answer.get("exceptionDetails").is_none(), "{script}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Shows the page on a screen or on paper, light or dark.
    pub fn show(&mut self, media: &str, scheme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", &json!({"media": media, "features": features}));
        let screen = json!({"width": 1100, "height": 1400, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", &screen);
    }

    /// Whether pages may run scripts, from the next one on.
    pub fn allow_scripts(&mut self, may: bool) {
        self.call("Emulation.setScriptExecutionDisabled", &json!({"value": !may}));
    }

    /// A picture of what is seen, as PNG.
    pub fn picture(&mut self) -> Vec<u8> {
        let picture = self.call("Page.captureScreenshot", &json!({"format": "png"}));
        BASE64_STANDARD.decode(picture["data"].as_str().expect("a picture")).expect("a picture")
    }

    /// What the console says of the page since it was opened: what its policy refused,
    /// what its script threw, and whatever else.
    pub fn complaints(&mut self) -> Vec<String> {
        // What was said before this answer has arrived by then.
        self.evaluate("0");
        let methods = ["Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled"];
        let is_complaint = |event: &&Value| methods.iter().any(|method| event["method"] == *method);
        let complaints = self.events.iter().filter(is_complaint);
        complaints.map(|event| event["params"].to_string().chars().take(400).collect()).collect()
    }

    #[track_caller]
    fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.calls += 1;
        let mut message = json!({"id": self.calls, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        write!(self.to, "{message}\0").expect("the browser runs");
        loop {
            let event = self.wait_for_message();
            if event["id"] == self.calls {
                assert!(event.get("error").is_none(), "{method}: {event}");
                return event["result"].clone();
            }
        }
    }

    #[track_caller]
    fn wait_for_message(&mut self) -> Value {
        let message = self.from.recv_timeout(LIMIT).expect("the browser answers");
        self.events.push(message.clone());
        message
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command to which the arguments of the browser are to be added.
fn program() -> Result<Command, Unavailable> {
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null", "sh"]);
    let path = env::var_os("PATH").unwrap_or_default();
    let installed = env::split_paths(&path).flat_map(|directory| NAMES.map(|name| directory.join(name)));
    if let Some(program) = installed.into_iter().find(|program| program.is_file()) {
        command.arg(program);
        return Ok(command);
    }
    let directory = fetched()?;
    command.arg(directory.join(PROGRAM));
    let libraries =
        fs::read_dir(directory.join("usr/lib")).expect("libraries").map(|it| it.expect("a library").path());
    let libraries: Vec<PathBuf> = libraries.flat_map(|it| [it.join("pulseaudio"), it]).collect();
    command.env("LD_LIBRARY_PATH", env::join_paths(libraries).expect("paths"));
    Ok(command)
}

/// Where Debian's package is unpacked.
fn fetched() -> Result<PathBuf, Unavailable> {
    let directory = target_directory().join("browser");
    let lock = File::create(directory.with_extension("lock")).expect("a file");
    lock.lock().expect("the only one who fetches");
    let fetch = Command::new(repository_file("tests/packages")).arg(&directory).arg(PACKAGE).output();
    let fetch = fetch.map_err(|error| Unavailable::Failed(format!("cannot run tests/packages: {error}")))?;
    if fetch.status.success() {
        return Ok(directory);
    }
    let said = String::from_utf8_lossy(&fetch.stderr);
    let last = said.lines().last().unwrap_or_default();
    Err(Unavailable::Missing(format!(
        "there is no browser, and none can be fetched ({last}); install {PACKAGE}"
    )))
}
