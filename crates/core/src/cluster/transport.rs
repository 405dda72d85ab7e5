//! The seam between the requests and the connections: a `tower::Service`. In tests, a list of answers takes
//! its place.

use http_body_util::Full;
use hyper::body::Bytes;
use tower::util::BoxCloneSyncService;

use super::attempt_error::AttemptError;

/// A request to be sent.
pub(super) struct Exchange {
    pub(super) request: http::Request<Full<Bytes>>,
    /// The most bytes of the answer that are read.
    pub(super) longest: usize,
}

/// An answer. Its body is `None` if it is longer than expected.
pub(super) type Reply = http::Response<Option<Bytes>>;

/// A service that carries requests to a server.
pub(super) type Transport = BoxCloneSyncService<Exchange, Reply, AttemptError>;
