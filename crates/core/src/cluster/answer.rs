//! An answer of an API server.

use serde::Deserialize;
use zeroize::Zeroizing;

use super::{Call, denial::Denial};
use crate::{
    error::{Error, Kind},
    json::remove_nulls,
    text::harmless,
};

/// An answer, whatever its status. Not `Debug`: the body may be a token.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The texts of its `Warning` headers, harmless.
    pub(crate) warnings: Vec<String>,
    /// Without members that are `null`.
    pub(crate) body: Zeroizing<Vec<u8>>,
    /// The body was longer than any that is expected. Nothing of it is here.
    pub(crate) too_long: bool,
    /// The server's clock, to the second.
    pub(crate) date: Option<jiff::Timestamp>,
    /// An earlier attempt may have been carried out without our knowing.
    pub(crate) repeated: bool,
    said: Status,
}

impl Answer {
    /// `None` in place of a body that was longer than any that is expected.
    pub(super) fn new(status: u16, body: Option<Zeroizing<Vec<u8>>>) -> Self {
        let too_long = body.is_none();
        let mut body = body.unwrap_or_default();
        remove_nulls(&mut body);
        let said = match status {
            200..300 => Status::default(),
            _ => serde_json::from_slice(&body).unwrap_or_default(),
        };
        Self {
            status,
            warnings: Vec::new(),
            body,
            too_long,
            date: None,
            repeated: false,
            said,
        }
    }

    /// Reads the body.
    ///
    /// # Errors
    /// If it is not what it should be. Nothing of it is shown.
    pub(crate) fn parse<T: for<'de> Deserialize<'de>>(&self, call: &Call) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|_| {
            let why = match self.too_long {
                true => "the answer is far too long for",
                false => "the answer is not one of",
            };
            let what = format!("cannot {}: {why} a Kubernetes API server", call.doing);
            Error::new(Kind::Unreachable, what).help("check the server's URL: something else answers there")
        })
    }

    /// The message of a Kubernetes Status, harmless. Empty if the answer is not a Status.
    pub(crate) fn message(&self) -> String {
        harmless(&self.said.message)
    }

    /// Whether it says that an object of our name is there already.
    pub(crate) fn is_already_exists(&self) -> bool {
        self.says(409, "AlreadyExists")
    }

    /// Whether it says that one object is not there, or its namespace; not that the API server knows no such kind of objects.
    pub(crate) fn is_not_found(&self) -> bool {
        self.says(404, "NotFound") && !self.said.details.name.is_empty()
    }

    /// Whether it is the cluster's own refusal, and not that of something in between: then nothing was done.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self.status, 401 | 403 | 404 | 422) && !self.said.reason.is_empty()
            || self.denial().is_some()
    }

    /// Whether it says that the uid in the precondition is not the object's (`storage.Preconditions.Check`). Other
    /// conflicts say nothing of the kind.
    pub(crate) fn is_uid_mismatch(&self) -> bool {
        self.says(409, "Conflict") && self.said.message.contains("the UID in the precondition")
    }

    /// Whether it says that the Secret, or its whole namespace, is not there. A 404 for a path that a server does not
    /// know, or from something that is no API server, says nothing of the kind.
    pub(crate) fn is_secret_not_found(&self) -> bool {
        self.says(404, "NotFound") && ["secrets", "namespaces"].contains(&&*self.said.details.kind)
    }

    /// Whether the API server says so itself: an admission webhook that refuses picks status, reason and details as it likes.
    fn says(&self, status: u16, reason: &str) -> bool {
        self.status == status && self.said.reason == reason && self.denial().is_none()
    }

    /// What refused a request that RBAC allows, if something did.
    pub(crate) fn denial(&self) -> Option<Denial<'_>> {
        Denial::of(self.status, &self.said)
    }
}

/// `metav1.Status`, as far as it matters. Empty if the answer is not a Status.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    pub(super) message: String,
    pub(super) reason: String,
    pub(super) details: Details,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Details {
    name: String,
    kind: String,
    pub(super) causes: Vec<Cause>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Cause {
    pub(super) reason: String,
}
