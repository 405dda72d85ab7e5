//! A request as RBAC sees it: its verb, and the resource or the path.

use std::borrow::Cow;

use http::Method;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

/// A request in the words of RBAC. An absent part is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Request {
    /// The verb, such as `list` or `watch`. For a path, the method in lower case.
    pub verb: String,
    /// The API group. Empty for the core group.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The resource, such as `pods`. Empty for a path.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub resource: String,
    /// The subresource, such as `log`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subresource: String,
    /// The namespace. Empty for all namespaces, and for resources without a namespace.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// The name of the object. Empty for all objects, and for an object that the request creates.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The path, if it is not the path of a resource, such as `/metrics`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
}

/// The query parameter that turns a list into a watch.
const WATCH: &str = "watch";
const FIELD_SELECTOR: &str = "fieldSelector";

impl Request {
    /// Reads a request as kube-apiserver does (`k8s.io/apiserver/pkg/endpoints/request/requestinfo.go`,
    /// `NewRequestInfo`). `None` if kube-apiserver cannot read the path, and answers with an error.
    pub(crate) fn read(method: &Method, path: &str, query: &str) -> Option<Self> {
        let decoded = unescaped(path, false)?;
        let all = || Self {
            verb: method.as_str().to_ascii_lowercase(),
            path: decoded.clone().into_owned(),
            ..Self::default()
        };
        let trimmed = decoded.trim_matches('/');
        let parts = trimmed.split('/').collect::<Vec<_>>();
        let (group, parts) = match parts[..] {
            ["api", _, _, ..] => ("", &parts[2..]),
            ["apis", group, _, _, ..] => (group, &parts[3..]),
            _ => return Some(all()),
        };
        // A verb in the path is an old form of a watch, and of a request through a proxy.
        let (verb, parts) = match parts {
            ["proxy" | "watch"] => return None,
            [verb @ ("proxy" | "watch"), rest @ ..] => (*verb, rest),
            parts => (verb(method), parts),
        };
        let (namespace, parts) = match parts {
            ["namespaces", namespace, "status" | "finalize", ..] => (*namespace, parts),
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            ["namespaces", namespace] => (*namespace, parts),
            parts => ("", parts),
        };
        let part = |index: usize| parts.get(index).copied().unwrap_or_default();
        let subresource = match verb {
            "proxy" => "",
            _ => part(2),
        };
        let mut request = Self {
            verb: verb.to_owned(),
            group: group.to_owned(),
            resource: part(0).to_owned(),
            subresource: subresource.to_owned(),
            namespace: namespace.to_owned(),
            name: part(1).to_owned(),
            path: String::new(),
        };
        if request.name.is_empty() {
            request.refine(query);
        }
        Some(request)
    }

    /// Completes a request whose path names no object: the request is for all objects, or its query names
    /// one.
    fn refine(&mut self, query: &str) {
        match &*self.verb {
            "get" => {
                let is_watch = parameter(query, WATCH)
                    .is_some_and(|value| value != "0" && !value.eq_ignore_ascii_case("false"));
                self.verb = if is_watch { "watch" } else { "list" }.to_owned();
                let selected = parameter(query, FIELD_SELECTOR).and_then(|selector| selected_name(&selector));
                self.name = selected.unwrap_or_default();
            }
            "delete" => "deletecollection".clone_into(&mut self.verb),
            _ => {}
        }
    }
}

fn verb(method: &Method) -> &'static str {
    match method.as_str() {
        "POST" => "create",
        "GET" | "HEAD" => "get",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "",
    }
}

/// Decodes percent-encoded text like Go's `net/url`. `None` if an escape is wrong.
fn unescaped(text: &str, is_query: bool) -> Option<Cow<'_, str>> {
    let hex = |bytes: Option<&[u8]>| bytes.is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit));
    let bytes = text.as_bytes();
    let mut escapes = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'%');
    if !escapes.all(|(at, _)| hex(bytes.get(at + 1..at + 3))) {
        return None;
    }
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    Some(match (is_query, text.contains('+'), text.contains('%')) {
        (true, true, _) => Cow::Owned(decode(&text.replace('+', " "))),
        (_, _, true) => Cow::Owned(decode(text)),
        _ => Cow::Borrowed(text),
    })
}

/// The first value of a parameter. Leaves out the pairs that Go's `url.ParseQuery` leaves out.
fn parameter(query: &str, name: &str) -> Option<String> {
    let pairs = query.split('&').filter(|pair| !pair.contains(';'));
    pairs
        .filter_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((unescaped(key, true)?, unescaped(value, true)?))
        })
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

/// The name of the only object that a field selector selects (`k8s.io/apimachinery/pkg/fields`). `None` if
/// kube-apiserver cannot parse the selector, or takes no name from it.
fn selected_name(selector: &str) -> Option<String> {
    let mut terms = vec![String::new()];
    let mut is_escaped = false;
    for letter in selector.chars() {
        if letter == ',' && !is_escaped {
            terms.push(String::new());
            continue;
        }
        is_escaped = letter == '\\' && !is_escaped;
        terms.last_mut()?.push(letter);
    }
    // kube-apiserver sorts the terms. If several terms select a name, the first of them counts.
    terms.sort();
    let mut name = None;
    for term in terms.iter().filter(|term| !term.is_empty()) {
        let at = term.find(['!', '='])?;
        let (field, rest) = term.split_at(at);
        let (is_equal, value) = match (rest.strip_prefix("!="), rest.strip_prefix("==")) {
            (Some(value), _) => (false, value),
            (None, Some(value)) => (true, value),
            (None, None) => (true, rest.strip_prefix('=')?),
        };
        let value = without_escapes(value)?;
        if is_equal && field == "metadata.name" && name.is_none() {
            name = Some(value);
        }
    }
    name.filter(|name| !matches!(&**name, "." | "..") && !name.contains(['/', '%']))
}

fn without_escapes(value: &str) -> Option<String> {
    let mut plain = String::new();
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        plain.push(match letter {
            '\\' => letters.next().filter(|next| matches!(next, '\\' | ',' | '='))?,
            ',' | '=' => return None,
            letter => letter,
        });
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// The request as one text: verb, `GROUP/RESOURCE/SUBRESOURCE`, namespace, name.
    fn read(method: &str, uri: &str) -> Option<String> {
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let request = Request::read(&method, path, query)?;
        Some(match &*request.path {
            "" => format!(
                "{} {}/{}/{} {} {}",
                request.verb,
                request.group,
                request.resource,
                request.subresource,
                request.namespace,
                request.name
            ),
            path => format!("{} {path}", request.verb),
        })
    }

    /// The cases of `requestinfo_test.go`, and those in which a wrong reading would let a request pass.
    #[rstest]
    #[case("GET", "/api/v1/namespaces", "list /namespaces/  ")]
    #[case("GET", "/api/v1/namespaces/other", "get /namespaces/ other other")]
    #[case("GET", "/api/v1/namespaces/other/pods", "list /pods/ other ")]
    #[case("GET", "/api/v1/namespaces/other/pods/foo", "get /pods/ other foo")]
    #[case("HEAD", "/api/v1/namespaces/other/pods/foo", "get /pods/ other foo")]
    #[case("GET", "/api/v1/pods", "list /pods/  ")]
    #[case("HEAD", "/api/v1/pods", "list /pods/  ")]
    #[case("GET", "/api/v1/proxy/namespaces/other/pods/foo", "proxy /pods/ other foo")]
    #[case(
        "GET",
        "/api/v1/proxy/namespaces/other/pods/foo/sub/path",
        "proxy /pods/ other foo"
    )]
    #[case("GET", "/api/v1/watch/pods", "watch /pods/  ")]
    #[case("GET", "/api/v1/pods?watch=true", "watch /pods/  ")]
    #[case("GET", "/api/v1/pods?watch", "watch /pods/  ")]
    #[case("GET", "/api/v1/pods?watch=0", "list /pods/  ")]
    #[case("GET", "/api/v1/pods?watch=FALSE&watch=true", "list /pods/  ")]
    #[case("GET", "/api/v1/pods?w%61tch=1", "watch /pods/  ")]
    #[case("GET", "/api/v1/pods?a;watch=1", "list /pods/  ")]
    #[case("GET", "/api/v1/watch/namespaces/other/pods", "watch /pods/ other ")]
    #[case(
        "GET",
        "/api/v1/namespaces/other/pods/foo/status",
        "get /pods/status other foo"
    )]
    #[case(
        "GET",
        "/api/v1/namespaces/other/pods/foo/proxy/a/b",
        "get /pods/proxy other foo"
    )]
    #[case(
        "PUT",
        "/api/v1/namespaces/other/finalize",
        "update /namespaces/finalize other other"
    )]
    #[case(
        "PUT",
        "/api/v1/namespaces/other/status",
        "update /namespaces/status other other"
    )]
    #[case("POST", "/api/v1/namespaces/other/pods", "create /pods/ other ")]
    #[case("PATCH", "/api/v1/namespaces/other/pods/foo", "patch /pods/ other foo")]
    #[case("DELETE", "/api/v1/namespaces/other/pods/foo", "delete /pods/ other foo")]
    #[case("DELETE", "/api/v1/namespaces/other/pods", "deletecollection /pods/ other ")]
    #[case("DELETE", "/api/v1/nodes", "deletecollection /nodes/  ")]
    #[case(
        "POST",
        "/apis/apps/v1/namespaces/other/deployments",
        "create apps/deployments/ other "
    )]
    #[case("OPTIONS", "/api/v1/pods", " /pods/  ")]
    // The name in the field selector of a list or a watch.
    #[case("GET", "/api/v1/pods?fieldSelector=metadata.name%3Dfoo", "list /pods/  foo")]
    #[case(
        "GET",
        "/api/v1/pods?fieldSelector=metadata.name==foo&watch=1",
        "watch /pods/  foo"
    )]
    #[case("GET", "/api/v1/pods?fieldSelector=metadata.name!=foo", "list /pods/  ")]
    #[case("GET", "/api/v1/pods?fieldSelector=a=b,metadata.name=foo", "list /pods/  foo")]
    #[case("GET", "/api/v1/pods?fieldSelector=metadata.name=foo,odd", "list /pods/  ")]
    #[case("GET", "/api/v1/pods?fieldSelector=metadata.name=a%252Fb", "list /pods/  ")]
    #[case("GET", "/api/v1/pods?fieldSelector=metadata.name=a\\xb", "list /pods/  ")]
    #[case(
        "GET",
        "/api/v1/pods?fieldSelector=a=1&fieldSelector=metadata.name=foo",
        "list /pods/  "
    )]
    #[case(
        "DELETE",
        "/api/v1/namespaces/o/pods?fieldSelector=metadata.name=foo",
        "deletecollection /pods/ o "
    )]
    // Go decodes the path before it splits it.
    #[case("GET", "/api/v1/namespaces/o/secrets%2Ffoo", "get /secrets/ o foo")]
    #[case("GET", "/api/v1/namespaces/o%2fsecrets", "list /secrets/ o ")]
    #[case("GET", "//api/v1/pods/", "list /pods/  ")]
    // An empty version: `v1` is the resource.
    #[case("GET", "/api//v1/pods", "get /v1/  pods")]
    #[case("GET", "/api/v1/namespaces/o/../secrets", "get /../ o secrets")]
    // Paths.
    #[case("GET", "/", "get /")]
    #[case("GET", "/api", "get /api")]
    #[case("GET", "/api/v1", "get /api/v1")]
    #[case("GET", "/apis/apps/v1", "get /apis/apps/v1")]
    #[case("GET", "/metrics", "get /metrics")]
    #[case("POST", "/foo/a/b/c", "post /foo/a/b/c")]
    fn requests_are_read_as_kube_apiserver_reads_them(
        #[case] method: &str,
        #[case] uri: &str,
        #[case] expected: &str,
    ) {
        assert_eq!(read(method, uri).as_deref(), Some(expected), "{method} {uri}");
    }

    #[rstest]
    #[case("/api/v1/pods%2")]
    #[case("/api/v1/%zz")]
    #[case("/api/v1/watch")]
    fn a_path_that_kube_apiserver_refuses_is_no_request(#[case] path: &str) {
        assert_eq!(read("GET", path), None);
    }
}
