//! `gapless serve` while its configuration file changes.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::server::reviews;
use crate::support::fixtures::configuration;
use crate::support::program::{self, Program, eventually};

/// How often the program looks at its file here.
const INTERVAL: Duration = Duration::from_millis(20);

/// A running program and its configuration file.
struct Configured {
    directory: TempDir,
    program: Program,
}

impl Configured {
    #[track_caller]
    fn start(rest: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("config.yaml"), configuration(rest)).expect("a file");
        Configured::start_in(directory)
    }

    /// With the file `config.yaml` in this directory.
    #[track_caller]
    fn start_in(directory: TempDir) -> Self {
        let path = directory.path().join("config.yaml").display().to_string();
        let program = Program::start(&["--config", &path, "--config-poll-interval", "20ms"]);
        Configured { directory, program }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("config.yaml")
    }

    /// Puts a new file in the place of the old one.
    fn replace(&self, content: impl AsRef<[u8]>) {
        let fresh = self.directory.path().join("config.new");
        fs::write(&fresh, content).expect("a file");
        fs::rename(&fresh, self.path()).expect("a file");
    }

    /// The answer to the creation of a Deployment that the profile `production`
    /// denies.
    #[track_caller]
    fn validate(&self, path: &str) -> Value {
        let answer = self.program.connect().post(path, &reviews::body(&reviews::harmful()));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["response"].clone()
    }

    /// The profile that decided, and whether the request may go on.
    #[track_caller]
    fn verdict(&self, path: &str) -> (String, bool) {
        verdict(&self.validate(path))
    }

    #[track_caller]
    fn eventually_decides_by(&self, profile: &str) {
        eventually(profile, || self.verdict("/validate").0 == profile);
    }

    fn has_metric(&self, line: &str) -> bool {
        self.program.ops("/metrics").text().lines().any(|it| it == line)
    }

    /// Successes and failures so far.
    #[track_caller]
    fn assert_reloads(&self, success: u32, failure: u32) {
        for (result, count) in [("success", success), ("failure", failure)] {
            let line = format!("gapless_config_reloads_total{{result=\"{result}\"}} {count}");
            assert!(self.has_metric(&line), "not {line}:\n{}", self.program.ops("/metrics").text());
        }
    }

    #[track_caller]
    fn eventually_fails_for_the_time(&self, failure: u32) {
        let line = format!("gapless_config_reloads_total{{result=\"failure\"}} {failure}");
        eventually(&line, || self.has_metric(&line));
    }

    /// What `/readyz?verbose` says about the configuration. It is ready in any case.
    #[track_caller]
    fn note(&self) -> String {
        assert_eq!(self.program.ops("/readyz").text(), "ok");
        let verbose = self.program.ops("/readyz?verbose");
        assert_eq!(verbose.status, 200);
        let text = verbose.text();
        text.lines().find(|line| line.contains("configuration")).expect("a line about it").to_owned()
    }
}

fn verdict(response: &Value) -> (String, bool) {
    let profile = response["auditAnnotations"]["profile"].as_str().expect("a profile");
    (profile.to_owned(), response["allowed"] == true)
}

#[test]
fn a_changed_file_takes_effect() {
    let configured = Configured::start("defaultProfile: production");
    configured.assert_reloads(0, 0);
    assert_eq!(configured.verdict("/validate"), ("production".to_owned(), false));
    assert_eq!(configured.note(), "[+]configuration ok");

    configured.replace(configuration("defaultProfile: advisory"));
    configured.eventually_decides_by("advisory");
    assert_eq!(configured.verdict("/validate"), ("advisory".to_owned(), true));
    configured.assert_reloads(1, 0);
    let log = configured.program.log();
    assert_eq!(log.matches("the configuration has changed and is in force").count(), 1, "{log}");

    // Written again without a change.
    configured.replace(configuration("defaultProfile: advisory"));
    thread::sleep(INTERVAL * 5);
    configured.assert_reloads(1, 0);
}

/// Prometheus does not see the increase of a counter that appears with 1.
#[test]
fn a_new_profile_has_its_series_at_zero() {
    let configured = Configured::start("defaultProfile: production");
    let series = |webhook: &str| {
        let labels = "profile=\"payments\",operation=\"unknown\",dry_run=\"unknown\",decision=\"error\"";
        format!("gapless_admission_requests_total{{webhook=\"{webhook}\",{labels}}} 0")
    };
    assert!(!configured.has_metric(&series("validate")));
    configured.replace(configuration("profiles: {payments: {extends: production}}"));
    eventually("the new profile", || {
        configured.has_metric("gapless_config_reloads_total{result=\"success\"} 1")
    });
    for webhook in ["mutate", "validate"] {
        eventually(webhook, || configured.has_metric(&series(webhook)));
    }
}

#[test]
fn a_bad_file_changes_nothing_but_what_is_said_about_it() {
    let configured = Configured::start("defaultProfile: production");
    configured.replace(configuration("defaultProfile: prodution"));
    configured.eventually_fails_for_the_time(1);
    let problem = format!(
        "{}:3:1: defaultProfile: there is no profile \"prodution\"; did you mean production?",
        configured.path().display()
    );
    assert_eq!(configured.note(), format!("[!]configuration is an older one: {problem}"));
    assert_eq!(configured.verdict("/validate"), ("production".to_owned(), false));

    // Once for each content, however often it is looked at.
    thread::sleep(INTERVAL * 5);
    configured.assert_reloads(0, 1);
    let complaint = "the configuration has changed and cannot be used";
    assert_eq!(configured.program.log().matches(complaint).count(), 1, "{}", configured.program.log());
    assert!(configured.program.log().contains("did you mean production?"), "{}", configured.program.log());

    // Half of it, nothing of it, something else, no file.
    let bad: [&dyn Fn(); 4] = [
        &|| configured.replace("apiVersion: gapless.dev/v1alpha1\nkind: Gapl"),
        &|| configured.replace(""),
        &|| configured.replace(b"\xff\xfe"),
        &|| fs::remove_file(configured.path()).expect("a file"),
    ];
    for (number, spoil) in (2..).zip(bad) {
        spoil();
        configured.eventually_fails_for_the_time(number);
        assert!(configured.note().starts_with("[!]configuration is an older one: "), "{}", configured.note());
        assert_eq!(configured.verdict("/validate"), ("production".to_owned(), false));
    }

    // The same as in the beginning is good news all the same.
    configured.replace(configuration("defaultProfile: production"));
    eventually("the end of the complaint", || configured.note() == "[+]configuration ok");
    configured.replace(configuration("defaultProfile: development"));
    configured.eventually_decides_by("development");
    assert_eq!(configured.note(), "[+]configuration ok");
}

/// As the kubelet does it: the file is a link through the link `..data`, which is
/// exchanged; the old directory goes.
#[test]
fn a_mounted_configmap_is_followed() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name);
    let publish = |version: &str, text: &str| {
        fs::create_dir(at(version)).expect("a directory");
        fs::write(at(version).join("config.yaml"), text).expect("a file");
        symlink(version, at("..data_tmp")).expect("a link");
        fs::rename(at("..data_tmp"), at("..data")).expect("an exchange");
    };
    publish("..2026_1", &configuration("defaultProfile: production"));
    symlink("..data/config.yaml", at("config.yaml")).expect("a link");
    let path = at("config.yaml").display().to_string();
    let program = Program::start(&["--config", &path, "--config-poll-interval", "20ms"]);
    let decides_by = |profile: &str| {
        let answer = program.connect().post("/validate", &reviews::body(&reviews::harmful()));
        verdict(&answer.json()["response"]).0 == profile
    };
    for (version, profile) in
        [("..2026_2", "advisory"), ("..2026_3", "development"), ("..2026_4", "production")]
    {
        publish(version, &configuration(&format!("defaultProfile: {profile}")));
        eventually(profile, || decides_by(profile));
    }
    assert_eq!(program.log().matches("cannot be used").count(), 0, "{}", program.log());
}

/// As after `helm upgrade`: the API server asks for a new profile before the
/// kubelet has brought the file in which it is.
#[test]
fn a_profile_may_come_after_its_first_call_and_go_before_its_last() {
    let configured = Configured::start("defaultProfile: production");
    let early = configured.validate("/validate/payments");
    assert_eq!(verdict(&early), ("production".to_owned(), false));
    let note = "the profile asked for does not exist, the default applies";
    assert_eq!(early["auditAnnotations"]["unknown-profile"], note);
    let counted = "gapless_admission_requests_total{webhook=\"validate\",profile=\"payments\"";
    assert!(!configured.program.ops("/metrics").text().contains(counted));

    let payments = "profiles: {payments: {extends: production, rules: {recreate-strategy: Warn}}}";
    configured.replace(configuration(payments));
    eventually("the profile", || configured.verdict("/validate/payments").0 == "payments");
    let known = configured.validate("/validate/payments");
    assert_eq!(known["allowed"], true);
    assert!(known["warnings"].to_string().contains("(recreate-strategy)"), "{known}");
    assert_eq!(known["auditAnnotations"]["unknown-profile"], Value::Null);
    assert!(configured.program.ops("/metrics").text().contains(counted));

    configured.replace(configuration("defaultProfile: advisory"));
    eventually("its end", || configured.verdict("/validate/payments").0 == "advisory");
    assert_eq!(configured.validate("/validate/payments")["auditAnnotations"]["unknown-profile"], note);
}

#[test]
fn all_of_a_configuration_is_exchanged() {
    let configured = Configured::start("");
    let mutate = |path: &str| {
        let answer = configured.program.connect().post(path, &reviews::body(&reviews::sound()));
        answer.json()["response"].clone()
    };
    assert!(mutate("/mutate")["warnings"].to_string().contains("added preStop sleep 10s"));
    configured.replace(configuration("profiles: {production: {defaults: {pre-stop-sleep: {seconds: 17}}}}"));
    eventually("another sleep", || {
        mutate("/mutate")["warnings"].to_string().contains("added preStop sleep 17s")
    });

    configured.replace(configuration("exemptions: {usernames: [jane@example.com]}"));
    eventually("the exemption", || mutate("/mutate")["auditAnnotations"]["skipped"] == "exempt-user");
    assert_eq!(mutate("/mutate")["patch"], Value::Null);
    assert_eq!(configured.validate("/validate")["allowed"], true);
    assert!(!configured.has_metric("gapless_skips_total{reason=\"exempt-user\"} 0"));

    configured.replace(configuration("defaultProfile: off"));
    eventually("the end", || mutate("/mutate")["auditAnnotations"]["skipped"] == "profile-off");
    assert!(mutate("/mutate/production")["patch"].is_string(), "who asks for a profile gets it");
}

#[test]
fn a_call_is_answered_by_the_policy_with_which_it_began() {
    let configured = Configured::start("defaultProfile: production");
    let body = reviews::body(&reviews::harmful());
    let mut slow = configured.program.connect();
    slow.begin_post("/validate", body.len());
    // Another call after it, so that it has begun.
    thread::sleep(Duration::from_millis(200));
    assert_eq!(configured.verdict("/validate").0, "production");
    configured.replace(configuration("defaultProfile: advisory"));
    configured.eventually_decides_by("advisory");
    slow.write(&body);
    let answer = slow.read().expect("an answer").expect("not the end");
    assert_eq!(verdict(&answer.json()["response"]), ("production".to_owned(), false));
}

/// Good and bad files by turns, and every call is answered by one of the good
/// ones, as a whole.
#[test]
fn no_call_is_lost_to_a_change() {
    const CLIENTS: usize = 4;
    let configured = Configured::start("defaultProfile: production");
    let (has_ended, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    let body = reviews::body(&reviews::harmful());
    let client = || {
        let mut connection = configured.program.connect();
        let mut seen = Vec::new();
        while !has_ended.load(Ordering::Relaxed) {
            let answer = connection.post("/validate", &body);
            assert_eq!(answer.status, 200, "{}", answer.text());
            let verdict = verdict(&answer.json()["response"]);
            assert!(
                verdict == ("production".to_owned(), false) || verdict == ("advisory".to_owned(), true),
                "{verdict:?}"
            );
            if seen.last() != Some(&verdict.0) {
                seen.push(verdict.0);
            }
            answered.fetch_add(1, Ordering::Relaxed);
        }
        seen
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        for round in 0..10 {
            for (text, profile) in [
                (configuration("defaultProfile: advisory"), Some("advisory")),
                (configuration(&format!("round: {round}")), None),
                (configuration("defaultProfile: production"), Some("production")),
            ] {
                let before = answered.load(Ordering::Relaxed);
                configured.replace(&text);
                match profile {
                    Some(profile) => configured.eventually_decides_by(profile),
                    None => eventually("the complaint", || configured.note().contains("there is no field")),
                }
                eventually("more calls", || answered.load(Ordering::Relaxed) > before + 20);
            }
        }
        has_ended.store(true, Ordering::Relaxed);
        for client in clients {
            let seen = client.join().expect("a client that lost no call");
            assert!(seen.len() > 5, "it has seen several policies: {seen:?}");
        }
    });
    configured.assert_reloads(20, 10);
}

#[test]
fn the_interval_must_be_a_time() {
    for (interval, expected) in [("0s", "write more than 0, such as 2s"), ("2", "write a number with a unit")]
    {
        let output = program::refusal(&["--config-poll-interval", interval]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(expected), "{interval}: {stderr}");
    }
}
