//! Generates kubeconfigs, in many forms of YAML.

use std::{cell::Cell, fs, path::Path};

use proptest::{collection::vec, prelude::*, sample::select, strategy::Union};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::{Map, Value, json};

/// Files beside the kubeconfigs of a case.
pub(crate) struct Fixtures {
    pub(crate) authority: String,
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Fixtures {
    pub(crate) fn write(folder: &Path) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = || KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key()).expect("an authority");
        let client = key();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "client");
        let certificate = params.signed_by(&client, &issuer).expect("a certificate");
        let fixtures = Self {
            authority: issuer.pem(),
            certificate: certificate.pem(),
            key: client.serialize_pem(),
        };
        let plugin = "#!/bin/sh\nversion=${KUBERNETES_EXEC_INFO#*apiVersion\\\":\\\"}\necho '{\"apiVersion\": \"'${version%%\\\"*}'\", \"kind\": \"ExecCredential\", \"status\": {\"token\": \"plugin-token\"}}'\n";
        fs::create_dir_all(folder.join("sub/sub")).expect("made");
        for (name, content) in [
            ("ca.pem", &*fixtures.authority),
            ("sub/ca.pem", &*fixtures.authority),
            ("junk.pem", "no certificate"),
            ("cert.pem", &*fixtures.certificate),
            ("key.pem", &*fixtures.key),
            ("token", "token-in-file\n"),
            ("sub/token", "token-in-sub"),
            ("empty", ""),
            ("blank", " \n"),
            ("plugin.sh", plugin),
            ("sub/plugin.sh", plugin),
        ] {
            fs::write(folder.join(name), content).expect("written");
        }
        use std::os::unix::fs::PermissionsExt as _;
        let executable = fs::Permissions::from_mode(0o755);
        for name in ["plugin.sh", "sub/plugin.sh"] {
            fs::set_permissions(folder.join(name), executable.clone()).expect("a permission");
        }
        fixtures
    }
}

/// A kubeconfig as JSON, in which some fields have a value of the wrong type.
pub(crate) fn kubeconfig(fixtures: &Fixtures) -> impl Strategy<Value = Value> + use<> {
    let name = || weighted(["c", "u", "x", ""].map(Value::from), json!("c"));
    let contexts = vec(
        fields([
            ("name", name()),
            (
                "context",
                fields([
                    ("cluster", name()),
                    ("user", weighted(["u", "x", ""].map(Value::from), json!("u"))),
                    ("namespace", sometimes(["ci", "", "Not A Label"].map(Value::from))),
                    (
                        "extensions",
                        sometimes([json!([{"name": "e", "extension": {"a": 1}}]), json!({})]),
                    ),
                ]),
            ),
        ]),
        1..3,
    );
    let clusters = vec(fields([("name", name()), ("cluster", cluster(fixtures))]), 1..3);
    let users = vec(
        fields([
            ("name", weighted(["u", "x", ""].map(Value::from), json!("u"))),
            ("user", user(fixtures)),
        ]),
        1..3,
    );
    fields([
        (
            "apiVersion",
            weighted(["v1", "v2", ""].map(Value::from), json!("v1")),
        ),
        (
            "kind",
            weighted(["Config", "Pod", ""].map(Value::from), json!("Config")),
        ),
        (
            "current-context",
            weighted(["c", "x", ""].map(Value::from), json!("c")),
        ),
        ("contexts", contexts.prop_map(Value::Array).boxed()),
        ("clusters", clusters.prop_map(Value::Array).boxed()),
        ("users", users.prop_map(Value::Array).boxed()),
        (
            "preferences",
            sometimes([json!({}), json!({"colors": true}), json!(1)]),
        ),
        ("Kind", rarely(["Config", "Pod"].map(Value::from))),
        ("unknown", rarely([json!({"a": [1, null]})])),
    ])
}

fn cluster(fixtures: &Fixtures) -> BoxedStrategy<Value> {
    let data = |text: &str| Value::from(base64(text));
    let authority = &fixtures.authority;
    fields([
        ("server", server()),
        (
            "certificate-authority-data",
            sometimes([
                data(authority),
                data(&format!("some text\n{authority}{authority}# more")),
                data(&authority.replace('\n', "\r\n")),
                data("junk"),
                json!(""),
                json!("not base64!"),
                json!(1),
            ]),
        ),
        (
            "certificate-authority",
            sometimes(["ca.pem", "./sub/../ca.pem", "junk.pem", "gone.pem", "sub", ""].map(Value::from)),
        ),
        (
            "tls-server-name",
            sometimes([json!("kubernetes"), json!(""), json!(1)]),
        ),
        (
            "insecure-skip-tls-verify",
            rarely([json!(true), json!(false), json!("true"), json!(null)]),
        ),
        (
            "proxy-url",
            sometimes(
                [
                    "http://p:3128",
                    "https://p",
                    "socks5://p:1080",
                    "HTTP://P:1",
                    "p:3128",
                    "http://u:p%40@p:1/x?y",
                    "socks4://p",
                    "",
                    "http://",
                    "://p",
                ]
                .map(Value::from),
            ),
        ),
        ("disable-compression", rarely([json!(true), json!("yes")])),
        (
            "extensions",
            rarely([
                json!([{"name": "client.authentication.k8s.io/exec", "extension": {"a": 1}}]),
                json!([{"name": "e", "extension": 1}, {"name": "e", "extension": 2}]),
                json!([{"extension": null}]),
            ]),
        ),
        ("Server", rarely([json!("https://other")])),
    ])
    .boxed()
}

pub(crate) fn server() -> BoxedStrategy<Value> {
    let texts = [
        "https://k8s.example.com:6443",
        "HTTPS://K8s.example.com",
        "https://10.0.0.1:6443/",
        "https://[fd00::1]:6443",
        "https://k8s/a//b/../c/",
        "https://k8s/a%2Fb/%41",
        "https://k8s/a b/\u{e9}",
        "https://k8s/?x=1",
        "https://k8s/p?x=1#f",
        "https://k8s?x=1#f",
        "https://k8s:",
        "https://k8s.",
        "https://k_8s-1",
        "k8s.example.com:6443",
        "k8s.example.com",
        "10.0.0.1:6443",
        "localhost:6443",
        "k8s/path",
        "//k8s:6443",
        "/k8s",
        "http://k8s",
        "ftp://k8s",
        "https://user:password@k8s",
        "https://user@k8s",
        "https:k8s",
        "https:///k8s",
        "https://",
        "https://k8s:port",
        "https://k8s:1:2",
        "https://k8s:99999",
        "https://[::1",
        "https://[1.2.3.4]",
        "https://k8s%41",
        "https://k8s/%zz",
        " https://k8s",
        "https://k8s ",
        "https://k8s\n",
        "*",
        ":6443",
        "",
    ];
    weighted(texts.map(Value::from), json!("https://k8s.example.com:6443"))
}

fn user(fixtures: &Fixtures) -> BoxedStrategy<Value> {
    let data = |text: &str| Value::from(base64(text));
    let pair = format!("{}{}", fixtures.key, fixtures.certificate);
    fields([
        (
            "token",
            sometimes([
                json!("a-token"),
                json!("yes"),
                json!(12),
                json!(""),
                json!("a\n"),
                json!(null),
            ]),
        ),
        (
            "tokenFile",
            sometimes(["token", "sub/token", "empty", "blank", "gone", ""].map(Value::from)),
        ),
        (
            "client-certificate-data",
            sometimes([data(&fixtures.certificate), data(&pair), data("junk"), json!("")]),
        ),
        (
            "client-key-data",
            sometimes([data(&fixtures.key), data(&pair), data("junk"), json!("")]),
        ),
        (
            "client-certificate",
            sometimes(["cert.pem", "junk.pem", "gone", ""].map(Value::from)),
        ),
        (
            "client-key",
            sometimes(["key.pem", "junk.pem", "gone", ""].map(Value::from)),
        ),
        ("as", rarely([json!("somebody"), json!("")])),
        ("as-uid", rarely([json!("1-2"), json!(1)])),
        (
            "as-groups",
            rarely([
                json!(["a", "b"]),
                json!([]),
                json!("a"),
                json!([null, "a"]),
                json!([1]),
            ]),
        ),
        (
            "as-user-extra",
            rarely([json!({"a/B": ["1", "2"]}), json!({"a": "1"}), json!({})]),
        ),
        ("username", rarely([json!("me"), json!("")])),
        ("password", rarely([json!("secret")])),
        (
            "auth-provider",
            rarely([
                json!({"name": "gcp", "config": {"a": "b"}}),
                json!({"name": "oidc"}),
                json!({}),
                json!(null),
            ]),
        ),
        ("exec", sometimes_of(exec())),
        ("TOKEN", rarely([json!("another")])),
    ])
    .boxed()
}

fn exec() -> BoxedStrategy<Value> {
    const V1: &str = "client.authentication.k8s.io/v1";
    let versions = [
        V1,
        "client.authentication.k8s.io/v1beta1",
        "client.authentication.k8s.io/v1alpha1",
        "v1",
        "",
    ];
    fields([
        ("apiVersion", weighted(versions.map(Value::from), json!(V1))),
        (
            "command",
            weighted(
                ["./plugin.sh", "sub/../plugin.sh", ""].map(Value::from),
                json!("./plugin.sh"),
            ),
        ),
        (
            "args",
            select(vec![json!([V1]), json!([V1, "more"]), json!([V1, null])]).boxed(),
        ),
        (
            "interactiveMode",
            weighted(
                ["IfAvailable", "Never", "Always", "", "never"].map(Value::from),
                json!("Never"),
            ),
        ),
        (
            "env",
            rarely([
                json!([{"name": "A", "value": "b"}]),
                json!([{"value": "b"}]),
                json!({"A": "b"}),
            ]),
        ),
        ("provideClusterInfo", rarely([json!(true), json!("true")])),
        ("installHint", rarely([json!("install it")])),
    ])
    .boxed()
}

fn base64(text: &str) -> String {
    use ::base64::Engine as _;
    ::base64::engine::general_purpose::STANDARD.encode(text)
}

/// An object with these fields. Leaves out fields whose value is [`absent`].
fn fields<const N: usize>(fields: [(&'static str, BoxedStrategy<Value>); N]) -> BoxedStrategy<Value> {
    let names = fields.each_ref().map(|(name, _)| *name);
    let values: Vec<_> = fields.into_iter().map(|(_, value)| value).collect();
    let object = move |values: Vec<Value>| {
        let present = names.iter().zip(values).filter(|(_, value)| *value != absent());
        Value::Object(
            present
                .map(|(name, value)| ((*name).to_owned(), value))
                .collect::<Map<_, _>>(),
        )
    };
    values.prop_map(object).boxed()
}

fn absent() -> Value {
    json!("(absent)")
}

/// One of the values, `usual` most often, or [`absent`].
fn weighted<const N: usize>(values: [Value; N], usual: Value) -> BoxedStrategy<Value> {
    Union::new_weighted(vec![
        (12, Just(usual).boxed()),
        (1, Just(absent()).boxed()),
        (3, select(values.to_vec()).boxed()),
    ])
    .boxed()
}

fn sometimes<const N: usize>(values: [Value; N]) -> BoxedStrategy<Value> {
    sometimes_of(select(values.to_vec()).boxed())
}

fn sometimes_of(value: BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    Union::new_weighted(vec![(3, Just(absent()).boxed()), (1, value)]).boxed()
}

fn rarely<const N: usize>(values: [Value; N]) -> BoxedStrategy<Value> {
    Union::new_weighted(vec![
        (30, Just(absent()).boxed()),
        (1, select(values.to_vec()).boxed()),
    ])
    .boxed()
}

/// Choices of YAML style, in the order of their use. Zero is the plainest style.
pub(crate) fn style() -> impl Strategy<Value = Vec<u8>> {
    vec(
        Union::new_weighted(vec![(4, Just(0_u8).boxed()), (1, any::<u8>().boxed())]),
        0..60,
    )
}

/// Writes a value as YAML.
pub(crate) struct Writer<'s> {
    style: &'s [u8],
    next: Cell<usize>,
    anchors: Cell<usize>,
}

impl<'s> Writer<'s> {
    pub(crate) fn new(style: &'s [u8]) -> Self {
        Self {
            style,
            next: Cell::new(0),
            anchors: Cell::new(0),
        }
    }

    fn choose(&self, ways: u8) -> u8 {
        let next = self.next.get();
        self.next.set(next + 1);
        self.style.get(next).map_or(0, |choice| choice % ways)
    }

    pub(crate) fn document(&self, value: &Value) -> Vec<u8> {
        let before = [
            "",
            "---\n",
            "# comment\n\n---\n",
            "%YAML 1.1\n---\n",
            "\n",
            "--- # x\n",
        ][usize::from(self.choose(6))];
        let body = match self.choose(12) {
            1 => value.to_string(),
            2 => serde_json::to_string_pretty(value).expect("JSON"),
            3 => serde_json::to_string_pretty(value)
                .expect("JSON")
                .replace("  ", "\t"),
            _ => self.block(value, 0).trim_start_matches('\n').to_owned(),
        };
        let after = ["\n", "", "\n---\n", "\n...\n", "\n---\na: [\n", "\n# end"][usize::from(self.choose(6))];
        let text = format!("{before}{body}{after}");
        let text = match self.choose(10) {
            1 => text.replace('\n', "\r\n"),
            2 => format!("\u{feff}{text}"),
            _ => text,
        };
        match self.choose(20) {
            1 => {
                let units = text.encode_utf16();
                std::iter::once(0xfeff)
                    .chain(units)
                    .flat_map(u16::to_le_bytes)
                    .collect()
            }
            _ => text.into_bytes(),
        }
    }

    /// Writes a value after a key or a dash, with the separator before it.
    fn block(&self, value: &Value, indent: usize) -> String {
        let pad = " ".repeat(indent);
        match value {
            Value::Object(map) if !map.is_empty() => {
                if self.choose(10) == 1 {
                    return format!(" {}", self.flow(value));
                }
                let mut text = String::new();
                let merged = self.choose(12) == 1;
                let anchor = self.anchors.get();
                if merged {
                    self.anchors.set(anchor + 1);
                    let (name, first) = map.iter().next().expect("not empty");
                    text += &format!("\n{pad}<<: &a{anchor} {{{name}: {}}}", self.flow(first));
                }
                for (name, value) in map.iter().skip(usize::from(merged)) {
                    if self.choose(16) == 1 {
                        // The last of two equal keys counts.
                        text += &format!("\n{pad}{}: other", self.key(name));
                    }
                    if self.choose(20) == 1 {
                        text += &format!("\n\n{pad}  # comment: {name}");
                    }
                    text += &format!("\n{pad}{}:{}", self.key(name), self.block(value, indent + 2));
                }
                text
            }
            Value::Array(items) if !items.is_empty() => {
                if self.choose(10) == 1 {
                    return format!(" {}", self.flow(value));
                }
                let indent = indent - if indent >= 2 && self.choose(2) == 1 { 2 } else { 0 };
                let pad = " ".repeat(indent);
                let item = |item| {
                    let text = self.block(item, indent + 2);
                    match text.strip_prefix(&format!("\n{pad}  ")) {
                        Some(rest) if self.choose(6) != 1 => format!("\n{pad}- {rest}"),
                        _ => format!("\n{pad}-{text}"),
                    }
                };
                items.iter().map(item).collect()
            }
            Value::String(text) => format!(" {}", self.text(text, indent)),
            other => format!(" {other}"),
        }
    }

    fn key(&self, name: &str) -> String {
        match self.choose(16) {
            1 => format!("\"{name}\""),
            2 => format!("'{name}'"),
            3 => format!("? {name}\n"),
            4 => format!("!!str {name}"),
            _ => name.to_owned(),
        }
    }

    fn flow(&self, value: &Value) -> String {
        let space = ["", " ", "\n   "][usize::from(self.choose(3))];
        match value {
            Value::Object(map) => {
                let entries = map
                    .iter()
                    .map(|(name, value)| format!("{space}\"{name}\": {}", self.flow(value)));
                format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
            }
            Value::Array(items) => {
                let items = items.iter().map(|item| format!("{space}{}", self.flow(item)));
                format!("[{}]", items.collect::<Vec<_>>().join(","))
            }
            Value::String(text) => match self.choose(3) {
                1 => format!("'{}'", text.replace('\'', "''")),
                _ => json!(text).to_string(),
            },
            other => other.to_string(),
        }
    }

    fn text(&self, text: &str, indent: usize) -> String {
        let pad = " ".repeat(indent + 1);
        // This cuts the text into lines of 60 bytes.
        let folded = || {
            let lines = text
                .as_bytes()
                .chunks(60)
                .map(|line| String::from_utf8_lossy(line).into_owned());
            lines.collect::<Vec<_>>().join(&format!("\n{pad}"))
        };
        match self.choose(14) {
            1 => format!("'{}'", text.replace('\'', "''")),
            2 => text.to_owned(),
            3 => format!("|-\n{pad}{}", text.replace('\n', &format!("\n{pad}"))),
            4 => format!("|\n{pad}{}", folded()),
            5 => format!(">-\n{pad}{}", folded()),
            6 => format!("!!str {text}"),
            7 => {
                let anchor = self.anchors.get();
                self.anchors.set(anchor + 1);
                format!("&a{anchor} {}", json!(text))
            }
            8 if self.anchors.get() > 0 => "*a0".into(),
            9 => format!("\"{}\"", folded().replace('"', "\\\"")),
            10 => format!("{text} # comment"),
            11 => format!("!!binary {}", base64(text)),
            _ => json!(text).to_string(),
        }
    }
}

/// A change at one position of a text.
#[derive(Debug, Clone)]
pub(crate) struct Damage {
    at: prop::sample::Index,
    what: &'static str,
    removed: usize,
}

pub(crate) fn damages() -> impl Strategy<Value = Vec<Damage>> {
    let pieces = vec![
        "",
        " ",
        "\n",
        "\t",
        ":",
        ": ",
        "-",
        "- ",
        "\"",
        "'",
        "{",
        "}",
        "[",
        "]",
        ",",
        "#",
        " #",
        "&a ",
        "*a",
        "!",
        "!!int ",
        "|",
        ">",
        "%",
        "@",
        "`",
        "?",
        "? ",
        "---\n",
        "...\n",
        "<<: ",
        "~",
        "\u{e9}",
        "\r",
        "\\",
        "=",
        "0",
        "yes",
        "\u{0}",
        "\u{a0}",
        "\u{2028}",
        "\n  ",
        "null",
        "1_0",
        "0x1",
        ".5",
        "!<tag:x,1:y> ",
        "&",
        "*",
    ];
    let damage = (any::<prop::sample::Index>(), select(pieces), 0..3_usize);
    vec(
        damage.prop_map(|(at, what, removed)| Damage { at, what, removed }),
        1..4,
    )
}

impl Damage {
    pub(crate) fn on(&self, text: &str) -> String {
        let characters: Vec<char> = text.chars().collect();
        if characters.is_empty() {
            return self.what.to_owned();
        }
        let at = self.at.index(characters.len());
        let end = (at + self.removed).min(characters.len());
        characters[..at]
            .iter()
            .copied()
            .chain(self.what.chars())
            .chain(characters[end..].iter().copied())
            .collect()
    }
}
