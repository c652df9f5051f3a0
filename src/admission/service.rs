//! The update of a Service: whether it switches to pods that are not there yet.

use jiff::civil::Date;
use serde_json::Value;

use super::envelope::Request;
use super::verdict::{Judged, judge_switch};
use super::{Review, ReviewError, Terms, gates, is_id, malformed, required};
use crate::finding::Problem;
use crate::policy::Profile;
use crate::surroundings::Backend;
use crate::surroundings::neighbour::service_selector;
use crate::waiver::ActiveWaivers;
use crate::workload::object::ObjectMeta;

/// Judges the update of a Service.
pub(super) fn validate(
    review: Review,
    request: &Request,
    profile: &Profile,
    terms: Terms,
) -> Result<Review, ReviewError> {
    let service = &required(request, &request.object, "object")?.tree;
    let old = &required(request, &request.old_object, "oldObject")?.tree;
    let metadata =
        metadata(service).map_err(|error| malformed(request, format!("request.object.metadata: {error}")))?;
    if let Some(skip) = gates::skip_service(request, &metadata, terms.policy) {
        return Ok(review.skipped(request, skip));
    }
    let backends = match (service_selector(old), service_selector(service)) {
        (old, Some(new)) if old.as_ref() != Some(&new) => {
            terms.surroundings.behind(&new, request.namespace.as_deref())
        }
        _ => Vec::new(),
    };
    let waivers = waivers(&metadata, profile, terms.today);
    let judged = judge_switch(&backends, profile, &waivers);
    Ok(review.judged(request, &judged, &waivers, profile, false))
}

/// Judges a Service from a file, whose selector changes to the pods of these workloads:
/// its findings, and the annotations that have no effect.
///
/// # Errors
/// If its metadata cannot be read.
pub fn assess_switch(
    service: &Value,
    backends: &[Backend],
    profile: &Profile,
    today: Date,
) -> Result<(Vec<Judged>, Vec<Problem>), serde_json::Error> {
    let metadata = metadata(service)?;
    let waivers = waivers(&metadata, profile, today);
    Ok((judge_switch(backends, profile, &waivers), waivers.problems().to_vec()))
}

fn metadata(service: &Value) -> Result<ObjectMeta<'_>, serde_json::Error> {
    service.get("metadata").map_or_else(|| Ok(ObjectMeta::default()), ObjectMeta::deserialize)
}

fn waivers<'a>(metadata: &ObjectMeta<'a>, profile: &Profile, today: Date) -> ActiveWaivers<'a> {
    ActiveWaivers::in_annotations(&metadata.annotations, profile.waivers, today, is_id)
}
