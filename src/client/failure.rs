//! Why a request to the API server came to nothing, in words.

use std::iter;

use kube::client::AuthError;

use crate::printable::printable;

/// What was asked of the API server, for messages.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The address of the API server.
    pub server: &'a str,
    /// The verb, as RBAC names it: `get`, `list`, `create`, `update`, `patch`.
    pub verb: &'static str,
    /// The resource with its group, as in `deployments.apps`.
    pub resource: &'static str,
    /// The namespace; `None` for all of them, and for resources that are in
    /// none.
    pub namespace: Option<&'a str>,
}

/// Why the API server's answer is of no use.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Nobody answers, or nobody who can be trusted.
    #[error("cannot reach the API server {server}: {why}")]
    Unreachable {
        /// Its address.
        server: String,
        /// What happened.
        why: String,
    },
    /// It does not know who asks.
    #[error(
        "the API server {server} does not accept the credentials (401 Unauthorized); \
         the token or certificate in the kubeconfig has expired or is wrong, log in again"
    )]
    Unauthorized {
        /// Its address.
        server: String,
    },
    /// It knows who asks, and refuses.
    #[error("the permission to {permission} is missing; the API server says: {message}")]
    Forbidden {
        /// Verb, resource and place.
        permission: String,
        /// What the API server says.
        message: String,
    },
    /// There is no such object.
    #[error("{message}")]
    NotFound {
        /// What the API server says.
        message: String,
    },
    /// A list took so long that the API server no longer knows its rest.
    #[error(
        "the list of {resource} takes longer than the API server remembers it (410 Gone); \
         try again with a larger --chunk-size, or for one namespace"
    )]
    Expired {
        /// The resource.
        resource: &'static str,
    },
    /// Anything else.
    #[error("cannot {what} the API server {server}: {why}")]
    Other {
        /// Verb, resource, and `from` or `at`.
        what: String,
        /// The address of the API server.
        server: String,
        /// What happened.
        why: String,
    },
}

impl RequestError {
    /// The error in the words of a user.
    pub fn new(error: &kube::Error, asked: Asked) -> Self {
        let server = asked.server.to_owned();
        match error {
            kube::Error::Api(status) => match status.code {
                401 => RequestError::Unauthorized { server },
                403 => RequestError::Forbidden {
                    permission: asked.permission(),
                    message: one_line(&status.message),
                },
                404 => RequestError::NotFound { message: one_line(&status.message) },
                410 => RequestError::Expired { resource: asked.resource },
                code => asked.other(format!("{code} {}", one_line(&status.message))),
            },
            kube::Error::Auth(error) => asked.other(login(error)),
            kube::Error::Service(_) | kube::Error::HyperError(_) => {
                match layers(error).find_map(|it| it.downcast_ref()) {
                    Some(error) => asked.other(login(error)),
                    None => RequestError::Unreachable { server, why: cause(error) },
                }
            }
            _ => asked.other(cause(error)),
        }
    }
}

/// The resources asked for here that are in no namespace.
const CLUSTER_SCOPED: [&str; 3] = [
    "namespaces",
    "mutatingwebhookconfigurations.admissionregistration.k8s.io",
    "validatingwebhookconfigurations.admissionregistration.k8s.io",
];

impl Asked<'_> {
    /// As in `list deployments.apps in namespace shop`.
    fn permission(self) -> String {
        let Asked { verb, resource, namespace, .. } = self;
        match (namespace, resource) {
            (Some(namespace), _) => format!("{verb} {resource} in namespace {namespace}"),
            (None, resource) if CLUSTER_SCOPED.contains(&resource) => format!("{verb} {resource}"),
            (None, _) => format!("{verb} {resource} in all namespaces"),
        }
    }

    fn preposition(self) -> &'static str {
        if matches!(self.verb, "get" | "list") { "from" } else { "at" }
    }

    /// An error that no more is known about.
    pub fn other(self, why: String) -> RequestError {
        RequestError::Other {
            what: format!("{} {} {}", self.verb, self.resource, self.preposition()),
            server: self.server.to_owned(),
            why,
        }
    }
}

/// Why nobody could be logged in.
pub fn login(error: &AuthError) -> String {
    match error {
        // Its own form has the plugin's whole output in it.
        AuthError::AuthExecRun { cmd, out } => {
            let said = String::from_utf8_lossy(&out.stderr);
            format!("the credential plugin `{cmd}` failed with {}: {}", out.status, one_line(&said))
        }
        AuthError::AuthExecStart(error) => format!("the credential plugin cannot be run: {error}"),
        _ => one_line(&error.to_string()),
    }
}

/// What is at the bottom of an error: the layers above only say that it failed.
pub fn cause(error: &kube::Error) -> String {
    layers(error).last().map(|deepest| one_line(&deepest.to_string())).unwrap_or_default()
}

/// The error, what caused it, and so on.
fn layers(error: &kube::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    iter::successors(Some(error as &(dyn std::error::Error + 'static)), |error| error.source())
}

/// Text from elsewhere on one line, with single blanks.
fn one_line(text: &str) -> String {
    printable(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn asked(namespace: Option<&'static str>) -> Asked<'static> {
        Asked { server: "https://127.0.0.1:1", verb: "list", resource: "deployments.apps", namespace }
    }

    #[test]
    fn each_answer_has_its_own_words() {
        let table = [
            (
                401,
                "the API server https://127.0.0.1:1 does not accept the credentials (401 Unauthorized); the token or certificate in the kubeconfig has expired or is wrong, log in again",
            ),
            (
                403,
                "the permission to list deployments.apps in namespace shop is missing; the API server says: why not\u{fffd}",
            ),
            (404, "why not\u{fffd}"),
            (
                410,
                "the list of deployments.apps takes longer than the API server remembers it (410 Gone); try again with a larger --chunk-size, or for one namespace",
            ),
            (
                500,
                "cannot list deployments.apps from the API server https://127.0.0.1:1: 500 why not\u{fffd}",
            ),
        ];
        for (code, expected) in table {
            let error =
                kube::Error::Api(Status::failure("why\n\tnot\u{1b}", "Reason").with_code(code).boxed());
            assert_eq!(RequestError::new(&error, asked(Some("shop"))).to_string(), expected);
        }
    }

    #[test]
    fn a_permission_names_its_place() {
        assert_eq!(asked(None).permission(), "list deployments.apps in all namespaces");
        let namespaces = Asked { resource: "namespaces", ..asked(None) };
        assert_eq!(namespaces.permission(), "list namespaces");
    }
}
