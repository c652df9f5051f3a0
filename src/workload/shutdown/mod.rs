//! How long a container waits before it is told to stop, and who tells it.

mod shell;
mod steps;

use std::time::Duration;

use super::object::{LifecycleHandler, SleepAction};
use steps::{FOREVER, Step};

/// How a hook stops the process before it has waited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopsFirst {
    /// By this command.
    By(String),
    /// Its `sleep` fails at once, and nothing else is in it that could wait.
    SleepFails {
        /// Whether the hook is nothing but that.
        is_all: bool,
    },
}

/// When a process learns that it has to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// After so much sleep.
    pub after: Duration,
    /// Whether the hook goes on to sleep when it has told the process, or may have.
    pub sleeps_on: bool,
}

impl LifecycleHandler<'_> {
    /// How long this hook certainly sleeps: the native action, or the `sleep`
    /// commands that an exec hook is sure to run. Zero if nothing can be told.
    pub fn sleeps(&self) -> Duration {
        self.sleep.as_ref().map_or_else(|| sum(&self.steps()), native)
    }

    /// How long this hook certainly sleeps before the process is told to stop, by the hook
    /// itself or by the kubelet when the hook is over.
    pub fn told(&self) -> Told {
        if let Some(sleep) = &self.sleep {
            return Told { after: native(sleep), sleeps_on: false };
        }
        let steps = self.steps();
        let may_tell = |step: &Step| match step {
            Step::Stop(_) => true,
            Step::Instant { may_stop } | Step::Unknown { may_stop } => *may_stop,
            Step::Sleep(_) | Step::FailingSleep | Step::Nothing => false,
        };
        let place = steps.iter().position(may_tell).unwrap_or(steps.len());
        let (before, behind) = steps.split_at_checked(place).unwrap_or((&steps, &[]));
        Told { after: sum(before), sleeps_on: !sum(behind).is_zero() }
    }

    /// Whether this is nothing but a `sleep` through exec.
    pub fn is_sleep_by_exec(&self) -> bool {
        let steps = self.steps();
        let is_sleep = |step: &Step| matches!(step, Step::Sleep(_) | Step::Nothing);
        !sum(&steps).is_zero() && steps.iter().all(is_sleep)
    }

    /// How this hook stops the process before it has waited. `None` if it waits first, or
    /// if it does something of which nobody knows whether it waits.
    pub fn stops_first(&self) -> Option<StopsFirst> {
        let steps = self.steps();
        let is_instant = |step: &&Step| {
            !matches!(step, Step::Stop(_) | Step::Unknown { .. })
                && !matches!(step, Step::Sleep(duration) if !duration.is_zero())
        };
        match steps.iter().find(|step| !is_instant(step)) {
            Some(Step::Stop(command)) => Some(StopsFirst::By(command.clone())),
            Some(_) => None,
            None if steps.contains(&Step::FailingSleep) => {
                Some(StopsFirst::SleepFails { is_all: steps.len() == 1 })
            }
            None => None,
        }
    }

    /// What an exec hook does. The other ones run nothing.
    fn steps(&self) -> Vec<Step> {
        let exec = self.exec.as_ref().filter(|_| self.sleep.is_none());
        exec.map(|exec| steps::of_command(&exec.command)).unwrap_or_default()
    }
}

fn native(sleep: &SleepAction) -> Duration {
    Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0))
}

fn sum(steps: &[Step]) -> Duration {
    let durations = steps.iter().filter_map(|step| match step {
        Step::Sleep(duration) => Some(*duration),
        _ => None,
    });
    durations.fold(Duration::ZERO, Duration::saturating_add).min(FOREVER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What is asked of an exec hook.
    fn asked<T>(command: &[&str], question: impl Fn(&LifecycleHandler) -> T) -> T {
        let raw = serde_json::json!({"exec": {"command": command}});
        question(&serde::Deserialize::deserialize(&raw).unwrap())
    }

    fn seconds(command: &[&str]) -> f64 {
        asked(command, |hook| hook.sleeps().as_secs_f64())
    }

    fn script_seconds(script: &str) -> f64 {
        seconds(&["sh", "-c", script])
    }

    #[test]
    fn sleeps_of_odd_commands() {
        #[rustfmt::skip]
        let table: [(&[&str], f64); 57] = [
            (&["sleep", "10"], 10.0),
            (&["/bin/sleep", "10"], 10.0),
            (&["sleep", "1m"], 60.0),
            (&["sleep", "1m", "30s"], 90.0),
            (&["sleep", "0.5"], 0.5),
            (&["sleep", ".5"], 0.5),
            (&["sleep", "5."], 5.0),
            (&["sleep", "1h"], 3600.0),
            (&["sleep", "1d"], 86400.0),
            (&["sleep", "--", "7"], 7.0),
            (&["sleep"], 0.0),
            (&["sleep", "$SECONDS"], 0.0),
            (&["sleep", "-5"], 0.0),
            (&["sleep", "nan"], 0.0),
            (&["sleep", "1e1"], 0.0),
            (&["sleep", "10", "x"], 0.0),
            (&["sleep", "--help"], 0.0),
            (&["sleep", "infinity"], u32::MAX as f64),
            (&["sleep", "99999999999999999999"], u32::MAX as f64),
            (&["sleep 10"], 0.0),
            (&[], 0.0),
            (&["nginx", "-s", "quit"], 0.0),
            (&["/bin/sh", "-c", "sleep 10"], 10.0),
            (&["/bin/bash", "-lc", "sleep 10; nginx -s quit"], 10.0),
            (&["bash", "-euxc", "sleep 10"], 10.0),
            (&["bash", "-euo", "pipefail", "-c", "sleep 10"], 10.0),
            (&["bash", "-euo", "pipefail", "-c", "test -e /x; sleep 10"], 0.0),
            (&["bash", "--norc", "--rcfile", "/x", "-c", "sleep 10"], 10.0),
            (&["sh", "-c", "--", "sleep 10"], 10.0),
            (&["sh", "-c", "sleep 10", "name", "sleep 20"], 10.0),
            (&["sh", "-nc", "sleep 10"], 0.0),
            (&["sh", "-c"], 0.0),
            (&["sh", "-s"], 0.0),
            (&["sh", "script.sh"], 0.0),
            (&["sh", "sleep", "10"], 0.0),
            (&["sh", "-c", "sleep", "10"], 0.0),
            (&["env", "sleep", "10"], 10.0),
            (&["/usr/bin/env", "-i", "A=B", "-u", "C", "D=", "sleep", "10"], 10.0),
            (&["env", "-S", "sleep 10"], 0.0),
            (&["env", "sh", "-c", "sleep 10"], 10.0),
            (&["busybox", "sleep", "10"], 10.0),
            (&["busybox", "sh", "-c", "sleep 10"], 10.0),
            (&["nice", "-n", "5", "sleep", "10"], 10.0),
            (&["nice", "-5", "nohup", "sleep", "10"], 10.0),
            (&["timeout", "30", "sleep", "10"], 10.0),
            (&["timeout", "5", "sleep", "10"], 5.0),
            (&["timeout", "-k", "1", "--preserve-status", "0.1m", "sleep", "10"], 6.0),
            (&["timeout", "0", "sleep", "10"], 10.0),
            (&["timeout", "-t", "5", "sleep", "10"], 0.0),
            (&["timeout", "$N", "sleep", "10"], 0.0),
            (&["timeout", "12", "sh", "-c", "sleep 10; sleep 10"], 12.0),
            // The drain may take all of it.
            (&["timeout", "12", "sh", "-c", "/opt/drain; sleep 10"], 0.0),
            (&["timeout", "12"], 0.0),
            (&["setsid", "sleep", "10"], 0.0),
            (&["env", "env", "env", "env", "env", "env", "env", "sleep", "10"], 10.0),
            (&["env", "env", "env", "env", "env", "env", "env", "env", "sleep", "10"], 0.0),
            (&["powershell.exe", "-c", "sleep 10"], 0.0),
        ];
        for (command, expected) in table {
            assert_eq!(seconds(command), expected, "{command:?}");
        }
    }

    #[test]
    fn sleeps_that_certainly_happen() {
        for (script, expected) in [
            ("sleep 10", 10.0),
            ("echo bye; sleep 1m", 60.0),
            ("sleep 10\nsleep 20", 30.0),
            ("sleep 5;sleep 10;", 15.0),
            ("\n\n  sleep 5  \n\n", 5.0),
            ("sleep 1m 5", 65.0),
            ("sleep 10 || true", 10.0),
            ("sleep 10 && true", 10.0),
            ("sleep 10 && sleep 5", 10.0),
            ("exec sleep 10", 10.0),
            ("exec -a drain sleep 10; sleep 20", 10.0),
            ("exec >/dev/null 2>&1; sleep 10", 10.0),
            ("sleep 10 > /dev/null 2>&1", 10.0),
            ("2>/dev/null sleep 10 </dev/null", 10.0),
            ("sleep \"10\"", 10.0),
            ("'sleep' 1'0'", 10.0),
            ("s\\leep 10", 10.0),
            ("/bin/sleep 10", 10.0),
            ("A=B C='d e' sleep 10", 10.0),
            ("A=5\nsleep 10", 10.0),
            ("export A=5 B C='d e'; unset D; sleep 10", 10.0),
            ("env TZ=UTC sleep 10", 10.0),
            ("command sleep 10", 10.0),
            ("command -p sleep 10", 10.0),
            ("builtin sleep 10", 10.0),
            ("timeout 5 sleep 10; sleep 1", 6.0),
            ("sleep \\\n  10", 10.0),
            ("sleep 10 # sleep 20", 10.0),
            ("sleep 10 #it's\nsleep 20", 30.0),
            ("# don't\nsleep 10", 10.0),
            ("sleep 10#20", 0.0),
            ("sh -c 'sleep 10'; sleep 5", 15.0),
            ("bash -c \"sh -c 'sleep 10'\"", 10.0),
            ("sh -c 'exit 0; sleep 10'; sleep 5", 5.0),
            ("cat <<EOF\nsleep 10\nEOF\nsleep 5", 5.0),
            ("cat <<-'A B'\n\tsleep 10\n\tA B\nsleep 5", 5.0),
            ("cat <<A <<B; sleep 5\nsleep 10\nA\nsleep 20\nB\nsleep 7", 12.0),
            ("cat <<'EOF'\n`x\nEOF\nsleep 5", 5.0),
            ("cat <<EOF\nsleep 10", 0.0),
            ("echo \"$(date)\" '`'; sleep 10", 10.0),
            ("echo ${A:-'}'} \"${B:-)}\" $((1 + (2))) $'it\\'s'; sleep 10", 10.0),
            ("if x; then sleep 10; fi; sleep 5", 5.0),
            ("[ -e /x ] && sleep 10; sleep 5", 5.0),
            ("pause() { sleep 10; }; sleep 5", 5.0),
            ("pause ()\n{\nsleep 10\n}\nfunction wait_more { sleep 20; }\nsleep 5", 5.0),
            ("case x in (a|b) y ;; c) ;; *) z; esac; sleep 5", 5.0),
            ("case x in esac; sleep 5", 5.0),
            ("for i do x; done; sleep 5", 0.0),
            ("if (x) then { y; } fi >/log; sleep 5", 5.0),
            ("if x; then y; elif z; then a=1 b; else >/log c; fi; sleep 5", 5.0),
            ("while\n x |\n y\ndo f() ( z; ); done; sleep 5", 0.0),
            ("while\n ! x |\n y\ndo [[ a || b ]]\ndone; sleep 5", 5.0),
            ("for i in a b\ndo\n cat <<EOF\nfi\nEOF\ndone; sleep 5", 5.0),
            ("for ((i = 0; i < 3; i++)); do x; done; sleep 5", 5.0),
            ("set -e; echo hi; sleep 10", 10.0),
            ("set -e; test -e /x || true; sleep 10", 10.0),
            ("set -e; set +e; test -e /x; sleep 10", 10.0),
            ("set -u; echo hi; sleep 10", 10.0),
            ("test -e /x; sleep 10; exit 0; sleep 20", 10.0),
            ("set -e; sleep 5 && /opt/drain; sleep 10", 5.0),
            ("set +o errexit e; test -e /x; sleep 10", 10.0),
            ("kill -TERM 1; sleep 10", 10.0),
        ] {
            assert_eq!(script_seconds(script), expected, "{script}");
        }
    }

    #[test]
    fn what_depends_on_something_counts_nothing() {
        for script in [
            "",
            "sleep",
            "sleep $N",
            "sleep \"$N\"",
            "sleep ${N:-10}",
            "sleep $((5 + 5))",
            "sleep $(cat /n)",
            "sleep `cat /n`",
            "sleep {1,2}",
            "sleep 1*",
            "$SLEEP 10",
            "sleep 10 &",
            "sleep 10 & wait",
            "sleep 10 &> /dev/null",
            "true || sleep 10",
            "true && sleep 10",
            "test -e /x &&\n sleep 10",
            "/opt/drain ||\n\n# comment\nsleep 10",
            "! sleep 10",
            "sleep 10 | cat",
            "yes | sleep 10",
            "echo 'sleep 10; sleep 20'",
            "echo \"sleep 10; sleep 20\"",
            "echo sleep 10",
            "while true; do sleep 1; done",
            "while true\ndo\n  sleep 10\ndone",
            "until false; do sleep 10; done",
            "for i in 1 2 3; do sleep 10; done",
            "for i in 1 2 3\ndo sleep 10\ndone",
            "for ((i = 0; i < 3; i++)); do sleep 10; done",
            "if true; then sleep 10; fi",
            "if true\nthen sleep 10\nelse sleep 20\nfi",
            "if true; then if true; then sleep 10; fi; sleep 20; fi",
            "case $x in a) sleep 10;; (b|c) sleep 20 ;; *) sleep 30; esac",
            "case $x in\n a)\n sleep 10\n ;;\nesac",
            "{ sleep 10; }",
            "(sleep 10)",
            "( sleep 10; sleep 20 )",
            "[[ -e /x ]] && sleep 10",
            "[[ -e /x && ( a < b || c ) ]] && sleep 10",
            "(( 1 < 2 )) && sleep 10",
            "$(sleep 10)",
            "echo $(sleep 10)",
            "`sleep 10`",
            "diff <(sleep 10) >(sleep 20)",
            "pause() { sleep 10; }; pause",
            "sleep() { true; }; sleep 10",
            "function sleep { true; }; sleep 10",
            "alias sleep=true; sleep 10",
            "exit 0; sleep 10",
            "exit; sleep 10",
            "return 0\nsleep 10",
            "exec true; sleep 10",
            "exec nginx -s quit; sleep 10",
            "[ -e /x ] || exit 0; sleep 10",
            "[ -e /x ] && return; sleep 10",
            "if [ -e /x ]; then exit 0; fi; sleep 10",
            "[ -e /x ] && kill $$; sleep 10",
            "set -euo pipefail; /opt/drain; sleep 10",
            "finish() { exit 0; }; finish; sleep 10",
            ". /opt/functions; sleep 10",
            ". /opt/functions <<EOF\nEOF\nsleep 10",
            "unset x sleep 9; sleep 10",
            "case x in *) unset sleep 9;; esac; sleep 10",
            "[ -e /x ] && shift 3; sleep 10",
            "export a-b=1; sleep 10",
            "source /opt/functions; sleep 10",
            "eval \"$X\"; sleep 10",
            "set -e; test -e /x; sleep 10",
            "set -o errexit; /opt/drain; sleep 10",
            "set -eu\n/opt/drain && true\nsleep 10",
            "set -u; echo $X; sleep 10",
            "set -u; true && test $X; sleep 10",
            "set -n; sleep 10",
            "sleep 10 < /run/pipe",
            "sleep 10 <<EOF\nEOF",
            // Not understood at all.
            "sleep 10; echo 'it",
            "sleep 10; echo \"it",
            "sleep 10; echo $(date",
            "sleep 10; echo ${x",
            "sleep 10; fi",
            "sleep 10; )",
            "sleep 10; }",
            "if x; then sleep 10",
            "case x in a) sleep 10;;",
            "if x; then sleep 10; done",
            "(sleep 10; fi)",
            "sleep 10; ; sleep 20",
            "sleep 10; echo (",
            "a=(1 2); sleep 10",
            "coproc sleep 10",
            "cat <<EOF\n$(sleep 5)\nEOF\nsleep 10",
            "cat <<EOF\n`x\nEOF\nsleep 10",
            "sleep 10; s$x() { true; }",
            "sleep 10\nx &> /dev/null sleep 20",
            "if x; then ; fi; sleep 10",
            "if x; then fi; sleep 10",
            "if x then y; fi; sleep 10",
            "if x; then y; else z; else z; fi; sleep 10",
            "while x; done; sleep 10",
            "case x; in a) y;; esac; sleep 10",
            "case x in a b) y;; esac; sleep 10",
            "case x in (esac; sleep 10",
            "(x) y; sleep 10",
            "if x; then y; fi z; sleep 10",
            "x | ! y; sleep 10",
            "! ! x; sleep 10",
            "x || sleep() { true; }; sleep 10",
            "if x; then sleep() { true; }; fi; sleep 10",
            "f() { sleep() { true; }; }; f; sleep 10",
            "{ sleep 5 &; }; sleep 10",
            "while x; do y && ; done; sleep 10",
            // A program of its own for most shells.
            "time sleep 10",
        ] {
            assert_eq!(script_seconds(script), 0.0, "{script}");
        }
        // A here-document does not end in the middle of a line.
        assert_eq!(script_seconds("cat <<EOF\n EOF\nsleep 10\nEOF x\nsleep 20\nEOF\nsleep 5"), 5.0);
    }

    #[test]
    fn when_the_process_is_told() {
        for (script, after, sleeps_on) in [
            ("sleep 10", 10, false),
            ("sleep 10; sleep 5", 15, false),
            ("sleep 10; kill 1", 10, false),
            ("sleep 10; kill 1; sleep 20", 10, true),
            ("kill 1; sleep 20", 0, true),
            ("kill 1", 0, false),
            ("nginx -s quit && sleep 20; sleep 5", 0, true),
            ("echo 'stopping now'; sleep 20", 20, false),
            ("touch /tmp/unready; sleep 20", 20, false),
            ("consul leave; sleep 20", 20, false),
            // Each of these may have told it.
            ("touch /tmp/shutdown; sleep 20", 0, true),
            ("echo 1 > /tmp/drain; sleep 20", 0, true),
            ("> /tmp/drain; sleep 20", 0, true),
            ("kill -HUP 1; sleep 20", 0, true),
            ("kill -USR1 $(cat /run/pid); sleep 20", 0, true),
            ("curl -X POST localhost/shutdown; sleep 20", 0, true),
            ("/opt/pre-stop.sh; sleep 20", 0, true),
            ("$DRAIN; sleep 20", 0, true),
            ("[ -e /x ] && kill 1; sleep 20", 0, true),
            ("if x; then kill -QUIT 1; fi; sleep 20", 0, true),
            ("while pkill nginx; do :; done; sleep 20", 0, true),
            ("(nginx -s quit) & sleep 20", 0, true),
            ("end() { nginx -s quit; }; end; sleep 20", 0, true),
            ("end() { nginx -s quit; }; sleep 20", 20, false),
        ] {
            let expected = Told { after: Duration::from_secs(after), sleeps_on };
            assert_eq!(asked(&["sh", "-c", script], |hook| hook.told()), expected, "{script}");
        }
    }

    #[test]
    fn nothing_but_a_sleep() {
        let is_sleep = |command: &[&str]| asked(command, |hook| hook.is_sleep_by_exec());
        assert!(is_sleep(&["sleep", "10"]));
        for script in
            ["sleep 10", "sleep 10; true", "set -x; exec sleep 10 # bye", "sleep 5\nsleep 5; exit 0"]
        {
            assert!(is_sleep(&["sh", "-c", script]), "{script}");
        }
        for script in [
            "sleep 0",
            "sleep",
            "true",
            "echo bye; sleep 10",
            "sleep 10; nginx -s quit",
            "sleep 10; /opt/drain",
            "sleep 10 && /opt/drain",
            "sleep 10; if x; then y; fi",
            "sleep 10; sleep $N",
            "kill 1; sleep 10",
        ] {
            assert!(!is_sleep(&["sh", "-c", script]), "{script}");
        }
    }

    fn stops_first(command: &[&str]) -> Option<StopsFirst> {
        asked(command, |hook| hook.stops_first())
    }

    #[test]
    fn hooks_that_stop_first() {
        for (script, command) in [
            ("kill -QUIT 1; sleep 40", "kill -QUIT 1"),
            ("kill 1", "kill 1"),
            ("kill -- -1", "kill -- -1"),
            ("kill -TERM -1", "kill -TERM -1"),
            ("kill -s SIGTERM 1", "kill -s SIGTERM 1"),
            ("kill -15 $PID", "kill -15 $PID"),
            ("/bin/kill -INT $(cat /run/nginx.pid)", "/bin/kill -INT $cat /run/nginx.pid"),
            ("kill -3 `pidof -s nginx`; sleep 10", "kill -3 pidof -s nginx"),
            (
                "PID=$(pgrep -o java); kill -TERM $PID; while kill -0 $PID; do sleep 1; done",
                "kill -TERM $PID",
            ),
            ("pkill nginx", "pkill nginx"),
            ("pkill -QUIT -f 'java -jar'", "pkill -QUIT -f java -jar"),
            ("pkill --signal=TERM nginx", "pkill --signal=TERM nginx"),
            ("killall -s QUIT nginx", "killall -s QUIT nginx"),
            ("killall -9 nginx || true; sleep 20", "killall -9 nginx"),
            ("pidof nginx | xargs kill -QUIT", "kill -QUIT"),
            ("ps ax | grep nginx | awk '{print $1}' | xargs -r -n 1 kill", "kill"),
            ("nginx -s quit", "nginx -s quit"),
            (
                "/usr/sbin/nginx -c /etc/nginx.conf -s quit; sleep 10",
                "/usr/sbin/nginx -c /etc/nginx.conf -s quit",
            ),
            ("nginx -s stop && sleep 20", "nginx -s stop"),
            ("openresty -s quit", "openresty -s quit"),
            ("apachectl -k graceful-stop", "apachectl -k graceful-stop"),
            ("apache2ctl graceful-stop", "apache2ctl graceful-stop"),
            ("service nginx stop >/dev/null 2>&1; sleep 5", "service nginx stop"),
            ("/etc/init.d/tomcat stop", "/etc/init.d/tomcat stop"),
            ("supervisorctl stop all", "supervisorctl stop all"),
            ("/opt/tomcat/bin/catalina.sh stop 20 -force", "/opt/tomcat/bin/catalina.sh stop 20 -force"),
            ("uwsgi --stop /run/uwsgi.pid", "uwsgi --stop /run/uwsgi.pid"),
            ("echo stopping; touch /tmp/drain; set -x; kill 1", "kill 1"),
            ("sleep 0; kill 1", "kill 1"),
            ("sleep; kill 1", "kill 1"),
            ("exec nginx -s quit", "nginx -s quit"),
            ("env A=b timeout 10 nginx -s quit", "nginx -s quit"),
            ("sh -c 'kill 1'; sleep 10", "kill 1"),
            ("nginx -s reload; nginx -s quit", "nginx -s quit"),
            ("[ -e /x ]; kill 1", "kill 1"),
        ] {
            assert_eq!(stops_first(&["sh", "-c", script]), Some(StopsFirst::By(command.into())), "{script}");
        }
        assert_eq!(
            stops_first(&["/usr/sbin/nginx", "-s", "quit"]),
            Some(StopsFirst::By("/usr/sbin/nginx -s quit".into()))
        );
        let long = format!("kill {}", "1".repeat(100));
        assert_eq!(stops_first(&["sh", "-c", &long]), Some(StopsFirst::By(format!("{}...", &long[..60]))));
    }

    #[test]
    fn hooks_whose_sleep_fails() {
        for (command, is_all) in [
            (&["sleep"][..], true),
            (&["sh", "-c", "sleep", "12"], true),
            (&["sh", "-c", "sleep"], true),
            (&["sh", "sleep", "5"], true),
            (&["bash", "sleep 5"], true),
            (&["sleep 5"], true),
            (&["/bin/sh -c 'sleep 5'"], true),
            (&["sleep", "$SECONDS"], true),
            (&["sleep", "ten"], true),
            (&["sleep", "10sec"], true),
            (&["sleep", "1m30s"], true),
            (&["sleep", "-5"], true),
            (&["sleep", ""], true),
            (&["sleep", "5", "&&", "nginx", "-s", "quit"], true),
            (&["sh", "-c", "echo bye; sleep"], false),
            (&["sh", "-c", "sleep || true"], true),
            (&["env", "sleep"], true),
        ] {
            assert_eq!(stops_first(command), Some(StopsFirst::SleepFails { is_all }), "{command:?}");
        }
    }

    #[test]
    fn what_waits_first_or_is_not_known_is_nobodys_business() {
        for command in
            [&["sleep", "0"][..], &["true"], &["/bin/true"], &["sh", "-c", ""], &["/app/drain"], &[]]
        {
            assert_eq!(stops_first(command), None, "{command:?}");
        }
        for script in [
            "sleep 5; kill 1",
            "sleep 0.1; nginx -s quit",
            "sleep 5 && nginx -s quit",
            "sleep $N; kill 1",
            "sleep 5 || kill 1",
            "/opt/wait; kill 1",
            "curl localhost/drain; kill 1",
            "wait; kill 1",
            "read -t 10 x; kill 1",
            "cat < /run/pipe; kill 1",
            "timeout 10 tail -f /dev/null; kill 1",
            "while [ -e /x ]; do sleep 1; done; kill 1",
            "if x; then kill 1; fi",
            "[ -e /x ] && kill 1",
            "[ -e /x ] || kill 1",
            "(kill 1)",
            "{ kill 1; }",
            "kill 1 &",
            "kill 1 | tee /log",
            "! kill 1",
            "end() { kill 1; }",
            "end() { kill 1; }; end",
            "kill() { true; }; kill 1",
            "cat <<EOF\nkill 1\nEOF",
            "# kill 1",
            "echo kill 1",
            "echo 'x; kill 1'",
            // They tell the process something else, or somebody else.
            "kill -HUP 1",
            "kill -USR2 1",
            "kill -0 1",
            "kill -l",
            "kill",
            "kill -$SIGNAL 1",
            "kill -s $SIGNAL 1",
            "kill -WHAT 1",
            "kill %1",
            "kill $!",
            "kill $$",
            "helper & kill $PID",
            "pkill -USR1 nginx",
            "pkill -0 nginx",
            "killall -0 nginx",
            "kill $(/opt/find-it)",
            "kill $(sleep 10; cat /run/pid)",
            "pidof nginx | xargs kill -HUP",
            "/opt/find-it | xargs kill",
            "nginx -s reload",
            "grep stop /x",
            "curl localhost -d stop",
            "$CMD stop",
            "break nginx -s quit",
            "sleep; /opt/drain",
            "sleep; sleep 10",
            "sleep 1e1",
            "sleep 0x10",
            "sleep $N",
            "sleep; if x; then y; fi",
        ] {
            assert_eq!(stops_first(&["sh", "-c", script]), None, "{script}");
        }
    }

    #[test]
    fn hooks_that_run_nothing() {
        for (raw, seconds) in [
            (serde_json::json!({"sleep": {"seconds": 7}}), 7),
            (serde_json::json!({"sleep": {"seconds": -7}}), 0),
            (serde_json::json!({"httpGet": {"path": "/stop", "port": 80}}), 0),
            (serde_json::json!({}), 0),
        ] {
            let hook: LifecycleHandler = serde::Deserialize::deserialize(&raw).unwrap();
            let told = Told { after: Duration::from_secs(seconds), sleeps_on: false };
            assert_eq!((hook.sleeps(), hook.told()), (told.after, told), "{raw}");
            assert_eq!((hook.is_sleep_by_exec(), hook.stops_first()), (false, None), "{raw}");
        }
    }

    /// Nothing is read more than a few times, and nothing by recursion.
    #[test]
    fn a_hostile_script_is_read_like_any_other() {
        for part in [
            "$(",
            "(",
            "{ ",
            "if ",
            "case x in ",
            "a()",
            "`",
            "\"",
            "${",
            "<<A\n",
            "!",
            "|",
            "\\\n",
            "env ",
            "sh -c '",
        ] {
            let script = part.repeat(50_000);
            assert_eq!(script_seconds(&script), 0.0, "{part}");
        }
        let words = vec!["env"; 50_000];
        assert_eq!(seconds(&words), 0.0);
        assert_eq!(script_seconds(&"sleep 1;".repeat(50_000)), 50_000.0);
    }

    proptest! {
        #[test]
        fn any_command_has_an_answer(words in prop::collection::vec(".{0,20}", 0..5)) {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let _ = (seconds(&words), stops_first(&words));
            let script = words.join(" ");
            prop_assert!(asked(&["sh", "-c", &script], |hook| hook.sleeps()) <= FOREVER);
        }

        #[test]
        fn any_script_has_an_answer(script in "([a-z0-9 \n;&|(){}<>#'\"`$\\\\!*=-]|sleep 5|if|then|fi|case|esac|in|do|done|<<A|kill 1){0,60}") {
            prop_assert!(asked(&["sh", "-c", &script], |hook| hook.sleeps()) <= FOREVER);
            let _ = stops_first(&["sh", "-c", &script]);
        }

        #[test]
        fn a_script_sleeps_the_sum_of_its_parts(parts in prop::collection::vec(0u32..1000, 1..5)) {
            let script = parts.iter().map(|part| format!("sleep {part}")).collect::<Vec<_>>().join("; ");
            let sum: u32 = parts.iter().sum();
            prop_assert_eq!(script_seconds(&script), f64::from(sum));
        }

        /// What stands in the branch of something is never counted.
        #[test]
        fn a_branch_counts_nothing(inner in "(sleep 5|kill 1|echo 'a b'|x=1|date)(; (sleep 7|true|: \"fi\"))?", kind in 0usize..6) {
            let script = match kind {
                0 => format!("if x; then {inner}; fi"),
                1 => format!("if x\nthen\n{inner}\nelse {inner}\nfi"),
                2 => format!("while x; do {inner}; done"),
                3 => format!("case $x in\n  a|b) {inner} ;;\n  *) {inner}\nesac"),
                4 => format!("f() {{ {inner}; }}"),
                _ => format!("({inner})"),
            };
            prop_assert_eq!(script_seconds(&format!("{script}\nsleep 3")), 3.0, "{}", script);
        }
    }
}
