//! A request with its whole body.

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use hyper::body::Bytes;
use serde_json::Value;

use crate::transcript::{Asker, Exchange};

pub(crate) struct Asked {
    pub(crate) by: Asker,
    pub(crate) method: Method,
    /// The path, with the query.
    pub(crate) uri: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Asked {
    /// A request from any sender, with the sender's token.
    ///
    /// # Panics
    ///
    /// If the method, the headers or the token are not valid.
    pub(crate) fn new<'h>(
        by: Asker,
        method: &str,
        path: &str,
        headers: impl IntoIterator<Item = (&'h str, &'h str)>,
        body: impl Into<Bytes>,
    ) -> Self {
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::try_from(name).expect("a header's name");
            all.append(name, HeaderValue::try_from(value).expect("a header's value"));
        }
        if let Asker::Bearer(token) = &by {
            let bearer = HeaderValue::try_from(format!("Bearer {token}"));
            all.insert(header::AUTHORIZATION, bearer.expect("a token"));
        }
        Self {
            by,
            method: method.parse().expect("a method"),
            uri: path.to_owned(),
            headers: all,
            body: body.into(),
        }
    }

    /// A request from the administrator. The method `APPLY` is server-side apply, for an object that may
    /// exist already.
    pub(crate) fn by_admin(method: &str, path: &str, body: Option<&Value>) -> Self {
        let (method, content_type) = match method {
            "APPLY" => ("PATCH", "application/apply-patch+yaml"),
            "PATCH" => ("PATCH", "application/merge-patch+json"),
            method => (method, "application/json"),
        };
        let body = body.map(Value::to_string).unwrap_or_default();
        Self::new(Asker::Admin, method, path, [("content-type", content_type)], body)
    }

    /// The request of an exchange in a transcript.
    pub(crate) fn of(exchange: &Exchange) -> Self {
        let headers = exchange.headers.iter().map(|(name, value)| (&**name, &**value));
        let body = match &exchange.body {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            body => body.to_string(),
        };
        Self::new(
            exchange.by.clone(),
            &exchange.method,
            &exchange.path,
            headers,
            body,
        )
    }
}
