//! The faults that tests inject between a client and the API server.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Barrier;

/// A fault for the next requests that match it.
#[derive(Clone, Debug)]
pub struct Fault {
    pub method: &'static str,
    /// Text that the request's path, with the query, must contain.
    pub path_contains: String,
    /// The number of requests that the fault affects.
    pub times: usize,
    pub kind: FaultKind,
}

/// The effect of a fault. *Server* means the API server or the dev cluster behind the front.
#[derive(Clone)]
pub enum FaultKind {
    /// The front answers the request with this status, these headers and this body. The server never gets the
    /// request.
    Answer {
        status: u16,
        headers: Vec<(String, String)>,
        body: String,
    },
    /// The server carries the request out. The front answers in its place, with this status and no body.
    AnswerAfter { status: u16 },
    /// The server carries the request out. Then the connection breaks in the middle of the answer's body.
    CutBody,
    /// The server never gets the request. The client gets no answer.
    HoldBefore,
    /// The server carries the request out. The client gets no answer.
    HoldAfter,
    /// The front closes the connection, and the server never gets the request. No outstanding request on that
    /// connection gets an answer.
    DropBefore,
    /// The server carries the request out. The front closes the connection without an answer.
    DropAfter,
    /// The server never gets the request. Over HTTP/2, the front resets the stream with REFUSED_STREAM, which
    /// tells the client that no server carried the request out. Over HTTP/1.1, the front closes the
    /// connection.
    Refuse,
    /// The server carries the request out and answers it. The front accepts no more requests on this
    /// connection: over HTTP/2, it sends GOAWAY.
    GoAway,
    /// The front holds the matching requests back until their number is that of the barrier. Then the server
    /// carries them out.
    Together(Arc<Barrier>),
    /// The server carries the request out only after this time, even if the client has closed the connection
    /// by then. The time is real: the clock of the dev cluster does not count.
    CarryOutLate(Duration),
    /// The server carries the request out and answers it. The front adds a `Warning:` header with this text.
    Warn(String),
    /// The server carries the request out. The front changes the body of the answer with this function.
    RewriteBody(fn(&mut Value)),
}

impl FaultKind {
    /// Makes a fault that holds matching requests back until this number of them is outstanding.
    pub fn together(requests: usize) -> Self {
        FaultKind::Together(Arc::new(Barrier::new(requests)))
    }
}

impl fmt::Debug for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FaultKind::Answer { .. } => "Answer",
            FaultKind::AnswerAfter { .. } => "AnswerAfter",
            FaultKind::CutBody => "CutBody",
            FaultKind::HoldBefore => "HoldBefore",
            FaultKind::HoldAfter => "HoldAfter",
            FaultKind::DropBefore => "DropBefore",
            FaultKind::DropAfter => "DropAfter",
            FaultKind::Refuse => "Refuse",
            FaultKind::GoAway => "GoAway",
            FaultKind::Together(_) => "Together",
            FaultKind::CarryOutLate(_) => "CarryOutLate",
            FaultKind::Warn(_) => "Warn",
            FaultKind::RewriteBody(_) => "RewriteBody",
        })
    }
}

/// Returns the kind of the next fault for a request, if there is one. Removes the fault after the last of its
/// requests.
pub(crate) fn take(faults: &mut Vec<Fault>, method: &str, path: &str) -> Option<FaultKind> {
    let index = faults
        .iter()
        .position(|fault| fault.times > 0 && fault.method == method && path.contains(&fault.path_contains))?;
    faults[index].times -= 1;
    let kind = faults[index].kind.clone();
    faults.retain(|fault| fault.times > 0);
    Some(kind)
}
