//! What operators see of gapless: metrics and logs.

pub mod metrics;
pub mod telemetry;
