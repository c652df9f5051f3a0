//! Finds the cluster as kubectl does, and logs in.

use std::env;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Uri;
use http::header::{HeaderValue, USER_AGENT};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::{self, connect::HttpConnector};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioExecutor;
use kube::Client;
use kube::client::ConfigExt;
use kube::config::{AuthInfo, Config, KubeConfigOptions, Kubeconfig, KubeconfigError};
use secrecy::{ExposeSecret, SecretString};
use tower::{BoxError, ServiceBuilder};

use super::failure;

/// How long the API server may take for one page.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// How much is read at once of what a watch tells, at most. By itself hyper goes up to 400 KiB;
/// with this, eleven watches take 4 MiB less (`cargo bench --bench context`).
const WATCH_BUFFER: usize = 16 * 1024;
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// What the user asked for.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'a> {
    /// The kubeconfig file; `None` for those that kubectl would read.
    pub kubeconfig: Option<&'a Path>,
    /// The context; `None` for the current one.
    pub context: Option<&'a str>,
}

/// A cluster to read from.
#[derive(Clone)]
pub struct Connection {
    /// Sends requests as the user of the context.
    pub client: Client,
    /// The address of the API server.
    pub server: String,
    /// The context; `None` within the cluster.
    pub context: Option<String>,
    /// The namespace of the context.
    pub namespace: String,
}

/// Why it is not known where the cluster is, or who asks.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// There is no kubeconfig.
    #[error(
        "there is no kubeconfig: {} {}, and this is not a pod of a cluster; write --kubeconfig FILE, or set KUBECONFIG",
        files.join(", "),
        if files.len() == 1 { "does not exist or is empty" } else { "do not exist or are empty" }
    )]
    None {
        /// Where it was looked for.
        files: Vec<String>,
    },
    /// A file cannot be read or understood.
    #[error("cannot read the kubeconfig {}: {why}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// There is no such context.
    #[error("{what} in the kubeconfig; {}", known_contexts(known))]
    NoContext {
        /// What is not there.
        what: String,
        /// The contexts that are.
        known: Vec<String>,
    },
    /// Something in the kubeconfig cannot be used.
    #[error("cannot use the kubeconfig: {0}")]
    Unusable(String),
}

fn known_contexts(known: &[String]) -> String {
    match known {
        [] => "it has no contexts at all".to_owned(),
        _ => format!("write --context with one of: {}", known.join(", ")),
    }
}

/// Finds the cluster: by the file that was named, else by the files in the
/// environment variable `KUBECONFIG`, else by `~/.kube/config`; and within a
/// pod, if none of these says anything, by its service account.
///
/// # Errors
/// [`ConnectError`]. Whether the API server answers shows with the first request.
pub async fn connect(choice: Choice<'_>) -> Result<Connection, ConnectError> {
    connect_by(choice, Client::try_from).await
}

/// The same for watches, each of which keeps a connection for good: it is to take little memory.
///
/// # Errors
/// As those of [`connect`].
pub async fn connect_to_watch(choice: Choice<'_>) -> Result<Connection, ConnectError> {
    connect_by(choice, lean_client).await
}

/// As kube makes its client, but without a proxy, without trying again what failed, which
/// watches do by themselves, and with small buffers.
fn lean_client(config: Config) -> kube::Result<Client> {
    if config.proxy_url.is_some() {
        return Client::try_from(config);
    }
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(connector)?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_reset_reader_on_write(config.reset_reader_on_write);
    let client = legacy::Client::builder(TokioExecutor::new())
        .http1_max_buf_size(WATCH_BUFFER)
        .build::<_, kube::client::Body>(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(client);
    Ok(Client::new(service, config.default_namespace))
}

async fn connect_by(
    choice: Choice<'_>,
    client: fn(Config) -> kube::Result<Client>,
) -> Result<Connection, ConnectError> {
    let files = files(choice.kubeconfig);
    let kubeconfig = read(&files, choice.kubeconfig.is_some())?;
    let is_empty = kubeconfig.contexts.is_empty() && kubeconfig.clusters.is_empty();
    let (mut config, context) = match is_empty {
        true if choice.kubeconfig.is_none() && choice.context.is_none() => match Config::incluster() {
            Ok(config) => (config, None),
            Err(_) => return Err(ConnectError::None { files: shown(&files) }),
        },
        true => return Err(ConnectError::None { files: shown(&files) }),
        false => of_context(kubeconfig, choice.context).await?,
    };
    check_token(&mut config.auth_info)?;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = Some(READ_TIMEOUT);
    config.reset_reader_on_write = true;
    let agent = HeaderValue::from_static(concat!("gapless/", env!("CARGO_PKG_VERSION")));
    config.headers.push((USER_AGENT, agent));

    let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
    let namespace = config.default_namespace.trim().to_owned();
    let client = client(config).map_err(|error| {
        ConnectError::Unusable(match &error {
            kube::Error::Auth(error) => failure::login(error),
            _ => failure::cause(&error),
        })
    })?;
    Ok(Connection { client, server, context, namespace })
}

/// The files that kubectl would read (client-go, tools/clientcmd/loader.go,
/// `NewDefaultClientConfigLoadingRules`).
fn files(kubeconfig: Option<&Path>) -> Vec<PathBuf> {
    if let Some(path) = kubeconfig {
        return vec![path.to_owned()];
    }
    match env::var_os("KUBECONFIG").filter(|value| !value.is_empty()) {
        Some(value) => env::split_paths(&value).filter(|path| !path.as_os_str().is_empty()).collect(),
        None => env::home_dir().map(|home| home.join(".kube/config")).into_iter().collect(),
    }
}

fn shown(files: &[PathBuf]) -> Vec<String> {
    match files {
        [] => vec!["~/.kube/config".to_owned()],
        _ => files.iter().map(|path| path.display().to_string()).collect(),
    }
}

/// All files in one; where they say different things, the first one counts.
/// Files that do not exist are left out, as kubectl does, unless `must_exist`.
fn read(files: &[PathBuf], must_exist: bool) -> Result<Kubeconfig, ConnectError> {
    let mut merged = Kubeconfig::default();
    for path in files {
        let unreadable = |why| ConnectError::Unreadable { path: path.clone(), why };
        let kubeconfig = match Kubeconfig::read_from(path) {
            Ok(kubeconfig) => kubeconfig,
            Err(KubeconfigError::ReadConfig(error, _))
                if error.kind() == ErrorKind::NotFound && !must_exist =>
            {
                continue;
            }
            Err(KubeconfigError::ReadConfig(error, _)) => return Err(unreadable(error.to_string())),
            // With its excerpt it would show tokens.
            Err(KubeconfigError::Parse(error)) => {
                return Err(unreadable(error.without_snippet().to_string()));
            }
            Err(error) => return Err(unreadable(error.to_string())),
        };
        merged = merged.merge(kubeconfig).map_err(|error| unreadable(error.to_string()))?;
    }
    Ok(merged)
}

async fn of_context(
    kubeconfig: Kubeconfig,
    context: Option<&str>,
) -> Result<(Config, Option<String>), ConnectError> {
    let known = || kubeconfig.contexts.iter().map(|context| context.name.clone()).collect();
    let current = kubeconfig.current_context.as_deref().filter(|name| !name.is_empty());
    let Some(name) = context.or(current).map(str::to_owned) else {
        return Err(ConnectError::NoContext {
            what: "there is no current-context".to_owned(),
            known: known(),
        });
    };
    let Some(found) = kubeconfig.contexts.iter().find(|context| context.name == name) else {
        return Err(ConnectError::NoContext {
            what: format!("there is no context {name:?}"),
            known: known(),
        });
    };
    let cluster = found.context.as_ref().map(|context| context.cluster.as_str());
    let cluster = kubeconfig.clusters.iter().find(|named| Some(named.name.as_str()) == cluster);
    let has_own_proxy = cluster
        .and_then(|named| named.cluster.as_ref()?.proxy_url.as_deref())
        .is_some_and(|url| !url.is_empty());

    let options = KubeConfigOptions { context: Some(name.clone()), ..KubeConfigOptions::default() };
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    let mut config = config.map_err(|error| ConnectError::Unusable(error.to_string()))?;
    if !has_own_proxy && !needs_proxy(&config.cluster_url) {
        config.proxy_url = None;
    }
    Ok((config, Some(name)))
}

/// Prefers the token's file to a token beside it, as client-go does. kube reads the
/// file again within a minute: the kubelet exchanges the token of a pod long before
/// it expires (kubernetes, pkg/kubelet/token/token_manager.go).
fn check_token(auth_info: &mut AuthInfo) -> Result<(), ConnectError> {
    if let Some(path) = auth_info.token_file.clone() {
        let token = fs::read_to_string(&path);
        let token =
            token.map_err(|error| ConnectError::Unusable(format!("the token file {path}: {error}")))?;
        auth_info.token = None;
        // kube sends the file as it is, client-go without the line break at the end of
        // one that was written by hand. Such a file is read once.
        if HeaderValue::from_str(&token).is_err() {
            auth_info.token_file = None;
            auth_info.token = Some(token.trim().to_owned().into());
        }
    }
    // kube panics over a token that cannot be sent (tower-http,
    // `AddAuthorizationLayer::bearer`).
    let is_sendable = |token: &SecretString| HeaderValue::from_str(token.expose_secret()).is_ok();
    if auth_info.token.as_ref().is_none_or(is_sendable) {
        return Ok(());
    }
    let why = "the token has line breaks or control characters in it; write it on one line";
    Err(ConnectError::Unusable(why.to_owned()))
}

/// Whether the environment's proxy is meant for this address: not for this
/// machine, and not where NO_PROXY says otherwise (Go,
/// golang.org/x/net/http/httpproxy).
fn needs_proxy(server: &Uri) -> bool {
    let host = server.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let is_loopback =
        host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback());
    !is_loopback && Matcher::from_env().intercept(server).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kubeconfig with these contexts, each of its own cluster.
    fn kubeconfig(current: &str, contexts: &[(&str, &str)]) -> String {
        let mut text = format!("apiVersion: v1\nkind: Config\ncurrent-context: {current}\n");
        let list = |key: &str, item: &dyn Fn(&str, &str) -> String| {
            let items: String = contexts.iter().map(|(name, server)| item(name, server)).collect();
            format!("{key}:\n{items}")
        };
        text += &list("clusters", &|name, server| {
            format!("- {{name: {name}, cluster: {{server: '{server}'}}}}\n")
        });
        text += &list("contexts", &|name, _| {
            format!("- {{name: {name}, context: {{cluster: {name}, user: u, namespace: ns-{name}}}}}\n")
        });
        text + "users: [{name: u, user: {token: secret-token}}]\n"
    }

    fn written(directory: &Path, name: &str, text: &str) -> PathBuf {
        let path = directory.join(name);
        fs::write(&path, text).expect("a file");
        path
    }

    async fn connected(files: &[PathBuf], context: Option<&str>) -> Result<(String, Option<String>), String> {
        let kubeconfig = read(files, false).map_err(|error| error.to_string())?;
        let (config, name) = of_context(kubeconfig, context).await.map_err(|error| error.to_string())?;
        assert_eq!(Some(format!("ns-{}", name.clone().unwrap_or_default())), Some(config.default_namespace));
        Ok((config.cluster_url.to_string(), name))
    }

    #[tokio::test]
    async fn the_first_file_counts_and_missing_ones_do_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let a = written(directory.path(), "a", &kubeconfig("one", &[("one", "https://one:1")]));
        let b = written(
            directory.path(),
            "b",
            &kubeconfig("two", &[("one", "https://other:1"), ("two", "https://two:2")]),
        );
        let none = directory.path().join("none");
        let one = Ok(("https://one:1/".to_owned(), Some("one".to_owned())));
        let two = Ok(("https://two:2/".to_owned(), Some("two".to_owned())));
        let table: [(&[PathBuf], Option<&str>, _); 4] = [
            (&[none.clone(), a.clone(), b.clone()], None, one.clone()),
            (&[a.clone(), b.clone()], Some("two"), two.clone()),
            (&[b, a.clone()], None, two),
            (
                &[a],
                Some("three"),
                Err("there is no context \"three\" in the kubeconfig; write --context with one of: one"
                    .to_owned()),
            ),
        ];
        for (files, context, expected) in table {
            assert_eq!(connected(files, context).await, expected, "{files:?} {context:?}");
        }
    }

    #[tokio::test]
    async fn a_named_file_must_exist_and_no_token_is_shown() {
        let directory = tempfile::tempdir().expect("a directory");
        let missing = directory.path().join("none");
        let error = read(std::slice::from_ref(&missing), true).expect_err("there is no file").to_string();
        assert!(
            error.starts_with(&format!("cannot read the kubeconfig {}: No such file", missing.display())),
            "{error}"
        );

        let broken =
            written(directory.path(), "broken", "users: [{name: u, user: {token: [secret-token]}}]\n");
        let error = read(&[broken], false).expect_err("it is broken").to_string();
        assert!(error.contains("broken: ") && !error.contains("secret"), "{error}");

        let no_current = written(directory.path(), "c", &kubeconfig("''", &[("one", "https://one:1")]));
        let error = connected(&[no_current], None).await.expect_err("no context");
        assert_eq!(error, "there is no current-context in the kubeconfig; write --context with one of: one");
    }

    #[test]
    fn a_token_file_is_followed_and_counts_more_than_a_token() {
        let directory = tempfile::tempdir().expect("a directory");
        let in_use = |text: &str| {
            let file = written(directory.path(), "token", text).display().to_string();
            let token = Some("beside".to_owned().into());
            let mut auth_info = AuthInfo { token_file: Some(file), token, ..AuthInfo::default() };
            check_token(&mut auth_info).map_err(|error| error.to_string())?;
            let token = auth_info.token.map(|token| token.expose_secret().to_owned());
            Ok((auth_info.token_file.is_some(), token))
        };
        let on_one_line = "cannot use the kubeconfig: the token has line breaks or control characters in it; write it on one line";
        for (text, expected) in [
            ("token", Ok((true, None))),
            ("token\n", Ok((false, Some("token".to_owned())))),
            ("to\nken", Err(on_one_line.to_owned())),
        ] {
            assert_eq!(in_use(text), expected, "{text:?}");
        }
    }

    #[test]
    fn no_proxy_for_this_machine() {
        for server in ["https://127.0.0.1:6443", "https://[::1]:6443", "https://localhost"] {
            assert!(!needs_proxy(&Uri::from_static(server)), "{server}");
        }
    }
}
