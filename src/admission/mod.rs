//! The path of one review: bytes in, decision out.
//!
//! A pure function. It reads no file, no clock and no network, and panics
//! nowhere; the same bytes give the same answer.

pub mod envelope;
mod gates;
mod response;
mod rollback;
mod service;
mod verdict;

use std::cell::OnceCell;
use std::collections::BTreeMap;

use jiff::civil::Date;
use serde_json::Value;

use crate::defaults::DEFAULTS;
use crate::finding::{Finding, Problem};
use crate::injection::{self, InjectError, Injection, inject};
use crate::kubernetes::kind::Kind;
use crate::kubernetes::object::{Object, View, at};
use crate::ownership::intent::Origin;
use crate::ownership::owners::Change;
use crate::ownership::record::Record;
use crate::policy::{InjectionMode, Policy, Profile, Waivers};
use crate::rules::RULES;
use crate::surroundings::{Around, Revisions, Surroundings};
use crate::waiver::{self, ActiveWaivers, Waiver};
use crate::workload::{Context, Workload, WrongType};

pub use envelope::{Operation, ResponseReview};
pub use gates::Skip;
pub use service::assess_switch;
pub use verdict::{Judged, Outcome};

use envelope::Request;
use response::ResponseBuilder;
use verdict::{Circumstances, judge};

/// Which of the two webhooks is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Injects defaults.
    Mutate,
    /// Judges the object, with everything injected.
    Validate,
}

impl Phase {
    /// The webhook in one word, as paths, metrics and logs write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Mutate => "mutate",
            Phase::Validate => "validate",
        }
    }
}

/// What is asked of the object under review.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// The policy in force.
    pub policy: &'a Policy,
    /// The profile that the API server asked for; `None` for the default.
    pub profile: Option<&'a str>,
    /// The day (UTC), on which the expiry of a waiver hangs.
    pub today: Date,
    /// Who knows what is around the object.
    pub surroundings: &'a dyn Around,
}

/// The answer to one review, and what logs and metrics say of it.
#[derive(Clone, Debug)]
pub struct Review {
    /// What goes back to the API server.
    pub response: ResponseReview,
    /// The decision in one word.
    pub decision: Decision,
    /// The profile by which it was taken.
    pub profile: String,
    /// Whether the profile that was asked for does not exist, so that the
    /// default profile was used.
    pub is_unknown_profile: bool,
    /// What is done to the object.
    pub operation: Operation,
    /// Whether nothing is going to be stored.
    pub dry_run: bool,
    /// The object's namespace.
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// Who asked.
    pub username: String,
    /// Why the object was not looked at, if so.
    pub skip: Option<Skip>,
    /// The rules that found something, and what came of it.
    pub findings: Vec<(&'static str, Outcome)>,
    /// The ids of the defaults that changed something.
    pub defaults: Vec<&'static str>,
    /// The ids of the rules and defaults that a waiver kept silent.
    pub waived: Vec<String>,
}

/// The decision in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// The request goes on as it is.
    Allow,
    /// The request goes on with a patch.
    Patch,
    /// The request is denied.
    Deny,
}

impl Decision {
    /// The decision as metrics and logs write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Decision::Allow => "allow",
            Decision::Patch => "patch",
            Decision::Deny => "deny",
        }
    }
}

/// Why there is no decision. The API server applies its failurePolicy.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// The body is no review that gapless can read: the sender's mistake.
    #[error("{message}")]
    Malformed {
        /// The request's uid, if it could be read.
        uid: Option<String>,
        /// What is wrong with it.
        message: String,
    },
    /// gapless could not answer: its own mistake.
    #[error("{message}")]
    Internal {
        /// The request's uid.
        uid: String,
        /// What went wrong.
        message: String,
    },
}

/// Reviews the AdmissionReview in `body`.
///
/// # Errors
/// [`ReviewError`], for everything that is not a decision.
pub fn review(terms: Terms, phase: Phase, body: &[u8]) -> Result<Review, ReviewError> {
    let mut request = envelope::parse(body)?;
    let resolved = terms.policy.resolve(terms.profile);
    let review = Review {
        response: ResponseBuilder::allow(&request.uid).build(),
        decision: Decision::Allow,
        profile: resolved.name().to_owned(),
        is_unknown_profile: resolved.is_unknown,
        operation: request.operation,
        dry_run: request.dry_run.unwrap_or(false),
        namespace: request.namespace.clone().unwrap_or_default(),
        name: request.name.clone().unwrap_or_default(),
        username: request.user_info.username.clone().unwrap_or_default(),
        skip: None,
        findings: Vec::new(),
        defaults: Vec::new(),
        waived: Vec::new(),
    };

    let Some(profile) = resolved.profile else { return Ok(review.skipped(&request, Skip::ProfileOff)) };
    if phase == Phase::Validate && gates::is_service_update(&request) {
        return service::validate(review, &request, profile, terms);
    }
    let kind = match gates::judged_kind(&request, terms.policy) {
        Ok(kind) => kind,
        Err(skip) => return Ok(review.skipped(&request, skip)),
    };
    with_subject(&mut request, kind, profile, terms, |request, subject| match (subject, phase) {
        (Err(skip), _) => Ok(review.skipped(request, skip)),
        (Ok(subject), Phase::Mutate) => mutate(review, &subject),
        (Ok(subject), Phase::Validate) => validate(review, &subject),
    })
}

/// Reads the objects of a request, and asks for an answer about what is under review; or why
/// it is not looked at.
fn with_subject<'q, T>(
    request: &mut Request<'q>,
    kind: Kind,
    profile: &Profile,
    terms: Terms,
    answer: impl FnOnce(&Request<'q>, Result<Subject, Skip>) -> Result<T, ReviewError>,
) -> Result<T, ReviewError> {
    if kind == Kind::DaemonSet {
        read_volume_mounts(request)?;
    }
    let request = &*request;
    let old_object = match request.operation {
        Operation::Update => Some(required(request, &request.old_object, "oldObject")?),
        _ => None,
    };
    let object = required(request, &request.object, "object")?;
    let around =
        |object: &Object| terms.surroundings.around(kind, &object.tree, request.namespace.as_deref());
    let surroundings = around(object);
    let old_surroundings = old_object.filter(|old| !has_same_neighbours(object, old)).map(around);
    let context = Context {
        old_object: old_object.map(Object::view),
        surroundings: &surroundings,
        ..Context::new(kind, Origin::ApiServer)
    };
    let old_context = Context {
        surroundings: old_surroundings.as_ref().unwrap_or(&surroundings),
        ..Context::new(kind, Origin::ApiServer)
    };
    let workload = read(request, object.view(), context, "object")?;
    // A finding is old also if it was about what gapless wrote: where that has to go,
    // as after a scale, what is left is not the request's doing.
    let old = old_object.map(|old| read(request, old.view(), old_context, "oldObject")).transpose()?;
    let old = old.map(Workload::without_record);
    if let Some(skip) = gates::skip_object(&workload) {
        return answer(request, Err(skip));
    }

    let change = Change {
        kind,
        object: object.view(),
        old_object: old_object.map(Object::view),
        differs_unread: old_object.is_some_and(|old| !has_same_unread_template(kind, object, old)),
        is_undo: false,
        may_be_undo_by_argo: false,
        field_manager: request.options.as_ref().and_then(|options| options.field_manager.as_deref()),
        origin: Origin::ApiServer,
    };
    let change = Change {
        is_undo: rollback::is_undo(request, &change),
        may_be_undo_by_argo: rollback::may_be_undo_by_argo(request, &change),
        ..change
    };
    let subject = Subject {
        request,
        object,
        change,
        workload,
        old,
        profile,
        today: terms.today,
        surroundings: terms.surroundings,
        revisions: OnceCell::new(),
    };
    answer(request, Ok(subject))
}

/// The API server fills nothing into a custom resource, and its controller and clients fill
/// in much of what the API server would.
fn has_same_unread_template(kind: Kind, object: &Object, old_object: &Object) -> bool {
    match kind.is_defaulted_by_api_server() {
        true => object.has_same_unread_template(old_object),
        false => object.has_same_unread_template_but_for_defaults(old_object),
    }
}

/// Whether both have the same pods and disks to whoever stands around them.
fn has_same_neighbours(object: &Object, old_object: &Object) -> bool {
    [["spec", "template", "metadata", "labels"], ["spec", "template", "spec", "volumes"]]
        .iter()
        .all(|path| at(&object.tree, path) == at(&old_object.tree, path))
}

/// An object under review, with all that its review hangs on.
struct Subject<'r> {
    request: &'r Request<'r>,
    object: &'r Object<'r>,
    change: Change<'r>,
    workload: Workload<'r>,
    old: Option<Workload<'r>>,
    profile: &'r Profile,
    today: Date,
    surroundings: &'r dyn Around,
    revisions: OnceCell<Revisions>,
}

/// Injects the defaults, or announces them.
fn mutate(review: Review, subject: &Subject) -> Result<Review, ReviewError> {
    let waivers = subject.waivers();
    let injection = subject.inject(&waivers, subject.profile.injection)?;
    let acted = |id: &&str| injection.announcements.iter().any(|(acted, _)| acted == id);
    let defaults: Vec<&str> = DEFAULTS.iter().map(|default| default.id).filter(acted).collect();
    let way_out = |id: &str, text: &str| way_out(id, text, subject.profile);
    let did = injection.announcements.iter().map(|(id, text)| format!("{text}{} ({id})", way_out(id, text)));
    // What would be filled beside what is kept up.
    let filled = match subject.profile.injection {
        InjectionMode::Inject => None,
        InjectionMode::Announce => {
            let object = View { tree: &injection.object, ..subject.change.object };
            Some(subject.inject_into(object, &waivers, InjectionMode::Inject)?)
        }
    };
    let would = filled.iter().flat_map(|filled| &filled.announcements);
    let would = would.map(|(id, text)| format!("would inject: {text}{} ({id})", way_out(id, text)));
    let problems = filled.as_ref().map_or(&injection.problems, |filled| &filled.problems);
    let problems = problems.iter().map(Problem::line);
    let operations = &injection.operations;
    let waived: BTreeMap<&str, &str> =
        DEFAULTS.iter().filter_map(|default| Some((default.id, waivers.reason(default.id)?))).collect();
    let response = subject
        .answer(&review)
        .warn(problems.chain(did).chain(would))
        .audit("injected", defaults.join(", "))
        .audit("waived", response::audit_waived(&waived))
        .patch(operations)
        .build();
    Ok(Review {
        response,
        decision: if operations.is_empty() { Decision::Allow } else { Decision::Patch },
        defaults,
        waived: waived.into_keys().map(str::to_owned).collect(),
        ..review
    })
}

/// How to be rid of what a default adds for the first time, where that may be needed.
fn way_out(id: &str, text: &str, profile: &Profile) -> String {
    let may_not_fit = DEFAULTS.iter().any(|default| default.id == id && default.may_not_fit);
    match profile.waivers {
        _ if !may_not_fit || !text.starts_with("added ") => String::new(),
        Waivers::Allowed => format!("; if it does not fit: {}{id}", waiver::PREFIX),
        Waivers::Forbidden => "; if it does not fit, write your own".to_owned(),
    }
}

/// Judges the object.
fn validate(review: Review, subject: &Subject) -> Result<Review, ReviewError> {
    let profile = subject.profile;
    let waivers = subject.waivers();
    let judged = match profile.injection {
        InjectionMode::Inject => subject.judge(&subject.workload, &waivers),
        // Judged as it would be with everything injected.
        InjectionMode::Announce => {
            let injected = subject.inject(&waivers, InjectionMode::Inject)?.object;
            subject.judge(&subject.workload_of(&injected)?, &waivers)
        }
    };

    // Nobody asks for the revisions of a request that passes.
    let may_be_rollback = judged.iter().any(|it| it.outcome == Outcome::Deny)
        && subject.old.is_some()
        && *subject.revisions() == Revisions::Unknown;
    Ok(review.judged(subject.request, &judged, &waivers, profile, may_be_rollback))
}

/// What the webhooks would say of a new object.
#[derive(Debug)]
pub struct Assessment {
    /// Why it would not be looked at, if so.
    pub skip: Option<Skip>,
    /// What would be injected.
    pub injection: Injection,
    /// The findings after that, those that deny first.
    pub judged: Vec<Judged>,
    /// The findings before that, in the object as it is.
    pub as_it_is: Vec<Judged>,
    /// The waivers that hold.
    pub waivers: Vec<Waiver>,
    /// Waivers and other annotations that have no effect.
    pub problems: Vec<Problem>,
}

impl Assessment {
    /// The object is not looked at.
    fn skipped(skip: Skip, object: &Value) -> Self {
        Assessment {
            skip: Some(skip),
            injection: Injection::none(object),
            judged: Vec::new(),
            as_it_is: Vec::new(),
            waivers: Vec::new(),
            problems: Vec::new(),
        }
    }
}

/// Judges an object of this kind from a file as if it were created now.
///
/// # Errors
/// If a field has the wrong type, or the injection fails.
pub fn assess(
    kind: Kind,
    object: &Value,
    surroundings: &Surroundings,
    profile: &Profile,
    today: Date,
) -> Result<Assessment, InjectError> {
    let context = Context { surroundings, ..Context::new(kind, Origin::of_document(object)) };
    let workload = Workload::read_view(View::of(object), context)?;
    let waivers = read_waivers(&workload, profile, today);
    let change = Change::create(kind, workload.view(), context.origin);
    let skip = gates::skip_object(&workload);
    if let Some(skip) = skip {
        return Ok(Assessment::skipped(skip, object));
    }
    let terms = injection::Terms {
        profile,
        waivers: &waivers,
        surroundings,
        record_of_revision: None,
        mode: InjectionMode::Inject,
    };
    let injection = inject(change, terms)?;
    let circumstances = Circumstances { old: None, is_excused: &|_| false };
    let injected = Workload::read_view(View::of(&injection.object), context)?;
    let judged = judge(&injected, circumstances, profile, &waivers);
    let as_it_is = judge(&workload, circumstances, profile, &waivers);
    let problems = injection.problems.iter().chain(waivers.problems()).cloned().collect();
    let waivers = waivers.all().collect();
    Ok(Assessment { skip: None, injection, judged, as_it_is, waivers, problems })
}

/// Judges an object of this kind as if the request in `body`, an AdmissionReview, came now:
/// by both webhooks, one after the other.
///
/// # Errors
/// [`ReviewError`], as of [`review`].
pub fn assess_request(
    terms: Terms,
    kind: Kind,
    profile: &Profile,
    body: &[u8],
) -> Result<Assessment, ReviewError> {
    let mut request = envelope::parse(body)?;
    with_subject(&mut request, kind, profile, terms, |request, subject| {
        let subject = match subject {
            Ok(subject) => subject,
            Err(skip) => {
                let object = required(request, &request.object, "object")?;
                return Ok(Assessment::skipped(skip, &object.tree));
            }
        };
        let waivers = subject.waivers();
        let injection = subject.inject(&waivers, InjectionMode::Inject)?;
        let judged = subject.judge(&subject.workload_of(&injection.object)?, &waivers);
        let as_it_is = subject.judge(&subject.workload, &waivers);
        let problems = injection.problems.iter().chain(waivers.problems()).cloned().collect();
        let waivers = waivers.all().collect();
        Ok(Assessment { skip: None, injection, judged, as_it_is, waivers, problems })
    })
}

fn read_waivers<'a>(workload: &Workload<'a>, profile: &Profile, today: Date) -> ActiveWaivers<'a> {
    ActiveWaivers::read(workload, profile.waivers, today, is_id)
}

/// Whether there is a rule or default of this id.
fn is_id(id: &str) -> bool {
    RULES.iter().any(|rule| rule.id == id) || DEFAULTS.iter().any(|default| default.id == id)
}

/// Which findings of a request are excused, because it repairs something.
#[derive(Clone, Copy)]
enum Repair {
    /// None.
    None,
    /// Those in the template, which an undo brings back.
    OfTemplate,
    /// All.
    All,
}

impl<'r> Subject<'r> {
    fn waivers(&self) -> ActiveWaivers<'r> {
        read_waivers(&self.workload, self.profile, self.today)
    }

    fn inject(&self, waivers: &ActiveWaivers, mode: InjectionMode) -> Result<Injection, ReviewError> {
        self.inject_into(self.change.object, waivers, mode)
    }

    fn inject_into(
        &self,
        object: View,
        waivers: &ActiveWaivers,
        mode: InjectionMode,
    ) -> Result<Injection, ReviewError> {
        let change = Change { object, ..self.change };
        let failed = |error: InjectError| match error {
            InjectError::WrongType(error) => malformed(self.request, format!("request.object.{error}")),
            InjectError::Patch(error) => {
                ReviewError::Internal { uid: self.request.uid.clone(), message: error.to_string() }
            }
        };
        let surroundings = self.workload.surroundings();
        let record_of_revision = self.record_of_revision();
        let record_of_revision = record_of_revision.as_ref();
        let terms =
            injection::Terms { profile: self.profile, waivers, surroundings, record_of_revision, mode };
        inject(change, terms).map_err(failed)
    }

    /// The workload that `tree`, made of the request's object, is.
    fn workload_of<'t>(&'t self, tree: &'t Value) -> Result<Workload<'t>, ReviewError> {
        let view = View { tree, ..self.change.object };
        read(self.request, view, self.workload.context(), "object")
    }

    /// The findings in `workload`, made of the request's object, with what comes of each.
    fn judge(&self, workload: &Workload, waivers: &ActiveWaivers) -> Vec<Judged> {
        let repair = OnceCell::new();
        let is_excused = |finding: &Finding| match repair.get_or_init(|| self.repair()) {
            Repair::None => false,
            Repair::OfTemplate => finding.field.is_in_template(),
            Repair::All => true,
        };
        let circumstances = Circumstances { old: self.old.as_ref(), is_excused: &is_excused };
        judge(workload, circumstances, self.profile, waivers)
    }

    /// Which findings the request brings back rather than in.
    fn repair(&self) -> Repair {
        if rollback::is_scale(&self.change) {
            return Repair::All;
        }
        let changes_template = || !self.change.is_stored_template(self.change.object.tree);
        let is_rollback = self.change.is_undo
            || changes_template()
                && match self.revisions() {
                    Revisions::Known(revisions) => rollback::is_earlier_template(self.object, revisions),
                    // It may be one.
                    Revisions::Awaited => return Repair::OfTemplate,
                    Revisions::Unknown => false,
                };
        match is_rollback {
            true if rollback::changes_only_template(&self.change) => Repair::All,
            true => Repair::OfTemplate,
            false => Repair::None,
        }
    }

    /// The record of the revision that an undo brings back and leaves behind.
    fn record_of_revision(&self) -> Option<Record> {
        let is_undo = self.change.is_undo || self.change.may_be_undo_by_argo;
        if !is_undo || self.change.kind.undo_brings_annotations() {
            return None;
        }
        match self.revisions() {
            Revisions::Known(revisions) => rollback::record_of_revision(self.object, revisions),
            Revisions::Unknown | Revisions::Awaited => None,
        }
    }

    /// The templates that the workload has had.
    fn revisions(&self) -> &Revisions {
        self.revisions.get_or_init(|| {
            let name = self.workload.metadata().name.unwrap_or_default();
            self.surroundings.revisions(self.change.kind, self.request.namespace.as_deref(), name)
        })
    }

    /// A response with what every answer about this object says.
    fn answer(&self, review: &Review) -> ResponseBuilder {
        review.answer(self.request)
    }
}

impl Review {
    fn answer(&self, request: &Request) -> ResponseBuilder {
        let builder = ResponseBuilder::allow(&request.uid).audit("profile", self.profile.as_str());
        if self.is_unknown_profile {
            return builder
                .audit("unknown-profile", "the profile asked for does not exist, the default applies");
        }
        builder
    }

    /// The answer to these findings.
    fn judged(
        self,
        request: &Request,
        judged: &[Judged],
        waivers: &ActiveWaivers,
        profile: &Profile,
        may_be_rollback: bool,
    ) -> Self {
        let waived: BTreeMap<&str, &str> =
            judged.iter().filter_map(|it| Some((it.finding.rule, it.waived_because.as_deref()?))).collect();
        let about = response::Subject {
            name: &self.name,
            group: &request.kind.group,
            kind: &request.kind.kind,
            may_be_rollback,
        };
        let response = self
            .answer(request)
            .verdict(judged, &about, profile)
            .warn(waivers.problems().iter().map(Problem::line))
            .audit("findings", response::audit_findings(judged))
            .audit("waived", response::audit_waived(&waived))
            .build();
        Review {
            decision: if response.response.allowed { Decision::Allow } else { Decision::Deny },
            response,
            findings: judged.iter().map(|it| (it.finding.rule, it.outcome)).collect(),
            waived: waived.into_keys().map(str::to_owned).collect(),
            ..self
        }
    }

    fn skipped(self, request: &Request, skip: Skip) -> Self {
        let response = self.answer(request).audit("skipped", skip.as_str()).build();
        Review { response, skip: Some(skip), ..self }
    }
}

/// Of other kinds they need not be looked into.
fn read_volume_mounts(request: &mut Request) -> Result<(), ReviewError> {
    for (field, object) in [("object", &mut request.object), ("oldObject", &mut request.old_object)] {
        object.as_mut().map_or(Ok(()), Object::read_volume_mounts).map_err(|error| {
            let message = format!("request.{field}: {error}");
            ReviewError::Malformed { uid: Some(request.uid.clone()), message }
        })?;
    }
    Ok(())
}

fn required<'o, 'r>(
    request: &Request,
    object: &'o Option<Object<'r>>,
    field: &str,
) -> Result<&'o Object<'r>, ReviewError> {
    match object {
        Some(object) if object.tree.is_object() => Ok(object),
        Some(_) => Err(malformed(request, format!("request.{field} is no object"))),
        None => Err(malformed(request, format!("request.{field} is missing"))),
    }
}

fn read<'r>(
    request: &Request,
    object: View<'r>,
    context: Context<'r>,
    field: &str,
) -> Result<Workload<'r>, ReviewError> {
    Workload::read_view(object, context)
        .map_err(|error: WrongType| malformed(request, format!("request.{field}.{error}")))
}

fn malformed(request: &Request, message: String) -> ReviewError {
    ReviewError::Malformed { uid: Some(request.uid.clone()), message }
}
