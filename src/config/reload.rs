//! The configuration in force, and its file, looked at again and again.

use std::path::Path;
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};

use super::{ConfigError, understand};
use crate::policy::Policy;
use crate::watched::{Watched, WatchedFiles, describe};

/// The configuration in force. It is exchanged as a whole.
#[derive(Debug)]
pub struct LiveConfig {
    policy: ArcSwap<Policy>,
    objection: ArcSwapOption<String>,
}

impl LiveConfig {
    /// The policy in force. Whoever answers a call asks once, so that one policy
    /// applies from the beginning to the end.
    pub fn policy(&self) -> Arc<Policy> {
        self.policy.load_full()
    }

    /// What is wrong with the file, if the policy in force is an older one.
    pub fn objection(&self) -> Option<Arc<String>> {
        self.objection.load_full()
    }

    /// Puts a changed file into force, if it can be used.
    pub fn apply(&self, outcome: Result<Policy, ConfigError>) {
        match outcome {
            Ok(policy) => {
                self.policy.store(Arc::new(policy));
                self.objection.store(None);
            }
            Err(error) => self.objection.store(Some(Arc::new(describe(&error)))),
        }
    }
}

impl From<Policy> for LiveConfig {
    fn from(policy: Policy) -> Self {
        LiveConfig { policy: ArcSwap::from_pointee(policy), objection: ArcSwapOption::empty() }
    }
}

/// The configuration file, and what was in it at the last look.
#[derive(Debug)]
pub struct WatchedConfig {
    file: WatchedFiles<1>,
}

impl WatchedConfig {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// If the file cannot be read or understood.
    pub fn open(path: &Path) -> Result<(Policy, Self), ConfigError> {
        let ([content], file) = WatchedFiles::open([path]);
        Ok((understand(path, content)?, WatchedConfig { file }))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        let [path] = self.file.paths();
        path
    }
}

impl Watched for WatchedConfig {
    type Change = Result<Policy, ConfigError>;

    fn look(&mut self) -> Option<Self::Change> {
        let [content] = self.file.look()?;
        Some(understand(self.path(), content))
    }

    fn forget(&mut self) {
        self.file.forget();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const HEAD: &str = "apiVersion: gapless.dev/v1alpha1\nkind: GaplessConfiguration\n";

    fn with_default(profile: &str) -> String {
        format!("{HEAD}defaultProfile: {profile}\n")
    }

    fn default_profile(policy: &Policy) -> String {
        policy.default_profile().expect("a profile").name.clone()
    }

    /// What came of a look: the default profile, or the error.
    fn look(file: &mut WatchedConfig) -> Option<Result<String, String>> {
        file.look().map(|outcome| outcome.as_ref().map(default_profile).map_err(ToString::to_string))
    }

    #[test]
    fn each_content_is_looked_at_once() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("config.yaml");
        let write = |text: &str| fs::write(&path, text).expect("a file");
        write(&with_default("production"));
        let (policy, mut file) = WatchedConfig::open(&path).expect("a configuration");
        assert_eq!(default_profile(&policy), "production");
        assert_eq!(look(&mut file), None);
        write(&with_default("production"));
        assert_eq!(look(&mut file), None, "written again, not changed");

        write(&with_default("advisory"));
        assert_eq!(look(&mut file), Some(Ok("advisory".to_owned())));
        assert_eq!(look(&mut file), None);

        write(&with_default("x"));
        assert!(
            look(&mut file).expect("a change").expect_err("an error").contains("there is no profile \"x\"")
        );
        assert_eq!(look(&mut file), None, "it is still the same error");
        write("");
        assert!(look(&mut file).expect("a change").expect_err("an error").contains("there is nothing"));
        fs::remove_file(&path).expect("a file");
        assert!(look(&mut file).expect("a change").expect_err("an error").contains("cannot read"));
        assert_eq!(look(&mut file), None);

        write(&with_default("advisory"));
        assert_eq!(look(&mut file), Some(Ok("advisory".to_owned())));
    }

    #[test]
    fn a_bad_file_leaves_the_policy_in_force() {
        let config = LiveConfig::from(Policy::new("advisory").expect("a profile"));
        let before = config.policy();
        let missing = || super::super::load(Some(Path::new("/nonexistent.yaml")));
        config.apply(missing());
        assert!(Arc::ptr_eq(&before, &config.policy()));
        let objection = config.objection().expect("an objection");
        assert_eq!(
            objection.as_str(),
            "cannot read the configuration /nonexistent.yaml: No such file or directory (os error 2)"
        );
        config.apply(Ok(Policy::new("development").expect("a profile")));
        assert_eq!(default_profile(&config.policy()), "development");
        assert_eq!(config.objection(), None);
        assert_eq!(default_profile(&before), "advisory", "whoever holds it keeps it");
    }
}
