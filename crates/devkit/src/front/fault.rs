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

#[derive(Clone)]
pub enum FaultKind {
    /// Answers the request with this status and body. The server never gets the request.
    Answer {
        status: u16,
        headers: Vec<(String, String)>,
        body: String,
    },
    /// The server carries the request out. Then a proxy answers in its place, with this status and no body.
    AnswerAfter { status: u16 },
    /// The server carries the request out. Then the connection breaks in the middle of the answer's body.
    CutBody,
    /// Holds the request back, without an answer, until the client closes the connection.
    HoldBefore,
    /// The server carries the request out. The client gets no answer.
    HoldAfter,
    /// Closes the connection before the server carries the request out. No outstanding request on that
    /// connection gets an answer.
    DropBefore,
    /// The server carries the request out. Then closes the connection without an answer.
    DropAfter,
    /// Refuses the request before the server carries it out. Over HTTP/2, resets the stream with
    /// REFUSED_STREAM, which tells the client so. Over HTTP/1.1, acts like `DropBefore`.
    Refuse,
    /// The server carries the request out and answers it. Then the server takes no more requests on this
    /// connection, and tells the client so.
    GoAway,
    /// Holds the matching requests until this many have arrived. Then the server carries them out.
    Together(Arc<Barrier>),
    /// The server carries the request out and answers it after this much real time, even if the client has
    /// closed the connection.
    CarryOutLate(Duration),
    /// The server carries the request out and answers it. Adds a `Warning:` header with this text to the
    /// answer.
    Warn(String),
    /// The server carries the request out. Changes the answer with this function.
    RewriteBody(fn(&mut Value)),
}

impl FaultKind {
    /// Makes a fault that holds matching requests until this many are outstanding at the same time.
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

/// Removes and returns the next fault for a request, if there is one.
pub(crate) fn take(faults: &mut Vec<Fault>, method: &str, path: &str) -> Option<FaultKind> {
    let index = faults
        .iter()
        .position(|fault| fault.times > 0 && fault.method == method && path.contains(&fault.path_contains))?;
    faults[index].times -= 1;
    let kind = faults[index].kind.clone();
    faults.retain(|fault| fault.times > 0);
    Some(kind)
}
