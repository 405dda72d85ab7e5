//! The faults between a client and the API server, on demand.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Barrier;

/// A fault for the next requests that match.
#[derive(Clone, Debug)]
pub struct Fault {
    pub method: &'static str,
    /// A part of the path, query included.
    pub path_contains: String,
    /// The number of requests that it affects.
    pub times: usize,
    pub kind: FaultKind,
}

#[derive(Clone)]
pub enum FaultKind {
    /// The request gets this answer and is not carried out.
    Answer {
        status: u16,
        headers: Vec<(String, String)>,
        body: String,
    },
    /// Carried out. A proxy answers instead, with this status and no body.
    AnswerAfter { status: u16 },
    /// Carried out. The connection is closed in the middle of the answer's body.
    CutBody,
    /// Neither carried out nor answered, until the client goes away.
    HoldBefore,
    /// Carried out. The answer is withheld.
    HoldAfter,
    /// Not carried out. The connection is closed without an answer to this or any other request.
    DropBefore,
    /// Carried out. The connection is closed without an answer.
    DropAfter,
    /// Neither carried out nor answered, and the client is told: over HTTP/2 by a stream that is reset with
    /// REFUSED_STREAM, over HTTP/1.1 like `DropBefore`.
    Refuse,
    /// Carried out and answered. The connection takes no other request, and the client is told.
    GoAway,
    /// Carried out once this many such requests have arrived.
    Together(Arc<Barrier>),
    /// Carried out and answered after this much real time, even if the client has gone away by then.
    CarryOutLate(Duration),
    /// Carried out and answered, with a `Warning:` header of this text added.
    Warn(String),
    /// Carried out. The answer is altered.
    RewriteBody(fn(&mut Value)),
}

impl FaultKind {
    /// The number of requests that must be outstanding at the same time before one is answered.
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

/// Takes the next fault for a request, if there is one.
pub(crate) fn take(faults: &mut Vec<Fault>, method: &str, path: &str) -> Option<FaultKind> {
    let index = faults
        .iter()
        .position(|fault| fault.times > 0 && fault.method == method && path.contains(&fault.path_contains))?;
    faults[index].times -= 1;
    let kind = faults[index].kind.clone();
    faults.retain(|fault| fault.times > 0);
    Some(kind)
}
