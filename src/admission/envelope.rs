//! AdmissionReview of `admission.k8s.io/v1`, as it goes over the wire
//! (kubernetes, api/admission/v1/types.go). Fields that gapless does not read
//! are left out of the request.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::ReviewError;
use crate::kubernetes::object::Object;

/// The only version that gapless speaks; its webhook configurations say so.
pub const API_VERSION: &str = "admission.k8s.io/v1";
/// The kind of requests and responses alike.
pub const KIND: &str = "AdmissionReview";

/// What the API server sends.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestReview<'a> {
    /// Always [`API_VERSION`].
    pub api_version: String,
    /// Always [`KIND`].
    pub kind: String,
    /// The question.
    #[serde(borrow)]
    pub request: Option<Request<'a>>,
}

/// The question.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request<'a> {
    /// Identifies this round trip; the response carries it back.
    pub uid: String,
    /// The kind of the object, as the webhook is registered for it.
    pub kind: GroupVersionKind,
    /// Set for a subresource such as `scale`.
    #[serde(default)]
    pub sub_resource: Option<String>,
    /// The object's name; empty if the API server has yet to generate it.
    #[serde(default)]
    pub name: Option<String>,
    /// The object's namespace.
    #[serde(default)]
    pub namespace: Option<String>,
    /// What is done to the object.
    pub operation: Operation,
    /// Who asks.
    #[serde(default)]
    pub user_info: UserInfo,
    /// The object as it shall become.
    #[serde(borrow, default)]
    pub object: Option<Object<'a>>,
    /// The object as it is stored.
    #[serde(borrow, default)]
    pub old_object: Option<Object<'a>>,
    /// Whether nothing is going to be stored.
    #[serde(default)]
    pub dry_run: Option<bool>,
    /// CreateOptions or UpdateOptions.
    #[serde(default)]
    pub options: Option<Options>,
}

/// A kind with its group and version.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct GroupVersionKind {
    /// Such as `apps`.
    pub group: String,
    /// Such as `v1`.
    pub version: String,
    /// Such as `Deployment`.
    pub kind: String,
}

/// What is done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Operation {
    /// The object is new.
    Create,
    /// The object changes.
    Update,
    /// The object goes.
    Delete,
    /// Something connects to the object.
    Connect,
}

impl Operation {
    /// As the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Operation::Create => "CREATE",
            Operation::Update => "UPDATE",
            Operation::Delete => "DELETE",
            Operation::Connect => "CONNECT",
        }
    }
}

/// Who asks.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct UserInfo {
    /// The user's name.
    pub username: Option<String>,
    /// The user's groups.
    pub groups: Option<Vec<String>>,
}

/// The part of CreateOptions and UpdateOptions that gapless reads.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Options {
    /// The name under which the client writes; empty if it gave none.
    pub field_manager: Option<String>,
}

/// What gapless answers.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResponseReview {
    /// Always [`API_VERSION`].
    pub api_version: &'static str,
    /// Always [`KIND`].
    pub kind: &'static str,
    /// The answer.
    pub response: Response,
}

impl ResponseReview {
    /// What goes over the wire.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        // Beside the patch there is room for the usual warnings, so that it need not grow.
        let mut json = Vec::with_capacity(self.response.patch.as_ref().map_or(0, String::len) + 2_048);
        serde_json::to_writer(&mut json, self)?;
        Ok(json)
    }
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// The request's.
    pub uid: String,
    /// Whether the request may go on.
    pub allowed: bool,
    /// Why it may not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// A JSON Patch in base64. The API server wants both or none of this and
    /// `patch_type`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch: Option<String>,
    /// Always `JSONPatch`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch_type: Option<&'static str>,
    /// Lines that the user's client shows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Facts for the audit log.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub audit_annotations: BTreeMap<&'static str, String>,
}

/// Why a request is denied (apimachinery, meta/v1 `Status`).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    /// Always `Failure`.
    pub status: &'static str,
    /// The HTTP status code.
    pub code: u16,
    /// The code in one word.
    pub reason: &'static str,
    /// What users read.
    pub message: String,
    /// The same for programs.
    pub details: StatusDetails,
}

/// The object that a [`Status`] is about, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StatusDetails {
    /// The object's name.
    pub name: String,
    /// The object's group.
    pub group: String,
    /// The object's kind.
    pub kind: String,
    /// One for each finding that denies.
    pub causes: Vec<StatusCause>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StatusCause {
    /// The kind of mistake.
    pub reason: &'static str,
    /// What is wrong.
    pub message: String,
    /// Where.
    pub field: String,
}

/// Reads the question out of a body.
///
/// # Errors
/// [`ReviewError::Malformed`] if it is no AdmissionReview of v1 with a request.
pub fn parse(body: &[u8]) -> Result<Request<'_>, ReviewError> {
    // Checked as a whole, its texts need no check each.
    let review: Result<RequestReview, _> = match str::from_utf8(body) {
        Ok(text) => serde_json::from_str(text),
        Err(_) => serde_json::from_slice(body),
    };
    let review = review.map_err(|error| unreadable(body, error))?;
    let malformed =
        |uid: Option<&str>, message: String| ReviewError::Malformed { uid: uid.map(str::to_owned), message };
    let uid = review.request.as_ref().map(|request| request.uid.as_str());
    if review.api_version != API_VERSION || review.kind != KIND {
        let message =
            format!("the body is {} {}, gapless reads {API_VERSION} {KIND}", review.api_version, review.kind);
        return Err(malformed(uid, message));
    }
    let request = review.request.ok_or_else(|| malformed(None, "request is missing".to_owned()))?;
    if request.uid.is_empty() {
        return Err(malformed(None, "request.uid is empty".to_owned()));
    }
    Ok(request)
}

/// What is wrong with a body that cannot be read: the envelope, or one of the objects in
/// it. With its uid, for the log.
fn unreadable(body: &[u8], error: serde_json::Error) -> ReviewError {
    #[derive(Deserialize)]
    struct UidReview<'a> {
        #[serde(borrow)]
        request: UidRequest<'a>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct UidRequest<'a> {
        uid: String,
        #[serde(borrow, default)]
        object: Option<&'a RawValue>,
        #[serde(borrow, default)]
        old_object: Option<&'a RawValue>,
    }
    let request = serde_json::from_slice::<UidReview>(body).ok().map(|review| review.request);
    let objects = request.as_ref().map(|it| [("object", it.object), ("oldObject", it.old_object)]);
    let in_object = objects.into_iter().flatten().find_map(|(field, text)| {
        let error = Object::read(text?).err()?;
        Some(format!("request.{field}: {error}"))
    });
    ReviewError::Malformed {
        uid: request.map(|request| request.uid),
        message: in_object.unwrap_or_else(|| format!("the body is no AdmissionReview: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn review(request: Value) -> Value {
        json!({"apiVersion": API_VERSION, "kind": KIND, "request": request})
    }

    fn question() -> Value {
        json!({
            "uid": "1",
            "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
            "operation": "UPDATE",
        })
    }

    /// The least that an API server sends, and the most of what is read.
    #[test]
    fn what_is_absent_is_absent_and_what_is_there_is_read() {
        let body = review(question()).to_string();
        let request = parse(body.as_bytes()).unwrap();
        assert_eq!((request.uid.as_str(), request.operation), ("1", Operation::Update));
        assert!(request.object.is_none() && request.old_object.is_none());
        assert_eq!((request.name, request.namespace, request.dry_run), (None, None, None));
        assert_eq!((request.user_info.username, request.user_info.groups), (None, None));

        let mut full = question();
        for (key, value) in [
            ("subResource", json!("scale")),
            ("namespace", json!("shop")),
            ("userInfo", json!({"username": "jane", "groups": ["a"], "extra": {"b": ["c"]}})),
            ("object", json!({"metadata": {"name": "new"}})),
            ("oldObject", json!({"metadata": {"name": "old"}})),
            ("dryRun", json!(true)),
            ("options", json!({"kind": "UpdateOptions", "fieldManager": "helm"})),
            ("requestResource", json!({"group": "apps"})),
        ] {
            full[key] = value;
        }
        let body = review(full).to_string();
        let request = parse(body.as_bytes()).unwrap();
        assert_eq!(request.sub_resource.as_deref(), Some("scale"));
        assert_eq!(request.namespace.as_deref(), Some("shop"));
        assert_eq!(request.user_info.username.as_deref(), Some("jane"));
        assert_eq!(request.user_info.groups, Some(vec!["a".to_owned()]));
        let names =
            [request.object, request.old_object].map(|object| object.unwrap().tree["metadata"].take());
        assert_eq!(names, [json!({"name": "new"}), json!({"name": "old"})]);
        assert_eq!(request.dry_run, Some(true));
        assert_eq!(request.options.unwrap().field_manager.as_deref(), Some("helm"));
    }

    #[test]
    fn what_cannot_be_read_is_said_with_the_uid_if_there_is_one() {
        let with = |key: &str, value: Value| {
            let mut request = question();
            request[key] = value;
            review(request)
        };
        let mut beta = review(question());
        beta["apiVersion"] = json!("admission.k8s.io/v1beta1");
        let nested = (0..200).fold(Value::Null, |inner, _| json!([inner]));
        for (body, uid, message) in [
            (beta, Some("1"), "the body is admission.k8s.io/v1beta1 AdmissionReview, gapless reads"),
            (json!({"apiVersion": API_VERSION, "kind": KIND}), None, "request is missing"),
            (with("uid", json!("")), None, "request.uid is empty"),
            (
                with("operation", json!("PATCH")),
                Some("1"),
                "the body is no AdmissionReview: unknown variant `PATCH`",
            ),
            (with("dryRun", json!("yes")), Some("1"), "the body is no AdmissionReview: invalid type"),
            (json!([]), None, "the body is no AdmissionReview"),
            (
                with("object", json!({"spec": nested.clone()})),
                Some("1"),
                "request.object: recursion limit exceeded",
            ),
            (with("oldObject", nested), Some("1"), "request.oldObject: recursion limit exceeded"),
        ] {
            let error = parse(body.to_string().as_bytes()).unwrap_err();
            let ReviewError::Malformed { uid: found, message: said } = error else { panic!("{error:?}") };
            assert_eq!(found.as_deref(), uid, "{body}");
            assert!(said.starts_with(message), "{said}");
        }
    }
}
