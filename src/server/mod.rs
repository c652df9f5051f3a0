//! The HTTP servers: the webhooks over TLS, and plain HTTP for operations.

pub mod bodies;
mod connections;
pub mod failure;
mod large;
pub mod limits;
mod listener;
pub mod ops;
mod places;
pub mod shutdown;
pub mod webhooks;
mod weight;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use rustls::server::ResolvesServerCert;
use rustls::server::danger::ClientCertVerifier;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

use connections::Protocol;
use limits::{CONNECTIONS, OPS_CONNECTIONS};
use places::Places;
use shutdown::{Signal, Signals, Termination};

/// Both servers, listening but not yet answering.
#[derive(Debug)]
pub struct Server {
    webhooks: TcpListener,
    ops: TcpListener,
}

/// What the two servers answer with.
pub struct Services {
    /// The webhooks.
    pub webhooks: Router,
    /// The certificate that they are served with.
    pub certificates: Arc<dyn ResolvesServerCert>,
    /// Who may call the webhooks; `None`: everybody.
    pub clients: Option<Arc<dyn ClientCertVerifier>>,
    /// Probes and metrics.
    pub ops: Router,
}

/// How the servers end.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// From the signal until no new connection is accepted.
    pub shutdown_delay: Duration,
    /// From then until open requests are cut off.
    pub drain_limit: Duration,
}

/// How the servers ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Every request that had begun was answered, or the limit was reached.
    Drained,
    /// This signal came while they were being drained.
    Interrupted(Signal),
}

/// Why the servers do not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address is in use, or not this host's.
    #[error("cannot listen on {address}")]
    Bind {
        /// What was asked for.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
    /// The operating system failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Server {
    /// Listens on both addresses.
    ///
    /// # Errors
    /// If that is not possible.
    pub async fn bind(webhooks: SocketAddr, ops: SocketAddr) -> Result<Self, ServerError> {
        Ok(Server { webhooks: listener::bind(webhooks).await?, ops: listener::bind(ops).await? })
    }

    /// Where the webhooks listen.
    ///
    /// # Errors
    /// If the operating system does not say.
    pub fn webhooks_address(&self) -> io::Result<SocketAddr> {
        self.webhooks.local_addr()
    }

    /// Where probes and metrics are served.
    ///
    /// # Errors
    /// If the operating system does not say.
    pub fn ops_address(&self) -> io::Result<SocketAddr> {
        self.ops.local_addr()
    }

    /// Serves until a signal comes, and then until all is answered.
    ///
    /// An API server keeps connections open, and uses them although the pod has
    /// left the endpoints (kubernetes/kubernetes#127335). So, after the signal,
    /// the webhooks are served for a while longer, and every answer closes its
    /// connection; the next call goes to another pod.
    ///
    /// # Errors
    /// If a server cannot be started, or ends by itself.
    pub async fn run(
        self,
        services: Services,
        termination: &Termination,
        signals: &mut Signals,
        patience: Patience,
    ) -> Result<End, ServerError> {
        let tls = TlsAcceptor::from(listener::tls_config(services.certificates, services.clients)?);
        let protocol = Protocol { tls: Some(tls), router: services.webhooks };
        let (end, is_end) = watch::channel(false);
        let mut webhooks =
            tokio::spawn(listener::serve(self.webhooks, protocol, Places::new(CONNECTIONS), is_end));
        // Until the very end: probes and the last scrape still want answers.
        let protocol = Protocol { tls: None, router: services.ops };
        let (_never, is_end) = watch::channel(false);
        let mut ops = tokio::spawn(listener::serve(self.ops, protocol, Places::new(OPS_CONNECTIONS), is_end));

        let signal = tokio::select! {
            signal = signals.next() => signal,
            ended = &mut webhooks => return Err(unexpected_end(ended)),
            ended = &mut ops => return Err(unexpected_end(ended)),
        };
        termination.begin();
        tracing::info!(%signal, delay = ?patience.shutdown_delay, "shutting down, another signal ends gapless at once");
        tokio::select! {
            () = sleep(patience.shutdown_delay) => {}
            signal = signals.next() => return Ok(End::Interrupted(signal)),
        }

        // No new connections; idle ones are closed, busy ones after their answer.
        end.send_replace(true);
        tokio::select! {
            () = end.closed() => tracing::info!("every request is answered"),
            () = sleep(patience.drain_limit) => {
                tracing::warn!(connections = end.receiver_count(), "requests are cut off after the drain limit");
            }
            signal = signals.next() => return Ok(End::Interrupted(signal)),
        }
        Ok(End::Drained)
    }
}

fn unexpected_end(ended: Result<(), tokio::task::JoinError>) -> ServerError {
    ServerError::Io(match ended {
        Ok(()) => io::Error::other("a server ended by itself"),
        Err(error) => io::Error::other(error),
    })
}
