//! The interface between the requests and the connections: a `tower::Service`. Tests put prepared answers
//! in its place.

use http_body_util::Full;
use hyper::body::Bytes;
use tower::util::BoxCloneSyncService;

use super::attempt_error::AttemptError;

/// A request to send.
pub(super) struct Exchange {
    pub(super) request: http::Request<Full<Bytes>>,
    /// The greatest length of the answer, in bytes.
    pub(super) longest: usize,
}

/// An answer. The body is `None` if it was longer than [`Exchange::longest`].
pub(super) type Reply = http::Response<Option<Bytes>>;

/// A service that carries requests to a server.
pub(super) type Transport = BoxCloneSyncService<Exchange, Reply, AttemptError>;
