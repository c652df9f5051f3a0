//! The defaults that the API server fills in before any webhook sees a Deployment
//! (kubernetes, pkg/apis/apps/v1/defaults.go and pkg/apis/core/v1/defaults.go).

use super::int_or_string::IntOrString;

/// `spec.replicas`
pub const REPLICAS: i32 = 1;
/// `spec.strategy.type`
pub const STRATEGY_TYPE: &str = "RollingUpdate";
/// `spec.strategy.rollingUpdate.maxUnavailable`
pub const MAX_UNAVAILABLE: IntOrString = IntOrString::String("25%");
/// `spec.strategy.rollingUpdate.maxSurge`
pub const MAX_SURGE: IntOrString = IntOrString::String("25%");
/// `spec.minReadySeconds`
pub const MIN_READY_SECONDS: i32 = 0;
/// `spec.progressDeadlineSeconds`
pub const PROGRESS_DEADLINE_SECONDS: i32 = 600;
/// `spec.revisionHistoryLimit`
pub const REVISION_HISTORY_LIMIT: i32 = 10;
/// `spec.template.spec.terminationGracePeriodSeconds`
pub const GRACE_PERIOD_SECONDS: i64 = 30;
/// `periodSeconds` of a probe
pub const PERIOD_SECONDS: i32 = 10;
/// `timeoutSeconds` of a probe
pub const TIMEOUT_SECONDS: i32 = 1;
/// `successThreshold` of a probe
pub const SUCCESS_THRESHOLD: i32 = 1;
/// `failureThreshold` of a probe
pub const FAILURE_THRESHOLD: i32 = 3;
