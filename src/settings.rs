//! The thresholds of the rules, and the values of the defaults.

use crate::kubernetes::int_or_string::Amount;

/// Thresholds of the rules, and values of the defaults.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many percent of the replicas may be down during a rollout before
    /// `rollout-capacity-loss` speaks up.
    pub max_capacity_loss_percent: i64,
    /// Seconds that an application needs between SIGTERM and SIGKILL.
    pub min_drain_seconds: i64,
    /// Names of ports that are there for operations only.
    pub operational_port_names: Vec<String>,
    /// Names of images that carry the traffic of the container beside them, without registry
    /// and tag.
    pub proxy_images: Vec<String>,
    /// Tags that are moved from one image to the next, besides `latest`.
    pub mutable_tags: Vec<String>,
    /// The default `readiness-probe`.
    pub readiness_probe: ReadinessProbeSettings,
    /// The default `pre-stop-sleep`.
    pub pre_stop_sleep: PreStopSleepSettings,
    /// The default `rolling-update`.
    pub rolling_update: RollingUpdateSettings,
    /// The default `version-label`.
    pub version_label: VersionLabelSettings,
}

/// The default `readiness-probe`.
#[derive(Clone, Debug)]
pub struct ReadinessProbeSettings {
    /// Whether it is injected.
    pub enabled: bool,
    /// Seconds between two probes.
    pub period_seconds: i32,
    /// Failures in a row after which the pod is not ready.
    pub failure_threshold: i32,
}

/// The default `pre-stop-sleep`.
#[derive(Clone, Debug)]
pub struct PreStopSleepSettings {
    /// Whether it is injected.
    pub enabled: bool,
    /// Seconds to sleep.
    pub seconds: u32,
    /// Whether an unset grace period is raised by as many seconds.
    pub raise_grace_period: bool,
}

/// The default `rolling-update`.
#[derive(Clone, Debug)]
pub struct RollingUpdateSettings {
    /// Whether it is injected.
    pub enabled: bool,
    /// The value of an unset `maxUnavailable`.
    pub max_unavailable: Amount,
    /// The value of an unset `maxSurge`.
    pub max_surge: Amount,
    /// The value of an unset `minReadySeconds` where nothing probes.
    pub min_ready_seconds: i32,
    /// Whether a value that equals the API server's default counts as unset
    /// where nobody provably wrote it.
    pub replace_api_defaults: bool,
}

/// The default `version-label`.
#[derive(Clone, Debug)]
pub struct VersionLabelSettings {
    /// Whether it is injected.
    pub enabled: bool,
    /// The label keys.
    pub keys: Vec<String>,
}

impl Settings {
    /// Whether a tag is moved from one image to the next, by its name: in upper or lower
    /// case, as build tools write SNAPSHOT.
    pub fn is_mutable_tag(&self, tag: &str) -> bool {
        tag == "latest" || self.mutable_tags.iter().any(|mutable| mutable.eq_ignore_ascii_case(tag))
    }
}

/// The settings of the profile `production`.
impl Default for Settings {
    fn default() -> Self {
        let operational = [
            "metrics",
            "prom",
            "prometheus",
            "monitoring",
            "telemetry",
            "health",
            "healthz",
            "healthcheck",
            "ready",
            "readyz",
            "live",
            "livez",
            "probe",
            "probes",
            "debug",
            "pprof",
            "profiling",
        ];
        let proxies = [
            "alloydb-auth-proxy",
            "cloud-sql-proxy",
            "cloud_sql_proxy",
            "envoy",
            "gce-proxy",
            "haproxy",
            "odyssey",
            "pgbouncer",
            "pgcat",
            "pgpool",
            "proxysql",
            "twemproxy",
        ];
        let mutable = ["latest", "main", "master", "trunk", "develop", "dev", "edge", "nightly", "snapshot"];
        Settings {
            max_capacity_loss_percent: 25,
            min_drain_seconds: 5,
            operational_port_names: operational.map(String::from).to_vec(),
            proxy_images: proxies.map(String::from).to_vec(),
            mutable_tags: mutable.map(String::from).to_vec(),
            readiness_probe: ReadinessProbeSettings {
                enabled: true,
                period_seconds: 5,
                failure_threshold: 3,
            },
            pre_stop_sleep: PreStopSleepSettings { enabled: true, seconds: 10, raise_grace_period: true },
            rolling_update: RollingUpdateSettings {
                enabled: true,
                max_unavailable: Amount::Count(0),
                max_surge: Amount::Percent(25),
                min_ready_seconds: 10,
                replace_api_defaults: true,
            },
            version_label: VersionLabelSettings {
                enabled: true,
                keys: ["app.kubernetes.io/version", "version"].map(String::from).to_vec(),
            },
        }
    }
}
