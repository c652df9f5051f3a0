//! What gapless counts, for Prometheus.
//!
//! All label values come from fixed lists: no name of an object, namespace or
//! user, and no profile that does not exist, becomes a series.

use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::admission::{Outcome, Phase, Review, Skip};
use crate::defaults::DEFAULTS;
use crate::policy::Policy;
use crate::rules::RULES;

/// The content type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of the buckets of `gapless_admission_duration_seconds`: from a
/// small review to beyond the API server's default timeout.
const SECONDS: [f64; 16] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Both webhooks.
const WEBHOOKS: [Phase; 2] = [Phase::Mutate, Phase::Validate];

/// All metrics of one process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<WebhookLabels, Histogram, fn() -> Histogram>,
    findings: Family<FindingLabels, Counter>,
    defaults: Family<DefaultLabels, Counter>,
    waivers: Family<WaiverLabels, Counter>,
    skips: Family<SkipLabels, Counter>,
    certificates: Family<CertificateLabels, Gauge>,
    certificate_reloads: Family<ResultLabels, Counter>,
    config_reloads: Family<ResultLabels, Counter>,
    panics: Counter,
    context_synced: Family<KindLabels, Gauge>,
    context_objects: Family<KindLabels, Gauge>,
    context_stuck_rollouts: Family<DefaultLabels, Gauge>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    webhook: &'static str,
    profile: String,
    operation: &'static str,
    dry_run: &'static str,
    decision: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WebhookLabels {
    webhook: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FindingLabels {
    rule: &'static str,
    action: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DefaultLabels {
    default: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WaiverLabels {
    id: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SkipLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CertificateLabels {
    role: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

impl Metrics {
    /// All metrics at zero. Series that alerts look at exist from the start:
    /// Prometheus does not see the increase of a counter that appears with 1.
    pub fn new(policy: &Policy) -> Self {
        let mut metrics = Metrics {
            registry: Registry::default(),
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            findings: Family::default(),
            defaults: Family::default(),
            waivers: Family::default(),
            skips: Family::default(),
            certificates: Family::default(),
            certificate_reloads: Family::default(),
            config_reloads: Family::default(),
            panics: Counter::default(),
            context_synced: Family::default(),
            context_objects: Family::default(),
            context_stuck_rollouts: Family::default(),
        };
        metrics.register();
        metrics.create_series(policy);
        metrics
    }

    /// Counts a decision, which took this long from the request's head to the
    /// response.
    pub fn record_review(&self, phase: Phase, review: &Review, elapsed: Duration) {
        let webhook = phase.as_str();
        let labels = RequestLabels {
            webhook,
            profile: review.profile.clone(),
            operation: review.operation.as_str(),
            dry_run: if review.dry_run { "true" } else { "false" },
            decision: review.decision.as_str(),
        };
        self.requests.get_or_create(&labels).inc();
        self.durations.get_or_create(&WebhookLabels { webhook }).observe(elapsed.as_secs_f64());

        for (rule, outcome) in &review.findings {
            self.findings.get_or_create(&FindingLabels { rule, action: outcome.as_str() }).inc();
        }
        for default in &review.defaults {
            self.defaults.get_or_create(&DefaultLabels { default }).inc();
        }
        for id in ids().filter(|id| review.waived.iter().any(|waived| waived == id)) {
            self.waivers.get_or_create(&WaiverLabels { id }).inc();
        }
        if let Some(skip) = review.skip {
            self.skips.get_or_create(&SkipLabels { reason: skip.as_str() }).inc();
        }
    }

    /// Counts a call that ended without a decision. `profile` is one that
    /// exists.
    pub fn record_failure(&self, phase: Phase, profile: &str, elapsed: Duration) {
        let webhook = phase.as_str();
        self.requests.get_or_create(&RequestLabels::error(webhook, profile)).inc();
        self.durations.get_or_create(&WebhookLabels { webhook }).observe(elapsed.as_secs_f64());
    }

    /// Counts a panic that was caught.
    pub fn record_panic(&self) {
        self.panics.inc();
    }

    /// Says until when a certificate is valid, in seconds since 1970.
    pub fn set_certificate_not_after(&self, role: &'static str, not_after: i64) {
        self.certificates.get_or_create(&CertificateLabels { role }).set(not_after);
    }

    /// Counts a change of the serving certificate, and whether it took effect.
    pub fn record_certificate_reload(&self, is_success: bool) {
        self.certificate_reloads.get_or_create(&ResultLabels::of(is_success)).inc();
    }

    /// Counts a change of the configuration file, and whether it took effect.
    pub fn record_config_reload(&self, is_success: bool) {
        self.config_reloads.get_or_create(&ResultLabels::of(is_success)).inc();
    }

    /// Says how many objects of a kind are known, and whether those are all. `None` if
    /// the cluster does not serve the kind.
    pub fn set_context(&self, kind: &'static str, known: Option<(bool, usize)>) {
        let labels = KindLabels { kind };
        match known {
            Some((is_synced, objects)) => {
                self.context_synced.get_or_create(&labels).set(is_synced.into());
                self.context_objects.get_or_create(&labels).set(i64::try_from(objects).unwrap_or(i64::MAX));
            }
            None => {
                self.context_synced.remove(&labels);
                self.context_objects.remove(&labels);
            }
        }
    }

    /// Says how many rollouts may be stuck in what this default injected.
    pub fn set_stuck_rollouts(&self, default: &'static str, rollouts: usize) {
        let labels = DefaultLabels { default };
        self.context_stuck_rollouts.get_or_create(&labels).set(i64::try_from(rollouts).unwrap_or(i64::MAX));
    }

    /// All metrics as OpenMetrics text.
    ///
    /// # Errors
    /// Never, as things are: the text is written into memory.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut encoded = String::new();
        text::encode(&mut encoded, &self.registry)?;
        Ok(encoded)
    }

    // Names without `_total` and `_info`: the encoder appends them.
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "gapless_admission_requests",
            "Calls of the webhooks, by what came of them",
            self.requests.clone(),
        );
        registry.register(
            "gapless_admission_duration_seconds",
            "Time from the head of a call to its answer",
            self.durations.clone(),
        );
        registry.register(
            "gapless_findings",
            "Findings, by rule and by what came of them",
            self.findings.clone(),
        );
        registry.register(
            "gapless_defaults_applied",
            "Objects that a default was injected into",
            self.defaults.clone(),
        );
        registry.register(
            "gapless_waivers",
            "Objects in which an annotation waived a finding or a default",
            self.waivers.clone(),
        );
        registry.register(
            "gapless_skips",
            "Objects that were let through without a look",
            self.skips.clone(),
        );
        registry.register(
            "gapless_certificate_not_after_timestamp_seconds",
            "End of the validity of a certificate, in seconds since 1970",
            self.certificates.clone(),
        );
        registry.register(
            "gapless_certificate_reloads",
            "Changes of the serving certificate, by whether they took effect",
            self.certificate_reloads.clone(),
        );
        registry.register(
            "gapless_config_reloads",
            "Changes of the configuration file, by whether they took effect",
            self.config_reloads.clone(),
        );
        registry.register(
            "gapless_context_synced",
            "Whether all objects of a kind are known, with --cluster-context",
            self.context_synced.clone(),
        );
        registry.register(
            "gapless_context_objects",
            "How many objects of a kind are known, with --cluster-context",
            self.context_objects.clone(),
        );
        registry.register(
            "gapless_context_stuck_rollouts",
            "How many Deployments have missed their deadline for what a default may have injected, with --cluster-context",
            self.context_stuck_rollouts.clone(),
        );
        registry.register("gapless_panics", "Panics, each of them a bug in gapless", self.panics.clone());
        registry.register(
            "gapless_build",
            "The version of gapless",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
    }

    /// The series of profiles at zero, where they are new: at the start, and when
    /// the configuration has changed.
    pub fn create_profiles(&self, policy: &Policy) {
        for webhook in WEBHOOKS.map(Phase::as_str) {
            for profile in policy.profile_names() {
                drop(self.requests.get_or_create(&RequestLabels::error(webhook, profile)));
            }
        }
    }

    fn create_series(&self, policy: &Policy) {
        self.create_profiles(policy);
        for webhook in WEBHOOKS.map(Phase::as_str) {
            drop(self.durations.get_or_create(&WebhookLabels { webhook }));
        }
        for rule in RULES {
            for action in Outcome::ALL.map(Outcome::as_str) {
                drop(self.findings.get_or_create(&FindingLabels { rule: rule.id, action }));
            }
        }
        for default in DEFAULTS {
            drop(self.defaults.get_or_create(&DefaultLabels { default: default.id }));
        }
        for id in ids() {
            drop(self.waivers.get_or_create(&WaiverLabels { id }));
        }
        for reason in Skip::ALL.map(Skip::as_str) {
            drop(self.skips.get_or_create(&SkipLabels { reason }));
        }
        for labels in [true, false].map(ResultLabels::of) {
            drop(self.certificate_reloads.get_or_create(&labels));
            drop(self.config_reloads.get_or_create(&labels));
        }
    }
}

impl RequestLabels {
    /// What was asked is not known, if the request could not be read.
    fn error(webhook: &'static str, profile: &str) -> Self {
        RequestLabels {
            webhook,
            profile: profile.to_owned(),
            operation: "unknown",
            dry_run: "unknown",
            decision: "error",
        }
    }
}

impl ResultLabels {
    fn of(is_success: bool) -> Self {
        ResultLabels { result: if is_success { "success" } else { "failure" } }
    }
}

/// The ids of all rules and defaults.
fn ids() -> impl Iterator<Item = &'static str> {
    RULES.iter().map(|rule| rule.id).chain(DEFAULTS.iter().map(|default| default.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value of a series.
    fn value(metrics: &Metrics, series: &str) -> Option<f64> {
        let text = metrics.encode().unwrap();
        text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    }

    fn metrics() -> Metrics {
        Metrics::new(&Policy::new("production").unwrap())
    }

    /// Prometheus does not see the increase of a counter that appears with 1.
    #[test]
    fn every_series_that_is_looked_at_is_there_from_the_start() {
        let metrics = metrics();
        let mut expected = vec!["gapless_panics_total".to_owned()];
        for webhook in ["mutate", "validate"] {
            expected.push(format!("gapless_admission_duration_seconds_count{{webhook=\"{webhook}\"}}"));
            for profile in ["production", "advisory", "development"] {
                expected.push(error_series(webhook, profile));
            }
        }
        for rule in RULES {
            for action in Outcome::ALL.map(Outcome::as_str) {
                expected.push(format!("gapless_findings_total{{rule=\"{}\",action=\"{action}\"}}", rule.id));
            }
            expected.push(format!("gapless_waivers_total{{id=\"{}\"}}", rule.id));
        }
        for default in DEFAULTS {
            expected.push(format!("gapless_defaults_applied_total{{default=\"{}\"}}", default.id));
            expected.push(format!("gapless_waivers_total{{id=\"{}\"}}", default.id));
        }
        for skip in Skip::ALL {
            expected.push(format!("gapless_skips_total{{reason=\"{}\"}}", skip.as_str()));
        }
        for result in ["success", "failure"] {
            expected.push(format!("gapless_certificate_reloads_total{{result=\"{result}\"}}"));
            expected.push(format!("gapless_config_reloads_total{{result=\"{result}\"}}"));
        }
        for series in expected {
            assert_eq!(value(&metrics, &series), Some(0.0), "{series}");
        }
    }

    fn error_series(webhook: &str, profile: &str) -> String {
        format!(
            "gapless_admission_requests_total{{webhook=\"{webhook}\",profile=\"{profile}\",operation=\"unknown\",\
             dry_run=\"unknown\",decision=\"error\"}}"
        )
    }

    #[test]
    fn each_event_counts_once_and_where_it_belongs() {
        let metrics = metrics();
        metrics.record_panic();
        metrics.record_config_reload(true);
        metrics.record_certificate_reload(false);
        metrics.set_certificate_not_after("leaf", 1_800_000_000);
        metrics.record_failure(Phase::Validate, "advisory", Duration::from_millis(3));
        for (series, expected) in [
            ("gapless_panics_total", 1.0),
            ("gapless_config_reloads_total{result=\"success\"}", 1.0),
            ("gapless_config_reloads_total{result=\"failure\"}", 0.0),
            ("gapless_certificate_reloads_total{result=\"success\"}", 0.0),
            ("gapless_certificate_reloads_total{result=\"failure\"}", 1.0),
            ("gapless_certificate_not_after_timestamp_seconds{role=\"leaf\"}", 1_800_000_000.0),
            (&error_series("validate", "advisory"), 1.0),
            (&error_series("mutate", "advisory"), 0.0),
            (&error_series("validate", "production"), 0.0),
            ("gapless_admission_duration_seconds_count{webhook=\"validate\"}", 1.0),
            ("gapless_admission_duration_seconds_bucket{le=\"0.0025\",webhook=\"validate\"}", 0.0),
            ("gapless_admission_duration_seconds_bucket{le=\"0.005\",webhook=\"validate\"}", 1.0),
            ("gapless_admission_duration_seconds_count{webhook=\"mutate\"}", 0.0),
        ] {
            assert_eq!(value(&metrics, series), Some(expected), "{series}\n{}", metrics.encode().unwrap());
        }
    }
}
