//! The gapless that the tests share, installed by its chart in the control plane that
//! they share. All webhooks have failurePolicy Fail: no call may be lost.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use crate::support::fixtures::configuration;
use crate::support::gapless::install;
use crate::support::{self, Cluster, Gapless};

/// It and its release.
pub struct Installed {
    /// Where the chart is installed.
    pub cluster: &'static Cluster,
    /// What its webhooks call.
    pub gapless: Gapless,
    /// Its configuration file.
    file: PathBuf,
}

impl Installed {
    /// Changes the configuration file, in one step.
    pub fn reconfigure(&self, body: &str) {
        write(&self.file, body);
    }
}

/// `None` as for [`support::cluster`].
pub fn installed() -> Option<&'static Installed> {
    // A LazyLock runs this once, also if it panics: the first test says why.
    static INSTALLED: LazyLock<Option<Installed>> = LazyLock::new(|| {
        let cluster = support::cluster()?;
        let (gapless, file) = install_in(cluster, &[]);
        Some(Installed { cluster, gapless, file })
    });
    // Asked here too, so that each skipped test says that it is.
    support::cluster()?;
    INSTALLED.as_ref()
}

/// Installs it in a control plane as in the shared one, with more arguments, and returns it
/// with its configuration file.
pub fn install_in(cluster: &Cluster, arguments: &[&str]) -> (Gapless, PathBuf) {
    let file = cluster.file("config.yaml");
    write(&file, &config(11));
    let path = file.display().to_string();
    let arguments = [&["--config", &path, "--config-poll-interval", "50ms"], arguments].concat();
    let gapless = Gapless::start(cluster, arguments);
    // More patience than usual: the machine is busy with other tests.
    let webhooks = "{failurePolicy: Fail, timeoutSeconds: 20}";
    let indented = config(11).replace('\n', "\n  ");
    install(cluster, &gapless, &format!("webhooks: {webhooks}\nconfig:{indented}\n"));
    (gapless, file)
}

/// The value `config` of the chart, and the body of the file that gapless reads. The
/// built-in profiles are as they are. `changing` is the profile that a test changes.
pub fn config(seconds: u64) -> String {
    format!(
        "
workloads: [Deployment, StatefulSet, DaemonSet, Rollout]
profiles:
  payments:
    extends: production
    rules: {{single-replica: Deny}}
    defaults: {{pre-stop-sleep: {{seconds: 17}}}}
  strict:
    extends: payments
    waivers: Forbidden
  loud:
    extends: production
    rules: {{shell-sleep: Warn, missing-version-label: Deny}}
  changing:
    extends: production
    defaults: {{pre-stop-sleep: {{seconds: {seconds}}}}}
  longer-sleep: {{extends: production, defaults: {{pre-stop-sleep: {{seconds: 20}}}}}}
  old-first: {{extends: production, defaults: {{rolling-update: {{maxUnavailable: 1}}}}}}
  keeps-defaults: {{extends: production, defaults: {{rolling-update: {{replaceApiDefaults: false}}}}}}
  no-single-replica: {{extends: production, rules: {{single-replica: Deny}}}}
  no-waivers: {{extends: production, waivers: Forbidden}}
exemptions:
  usernames: [team]
  groups: [operators]
  namespaces: [left-alone]
"
    )
}

fn write(file: &Path, body: &str) {
    let fresh = file.with_extension("new");
    fs::write(&fresh, configuration(body)).unwrap();
    fs::rename(&fresh, file).unwrap();
}
