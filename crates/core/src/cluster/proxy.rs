//! The HTTP or SOCKS proxy in front of the API server, chosen as kubectl chooses it (Go,
//! `golang.org/x/net/http/httpproxy`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use super::url::GoUrl;
use crate::{error::Error, process::environment::Environment};

/// The URL of a proxy, and its user and password. jobpass stores the credentials apart from the URL, and
/// never serialises them.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Proxy {
    /// `SCHEME://HOST[:PORT]`, without the user and the password.
    url: String,
    #[serde(skip)]
    credentials: Option<SecretString>,
    /// Whether the proxy comes from a kubeconfig, not from a variable. The state does not record this fact.
    #[serde(skip)]
    in_kubeconfig: bool,
}

impl Proxy {
    /// The proxy that HTTPS_PROXY names. `None` if NO_PROXY lists the server, or if the server is `localhost`
    /// or a loopback address. The upper-case variables take precedence over the lower-case ones. Like
    /// kubectl, jobpass ignores ALL_PROXY and HTTP_PROXY. It also ignores a value that Go cannot parse as a
    /// URL.
    pub fn from_environment(server: &str, environment: &Environment) -> Option<Self> {
        let variable = |name: &str| {
            let set = |name: &str| environment.raw(name).filter(|value| !value.is_empty());
            set(name).or(set(&name.to_lowercase())).unwrap_or_default()
        };
        let server = GoUrl::parse(server)?;
        let proxy = Self::of_variable(variable("HTTPS_PROXY"))?;
        NoProxy::parse(variable("NO_PROXY"))
            .takes(&server)
            .then_some(proxy)
    }

    /// The proxy that a variable names. An address without a scheme is the address of an HTTP proxy.
    fn of_variable(text: &str) -> Option<Self> {
        if text.is_empty() {
            return None;
        }
        let complete = |url: &GoUrl| !url.scheme.is_empty() && !url.host.is_empty();
        let url = GoUrl::parse(text)
            .filter(complete)
            .or_else(|| GoUrl::parse(&format!("http://{text}")));
        Some(Self::of_url(&url.or_else(|| GoUrl::parse(text))?))
    }

    /// Parses the URL of a proxy from a kubeconfig (`proxy-url`), from the state, or from the message to the
    /// process that runs a job's loopback proxy. The URL must have a scheme.
    ///
    /// # Errors
    /// If the text is not the URL of a proxy.
    pub(crate) fn parse(input: &str, url: &str) -> Result<Self, Error> {
        let parsed =
            GoUrl::parse(url).filter(|url| matches!(&*url.scheme, "http" | "https" | "socks5" | "socks5h"));
        match parsed.filter(|url| !url.host.is_empty()) {
            Some(url) => Ok(Self::of_url(&url)),
            // The error does not show the value, because it may hold a password.
            None => Err(Error::input(
                input,
                "names a proxy that jobpass cannot use",
                "use `http://HOST:PORT`, `https://HOST:PORT`, `socks5://HOST:PORT` or \
                 `socks5h://HOST:PORT`. If the proxy asks for a password, put `USER:PASSWORD@` before HOST",
            )),
        }
    }

    fn of_url(url: &GoUrl) -> Self {
        Self {
            url: format!("{}://{}", url.scheme, url.host),
            credentials: url.user.clone(),
            in_kubeconfig: false,
        }
    }

    /// The proxy, marked as one that comes from a kubeconfig.
    pub(crate) fn of_kubeconfig(self) -> Self {
        Self {
            in_kubeconfig: true,
            ..self
        }
    }

    /// The `proxy-url` for the kubeconfig of a job. Leaves out a proxy that a variable names: clients read
    /// the same variable. Leaves out a proxy with a password: the kubeconfig must not contain the password,
    /// and the proxy would refuse a client without it.
    pub(crate) fn for_kubeconfig(&self) -> Option<&str> {
        (self.in_kubeconfig && self.credentials.is_none()).then_some(&self.url)
    }

    /// The proxy, with the credentials of the candidate that has the URL of the proxy. Without such a
    /// candidate, the proxy has no credentials.
    pub(crate) fn with_credentials_of<const N: usize>(mut self, candidates: [Option<Self>; N]) -> Self {
        let same = candidates
            .into_iter()
            .flatten()
            .find(|candidate| candidate.url == self.url);
        self.credentials = same.and_then(|same| same.credentials);
        self
    }

    /// The URL without the user and the password.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The URL for HTTP clients, with the user and the password.
    pub fn uri(&self) -> Option<http::Uri> {
        match &self.credentials {
            Some(secret) => self
                .url
                .replacen("://", &format!("://{}@", secret.expose_secret()), 1)
                .parse()
                .ok(),
            None => self.url.parse().ok(),
        }
    }

    /// The user and the password, without percent-encoding. `None` if the proxy's URL had no user.
    pub(super) fn credentials(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        let credentials = self.credentials.as_ref()?.expose_secret();
        let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
        let decoded = |text| percent_decode_str(text).collect();
        Some((decoded(user), decoded(password)))
    }

    /// The header that sends the proxy's user and password (RFC 7617).
    pub(super) fn authorization(&self) -> Option<http::HeaderValue> {
        let (user, password) = self.credentials()?;
        let plain = [&*user, b":", &*password].concat();
        let mut value = http::HeaderValue::try_from(format!("Basic {}", STANDARD.encode(plain))).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// The hosts that clients reach without the proxy (NO_PROXY).
#[derive(Default)]
struct NoProxy {
    all: bool,
    networks: Vec<(IpAddr, u8)>,
    addresses: Vec<(IpAddr, String)>,
    domains: Vec<Domain>,
}

struct Domain {
    /// The name with a dot before it: the end of the name of each subdomain.
    suffix: String,
    /// Whether the entry also matches the name itself.
    itself: bool,
    port: String,
}

impl NoProxy {
    fn parse(text: &str) -> Self {
        let mut list = Self::default();
        for entry in text.split(',') {
            // client-go parses networks a second time (apimachinery, `NewProxierWithNoProxyCIDR`). That
            // parser accepts leading zeros, but does not trim spaces.
            list.networks.extend(network(&without_zeros(entry)));
            let entry = entry.trim().to_lowercase();
            if entry.is_empty() {
                continue;
            }
            if entry == "*" {
                return Self {
                    all: true,
                    ..Self::default()
                };
            }
            if let Some(network) = network(&entry) {
                list.networks.push(network);
                continue;
            }
            let (host, port) = host_and_port(&entry).unwrap_or((&entry, ""));
            if let Some(address) = address(host) {
                list.addresses.push((address, port.to_owned()));
                continue;
            }
            let host = host
                .strip_prefix('*')
                .filter(|rest| rest.starts_with('.'))
                .unwrap_or(host);
            let Some(first) = host.chars().next() else {
                continue;
            };
            let itself = first != '.';
            let suffix = match itself {
                true => format!(".{host}"),
                false => host.to_owned(),
            };
            list.domains.push(Domain {
                suffix,
                itself,
                port: port.to_owned(),
            });
        }
        list
    }

    /// Whether requests to the server go through the proxy.
    fn takes(&self, server: &GoUrl) -> bool {
        let port = match server.port() {
            "" => "443",
            port => port,
        };
        if server.is_loopback() {
            return false;
        }
        if let Some(address) = server.address() {
            let listed = |(other, wanted): &(IpAddr, String)| *other == address && is_port(wanted, port);
            return !(self.all
                || self.networks.iter().any(|network| contains(*network, address))
                || self.addresses.iter().any(listed));
        }
        let name = server.host_name().trim().to_lowercase();
        let listed = |domain: &Domain| {
            let same = domain.itself && domain.suffix.strip_prefix('.') == Some(&*name);
            (same || name.ends_with(&domain.suffix)) && is_port(&domain.port, port)
        };
        !self.all && !self.domains.iter().any(listed)
    }
}

fn is_port(wanted: &str, port: &str) -> bool {
    wanted.is_empty() || wanted == port
}

/// Removes leading zeros from the parts of an IPv4 network's address. Rust's parser refuses them.
fn without_zeros(text: &str) -> String {
    let number = |part: &str| match part.trim_start_matches('0') {
        "" if !part.is_empty() => "0".to_owned(),
        stripped => stripped.to_owned(),
    };
    match text.split_once('/') {
        Some((address, bits)) if !address.contains(':') => {
            let parts: Vec<String> = address.split('.').map(number).collect();
            format!("{}/{bits}", parts.join("."))
        }
        _ => text.to_owned(),
    }
}

/// Parses a network like Go's `net.ParseCIDR`.
fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (base, bits) = text.split_once('/')?;
    let base = base.parse::<IpAddr>().ok()?;
    let longest = if base.is_ipv4() { 32 } else { 128 };
    if bits.is_empty() || bits.len() > 3 || !bits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let bits = bits.parse::<u8>().ok().filter(|bits| *bits <= longest)?;
    Some((base, bits))
}

fn contains((base, bits): (IpAddr, u8), address: IpAddr) -> bool {
    let prefix = |number: u128, width: u32| number.checked_shr(width - u32::from(bits)).unwrap_or(0);
    match (base, address) {
        (IpAddr::V4(base), IpAddr::V4(address)) => {
            let number = |address: Ipv4Addr| u128::from(address.to_bits());
            prefix(number(base), 32) == prefix(number(address), 32)
        }
        (IpAddr::V6(base), IpAddr::V6(address)) => {
            let number = |address: Ipv6Addr| address.to_bits();
            prefix(number(base), 128) == prefix(number(address), 128)
        }
        _ => false,
    }
}

/// Splits a text into host and port like Go's `net.SplitHostPort`. The host may be an address in brackets.
fn host_and_port(text: &str) -> Option<(&str, &str)> {
    let colon = text.rfind(':')?;
    let (host, port) = (&text[..colon], &text[colon + 1..]);
    match text.strip_prefix('[') {
        Some(rest) => {
            let end = rest.find(']')?;
            (rest[end + 1..].starts_with(':') && end + 2 == colon).then_some((&rest[..end], port))
        }
        None => (!host.contains([':', '[', ']'])).then_some((host, port)),
    }
}

fn address(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        variables
            .iter()
            .fold(Environment::default(), |environment, (name, value)| {
                environment.with(name, Some(value))
            })
    }

    #[rstest]
    #[case("https://k8s.example.com:6443", "", false)]
    #[case("https://k8s.example.com:6443", "other.example.com", false)]
    #[case("https://k8s.example.com:6443", "example.com", true)]
    #[case("https://k8s.example.com:6443", ".example.com", true)]
    #[case("https://k8s.example.com:6443", "*.example.com", true)]
    #[case("https://example.com:6443", "*.example.com", false)]
    #[case("https://k8s.example.com:6443", "example.com:6443", true)]
    #[case("https://k8s.example.com:6443", "example.com:443", false)]
    #[case("https://k8s.example.com", "example.com:443", true)]
    #[case("https://k8s.example.com:6443", "*", true)]
    #[case("https://10.1.2.3", "*", true)]
    #[case("https://10.1.2.3", "10.0.0.0/8", true)]
    #[case("https://11.1.2.3", "10.0.0.0/8, 192.168.0.0/16", false)]
    #[case("https://10.1.2.3:6443", "10.1.2.3:6443", true)]
    #[case("https://[fd00::1]:6443", "fd00::/8", true)]
    #[case("https://[fd00::1]:6443", "[fd00::1]:6443", true)]
    #[case("https://localhost:6443", "", true)]
    #[case("https://127.0.0.2:6443", "", true)]
    #[case("https://[::1]:6443", "", true)]
    #[case("https://[::ffff:127.0.0.1]:6443", "", true)]
    fn no_proxy_is_matched_against_the_server(
        #[case] server: &str,
        #[case] no_proxy: &str,
        #[case] direct: bool,
    ) {
        let environment = environment(&[("HTTPS_PROXY", "http://p:3128"), ("NO_PROXY", no_proxy)]);
        assert_eq!(Proxy::from_environment(server, &environment).is_none(), direct);
    }

    #[rstest]
    #[case(&[("https_proxy", "p:3128")], Some("http://p:3128"))]
    #[case(&[("https_proxy", "http://lower"), ("HTTPS_PROXY", "http://upper")], Some("http://upper"))]
    #[case(&[("HTTPS_PROXY", "socks5://p:1080")], Some("socks5://p:1080"))]
    #[case(&[("HTTPS_PROXY", "HTTP://P")], Some("http://P"))]
    #[case(&[("ALL_PROXY", "socks5://p")], None)]
    #[case(&[("HTTP_PROXY", "http://p")], None)]
    #[case(&[("HTTPS_PROXY", "%zz")], None)]
    fn which_variable_counts(#[case] variables: &[(&str, &str)], #[case] url: Option<&str>) {
        let proxy = Proxy::from_environment("https://k8s", &environment(variables));
        assert_eq!(proxy.as_ref().map(Proxy::url), url);
    }

    #[test]
    fn the_password_is_neither_in_the_state_nor_sent_to_another_proxy() {
        let proxy = Proxy::parse("HTTPS_PROXY", "http://user:pa%40ss@p:3128").expect("usable");
        assert_eq!(serde_json::to_string(&proxy).expect("JSON"), "\"http://p:3128\"");
        let shown = proxy.authorization().expect("a header");
        assert_eq!(shown, format!("Basic {}", STANDARD.encode("user:pa@ss")));
        let from_state = || Proxy::parse("state", "http://p:3128").expect("usable");
        let same = from_state().with_credentials_of([None, Some(proxy.clone())]);
        assert_eq!(same.authorization(), proxy.authorization());
        let elsewhere = Proxy::parse("HTTPS_PROXY", "http://user:pa%40ss@evil:3128").expect("usable");
        assert_eq!(
            from_state()
                .with_credentials_of([Some(elsewhere)])
                .authorization(),
            None
        );
    }

    #[rstest]
    #[case("socks4://p:1080")]
    #[case("p:3128")]
    #[case("http://user:secret@")]
    fn a_proxy_url_that_cannot_be_used_is_refused_unseen(#[case] url: &str) {
        let error = Proxy::parse("kubeconfig", url)
            .map(|_| ())
            .expect_err("refused")
            .to_string();
        assert!(
            error.starts_with("input `kubeconfig` names a proxy") && !error.contains("secret"),
            "{error}"
        );
    }
}
