//! Single objects, by name. They are raw JSON: a typed copy would lose the fields
//! that it does not know.

use http::header::CONTENT_TYPE;
use http::{Method, Request};
use kube::core::Status;
use serde_json::{Value, json};

use super::failure::{Asked, RequestError};
use super::kubeconfig::Connection;

/// Where an object is, or will be.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The resource with its group, as in `deployments.apps`, for messages.
    pub resource: &'static str,
    /// The path of its group and version, such as `/api/v1`.
    pub root: &'static str,
    /// Its name in the path.
    pub plural: &'static str,
    /// The namespace; `None` for resources that are in none.
    pub namespace: Option<&'a str>,
    /// The name of the object.
    pub name: &'a str,
}

/// What came of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is stored.
    Done,
    /// Somebody else has changed, created or deleted the object in the meantime.
    Outdated,
}

/// Who changes objects, in their `managedFields`.
const FIELD_MANAGER: &str = "gapless";

impl Place<'_> {
    /// The object; `None` if there is none.
    ///
    /// Without a `resourceVersion` in the query, so that the answer is the newest
    /// state and never one from a cache.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn get(&self, connection: &Connection) -> Result<Option<Value>, RequestError> {
        match self.send(connection, "get", Method::GET, self.path(), None).await? {
            Answer::Object(object) => Ok(Some(object)),
            Answer::Missing | Answer::Conflict => Ok(None),
        }
    }

    /// Creates the object.
    ///
    /// # Errors
    /// If it cannot be created, for another reason than that there is one.
    pub async fn create(&self, connection: &Connection, object: &Value) -> Result<Written, RequestError> {
        let body = Some(("application/json", object));
        let path = format!("{}?fieldManager={FIELD_MANAGER}", self.collection());
        match self.send(connection, "create", Method::POST, path, body).await? {
            Answer::Object(_) => Ok(Written::Done),
            Answer::Conflict => Ok(Written::Outdated),
            // The namespace, not the object.
            Answer::Missing => Err(self
                .asked(connection, "create")
                .other("its namespace is gone, or is being deleted".to_owned())),
        }
    }

    /// Replaces the object by one that was made of what was read: with its
    /// `resourceVersion`.
    ///
    /// # Errors
    /// If it cannot be replaced, for another reason than that it has changed.
    pub async fn update(&self, connection: &Connection, object: &Value) -> Result<Written, RequestError> {
        let body = Some(("application/json", object));
        self.change(connection, "update", Method::PUT, body).await
    }

    /// Applies a strategic merge patch, which is to contain the
    /// `resourceVersion` that was read.
    ///
    /// # Errors
    /// If it cannot be applied, for another reason than that the object has
    /// changed.
    pub async fn patch(&self, connection: &Connection, patch: &Value) -> Result<Written, RequestError> {
        let body = Some(("application/strategic-merge-patch+json", patch));
        self.change(connection, "patch", Method::PATCH, body).await
    }

    /// Applies the object, server-side: what gapless has applied before and this one does not
    /// have goes, what others have stays, and where they disagree gapless is right.
    ///
    /// # Errors
    /// If it cannot be applied, for another reason than that its namespace goes or is gone.
    pub async fn apply(&self, connection: &Connection, object: &Value) -> Result<Written, RequestError> {
        let body = Some(("application/apply-patch+yaml", object));
        let path = format!("{}?fieldManager={FIELD_MANAGER}&force=true", self.path());
        self.write(connection, "patch", Method::PATCH, path, body).await
    }

    /// Deletes the object if it is the one of this `uid`.
    ///
    /// # Errors
    /// If it cannot be deleted, for another reason than that it is gone.
    pub async fn delete(&self, connection: &Connection, uid: &str) -> Result<Written, RequestError> {
        let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}});
        let body = Some(("application/json", &options));
        self.write(connection, "delete", Method::DELETE, self.path(), body).await
    }

    async fn change(
        &self,
        connection: &Connection,
        verb: &'static str,
        method: Method,
        body: Option<(&str, &Value)>,
    ) -> Result<Written, RequestError> {
        let path = format!("{}?fieldManager={FIELD_MANAGER}", self.path());
        self.write(connection, verb, method, path, body).await
    }

    async fn write(
        &self,
        connection: &Connection,
        verb: &'static str,
        method: Method,
        path: String,
        body: Option<(&str, &Value)>,
    ) -> Result<Written, RequestError> {
        Ok(match self.send(connection, verb, method, path, body).await? {
            Answer::Object(_) => Written::Done,
            Answer::Conflict | Answer::Missing => Written::Outdated,
        })
    }

    async fn send(
        &self,
        connection: &Connection,
        verb: &'static str,
        method: Method,
        path: String,
        body: Option<(&str, &Value)>,
    ) -> Result<Answer, RequestError> {
        let asked = self.asked(connection, verb);
        let mut request = Request::builder().method(method).uri(path);
        let mut bytes = Vec::new();
        if let Some((content_type, body)) = body {
            request = request.header(CONTENT_TYPE, content_type);
            bytes = body.to_string().into_bytes();
        }
        let request = request.body(bytes).map_err(|error| asked.other(error.to_string()))?;
        match connection.client.request(request).await {
            Ok(object) => Ok(Answer::Object(object)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Answer::Missing),
            // Nothing can be created any more in a namespace that is being deleted.
            Err(kube::Error::Api(status)) if is_namespace_ending(&status) => Ok(Answer::Missing),
            // Conflict, AlreadyExists
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(Answer::Conflict),
            Err(error) => Err(RequestError::new(&error, asked)),
        }
    }

    fn asked<'a>(&'a self, connection: &'a Connection, verb: &'static str) -> Asked<'a> {
        Asked { server: &connection.server, verb, resource: self.resource, namespace: self.namespace }
    }

    fn collection(&self) -> String {
        let Place { root, plural, .. } = self;
        let place = self.namespace.map(|namespace| format!("/namespaces/{namespace}")).unwrap_or_default();
        format!("{root}{place}/{plural}")
    }

    fn path(&self) -> String {
        format!("{}/{}", self.collection(), self.name)
    }
}

/// Whether that is why it is refused (apiserver, admission plugin NamespaceLifecycle).
fn is_namespace_ending(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    status.code == 403 && causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}

enum Answer {
    Object(Value),
    Missing,
    Conflict,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let secret = Place {
            resource: "secrets",
            root: "/api/v1",
            plural: "secrets",
            namespace: Some("gapless-system"),
            name: "gapless-tls",
        };
        assert_eq!(secret.path(), "/api/v1/namespaces/gapless-system/secrets/gapless-tls");
        assert_eq!(secret.collection(), "/api/v1/namespaces/gapless-system/secrets");
        let outside = Place { namespace: None, plural: "namespaces", ..secret };
        assert_eq!(outside.path(), "/api/v1/namespaces/gapless-tls");
    }
}
