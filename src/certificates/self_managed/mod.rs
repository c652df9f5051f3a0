//! Certificates that gapless makes and renews by itself.
//!
//! A CA and a serving certificate are in one Secret, and the CA is in the
//! `caBundle` of the webhooks of both webhook configurations. Every replica looks
//! at these three objects again and again and does what [`plan`] says is next.
//! There is no leader: Kubernetes refuses the change of an object that has changed
//! since it was read (`resourceVersion`), and who is refused looks again.
//!
//! They are read every few seconds instead of watched. What is waited for happens
//! once in weeks, and three small objects by name cost the API server next to
//! nothing; in return nothing has to be resumed, and no cache can be behind.

pub mod configuration;
pub mod plan;
pub mod secret;
#[cfg(test)]
mod simulation;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::authority::{Authority, Issued};
use super::host::Host;
use super::{CertificateError, CertificateStore, Role, Validity};
use crate::client::failure::RequestError;
use crate::client::kubeconfig::Connection;
use crate::client::object::{Place, Written};
use crate::client::webhook::CONFIGURATIONS;
use crate::observe::metrics::Metrics;
use crate::watched::Supervisor;
use configuration::Configuration;
use plan::{
    BACKDATED, Bundle, Change, Lifetimes, Merge, Origin, RENEWED_AT, Settling, View, Which, is_everywhere,
    plan,
};
use secret::{Contents, Servable, is_own, new_secret, with_contents};

/// What the CA calls itself.
const CA: &str = "gapless self-managed CA";

/// How often to look again at once, after a change. Each change leads on to the
/// next one, so this only protects the API server from a replica that is refused
/// for ever.
const ROUNDS: usize = 10;

/// What to keep, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name of the Secret.
    pub secret: String,
    /// Its namespace; `None` for that of the connection.
    pub namespace: Option<String>,
    /// The name of both webhook configurations.
    pub configurations: String,
    /// What the API server calls gapless by.
    pub hosts: Vec<Host>,
    /// How long certificates last.
    pub lifetimes: Lifetimes,
    /// How often to look.
    pub interval: Duration,
    /// How long a CA has to be in every bundle until each API server knows it.
    pub trust_delay: Duration,
}

impl Settings {
    /// Whether everything is done in time with these lifetimes.
    ///
    /// # Errors
    /// What is not.
    pub fn check(&self) -> Result<(), LifetimeError> {
        let Lifetimes { ca, leaf } = self.lifetimes;
        for (flag, lifetime) in [("--ca-lifetime", ca), ("--certificate-lifetime", leaf)] {
            if lifetime > LONGEST {
                return Err(LifetimeError::TooLong { flag, lifetime });
            }
        }
        if leaf > ca {
            return Err(LifetimeError::OutlivesCa { ca, leaf });
        }
        // One look until the end comes near, one until all replicas know the new CA,
        // and one after the delay. A certificate's times are whole seconds.
        let looks = self.interval.saturating_mul(3);
        let needed = looks.saturating_add(self.trust_delay).saturating_add(Duration::from_secs(1));
        let left = leaf / RENEWED_AT;
        if left <= needed {
            let least = needed.saturating_mul(RENEWED_AT);
            let (interval, trust_delay) = (self.interval, self.trust_delay);
            return Err(LifetimeError::TooShort { leaf, left, interval, trust_delay, least });
        }
        Ok(())
    }
}

/// The longest lifetime: 100 years. Far beyond, there is no date for the end.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Lifetimes with which gapless could not serve all the time.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LifetimeError {
    /// The CA ends first.
    #[error(
        "--certificate-lifetime {leaf:?} is longer than --ca-lifetime {ca:?}: a certificate ends with its CA, \
         and would be renewed at once for ever; write a shorter one, or a longer --ca-lifetime"
    )]
    OutlivesCa {
        /// How long a CA lasts.
        ca: Duration,
        /// How long a certificate is to last.
        leaf: Duration,
    },
    /// It ends before the next one is served.
    #[error(
        "--certificate-lifetime {leaf:?} is too short: the last third of it, {left:?}, has to suffice for one \
         of a new CA, which takes three looks (--certificate-poll-interval {interval:?}), --ca-trust-delay \
         {trust_delay:?} and 1s; write more than {least:?}"
    )]
    TooShort {
        /// How long a certificate is to last.
        leaf: Duration,
        /// What is left of it when it is renewed.
        left: Duration,
        /// How often the objects are looked at.
        interval: Duration,
        /// How long a new CA is only trusted.
        trust_delay: Duration,
        /// What is just too short.
        least: Duration,
    },
    /// There is no such date.
    #[error("{flag} {lifetime:?} is too long; write at most 876000h, which are 100 years")]
    TooLong {
        /// The flag.
        flag: &'static str,
        /// What it says.
        lifetime: Duration,
    },
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The API server does not do it.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The Secret belongs to somebody else.
    #[error(
        "Secret {name} in namespace {namespace} was not made by gapless, for it has no label \
         app.kubernetes.io/managed-by=gapless; it is left alone. Name another Secret, or delete this one"
    )]
    Foreign {
        /// Its name.
        name: String,
        /// Its namespace.
        namespace: String,
    },
    /// A certificate cannot be made.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A certificate that was made would not be accepted.
    #[error("cannot use the certificate that was just made: {0}")]
    Made(String),
}

/// One replica's part in it.
pub struct Keeper {
    settings: Settings,
    connection: Connection,
    certificates: Arc<CertificateStore>,
    metrics: Arc<Metrics>,
    /// What the Secret held when it was read last, by its `resourceVersion`.
    read: Option<(Value, Contents)>,
    served: Option<Servable>,
    settling: Settling,
    /// Whether the API server trusted what was served, once.
    is_ready: bool,
    /// What was logged last. Each problem is, once.
    told: Option<String>,
}

impl Keeper {
    /// Serves nothing yet, and is not ready.
    pub fn new(
        settings: Settings,
        connection: Connection,
        certificates: Arc<CertificateStore>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Keeper {
            settings,
            connection,
            certificates,
            metrics,
            read: None,
            served: None,
            settling: Settling::default(),
            is_ready: false,
            told: None,
        }
    }

    /// Keeps the certificates, for good.
    ///
    /// It sleeps by a monotonic clock, which stands still during suspend, but not
    /// for long; whether something has expired, the wall clock says.
    pub async fn run(self) -> ! {
        let supervisor = Supervisor::new("the Secret of the certificates", self.metrics.clone());
        let interval = self.settings.interval;
        // After a panic all three objects are read again, as always.
        supervisor.repeat(interval, self, |keeper| keeper.look().boxed()).await
    }

    /// Does what is to do, until nothing is.
    async fn look(&mut self) {
        for _ in 0..ROUNDS {
            match self.round().await {
                Ok(true) => {}
                Ok(false) => {
                    self.told = None;
                    return;
                }
                Err(error) => return self.complain(&error.to_string()),
            }
        }
    }

    /// One look, and what follows from it; whether anything has changed.
    async fn round(&mut self) -> Result<bool, KeepError> {
        let secret = self.read_secret().await?;
        let configurations = self.read_configurations().await?;
        let bundles: Vec<Bundle> =
            configurations.iter().flatten().flat_map(Configuration::bundles).cloned().collect();
        self.settling.note(&bundles, Instant::now());
        let settled = self.settling.settled(self.settings.trust_delay, Instant::now());
        let stored = self.read.as_ref().map(|(_, contents)| contents.stored());
        let plan = plan(&View {
            stored: stored.as_ref(),
            bundles: &bundles,
            settled: &settled,
            served: self.served.as_ref().map(|served| &served.generation),
            lifetimes: self.settings.lifetimes,
            now: Timestamp::now(),
        });
        if let Some(which) = plan.serve {
            self.serve(which);
        }
        self.note_readiness(&configurations, &bundles);
        // One that fails must not keep the other from being done.
        let bundles = self.write_bundles(&configurations, &plan.bundles).await;
        let secret = self.write_secret(secret, plan.secret).await;
        Ok(bundles? | secret?)
    }

    fn namespace(&self) -> &str {
        self.settings.namespace.as_deref().unwrap_or(&self.connection.namespace)
    }

    fn secret(&self) -> Place<'_> {
        Place {
            resource: "secrets",
            root: "/api/v1",
            plural: "secrets",
            namespace: Some(self.namespace()),
            name: &self.settings.secret,
        }
    }

    /// The Secret, if there is one; what it holds is in `read` then.
    async fn read_secret(&mut self) -> Result<Option<Value>, KeepError> {
        let Some(secret) = self.secret().get(&self.connection).await? else {
            self.read = None;
            return Ok(None);
        };
        if !is_own(&secret) {
            let namespace = self.namespace().to_owned();
            return Err(KeepError::Foreign { name: self.settings.secret.clone(), namespace });
        }
        let version = secret.pointer("/metadata/resourceVersion").cloned().unwrap_or_default();
        if self.read.as_ref().is_none_or(|(read, _)| *read != version) {
            let contents = Contents::read(&secret, &self.settings.hosts);
            if let Some(problem) = &contents.problem {
                tracing::warn!(
                    secret = self.settings.secret,
                    problem,
                    "what is in the Secret cannot be used, it is replaced"
                );
            }
            self.read = Some((version, contents));
        }
        Ok(Some(secret))
    }

    async fn read_configurations(&self) -> Result<[Option<Configuration>; 2], KeepError> {
        let name = &self.settings.configurations;
        let [mutating, validating] = CONFIGURATIONS.map(|it| it.place(name));
        let mutating = mutating.get(&self.connection).await?;
        let validating = validating.get(&self.connection).await?;
        Ok([mutating, validating].map(|object| object.as_ref().map(Configuration::read)))
    }

    fn serve(&mut self, which: Which) {
        let contents = self.read.as_ref().map(|(_, contents)| contents);
        let chosen = contents.and_then(|contents| match which {
            Which::Current => contents.current.as_ref(),
            Which::Previous => contents.previous.as_ref(),
        });
        let Some(chosen) = chosen.cloned() else { return };
        if self.served.is_some() {
            self.metrics.record_certificate_reload(true);
        }
        let Servable { generation, certificate, .. } = &chosen;
        let (ca_not_after, not_after) = (generation.ca.not_after, generation.leaf.not_after);
        self.metrics.set_certificate_not_after(Role::Ca.as_str(), ca_not_after.as_second());
        self.metrics.set_certificate_not_after(Role::Leaf.as_str(), not_after.as_second());
        self.certificates.replace(certificate.clone());
        tracing::info!(%not_after, %ca_not_after, "another certificate is served");
        self.served = Some(chosen);
    }

    /// Ready is who serves what the API server trusts. It stays so if a bundle is
    /// spoilt later: without this pod, even the webhooks whose bundles are sound
    /// would have nobody to call.
    fn note_readiness(&mut self, configurations: &[Option<Configuration>; 2], bundles: &[Bundle]) {
        if self.is_ready {
            return;
        }
        let name = &self.settings.configurations;
        let missing =
            CONFIGURATIONS.iter().zip(configurations).find(|(_, configuration)| configuration.is_none());
        let obstacle = match (missing, &self.served) {
            (Some((missing, _)), _) => Some(format!("there is no {} {name} yet", missing.kind)),
            (None, Some(served)) if is_everywhere(bundles, &served.generation.ca) => None,
            (None, _) => Some(format!(
                "the CA of the serving certificate is not yet in every caBundle of the webhook configurations {name}"
            )),
        };
        self.is_ready = obstacle.is_none();
        self.certificates.set_obstacle(obstacle);
    }

    async fn write_bundles(
        &self,
        configurations: &[Option<Configuration>; 2],
        merge: &Merge,
    ) -> Result<bool, KeepError> {
        let mut outcome = Ok(false);
        for (its, configuration) in CONFIGURATIONS.iter().zip(configurations) {
            let Some(patch) = configuration.as_ref().and_then(|it| it.patch(merge)) else { continue };
            let written = its.place(&self.settings.configurations).patch(&self.connection, &patch).await;
            if matches!(written, Ok(Written::Done)) {
                let name = &self.settings.configurations;
                tracing::info!(kind = its.kind, name, "the CAs in the webhook configuration have changed");
            }
            outcome = match (outcome, written) {
                (Ok(_), Ok(_)) => Ok(true),
                (Err(error), _) | (Ok(_), Err(error)) => Err(error),
            };
        }
        Ok(outcome?)
    }

    async fn write_secret(
        &mut self,
        secret: Option<Value>,
        change: Option<Change>,
    ) -> Result<bool, KeepError> {
        let Some(change) = change else { return Ok(false) };
        // Read again in any case.
        let contents = self.read.take().map(|(_, contents)| contents);
        let contents = self.changed(contents, &change)?;
        let written = match secret {
            None => {
                let secret = new_secret(&self.settings.secret, &contents);
                self.secret().create(&self.connection, &secret).await?
            }
            Some(secret) => self.secret().update(&self.connection, &with_contents(secret, &contents)).await?,
        };
        if written == Written::Done {
            let what = match change {
                Change::NewCa(_) => "made a new CA and a certificate",
                Change::NewLeaf => "made a new certificate",
                Change::Forget => "removed the CA before, which nobody uses any more",
            };
            tracing::info!(secret = self.settings.secret, "{what}");
        }
        Ok(true)
    }

    fn changed(&self, contents: Option<Contents>, change: &Change) -> Result<Contents, KeepError> {
        match (change, contents) {
            (Change::NewLeaf, Some(mut contents)) => {
                if let Some(authority) = contents.authority() {
                    let issued = self.issue(authority)?;
                    contents.current = Some(Servable::issued(authority, &issued).map_err(KeepError::Made)?);
                }
                Ok(contents)
            }
            (Change::Forget, Some(mut contents)) => {
                contents.previous = None;
                Ok(contents)
            }
            (Change::NewCa(origin), contents) => {
                let previous = match origin {
                    Some(Origin::Stored) => contents.and_then(|contents| contents.current),
                    Some(Origin::Served) => self.served.clone(),
                    None => None,
                };
                self.new_ca(previous)
            }
            // The decision asks for neither without a Secret.
            (Change::NewLeaf | Change::Forget, None) => self.new_ca(None),
        }
    }

    fn new_ca(&self, previous: Option<Servable>) -> Result<Contents, KeepError> {
        let validity = from_now(self.settings.lifetimes.ca);
        let authority = Authority::generate(CA, self.settings.hosts.clone(), validity)?;
        let issued = self.issue(&authority)?;
        Contents::new(authority, &issued, previous).map_err(KeepError::Made)
    }

    fn issue(&self, authority: &Authority) -> Result<Issued, CertificateError> {
        authority.issue(from_now(self.settings.lifetimes.leaf))
    }

    /// Logs and counts a problem, once. It is what keeps the replica from being
    /// ready, if it is not.
    fn complain(&mut self, problem: &str) {
        if !self.is_ready {
            self.certificates.set_obstacle(Some(problem.to_owned()));
        }
        if self.told.as_deref() == Some(problem) {
            return;
        }
        tracing::error!(problem, "the certificates cannot be looked after");
        self.metrics.record_certificate_reload(false);
        self.told = Some(problem.to_owned());
    }
}

/// Valid from a while ago on, and from now on for this long.
fn from_now(lifetime: Duration) -> Validity {
    let now = Timestamp::now();
    let lifetime = SignedDuration::try_from(lifetime).unwrap_or(SignedDuration::MAX);
    Validity {
        not_before: now.checked_sub(BACKDATED).unwrap_or(now),
        not_after: now.checked_add(lifetime).unwrap_or(Timestamp::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_that_can_be_met() {
        let seconds = Duration::from_secs;
        let day = 24 * 3600;
        let check = |ca, leaf, interval, trust_delay| {
            let settings = Settings {
                secret: "s".to_owned(),
                namespace: None,
                configurations: "c".to_owned(),
                hosts: Vec::new(),
                lifetimes: Lifetimes { ca: seconds(ca), leaf: seconds(leaf) },
                interval: seconds(interval),
                trust_delay: seconds(trust_delay),
            };
            settings.check().map_err(|error| error.to_string())
        };
        let shorter = "--certificate-lifetime 101s is longer than --ca-lifetime 100s: a certificate ends with its CA, \
                       and would be renewed at once for ever; write a shorter one, or a longer --ca-lifetime";
        let longer = "--certificate-lifetime 78s is too short: the last third of it, 26s, has to suffice for one of \
                      a new CA, which takes three looks (--certificate-poll-interval 5s), --ca-trust-delay 10s and \
                      1s; write more than 78s";
        for (ca, leaf, interval, trust_delay, expected) in [
            (730 * day, 90 * day, 5, 10, Ok(())),
            (100, 100, 1, 1, Ok(())),
            (100, 101, 1, 1, Err(shorter)),
            (730 * day, 79, 5, 10, Ok(())),
            (730 * day, 78, 5, 10, Err(longer)),
            (36_500 * day, 90 * day, 5, 10, Ok(())),
        ] {
            assert_eq!(check(ca, leaf, interval, trust_delay), expected.map_err(str::to_owned));
        }
        for (ca, leaf, interval, trust_delay, expected) in [
            (36_501 * day, 90 * day, 5, 10, "--ca-lifetime 3153686400s is too long; write at most 876000h"),
            (730 * day, u64::MAX, 5, 10, "--certificate-lifetime 18446744073709551615s is too long"),
            (730 * day, 90 * day, u64::MAX, u64::MAX, "--certificate-lifetime 7776000s is too short"),
        ] {
            let error = check(ca, leaf, interval, trust_delay).expect_err("it cannot be met");
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
