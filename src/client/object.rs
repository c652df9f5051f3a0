//! Single objects, by name. They are raw JSON: a typed copy would lose the fields
//! that it does not know.

use kube::api::{DeleteParams, GetParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::request::Error as BuildError;
use kube::core::{Request, Status};
use serde_json::Value;

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
        let request = self.collection().get(self.name, &GetParams::default());
        match self.send(connection, "get", request).await? {
            Answer::Object(object) => Ok(Some(object)),
            Answer::Missing | Answer::Conflict => Ok(None),
        }
    }

    /// Creates the object.
    ///
    /// # Errors
    /// If it cannot be created, for another reason than that there is one.
    pub async fn create(&self, connection: &Connection, object: &Value) -> Result<Written, RequestError> {
        let request = self.collection().create(&as_gapless(), object.to_string().into_bytes());
        match self.send(connection, "create", request).await? {
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
        let request = self.collection().replace(self.name, &as_gapless(), object.to_string().into_bytes());
        self.write(connection, "update", request).await
    }

    /// Applies a strategic merge patch, which is to contain the
    /// `resourceVersion` that was read.
    ///
    /// # Errors
    /// If it cannot be applied, for another reason than that the object has
    /// changed.
    pub async fn patch(&self, connection: &Connection, patch: &Value) -> Result<Written, RequestError> {
        let as_gapless =
            PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let request = self.collection().patch(self.name, &as_gapless, &Patch::Strategic(patch));
        self.write(connection, "patch", request).await
    }

    /// Applies the object, server-side: what gapless has applied before and this one does not
    /// have goes, what others have stays, and where they disagree gapless is right.
    ///
    /// # Errors
    /// If it cannot be applied, for another reason than that its namespace goes or is gone.
    pub async fn apply(&self, connection: &Connection, object: &Value) -> Result<Written, RequestError> {
        let as_gapless = PatchParams::apply(FIELD_MANAGER).force();
        let request = self.collection().patch(self.name, &as_gapless, &Patch::Apply(object));
        self.write(connection, "patch", request).await
    }

    /// Deletes the object if it is the one of this `uid`.
    ///
    /// # Errors
    /// If it cannot be deleted, for another reason than that it is gone.
    pub async fn delete(&self, connection: &Connection, uid: &str) -> Result<Written, RequestError> {
        let this_one = Preconditions { uid: Some(uid.to_owned()), ..Preconditions::default() };
        let request = self.collection().delete(self.name, &DeleteParams::default().preconditions(this_one));
        self.write(connection, "delete", request).await
    }

    async fn write(
        &self,
        connection: &Connection,
        verb: &'static str,
        request: Result<http::Request<Vec<u8>>, BuildError>,
    ) -> Result<Written, RequestError> {
        Ok(match self.send(connection, verb, request).await? {
            Answer::Object(_) => Written::Done,
            Answer::Conflict | Answer::Missing => Written::Outdated,
        })
    }

    async fn send(
        &self,
        connection: &Connection,
        verb: &'static str,
        request: Result<http::Request<Vec<u8>>, BuildError>,
    ) -> Result<Answer, RequestError> {
        let asked = self.asked(connection, verb);
        let request = request.map_err(|error| asked.other(error.to_string()))?;
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

    /// Requests about all that are beside it.
    fn collection(&self) -> Request {
        let Place { root, plural, .. } = self;
        let place = self.namespace.map(|namespace| format!("/namespaces/{namespace}")).unwrap_or_default();
        Request::new(format!("{root}{place}/{plural}"))
    }
}

fn as_gapless() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
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
        assert_eq!(secret.collection().url_path, "/api/v1/namespaces/gapless-system/secrets");
        let outside = Place { namespace: None, plural: "namespaces", ..secret };
        assert_eq!(outside.collection().url_path, "/api/v1/namespaces");
    }
}
