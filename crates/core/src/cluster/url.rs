//! URLs as kubectl reads them. Go's `net/url` accepts some URLs that RFC 3986 does not allow, and refuses
//! some that RFC 3986 allows.

use std::net::{IpAddr, Ipv6Addr};

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use secrecy::SecretString;

/// The characters that jobpass escapes in a path. Existing escapes stay.
const IN_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'`')
    .add(b'{')
    .add(b'}')
    .add(b'|')
    .add(b'\\')
    .add(b'^')
    .add(b'[')
    .add(b']');

/// A URL. An opaque one, such as `host:443`, has only a scheme.
#[derive(Debug)]
pub(super) struct GoUrl {
    /// The scheme in lower case. Empty if the URL has none.
    pub(super) scheme: String,
    /// The user and the password, still percent-encoded.
    pub(super) user: Option<SecretString>,
    /// The host with its port. Empty if the URL has none.
    pub(super) host: String,
    /// The path, still percent-encoded.
    pub(super) path: String,
}

impl GoUrl {
    /// Parses like Go's `url.Parse`. `None` if Go returns an error. Drops the query and the fragment.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.split('#').next()?;
        if text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
            return None;
        }
        let (scheme, rest) = split_scheme(text)?;
        let scheme = scheme.to_ascii_lowercase();
        let rest = rest.split('?').next()?;
        let mut url = Self {
            scheme,
            user: None,
            host: String::new(),
            path: String::new(),
        };
        if !rest.starts_with('/') {
            if !url.scheme.is_empty() {
                // An opaque URL has neither a host nor a path.
                return Some(url);
            }
            if rest.split('/').next()?.contains(':') {
                return None;
            }
        }
        let has_authority = rest.starts_with("//") && (!url.scheme.is_empty() || !rest.starts_with("///"));
        let path = if has_authority {
            let (authority, path) = rest[2..].split_at(rest[2..].find('/').unwrap_or(rest.len() - 2));
            let (user, host) = match authority.rsplit_once('@') {
                Some((user, host)) => (Some(user), host),
                None => (None, authority),
            };
            if user.is_some_and(|user| !is_userinfo(user)) {
                return None;
            }
            url.user = user.map(SecretString::from);
            url.host = host_and_port(&url.scheme, host)?;
            path
        } else {
            rest
        };
        is_escaped(path).then(|| Self {
            path: path.to_owned(),
            ..url
        })
    }

    /// The host without its brackets and its port.
    pub(super) fn host_name(&self) -> &str {
        let (host, _) = split_port(&self.host);
        host.strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host)
    }

    /// The IP address of the host. `None` if the host is a name.
    pub(super) fn address(&self) -> Option<IpAddr> {
        let without_zone = self.host_name().split('%').next()?;
        without_zone
            .parse::<IpAddr>()
            .ok()
            .map(|address| address.to_canonical())
    }

    /// Whether the host is the local machine, whichever machine reads the URL.
    pub(super) fn is_loopback(&self) -> bool {
        self.host_name() == "localhost" || self.address().is_some_and(|address| address.is_loopback())
    }

    /// The port. Empty if the URL has none.
    pub(super) fn port(&self) -> &str {
        split_port(&self.host).1
    }
}

/// The `https` URL of an API server, without a slash at its end. `None` if the scheme is not `https`, if the
/// text names a user or no host, or if it is not a valid URL.
///
/// A text without a scheme counts as `http`, so the result is `None`. kubectl sends no credential over `http`
/// either (client-go, `rest.IsConfigTransportTLS`). Like kubectl, this drops the query, the fragment and
/// superfluous slashes.
pub(super) fn server_url(text: &str) -> Option<String> {
    let url = GoUrl::parse(text)?;
    let host = url.host.strip_suffix(':').unwrap_or(&url.host);
    if url.scheme != "https" || url.user.is_some() || url.host_name().is_empty() {
        return None;
    }
    let mut path = Vec::new();
    for segment in url.path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(path.pop()),
            segment => path.push(utf8_percent_encode(segment, IN_PATH).to_string()),
        }
    }
    let server = std::iter::once(format!("https://{host}"))
        .chain(path)
        .collect::<Vec<_>>()
        .join("/");
    server.parse::<http::Uri>().is_ok().then_some(server)
}

/// Splits off the scheme. `None` if the text begins with a colon.
fn split_scheme(text: &str) -> Option<(&str, &str)> {
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if index > 0 => {}
            b':' if index == 0 => return None,
            b':' => return Some((&text[..index], &text[index + 1..])),
            _ => break,
        }
    }
    Some(("", text))
}

fn split_port(host: &str) -> (&str, &str) {
    match host.rfind(':').filter(|colon| !host[*colon..].contains(']')) {
        Some(colon) => (&host[..colon], &host[colon + 1..]),
        None => (host, ""),
    }
}

fn host_and_port(scheme: &str, host: &str) -> Option<String> {
    let is_port = |port: &str| {
        port.is_empty()
            || port
                .strip_prefix(':')
                .is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
    };
    match host.rfind('[') {
        Some(0) => {
            let end = host.rfind(']')?;
            let address = percent_decode_str(&host[1..end]).decode_utf8().ok()?.into_owned();
            let (number, _zone) = address.split_once('%').unwrap_or((&address, ""));
            number.parse::<Ipv6Addr>().ok()?;
            is_port(&host[end + 1..]).then(|| format!("[{address}]{}", &host[end + 1..]))
        }
        Some(_) => None,
        None => {
            if let Some(first) = host.find(':') {
                let last = host.rfind(':')?;
                let colon = match scheme {
                    "http" | "https" => first,
                    _ => last,
                };
                if !is_port(&host[colon..]) {
                    return None;
                }
            }
            let allowed =
                |c: char| !c.is_ascii() || c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:[]<>\"".contains(c);
            // In a host name, Go refuses the escapes of ASCII characters other than `%`. No host has a `%` in
            // its name.
            let decoded = match host.contains('%') {
                true if is_escaped(host) && !escapes(host).any(|byte| byte < 0x80) => {
                    percent_decode_str(host).decode_utf8().ok()?.into_owned()
                }
                true => return None,
                false => host.to_owned(),
            };
            decoded.chars().all(allowed).then_some(decoded)
        }
    }
}

fn is_userinfo(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c);
    text.chars().all(allowed) && is_escaped(text)
}

/// Whether every `%` begins an escape.
fn is_escaped(text: &str) -> bool {
    text.split('%').skip(1).all(|rest| {
        let digits = rest.as_bytes();
        digits.len() >= 2 && digits[..2].iter().all(u8::is_ascii_hexdigit)
    })
}

fn escapes(text: &str) -> impl Iterator<Item = u8> {
    let digits = text.split('%').skip(1);
    digits.filter_map(|rest| u8::from_str_radix(rest.get(..2)?, 16).ok())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("HTTPS://K8s.Example.com:6443/a/", "https", "K8s.Example.com:6443", "/a/")]
    #[case("https://user:pa%40ss@k8s", "https", "k8s", "")]
    #[case("https://[fe80::1]:6443", "https", "[fe80::1]:6443", "")]
    #[case("https://k8s:", "https", "k8s:", "")]
    #[case("k8s.example.com", "", "", "k8s.example.com")]
    #[case("localhost:6443", "localhost", "", "")]
    fn taken(#[case] text: &str, #[case] scheme: &str, #[case] host: &str, #[case] path: &str) {
        let url = GoUrl::parse(text).expect("a URL");
        assert_eq!((&*url.scheme, &*url.host, &*url.path), (scheme, host, path));
    }

    #[rstest]
    #[case("HTTPS://K8s:6443/", Some("https://K8s:6443"))]
    #[case("https://k8s//a/./b/../c/?x=1#y", Some("https://k8s/a/c"))]
    #[case("10.0.0.1:6443", None)]
    #[case("http://k8s", None)]
    #[case("https://me:secret@k8s", None)]
    #[case("https:///a", None)]
    #[case("", None)]
    fn servers(#[case] text: &str, #[case] url: Option<&str>) {
        assert_eq!(server_url(text).as_deref(), url);
    }

    #[rstest]
    #[case("10.0.0.1:6443")]
    #[case("https://k8s:port")]
    #[case("https://k8s:1:2")]
    #[case("https://a b")]
    #[case("https://k8s%41")]
    #[case("https://[1.2.3.4]")]
    #[case("https://k8s/%zz")]
    #[case("https://k8s\n")]
    fn refused(#[case] text: &str) {
        assert!(GoUrl::parse(text).is_none());
    }

    #[test]
    fn debug_shows_no_password() {
        let url = GoUrl::parse("http://me:a-password@proxy:3128").expect("a URL");
        assert!(!format!("{url:?}").contains("a-password"), "{url:?}");
    }
}
