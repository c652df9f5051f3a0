//! Lists, read in pages.

use kube::api::{GetParams, ListParams};
use kube::core::Request;
use kube::core::request::Error as BuildError;
use serde::Deserialize;
use serde_json::Value;

use super::failure::{Asked, RequestError};
use super::kubeconfig::Connection;

/// What to list. Objects are read as raw JSON: a typed copy would lose the
/// fields that it does not know.
#[derive(Clone, Copy, Debug)]
pub struct List<'a> {
    /// The resource with its group, as in `deployments.apps`, for messages.
    pub resource: &'static str,
    /// The path of its group and version, such as `/apis/apps/v1`.
    pub root: &'static str,
    /// Its name in the path.
    pub plural: &'static str,
    /// The namespace; `None` for all of them.
    pub namespace: Option<&'a str>,
    /// Labels that its objects have, as in `app=web,tier=front`; empty for all of them.
    pub labels: &'a str,
    /// How many objects a page has at most.
    pub limit: u32,
}

/// A part of a list.
#[derive(Debug, Deserialize)]
pub struct Page {
    /// The objects.
    #[serde(deserialize_with = "or_empty")]
    pub items: Vec<Value>,
    #[serde(default)]
    metadata: ListMeta,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ListMeta {
    r#continue: Option<String>,
    remaining_item_count: Option<u64>,
}

impl Page {
    /// How many objects come after this page, if the API server says so.
    pub fn remaining(&self) -> Option<u64> {
        self.metadata.remaining_item_count
    }

    fn next(&self) -> Option<&str> {
        // An empty text is how Go writes that there is none.
        self.metadata.r#continue.as_deref().filter(|token| !token.is_empty())
    }
}

impl List<'_> {
    /// Reads the list page by page into what `start` makes.
    ///
    /// The API server forgets the rest of a list after some minutes. Then the
    /// list is read again from the start, once, and `restarted` is told.
    ///
    /// # Errors
    /// If a page cannot be read.
    pub async fn read<T>(
        &self,
        connection: &Connection,
        start: impl Fn() -> T,
        mut take: impl FnMut(&mut T, Page),
        restarted: impl FnOnce(),
    ) -> Result<T, RequestError> {
        match self.read_once(connection, start(), &mut take).await {
            Err(RequestError::Expired { .. }) => {
                restarted();
                self.read_once(connection, start(), &mut take).await
            }
            result => result,
        }
    }

    async fn read_once<T>(
        &self,
        connection: &Connection,
        mut into: T,
        take: &mut impl FnMut(&mut T, Page),
    ) -> Result<T, RequestError> {
        let mut next = None;
        loop {
            let page = self.page(connection, next.as_deref()).await?;
            next = page.next().map(str::to_owned);
            take(&mut into, page);
            if next.is_none() {
                return Ok(into);
            }
        }
    }

    async fn page(&self, connection: &Connection, next: Option<&str>) -> Result<Page, RequestError> {
        let asked = Asked {
            server: &connection.server,
            verb: "list",
            resource: self.resource,
            namespace: self.namespace,
        };
        let text = send(connection, self.request(next), asked).await?;
        serde_json::from_str(&text).map_err(|error| asked.other(format!("the answer is no list: {error}")))
    }

    fn request(&self, next: Option<&str>) -> Result<http::Request<Vec<u8>>, BuildError> {
        let List { root, plural, .. } = self;
        let place = self.namespace.map(|namespace| format!("/namespaces/{namespace}")).unwrap_or_default();
        let page = ListParams {
            label_selector: Some(self.labels.to_owned()).filter(|labels| !labels.is_empty()),
            limit: Some(self.limit),
            continue_token: next.map(str::to_owned),
            ..ListParams::default()
        };
        Request::new(format!("{root}{place}/{plural}")).list(&page)
    }
}

/// All objects of a list at once.
///
/// # Errors
/// If it cannot be read.
pub async fn all(list: &List<'_>, connection: &Connection) -> Result<Vec<Value>, RequestError> {
    list.read(connection, Vec::new, |all: &mut Vec<Value>, page| all.extend(page.items), || {}).await
}

/// One Namespace.
///
/// # Errors
/// If it cannot be read.
pub async fn namespace(connection: &Connection, name: &str) -> Result<Value, RequestError> {
    let asked =
        Asked { server: &connection.server, verb: "get", resource: "namespaces", namespace: Some(name) };
    let request = Request::new("/api/v1/namespaces").get(name, &GetParams::default());
    let text = send(connection, request, asked).await?;
    serde_json::from_str(&text).map_err(|error| asked.other(format!("the answer is no object: {error}")))
}

/// Whether the API server serves this group and version, such as
/// `/apis/argoproj.io/v1alpha1`. Everybody may ask (ClusterRole `system:discovery`).
///
/// # Errors
/// If it does not answer.
pub async fn is_served(connection: &Connection, root: &'static str) -> Result<bool, RequestError> {
    let asked = Asked { server: &connection.server, verb: "get", resource: root, namespace: None };
    match send(connection, http::Request::get(root).body(Vec::new()).map_err(BuildError::BuildRequest), asked)
        .await
    {
        Ok(_) => Ok(true),
        Err(RequestError::NotFound { .. }) => Ok(false),
        // Who may not even ask that has been told what is missing.
        Err(RequestError::Forbidden { .. }) => Ok(true),
        Err(error) => Err(error),
    }
}

async fn send(
    connection: &Connection,
    request: Result<http::Request<Vec<u8>>, BuildError>,
    asked: Asked<'_>,
) -> Result<String, RequestError> {
    let request = request.map_err(|error| asked.other(error.to_string()))?;
    connection.client.request_text(request).await.map_err(|error| RequestError::new(&error, asked))
}

/// An empty list is null in some servers' answers.
fn or_empty<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Value>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let deployments = List {
            resource: "deployments.apps",
            root: "/apis/apps/v1",
            plural: "deployments",
            namespace: None,
            labels: "",
            limit: 500,
        };
        let uri = |list: List, next| list.request(next).unwrap().uri().to_string();
        assert_eq!(uri(deployments, None), "/apis/apps/v1/deployments?&limit=500");
        let shop = List { namespace: Some("shop"), limit: 7, ..deployments };
        assert_eq!(
            uri(shop, Some("a-Z_0.~=&+/ü")),
            "/apis/apps/v1/namespaces/shop/deployments?&limit=7&continue=a-Z_0.%7E%3D%26%2B%2F%C3%BC"
        );
        let web = List { labels: "app=web,tier=front", ..deployments };
        assert_eq!(
            uri(web, None),
            "/apis/apps/v1/deployments?&labelSelector=app%3Dweb%2Ctier%3Dfront&limit=500"
        );
    }

    #[test]
    fn pages() {
        let table = [
            (r#"{"items":[{}],"metadata":{"continue":"x","remainingItemCount":3}}"#, 1, Some("x"), Some(3)),
            (r#"{"items":[],"metadata":{"continue":""}}"#, 0, None, None),
            (r#"{"items":null}"#, 0, None, None),
        ];
        for (text, items, next, remaining) in table {
            let page: Page = serde_json::from_str(text).expect(text);
            assert_eq!((page.items.len(), page.next(), page.remaining()), (items, next, remaining), "{text}");
        }
        assert!(serde_json::from_str::<Page>(r#"{"kind":"Status"}"#).is_err(), "no list at all");
    }
}
