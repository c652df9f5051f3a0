//! `gapless completions`: what shells make of its scripts.

use std::process::Command;

fn script(shell: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_gapless")).args(["completions", shell]).output().unwrap();
    assert!(output.status.success(), "{shell}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What bash offers for a command line, whose last word is not finished.
fn offered(words: &[&str]) -> Vec<String> {
    let (last, before) = words.split_last().unwrap();
    let ask = format!(
        "{}\nCOMP_WORDS=({}); COMP_CWORD={}; _gapless gapless {last:?} {:?}; echo \"${{COMPREPLY[@]}}\"",
        script("bash"),
        words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(" "),
        before.len(),
        before.last().unwrap(),
    );
    let output = Command::new("bash").args(["--norc", "-c", &ask]).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().split_whitespace().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_options_and_values() {
    assert_eq!(offered(&["gapless", "ch"]), ["check"]);
    assert_eq!(offered(&["gapless", "check", "--prof"]), ["--profile"]);
    assert_eq!(offered(&["gapless", "check", "--format", "sar"]), ["sarif"]);
    assert_eq!(offered(&["gapless", "completions", "f"]), ["fish"]);
}

#[test]
fn each_shell_learns_all_commands() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = script(shell);
        for command in ["serve", "check", "fix", "preview", "audit", "certs", "ping", "rules", "schema"] {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
}
