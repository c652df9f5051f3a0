//! What bounds the memory that callers can take, and the time that they can take it for.

use std::time::Duration;

// Connections.

/// Connections to the webhooks. Beyond, another one gives way to each new one. One API
/// server has a few, and 500 calls at once need 500.
pub const CONNECTIONS: usize = 1024;

/// Connections to the ops port: probes, and somebody who collects metrics.
pub const OPS_CONNECTIONS: usize = 32;

/// Connections that have been told to give way and have not gone yet.
pub const LEAVING: usize = 64;

/// How long a client may take for the TLS handshake.
pub const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// How long the head of a request may take, from its first byte.
pub const HEAD_TIME: Duration = Duration::from_secs(10);

/// What is kept of a request before its body is read, at most. The API server sends a
/// few hundred bytes, and a token if its configuration says so.
pub const HEAD_SIZE: usize = 8 * 1024;

/// What is read of a connection at once, at most: a record of TLS.
pub const READ_SIZE: usize = 16 * 1024;

/// How long a connection may stay without a request. The API server's pool holds
/// connections that it does not use for 90 s (`IdleConnTimeout` of Go's
/// `DefaultTransport`, taken over by apimachinery, pkg/util/net/http.go): it must be
/// the one to close them, since a connection that is closed here may just have been
/// given the next call.
pub const IDLE_TIME: Duration = Duration::from_secs(120);

/// Requests at once on a connection of HTTP/2: as many as Go sends before it is told.
pub const STREAMS: u32 = 100;

/// Clients that the kernel lets wait for being accepted (tokio's `TcpListener::bind`).
pub const WAITING: usize = 1024;

// The end.

/// How long the listener goes on with handshakes that the kernel has begun, once new
/// ones are turned away: longer than a packet needs there and back.
pub const LAST_HANDSHAKES: Duration = Duration::from_millis(100);

/// How long a connection that has brought no request yet may still bring one.
pub const FIRST_REQUEST_TIME: Duration = Duration::from_secs(2);

/// How long a client may take to say goodbye.
pub const GOODBYE_TIME: Duration = Duration::from_secs(1);

// Bodies.

/// The largest body, in bytes. The API server accepts objects of 3 MiB, and a review
/// holds up to two.
pub const BODY_SIZE: usize = 8 * 1024 * 1024;

/// All bodies that are arriving or under review, in bytes.
pub const BODIES_SIZE: usize = 2 * BODY_SIZE;

/// After this time a body is slow. Within a cluster it arrives in milliseconds.
pub const BODY_TIME: Duration = Duration::from_secs(1);

// Reviews. How many may be under way at once is an argument, `--max-in-flight`.

/// The longest that the API server waits for a webhook (`timeoutSeconds`), and how
/// long a review may take if it does not say.
pub const REVIEW_TIME: Duration = Duration::from_secs(30);

/// Bodies beyond this are reviewed apart, so that others do not wait for the same
/// thread: up to this size that takes a few milliseconds at most. The usual review of
/// a few kilobytes is over sooner than it could be handed over.
pub const LARGE_BODY: usize = 128 * 1024;

/// Large bodies beyond this are refused, by the bytes that they take once parsed. A
/// review needs twice as much at its peak, and with all else that must fit into the
/// memory that the chart gives a pod. Two Deployments of 1.5 MiB, the most that etcd
/// stores, weigh less, even if made of nothing but small variables.
pub const WEIGHT: usize = 80 * 1024 * 1024;
