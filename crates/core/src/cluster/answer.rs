//! An answer of an API server.

use kube::core::{Status, response::reason};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use zeroize::Zeroizing;

use super::{API_SERVER, Call, denial::Denial};
use crate::{
    error::{Error, Kind},
    json::remove_nulls,
    text::harmless,
    token::Token,
};

/// An answer with any HTTP status. Not `Debug`: the body may hold a token.
pub(crate) struct Answer {
    /// The server's name in messages, such as `the API server`.
    pub(super) from: &'static str,
    pub(crate) status: u16,
    /// The messages in the `Warning` headers, safe to show.
    pub(crate) warnings: Vec<String>,
    /// The body without the members that are `null`.
    pub(crate) body: Zeroizing<Vec<u8>>,
    /// Whether the body was longer than the call allows. Then `body` is empty.
    pub(crate) too_long: bool,
    /// The time by the server's clock, to the second. `None` if the answer has no valid `Date` header.
    pub(crate) date: Option<jiff::Timestamp>,
    /// Whether the API server may have carried out an earlier attempt at the same call.
    pub(crate) repeated: bool,
    /// The Status of a refusal or a failure, as [`status_object`] reads it. Empty for a success.
    status_object: Status,
}

/// The answer to a TokenRequest. Unlike the type of k8s-openapi, this type wipes the memory of the token, and
/// has no `Debug`.
#[derive(Deserialize)]
pub(crate) struct TokenRequest {
    status: TokenRequestStatus,
}

#[derive(Deserialize)]
struct TokenRequestStatus {
    token: SecretString,
}

impl Answer {
    /// Creates an answer. `body` is `None` if it was longer than the call allows.
    pub(crate) fn new(status: u16, body: Option<Zeroizing<Vec<u8>>>) -> Self {
        let too_long = body.is_none();
        let mut body = body.unwrap_or_default();
        remove_nulls(&mut body);
        let status_object = match status {
            200..300 => Status::default(),
            _ => status_object(&body),
        };
        Self {
            from: API_SERVER,
            status,
            warnings: Vec::new(),
            body,
            too_long,
            date: None,
            repeated: false,
            status_object,
        }
    }

    /// Reads the body.
    ///
    /// # Errors
    /// If the body is not a `T`. The error quotes no part of the body.
    pub(crate) fn parse<T: DeserializeOwned>(&self, call: &Call) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|_| self.unreadable(call))
    }

    /// Reads the body as a `T`, and requires a member such as `/status/allowed`. The types of Kubernetes'
    /// objects read an absent member as `false` or as empty. Without this check, an empty answer to an access
    /// review would become a denial.
    ///
    /// # Errors
    /// As [`Answer::parse`], and if the member is absent.
    pub(crate) fn parse_with<T: DeserializeOwned>(&self, call: &Call, member: &str) -> Result<T, Error> {
        let body = self.parse::<Value>(call)?;
        match body.pointer(member) {
            Some(_) => T::deserialize(body).map_err(|_| self.unreadable(call)),
            None => Err(self.unreadable(call)),
        }
    }

    /// The token in the answer to a TokenRequest.
    ///
    /// # Errors
    /// As [`Answer::parse`], and if the answer holds no token.
    pub(crate) fn token(&self, call: &Call) -> Result<Token, Error> {
        let token = self.parse::<TokenRequest>(call)?.status.token;
        Token::parse(token.expose_secret(), "token").map_err(|_| {
            Error::new(Kind::Claims, "the API server's answer holds no token").help(
                "check the server's URL, and the proxies in front of it: a Kubernetes API server answers \
                     with a token",
            )
        })
    }

    fn unreadable(&self, call: &Call) -> Error {
        let (why, help) = match self.too_long {
            true => (
                "the answer is longer than jobpass reads",
                "check the server's URL, and the proxies in front of the server: perhaps another program \
                 answered. If a Kubernetes API server answered, its answer is too long for jobpass",
            ),
            false => (
                "the answer does not come from a Kubernetes API server",
                "check the server's URL, and the proxies in front of the server: another program answered",
            ),
        };
        Error::new(Kind::Unreachable, format!("cannot {}: {why}", call.doing)).help(help)
    }

    /// The message of a Status, or of a similar object such as Rancher's. Harmless text. Empty if the answer
    /// has no such message, or is a success.
    pub(crate) fn message(&self) -> String {
        harmless(&self.status_object.message)
    }

    /// The answer in words, such as `the API server answered 403 secrets is forbidden`. Safe to show.
    pub(crate) fn in_words(&self) -> String {
        let words = format!("{} answered {} {}", self.from, self.status, self.message());
        words.trim_end().to_owned()
    }

    /// The error for an answer that the caller cannot use.
    pub(crate) fn unexpected(&self, call: &Call) -> Error {
        Error::new(
            Kind::Refused,
            format!("cannot {}: {}", call.doing, self.in_words()),
        )
    }

    /// The continue token with which a list can go on after the API server refused an expired one. `None` if
    /// the answer has no such token.
    pub(crate) fn resume_at(&self) -> Option<&str> {
        self.status_object.metadata.as_ref()?.continue_.as_deref()
    }

    /// Whether Kubernetes' authorization refused the request, because the user lacks a permission.
    pub(crate) fn is_forbidden(&self) -> bool {
        self.says(403, reason::FORBIDDEN)
    }

    /// Whether the object exists already.
    pub(crate) fn is_already_exists(&self) -> bool {
        self.says(409, reason::ALREADY_EXISTS)
    }

    /// Whether the API server refused a TokenRequest because the ServiceAccount has another uid than the
    /// request states (`pkg/registry/core/serviceaccount/storage/token.go`). If the anchor's uid differs, the
    /// kind in the answer is `Secret` instead.
    pub(crate) fn is_another_account(&self) -> bool {
        let details = self.status_object.details.as_ref();
        self.says(409, reason::CONFLICT) && details.is_some_and(|details| details.kind == "TokenRequest")
    }

    /// Whether an object or its namespace does not exist. A 404 without the name of an object does not count:
    /// with that answer, the API server says that it does not serve the path.
    pub(crate) fn is_not_found(&self) -> bool {
        let details = self.status_object.details.as_ref();
        self.says(404, reason::NOT_FOUND) && details.is_some_and(|details| !details.name.is_empty())
    }

    /// Whether the cluster itself refused the request, and therefore did nothing. A proxy sends no reason of
    /// Kubernetes, and no message of an admission webhook.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self.status, 401 | 403 | 404 | 422) && !self.status_object.reason.is_empty()
            || self.denial().is_some()
    }

    /// The next step if a proxy, and not Kubernetes, refused the request. Kubernetes' own 401 and 403 answers
    /// state a reason.
    pub(crate) fn refused_by_another(&self) -> Option<&'static str> {
        (matches!(self.status, 401 | 403) && self.status_object.reason.is_empty()).then_some(
            "this answer does not come from Kubernetes: a gateway, a login page or a proxy in front of the \
             API server refused the request. Use the API server's own address, or configure the gateway or \
             proxy to forward the `Authorization` header",
        )
    }

    /// Whether the object has another uid than the precondition. kube-apiserver compares the two before it
    /// deletes the object (k8s.io/apiserver, `rest.BeforeDelete`), and again in the storage
    /// (`pkg/storage/interfaces.go`). Other conflicts have other messages.
    pub(crate) fn is_uid_mismatch(&self) -> bool {
        let texts = ["the UID in the precondition", "UID in precondition: "];
        let says = |text| self.status_object.message.contains(text);
        self.says(409, reason::CONFLICT) && texts.into_iter().any(says)
    }

    /// Whether the Secret, or its whole namespace, does not exist. A 404 for an unknown path, or from a
    /// server that is not an API server, does not count.
    pub(crate) fn is_secret_not_found(&self) -> bool {
        matches!(self.missing(), Some("secrets" | "namespaces"))
    }

    /// The kind of the object that does not exist, in the plural. `None` if the answer does not name a
    /// missing object.
    pub(crate) fn missing(&self) -> Option<&str> {
        let details = self.status_object.details.as_ref()?;
        self.says(404, reason::NOT_FOUND).then_some(&*details.kind)
    }

    /// Whether the API server itself answers with this status and this reason. An admission webhook may
    /// refuse with any status, reason and details, so the answer of a webhook does not count.
    ///
    /// This is stricter than `Status::is_not_found` of kube-core, which accepts a 404 with an unknown reason.
    fn says(&self, status: u16, reason: &str) -> bool {
        self.status == status && self.status_object.reason == reason && self.denial().is_none()
    }

    /// The part of the cluster that refused a request that RBAC allows.
    pub(crate) fn denial(&self) -> Option<Denial<'_>> {
        Denial::of(self.status, &self.status_object)
    }
}

/// Reads a Status. Servers in front of Kubernetes, such as Rancher, send the same members with other types:
/// from their answers, this function reads only the message. From any other body, it returns an empty Status.
fn status_object(body: &[u8]) -> Status {
    #[derive(Deserialize)]
    struct Foreign {
        message: String,
    }
    serde_json::from_slice(body)
        .or_else(|_| {
            serde_json::from_slice::<Foreign>(body).map(|Foreign { message }| Status {
                message,
                ..Status::default()
            })
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::authorization::v1::SelfSubjectAccessReview;
    use rstest::rstest;

    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer::new(status, Some(body.as_bytes().to_vec().into()))
    }

    fn not_found(kind: &str) -> String {
        format!(
            r#"{{"kind":"Status","status":"Failure","reason":"NotFound","details":{{"name":"a","kind":"{kind}"}},"code":404}}"#
        )
    }

    #[rstest]
    #[case::the_anchor(404, not_found("secrets"), true)]
    #[case::its_namespace(404, not_found("namespaces"), true)]
    #[case::the_account(404, not_found("serviceaccounts"), false)]
    #[case::no_such_path(404, "404 page not found".into(), false)]
    #[case::no_reason(404, r#"{"kind":"Status","code":404,"details":{"kind":"secrets"}}"#.into(), false)]
    #[case::another_status(403, not_found("secrets"), false)]
    fn only_the_api_server_says_that_a_secret_is_gone(
        #[case] status: u16,
        #[case] body: String,
        #[case] gone: bool,
    ) {
        assert_eq!(answer(status, &body).is_secret_not_found(), gone);
    }

    #[rstest]
    #[case::kubernetes(
        r#"{"kind":"Status","metadata":{},"status":"Failure","message":"m","code":403}"#,
        "m"
    )]
    #[case::rancher(
        r#"{"type":"error","status":"401","message":"must authenticate","code":"Unauthorized"}"#,
        "must authenticate"
    )]
    #[case::a_newer_kubernetes(
        r#"{"status":"Failure","message":"m","details":{"name":"a","new":{"b":1}},"new":2}"#,
        "m"
    )]
    #[case::a_proxy("<html>", "")]
    #[case::nothing("", "")]
    fn the_message_is_kept(#[case] body: &str, #[case] message: &str) {
        assert_eq!(answer(401, body).message(), message);
    }

    #[test]
    fn an_answer_that_says_nothing_is_no_denial() {
        let call = Call::get("ask", "/version").expect("a call");
        let review =
            |body: &str| answer(201, body).parse_with::<SelfSubjectAccessReview>(&call, "/status/allowed");
        let kind = r#""kind":"SelfSubjectAccessReview""#;
        assert!(review(&format!(r#"{{{kind},"status":{{"allowed":false,"new":1}}}}"#)).is_ok());
        assert!(review(&format!(r#"{{{kind},"status":{{}}}}"#)).is_err());
        assert!(review(r#"{"kind":"Pod","status":{"allowed":false}}"#).is_err());
    }
}
