//! An answer of an API server.

use serde::Deserialize;
use zeroize::Zeroizing;

use super::Call;
use crate::{
    error::{Error, Kind},
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
}

impl Answer {
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

    /// The message of a Kubernetes Status, harmless; empty if it is none.
    pub(crate) fn message(&self) -> String {
        harmless(&self.status_object().message)
    }

    /// Whether it says that an object of our name is there already.
    pub(crate) fn is_already_exists(&self) -> bool {
        self.status == 409 && self.status_object().reason == "AlreadyExists"
    }

    /// Whether it says that one object is not there, or its namespace; not that the API server knows no such kind of objects.
    pub(crate) fn is_not_found(&self) -> bool {
        let status = self.status_object();
        self.status == 404 && status.reason == "NotFound" && !status.details.name.is_empty()
    }

    /// Whether it is the API server's own refusal, and not that of something in between.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self.status, 401 | 403 | 404 | 422) && !self.status_object().reason.is_empty()
    }

    /// Whether it says that the uid in the precondition is not the object's (`storage.Preconditions.Check`). Other
    /// conflicts, an admission webhook's for instance, say nothing of the kind.
    pub(crate) fn is_uid_mismatch(&self) -> bool {
        let status = self.status_object();
        self.status == 409
            && status.reason == "Conflict"
            && status.message.contains("the UID in the precondition")
    }

    /// Whether it says that the Secret, or its whole namespace, is not there. A 404 for a path that a server does not
    /// know, or from something that is no API server, says nothing of the kind.
    pub(crate) fn is_secret_not_found(&self) -> bool {
        let status = self.status_object();
        self.status == 404
            && status.reason == "NotFound"
            && ["secrets", "namespaces"].contains(&&*status.details.kind)
    }

    fn status_object(&self) -> Status {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// `metav1.Status`, as far as it matters.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    message: String,
    reason: String,
    details: Details,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Details {
    name: String,
    kind: String,
}
