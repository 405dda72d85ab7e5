//! Kubeconfigs and proxies, as jobpass and the judge read them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::OnceLock,
};

use jobpass_core::{
    cluster::Proxy,
    inputs::options::{Inputs, Opt},
    minter::Minter,
    process::environment::Environment,
};
use proptest::{collection::vec, prelude::*, sample::select, strategy::Union};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    judge::{Judge, Read},
    kubeconfigs::{Damage, Fixtures, Writer, damages, kubeconfig, style},
    property::holds,
};

/// A form that kubectl accepts and that jobpass refuses on purpose. The reasons are in `docs/reference.md`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum OnPurpose {
    /// The field `insecure-skip-tls-verify`.
    Unverified,
    /// A server URL without `https`.
    WithoutTls,
    /// A user name or a password, in the kubeconfig's user or in the server's URL.
    Password,
    /// The field `auth-provider`.
    AuthProvider,
    /// An exec plugin that needs a person at a terminal.
    Interactive,
}

impl OnPurpose {
    fn of(read: &Read) -> Option<Self> {
        let always = |exec: &crate::judge::Exec| exec.interactive_mode == "Always";
        if read.insecure {
            Some(Self::Unverified)
        } else if !read.server.starts_with("https://") {
            Some(Self::WithoutTls)
        } else if !read.username.is_empty() || !read.password.is_empty() || has_user(&read.server) {
            Some(Self::Password)
        } else if read.auth_provider {
            Some(Self::AuthProvider)
        } else if read.exec.as_ref().is_some_and(always)
            && read.token.is_empty()
            && read.certificate.is_empty()
        {
            Some(Self::Interactive)
        } else {
            None
        }
    }
}

fn has_user(url: &str) -> bool {
    let authority = url.split("://").nth(1).unwrap_or_default();
    authority
        .split('/')
        .next()
        .is_some_and(|authority| authority.contains('@'))
}

struct Lab {
    folder: TempDir,
    fixtures: Fixtures,
    judge: Judge,
    runtime: tokio::runtime::Runtime,
}

impl Lab {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self {
            fixtures: Fixtures::write(folder.path()),
            folder,
            judge: Judge::start(),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime"),
        }
    }

    /// The difference between jobpass and the judge for a kubeconfig. `None` if both read the same.
    fn compare(&self, path: &str, context: &str, environment: &BTreeMap<String, String>) -> Option<String> {
        let judged = self.judge.read(path, context, environment);
        let inputs = Inputs::from([(Opt::Kubeconfig, path), (Opt::Context, context)]);
        let variables = environment
            .iter()
            .map(|(name, value)| (name.into(), value.into()));
        let read = self
            .runtime
            .block_on(Minter::resolve(&inputs, &Environment::from_iter(variables)));
        difference(judged, read.map_err(|error| error.to_string()))
    }
}

fn difference(judged: Result<Read, String>, read: Result<Minter, String>) -> Option<String> {
    let judged = match (judged, &read) {
        (Err(_), Err(_)) => return None,
        (Err(why), Ok(_)) => return Some(format!("only jobpass accepts it, kubectl says: {why}")),
        (Ok(judged), _) => judged,
    };
    let read = match (OnPurpose::of(&judged), read) {
        (Some(_), Err(_)) => return None,
        (Some(purpose), Ok(_)) => return Some(format!("jobpass accepts what it should refuse: {purpose:?}")),
        // jobpass refuses a token that is not one word of visible ASCII. No API server issues such a token.
        (None, Err(_)) if judged.token.trim().bytes().any(|byte| !byte.is_ascii_graphic()) => return None,
        (None, Err(_)) if leads_nowhere(&judged.proxy) => return None,
        (None, Err(_)) if !has_host_name(&judged.server) => return None,
        (None, Err(why)) => return Some(format!("only kubectl accepts it, jobpass says: {why}")),
        (None, Ok(read)) => read,
    };
    let kubectl = of_kubectl(&judged);
    let jobpass = of_jobpass(&read);
    (kubectl != jobpass).then(|| format!("kubectl reads {kubectl}\njobpass reads {jobpass}"))
}

fn of_kubectl(read: &Read) -> Value {
    let token = match &read.exec {
        Some(_) if read.token.is_empty() && read.certificate.is_empty() => "plugin-token",
        _ => read.token.trim(),
    };
    json!({
        "server": without_slashes(&read.server), "name": read.server_name, "proxy": without_path(&read.proxy),
        "authority": certificates(&read.authority), "namespace": read.namespace, "token": token,
        "certificate": certificates(&read.certificate), "as": read.impersonate, "uid": read.as_uid,
        "groups": read.as_groups.clone().unwrap_or_default(), "extra": read.as_extra.clone().unwrap_or_default(),
    })
}

fn of_jobpass(read: &Minter) -> Value {
    let (connection, identity) = (&read.connection, &read.identity);
    let proxy = connection
        .proxy
        .as_ref()
        .and_then(Proxy::uri)
        .map(|uri| uri.to_string());
    json!({
        "server": without_slashes(&connection.server), "name": connection.tls_server_name.clone().unwrap_or_default(),
        "proxy": without_path(&proxy.unwrap_or_default()),
        "authority": certificates(connection.certificate_authority.as_deref().unwrap_or_default()),
        "namespace": read.namespace.as_deref().unwrap_or("default"),
        "token": identity.bearer.as_ref().map_or("", |bearer| bearer.expose()),
        "certificate": identity.certificate.as_ref().map(|pair| certificates(&pair.certificate)).unwrap_or_default(),
        "as": identity.impersonate.clone().unwrap_or_default(), "uid": identity.impersonate_uid.clone().unwrap_or_default(),
        "groups": identity.impersonate_groups, "extra": identity.impersonate_extra,
    })
}

/// The part of a server's URL with which the URLs of requests begin. client-go joins paths with `path.Join`,
/// and drops the query.
fn without_slashes(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    let path: String = segments.iter().map(|segment| format!("/{segment}")).collect();
    format!("{scheme}://{}{path}", host.strip_suffix(':').unwrap_or(host))
}

/// The URL of a proxy, without the parts that have no effect.
fn without_path(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    format!("{scheme}://{host}")
}

/// Whether a server's host is an address, or a name that clients can look up.
fn has_host_name(url: &str) -> bool {
    let host = url.split('/').nth(2).unwrap_or_default();
    host.starts_with('[')
        || host
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || ".-_:".contains(c))
}

/// Whether a proxy has no host.
fn leads_nowhere(url: &str) -> bool {
    !url.is_empty() && (!url.contains("://") || without_path(url).ends_with("://"))
}

fn certificates(pem: &str) -> BTreeSet<String> {
    let blocks = pem.split("-----BEGIN CERTIFICATE-----").skip(1);
    let contents = blocks.filter_map(|block| block.split("-----END").next());
    contents
        .map(|content| content.split_whitespace().collect())
        .collect()
}

#[test]
fn kubeconfigs() {
    let lab = Lab::new();
    let case = (kubeconfig(&lab.fixtures), style());
    holds("kubeconfigs", 3000, &case, |(value, style)| {
        let text = Writer::new(style).document(value);
        let path = lab.folder.path().join("config");
        fs::write(&path, &text).expect("written");
        let difference = lab.compare(&path.to_string_lossy(), "", &BTreeMap::new());
        difference.map(|difference| format!("{difference}\n{}", String::from_utf8_lossy(&text)))
    });
}

/// Each case is a valid kubeconfig with a few changed characters, so it is almost valid YAML.
#[test]
fn damaged_kubeconfigs() {
    let lab = Lab::new();
    let whole = "# comment\napiVersion: v1\nkind: Config\ncurrent-context: c\nclusters:\n- name: &a c\n  cluster:\n    server: \"https://k8s:6443\"\n\
                 \x20   certificate-authority: ca.pem\ncontexts:\n  - name: c\n    context: {cluster: c, user: u, 'namespace': ci}\nusers:\n\
                 - name: u\n  user:\n    token: >-\n      a-token\n    as: |\n      somebody\n";
    let case = damages();
    holds("damaged kubeconfigs", 4000, &case, |damages: &Vec<Damage>| {
        let text = damages
            .iter()
            .fold(whole.to_owned(), |text, damage| damage.on(&text));
        let path = lab.folder.path().join("config");
        fs::write(&path, &text).expect("written");
        let difference = lab.compare(&path.to_string_lossy(), "", &BTreeMap::new());
        let difference = difference
            .filter(|difference| !(difference.contains("jobpass cannot read it at") && is_older_yaml(&text)));
        difference.map(|difference| format!("{difference}\n{text}"))
    });
}

/// Whether the text may have a form that Go's older port of libyaml accepts, but that libyaml refuses since
/// 0.2. One form is an unquoted value within braces or brackets that ends with a colon. Another is a tag that
/// contains a comma, a question mark, a brace or a bracket.
fn is_older_yaml(text: &str) -> bool {
    let brackets = [',', '?', '[', ']', '{', '}'];
    let mut after_colons = text.split(':').skip(1);
    let tags = text
        .split('!')
        .skip(1)
        .filter_map(|rest| rest.split_whitespace().next());
    after_colons.any(|rest| rest.starts_with(brackets)) || tags.into_iter().any(|tag| tag.contains(brackets))
}

/// Lists of kubeconfig files. Each file contains paths that are relative to its own folder.
#[test]
fn lists_of_kubeconfigs() {
    let lab = Lab::new();
    let place = select(vec![
        "first",
        "sub/second",
        "third",
        "sub/gone",
        "",
        "sub",
        "empty",
        "blank",
        "junk.pem",
    ]);
    let case = (
        vec((kubeconfig(&lab.fixtures), style()), 3),
        vec(place, 1..4),
        select(vec!["", "c", "x", "gone"]),
    );
    holds(
        "lists of kubeconfigs",
        1500,
        &case,
        |(contents, list, context)| {
            for ((value, style), name) in contents.iter().zip(["first", "sub/second", "third"]) {
                fs::write(lab.folder.path().join(name), Writer::new(style).document(value)).expect("written");
            }
            let absolute = |name: &&str| match *name {
                "" => String::new(),
                name => lab.folder.path().join(name).to_string_lossy().into_owned(),
            };
            let list = list.iter().map(absolute).collect::<Vec<_>>().join(":");
            let environment = BTreeMap::from([("KUBECONFIG".to_owned(), list)]);
            lab.compare("", context, &environment)
        },
    );
}

#[test]
fn proxies() {
    static JUDGE: OnceLock<Judge> = OnceLock::new();
    let judge = JUDGE.get_or_init(Judge::start);
    let server = select(vec![
        "https://k8s.example.com:6443",
        "https://k8s.example.com",
        "https://example.com",
        "https://EXAMPLE.com:443",
        "https://10.1.2.3:6443",
        "https://10.1.2.3",
        "https://[fd00::1]:6443",
        "https://[fe80::1]",
        "https://[::ffff:10.1.2.3]",
        "https://localhost:6443",
        "https://LOCALHOST",
        "https://localhost.example.com",
        "https://127.0.0.1:6443",
        "https://127.9.9.9",
        "https://[::1]:6443",
        "https://[::ffff:127.0.0.1]",
        "https://0.0.0.0",
        "https://k8s.",
        "https://k8s",
    ]);
    let entry = select(vec![
        "",
        " ",
        "*",
        "*.example.com",
        ".example.com",
        "example.com",
        "EXAMPLE.COM",
        "k8s.example.com:6443",
        "example.com:443",
        "*.com",
        "*example.com",
        "*.example.com:6443",
        ".example.com:6443",
        "com",
        ".com",
        "example.com.",
        "10.1.2.3",
        "10.1.2.3:6443",
        "10.1.2.3:443",
        "10.0.0.0/8",
        "10.0.0.0/33",
        "10.1.2.3/0",
        "010.0.0.0/8",
        "10.1.2",
        "fd00::/8",
        "fd00::1",
        "[fd00::1]",
        "[fd00::1]:6443",
        "::/0",
        "::ffff:10.1.2.3",
        "fe80::1",
        "k8s",
        "k8s.",
        ":6443",
        "k8s:",
        "localhost",
        "https://example.com",
        "example.com/",
        "*.*",
        "**",
        "*:6443",
        "0.0.0.0/0",
    ]);
    let no_proxy = vec((entry, select(vec![",", ", ", " ,", " ", ";"])), 0..4).prop_map(|entries| {
        entries
            .iter()
            .map(|(entry, separator)| format!("{entry}{separator}"))
            .collect::<String>()
    });
    let address = select(vec![
        "http://p:3128",
        "https://p",
        "socks5://p:1080",
        "socks5h://p",
        "socks4://p",
        "p:3128",
        "p",
        "HTTP://P:1",
        "http://me:se%20cret@p:1",
        "me:secret@p:1",
        "http://p/path?q",
        "http://",
        "://p",
        "http:p",
        "http://a b",
        "%zz",
        "http://p:port",
        "//p",
        "/p",
        "10.0.0.1:3128",
        "[::1]:3128",
        "http://[::1]:3128",
        "ftp://p",
        " ",
        "*",
        "http://p#f",
        "localhost:1",
    ]);
    let variable = || {
        Union::new_weighted(vec![
            (2, Just(String::new()).boxed()),
            (3, address.clone().prop_map(str::to_owned).boxed()),
        ])
    };
    let names = [
        "HTTPS_PROXY",
        "https_proxy",
        "HTTP_PROXY",
        "ALL_PROXY",
        "all_proxy",
    ];
    let case = (
        server,
        names.map(|_| variable()),
        no_proxy.clone(),
        Union::new_weighted(vec![(3, Just(String::new()).boxed()), (1, no_proxy.boxed())]),
        select(vec!["", "", "GET"]),
    );
    holds(
        "proxies",
        6000,
        &case,
        |(server, addresses, upper, lower, method)| {
            let pairs = names.into_iter().zip(addresses.iter().cloned());
            let all = pairs.chain([
                ("NO_PROXY", upper.clone()),
                ("no_proxy", lower.clone()),
                ("REQUEST_METHOD", (*method).to_owned()),
            ]);
            let environment: BTreeMap<_, _> = all
                .map(|(name, value)| (name.to_owned(), value))
                .filter(|(_, value)| !value.is_empty())
                .collect();
            let judged = judge
                .proxy(server, &environment)
                .expect("https is never an error");
            let variables = environment
                .iter()
                .map(|(name, value)| (name.into(), value.into()));
            let proxy = Proxy::from_environment(server, &Environment::from_iter(variables));
            let proxy = proxy.map_or_else(String::new, |proxy| {
                proxy
                    .uri()
                    .map_or_else(|| format!("{} (not a URI)", proxy.url()), |uri| uri.to_string())
            });
            let same = without_path(&judged) == without_path(&proxy)
                || leads_nowhere(&judged) && proxy.contains("not a URI");
            (!same).then(|| format!("kubectl uses `{judged}`, jobpass `{proxy}`"))
        },
    );
}
