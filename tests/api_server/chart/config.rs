//! The chart's value `config`: what Helm takes, gapless reads, and the other way round.

use std::fs;

use gapless::config;
use serde_json::Value;

use crate::support;
use crate::support::client::Output;
use crate::support::fixtures::{configuration, repository_file};

/// `helm template` with this value `config`, which is YAML.
fn render(cluster: &support::Cluster, config: &str) -> Output {
    let values = format!("config:\n  {}\n", config.replace('\n', "\n  "));
    let template = cluster.helm(["template", "gapless", "--namespace", "platform"]);
    template.args([repository_file("charts/gapless")]).args(["--values", "-"]).stdin(values).run()
}

/// What Helm renders, gapless reads.
const ACCEPTED: &[(&str, Option<&str>)] = &[
    ("{}", Some("production")),
    ("defaultProfile: advisory", Some("advisory")),
    ("defaultProfile: off", None),
    ("defaultProfile: Off", None),
    ("defaultProfile: 'off'", None),
    ("defaultProfile: null", Some("production")),
    ("profiles: null", Some("production")),
    ("{defaultProfile: payments, profiles: {payments: {extends: production}}}", Some("payments")),
    (
        "workloads: [Deployment]
profiles:
  payments:
    extends: team-a
    mode: Warn
    rules: {single-replica: Deny, shell-sleep: Off, slow-readiness: off, short-drain: 'Off'}
    settings:
      max-capacity-loss: 10%
      min-drain-seconds: 3600
      operational-port-names: [admin]
      mutable-tags: [latest, '1.0']
    defaults:
      readiness-probe: {enabled: true, periodSeconds: 1, failureThreshold: 1000}
      pre-stop-sleep: {enabled: false, seconds: 20, raiseGracePeriod: false}
      rolling-update: {enabled: true, maxUnavailable: 100%, maxSurge: 1000%, minReadySeconds: 0, replaceApiDefaults: false}
      version-label: {enabled: true, keys: [example.com/version, version]}
    waivers: Forbidden
  team-a: {extends: advisory, mode: off, defaults: {rolling-update: {maxUnavailable: 1, maxSurge: 0}}}
  production: {mode: Audit, rules: , defaults: }
exemptions:
  usernames: [system:serviceaccount:flux-system:kustomize-controller]
  groups: ['system:masters']
  namespaces: [flux-system]",
        Some("production"),
    ),
];

#[test]
fn what_helm_renders_gapless_reads() {
    let Some(cluster) = support::cluster() else { return };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.yaml");
    for (config, default_profile) in ACCEPTED {
        let rendered = render(cluster, config);
        assert!(rendered.status.success(), "{config}\n{rendered}");
        let objects: Vec<Value> = serde_saphyr::from_multiple(&rendered.stdout).unwrap();
        let config_map = objects.iter().find(|object| object["kind"] == "ConfigMap").unwrap();
        fs::write(&path, config_map["data"]["config.yaml"].as_str().unwrap()).unwrap();
        let policy = config::load(Some(&path)).unwrap_or_else(|error| panic!("{error}\n{config_map:#}"));
        assert_eq!(policy.default_profile().map(|it| it.name.as_str()), *default_profile, "{config}");
        // Every profile has its webhooks.
        for profile in policy.profile_names() {
            let entry = format!("name: {profile}.validate.gapless.dev");
            assert!(rendered.stdout.contains(&entry), "{config}: there is no {entry}");
        }
    }
}

/// What gapless would refuse, and what Helm says before it comes to that.
#[rustfmt::skip]
const REFUSED: &[(&str, &str)] = &[
    ("defaultprofile: advisory", "at '/config': additional properties 'defaultprofile' not allowed"),
    ("defaultProfile: [advisory]", "at '/config/defaultProfile': got array, want"),
    ("defaultProfile: Production", "at '/config/defaultProfile': 'Production' does not match"),
    ("defaultProfile: prodution", r#"config.defaultProfile is "prodution": there is no such profile. Write one of: production, advisory, development, off."#),
    ("defaultProfile: on", r#"config.defaultProfile is "true": there is no such profile"#),
    ("workloads: [CronJob]", "at '/config/workloads/0': value must be one of 'Deployment', 'StatefulSet', 'DaemonSet', 'Rollout'"),
    ("workloads: []", "at '/config/workloads': minItems: got 0, want 1"),
    ("profiles: {payments: {mode: Warn}}", "config.profiles.payments.extends is \"\": write one of: production, advisory, development."),
    ("profiles: {payments: {extends: staging}, a: {extends: payments}}", "config.profiles.payments.extends is \"staging\": write one of: production, advisory, development, a."),
    ("profiles: {payments: {extends: 'off'}}", "config.profiles.payments.extends is \"off\""),
    ("profiles: {payments: {extends: off}}", "at '/config/profiles/payments/extends': got boolean, want"),
    ("profiles: {payments: null}", "at '/config/profiles/payments': got null, want object"),
    ("profiles: {production: {extends: advisory}}", "config.profiles.production.extends: production is built in"),
    ("profiles: {'off': {mode: Warn}}", r#"config.profiles has a profile "off""#),
    ("profiles: {off: {mode: Warn}}", r#"config.profiles has a profile "false""#),
    ("profiles: {x: {extends: b}, a: {extends: b}, b: {extends: c}, c: {extends: a}}", "config.profiles.a never comes to a built-in profile: profiles extend each other in a circle"),
    ("profiles: {a: {extends: a}}", "config.profiles.a never comes to a built-in profile"),
    ("profiles: {production: {mode: Enforced}}", "at '/config/profiles/production/mode': value must be one of 'Enforce', 'Warn', 'Audit', 'Off', 'off', false"),
    ("profiles: {production: {rules: {single-replicas: Deny}}}", "at '/config/profiles/production/rules': additional properties 'single-replicas' not allowed"),
    ("profiles: {production: {rules: {single-replica: deny}}}", "value must be one of 'Deny', 'Warn', 'Audit', 'Off', 'off', false"),
    ("profiles: {production: {rules: {single-replica: on}}}", "value must be one of 'Deny', 'Warn', 'Audit', 'Off', 'off', false"),
    ("profiles: {production: {settings: {max-capacity-loss: 25}}}", "at '/config/profiles/production/settings/max-capacity-loss': got number, want"),
    ("profiles: {production: {settings: {max-capacity-loss: 101%}}}", "'101%' does not match"),
    ("profiles: {production: {settings: {min-drain-seconds: -1}}}", "minimum: got -1, want 0"),
    ("profiles: {production: {settings: {mutable-tags: [1.0]}}}", "at '/config/profiles/production/settings/mutable-tags/0': got number, want string"),
    ("profiles: {production: {defaults: {readiness: {}}}}", "additional properties 'readiness' not allowed"),
    ("profiles: {production: {defaults: {readiness-probe: {periodSeconds: 0}}}}", "minimum: got 0, want 1"),
    ("profiles: {production: {defaults: {readiness-probe: {periodSeconds: 1.5}}}}", "got number, want"),
    ("profiles: {production: {defaults: {pre-stop-sleep: {seconds: 3601}}}}", "maximum: got 3,601, want 3,600"),
    ("profiles: {production: {defaults: {pre-stop-sleep: off}}}", "at '/config/profiles/production/defaults/pre-stop-sleep'"),
    ("profiles: {production: {defaults: {rolling-update: {maxUnavailable: 101%}}}}", "'101%' does not match"),
    ("profiles: {production: {defaults: {rolling-update: {maxUnavailable: -1}}}}", "minimum: got -1, want 0"),
    ("profiles: {production: {defaults: {version-label: {keys: []}}}}", "minItems: got 0, want 1"),
    ("profiles: {production: {defaults: {version-label: {keys: [a/b/c]}}}}", "'a/b/c' does not match"),
    ("profiles: {production: {waivers: true}}", "at '/config/profiles/production/waivers'"),
    ("exemptions: {users: [jane]}", "at '/config/exemptions': additional properties 'users' not allowed"),
    ("exemptions: {usernames: ['']}", "at '/config/exemptions/usernames/0': '' does not match"),
    ("exemptions: {namespaces: [team-*]}", "'team-*' does not match"),
];

#[test]
fn what_gapless_would_refuse_helm_refuses() {
    let Some(cluster) = support::cluster() else { return };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.yaml");
    for (config, message) in REFUSED {
        let refusal = render(cluster, config);
        assert!(!refusal.status.success() && refusal.stderr.contains(message), "{config}\n{refusal}");
        fs::write(&path, configuration(config)).unwrap();
        assert!(config::load(Some(&path)).is_err(), "{config}");
    }
}

/// The commented-out example in values.yaml is one, and says what production is.
#[test]
fn the_example_in_the_charts_values_works() {
    let Some(cluster) = support::cluster() else { return };
    let values = fs::read_to_string(repository_file("charts/gapless/values.yaml")).unwrap();
    let (_, example) = values.split_once("  # profiles:\n").expect("the example");
    let (example, _) = example.split_once("\n\n").expect("its end");
    let example: String = format!("  # profiles:\n{example}\n")
        .lines()
        .filter_map(|line| line.strip_prefix("  # "))
        // Its own comments begin with a capital letter.
        .filter(|line| !line.starts_with(|first: char| first.is_ascii_uppercase()))
        .map(|line| format!("{line}\n"))
        .collect();
    let rendered = render(cluster, &example);
    assert!(rendered.status.success(), "{example}\n{rendered}");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.yaml");
    fs::write(&path, configuration(&example)).unwrap();
    let policy = config::load(Some(&path)).unwrap_or_else(|error| panic!("{error}\n{example}"));
    let (payments, production) = (policy.profile("payments").unwrap(), policy.profile("production").unwrap());
    assert_eq!(format!("{:?}", payments.settings), format!("{:?}", production.settings));
    assert_eq!((payments.mode, payments.waivers), (production.mode, production.waivers));
}

#[test]
fn helm_finds_nothing_to_criticise() {
    let Some(cluster) = support::cluster() else { return };
    for (config, _) in ACCEPTED {
        let values = format!("config:\n  {}\n", config.replace('\n', "\n  "));
        let lint = cluster.helm(["lint", "--strict"]).args([repository_file("charts/gapless")]);
        let lint = lint.args(["--values", "-"]).stdin(values).ok();
        assert!(!lint.stdout.contains("[WARNING]") && !lint.stdout.contains("[ERROR]"), "{config}\n{lint}");
    }
}
