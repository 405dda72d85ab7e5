//! The content of a kubeconfig: the fields of `k8s.io/client-go/tools/clientcmd/api/v1`, with their types in
//! Go.
//!
//! If a field has the wrong type, the error names the field. The error never shows the value, which may be a
//! secret.

use std::collections::BTreeMap;

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{GeneralPurpose, GeneralPurposeConfig},
};
use secrecy::SecretString;
use serde_json::{Map, Value};

use crate::text::harmless;

/// Base64 as Go decodes it: unused bits at the end may have any value.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);
/// The name of an extension of a cluster. jobpass passes the content of this extension to the exec plugin.
pub(super) const PLUGIN_CONFIGURATION: &str = "client.authentication.k8s.io/exec";

/// A kubeconfig: the content of one file, or of several merged files.
#[derive(Clone, Default)]
pub(super) struct Config {
    pub(super) current_context: String,
    pub(super) contexts: BTreeMap<String, Context>,
    pub(super) clusters: BTreeMap<String, Cluster>,
    pub(super) users: BTreeMap<String, User>,
}

#[derive(Clone, Default)]
pub(super) struct Context {
    pub(super) cluster: String,
    pub(super) user: String,
    pub(super) namespace: String,
}

#[derive(Clone, Default)]
pub(in super::super) struct Cluster {
    pub(super) server: String,
    pub(super) tls_server_name: String,
    pub(super) insecure: bool,
    pub(super) certificate_authority: String,
    pub(super) certificate_authority_data: Vec<u8>,
    pub(in super::super) proxy_url: String,
    pub(in super::super) plugin_configuration: Option<Value>,
}

#[derive(Clone, Default)]
pub(super) struct User {
    pub(super) client_certificate: String,
    pub(super) client_certificate_data: Vec<u8>,
    pub(super) client_key: String,
    pub(super) client_key_data: SecretString,
    /// The key in base64, as in the kubeconfig file.
    pub(super) client_key_base64: SecretString,
    pub(super) token: SecretString,
    pub(super) token_file: String,
    pub(super) impersonate: String,
    pub(super) impersonate_uid: String,
    pub(super) impersonate_groups: Vec<String>,
    pub(super) impersonate_extra: BTreeMap<String, Vec<String>>,
    pub(super) has_password: bool,
    pub(super) has_auth_provider: bool,
    pub(super) exec: Option<Exec>,
}

/// A credential plugin.
#[derive(Clone, Default)]
pub(in super::super) struct Exec {
    pub(in super::super) command: String,
    pub(in super::super) arguments: Vec<String>,
    pub(in super::super) environment: Vec<(String, String)>,
    pub(in super::super) api_version: String,
    pub(in super::super) install_hint: String,
    pub(in super::super) provide_cluster_info: bool,
    pub(in super::super) interactive_mode: String,
}

/// The problem with a kubeconfig, in words that follow "input `kubeconfig`".
#[derive(Debug)]
pub(super) struct Mismatch(pub(super) String);

impl Config {
    pub(super) fn parse(value: &Value) -> Result<Self, Mismatch> {
        let top = Fields::of(value, String::new())?;
        top.check_kind()?;
        top.extensions()?;
        let preferences = top.object("preferences")?;
        preferences.flag("colors")?;
        preferences.extensions()?;
        Ok(Self {
            current_context: top.text("current-context")?,
            contexts: top.named("contexts", "context", Context::parse)?,
            clusters: top.named("clusters", "cluster", Cluster::parse)?,
            users: top.named("users", "user", User::parse)?,
        })
    }

    /// Adds the entries of `other` whose names this kubeconfig lacks.
    pub(super) fn merge(&mut self, other: Self) {
        if self.current_context.is_empty() {
            self.current_context = other.current_context;
        }
        fn add<T>(into: &mut BTreeMap<String, T>, from: BTreeMap<String, T>) {
            for (name, value) in from {
                into.entry(name).or_insert(value);
            }
        }
        add(&mut self.contexts, other.contexts);
        add(&mut self.clusters, other.clusters);
        add(&mut self.users, other.users);
    }
}

impl Context {
    fn parse(fields: &Fields) -> Result<Self, Mismatch> {
        fields.extensions()?;
        Ok(Self {
            cluster: fields.text("cluster")?,
            user: fields.text("user")?,
            namespace: fields.text("namespace")?,
        })
    }
}

impl Cluster {
    fn parse(fields: &Fields) -> Result<Self, Mismatch> {
        fields.flag("disable-compression")?;
        let mut extensions = fields.extensions()?;
        Ok(Self {
            server: fields.text("server")?,
            tls_server_name: fields.text("tls-server-name")?,
            insecure: fields.flag("insecure-skip-tls-verify")?,
            certificate_authority: fields.text("certificate-authority")?,
            certificate_authority_data: fields.bytes("certificate-authority-data")?,
            proxy_url: fields.text("proxy-url")?,
            plugin_configuration: extensions.remove(PLUGIN_CONFIGURATION),
        })
    }
}

impl User {
    fn parse(fields: &Fields) -> Result<Self, Mismatch> {
        fields.extensions()?;
        let auth_provider = fields.optional("auth-provider")?;
        if let Some(provider) = &auth_provider {
            provider.text("name")?;
            let config = provider.object("config")?;
            for name in config.names() {
                config.text(name)?;
            }
        }
        let extra = fields.object("as-user-extra")?;
        let extra = extra.names().map(|name| Ok((name.clone(), extra.texts(name)?)));
        let (username, password) = (fields.text("username")?, fields.text("password")?);
        let key = String::from_utf8_lossy(&fields.bytes("client-key-data")?).into_owned();
        Ok(Self {
            client_certificate: fields.text("client-certificate")?,
            client_certificate_data: fields.bytes("client-certificate-data")?,
            client_key: fields.text("client-key")?,
            client_key_data: key.into(),
            client_key_base64: fields.text("client-key-data")?.into(),
            token: fields.text("token")?.into(),
            token_file: fields.text("tokenFile")?,
            impersonate: fields.text("as")?,
            impersonate_uid: fields.text("as-uid")?,
            impersonate_groups: fields.texts("as-groups")?,
            impersonate_extra: extra.collect::<Result<_, Mismatch>>()?,
            has_password: !username.is_empty() || !password.is_empty(),
            has_auth_provider: auth_provider.is_some(),
            exec: fields.optional("exec")?.as_ref().map(Exec::parse).transpose()?,
        })
    }
}

impl Exec {
    fn parse(fields: &Fields) -> Result<Self, Mismatch> {
        let variables = fields.items("env")?.into_iter().map(|variable| {
            let variable = variable?;
            Ok((variable.text("name")?, variable.text("value")?))
        });
        let mut exec = Self {
            command: fields.text("command")?,
            arguments: fields.texts("args")?,
            environment: variables.collect::<Result<_, Mismatch>>()?,
            api_version: fields.text("apiVersion")?,
            install_hint: fields.text("installHint")?,
            provide_cluster_info: fields.flag("provideClusterInfo")?,
            interactive_mode: fields.text("interactiveMode")?,
        };
        let old = exec.api_version.strip_prefix("client.authentication.k8s.io/");
        if exec.interactive_mode.is_empty() && matches!(old, Some("v1beta1" | "v1alpha1")) {
            exec.interactive_mode = "IfAvailable".into();
        }
        Ok(exec)
    }
}

/// The fields of one object. As in Go, a field that is `null` or absent has the zero value of its type.
struct Fields<'v> {
    fields: Option<&'v Map<String, Value>>,
    /// The path of the object, with a dot at its end.
    path: String,
}

impl<'v> Fields<'v> {
    fn of(value: &'v Value, path: String) -> Result<Self, Mismatch> {
        let fields = match value {
            Value::Null => None,
            Value::Object(fields) => Some(fields),
            _ if path.is_empty() => return Err(Mismatch("is not a kubeconfig: it is not a mapping".into())),
            _ => return Err(mismatch(path.trim_end_matches('.'), "a mapping")),
        };
        Ok(Self { fields, path })
    }

    fn get(&self, name: &str) -> &'v Value {
        self.fields
            .and_then(|fields| fields.get(name))
            .unwrap_or(&Value::Null)
    }

    fn names(&self) -> impl Iterator<Item = &'v String> {
        self.fields.into_iter().flat_map(Map::keys)
    }

    fn wrong(&self, name: &str, wanted: &str) -> Mismatch {
        mismatch(&format!("{}{name}", self.path), wanted)
    }

    fn text(&self, name: &str) -> Result<String, Mismatch> {
        match self.get(name) {
            Value::Null => Ok(String::new()),
            Value::String(text) => Ok(text.clone()),
            _ => Err(self.wrong(name, "a string: put it into quotes")),
        }
    }

    fn flag(&self, name: &str) -> Result<bool, Mismatch> {
        match self.get(name) {
            Value::Null => Ok(false),
            Value::Bool(flag) => Ok(*flag),
            _ => Err(self.wrong(name, "true or false")),
        }
    }

    fn bytes(&self, name: &str) -> Result<Vec<u8>, Mismatch> {
        let text = self.text(name)?.replace(['\r', '\n'], "");
        BASE64.decode(text).map_err(|_| self.wrong(name, "base64"))
    }

    fn list(&self, name: &str) -> Result<&'v [Value], Mismatch> {
        match self.get(name) {
            Value::Null => Ok(&[]),
            Value::Array(items) => Ok(items),
            _ => Err(self.wrong(name, "a list")),
        }
    }

    fn texts(&self, name: &str) -> Result<Vec<String>, Mismatch> {
        let texts = self.list(name)?.iter().map(|item| match item {
            Value::Null => Ok(String::new()),
            Value::String(text) => Ok(text.clone()),
            _ => Err(self.wrong(name, "a list of strings: put each into quotes")),
        });
        texts.collect()
    }

    fn object(&self, name: &str) -> Result<Self, Mismatch> {
        Self::of(self.get(name), format!("{}{name}.", self.path))
    }

    /// Reads an object that is a pointer in Go: an empty object differs from an absent one.
    fn optional(&self, name: &str) -> Result<Option<Self>, Mismatch> {
        match self.get(name) {
            Value::Null => Ok(None),
            _ => self.object(name).map(Some),
        }
    }

    fn items(&self, name: &str) -> Result<Vec<Result<Self, Mismatch>>, Mismatch> {
        let item = |(index, value)| Self::of(value, format!("{}{name}[{index}].", self.path));
        Ok(self.list(name)?.iter().enumerate().map(item).collect())
    }

    /// Reads a list of objects. Each has a name, and its content in another field.
    fn named<T>(
        &self,
        list: &str,
        field: &str,
        parse: impl Fn(&Fields) -> Result<T, Mismatch>,
    ) -> Result<BTreeMap<String, T>, Mismatch> {
        let mut named = BTreeMap::new();
        for item in self.items(list)? {
            let item = item?;
            let value = parse(&item.object(field)?)?;
            if named.insert(item.text("name")?, value).is_some() {
                return Err(Mismatch(format!(
                    "has the same name twice in `{}{list}`",
                    self.path
                )));
            }
        }
        Ok(named)
    }

    fn extensions(&self) -> Result<BTreeMap<String, Value>, Mismatch> {
        let mut extensions = BTreeMap::new();
        for item in self.items("extensions")? {
            let item = item?;
            let value = item.get("extension").clone();
            if !value.is_null() && extensions.insert(item.text("name")?, value).is_some() {
                return Err(Mismatch(format!(
                    "has the same name twice in `{}extensions`",
                    self.path
                )));
            }
        }
        Ok(extensions)
    }

    /// Checks `kind` and `apiVersion`. As in client-go, the names of these two fields may be in upper or
    /// lower case, unlike those of other fields.
    fn check_kind(&self) -> Result<(), Mismatch> {
        for (field, allowed) in [("kind", "Config"), ("apiVersion", "v1")] {
            let mut names: Vec<_> = self
                .names()
                .filter(|name| name.eq_ignore_ascii_case(field))
                .collect();
            names.sort();
            let mut said = String::new();
            // If an object has both `kind` and `Kind`, the last of them in the order of bytes counts.
            for name in names.into_iter().filter(|name| !self.get(name).is_null()) {
                said = self.text(name)?;
            }
            if !said.is_empty() && said != allowed {
                return Err(Mismatch(format!(
                    "is not a kubeconfig: its `{field}` is not `{allowed}`"
                )));
            }
        }
        Ok(())
    }
}

fn mismatch(path: &str, wanted: &str) -> Mismatch {
    // The file may hold any field names, and `path` consists of them.
    Mismatch(format!("has a `{}` that is not {wanted}", harmless(path)))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn problem(value: &Value) -> Option<String> {
        Config::parse(value).err().map(|Mismatch(problem)| problem)
    }

    fn user(user: Value) -> Value {
        json!({ "users": [{ "name": "u", "user": user }] })
    }

    fn cluster(cluster: Value) -> Value {
        json!({ "clusters": [{ "name": "c", "cluster": cluster }] })
    }

    /// The error names the whole path of the field, and shows no value.
    #[rstest]
    #[case::not_a_mapping(json!(["s3cret"]), "is not a kubeconfig: it is not a mapping")]
    #[case::another_kind(json!({"kind": "Secret"}), "is not a kubeconfig: its `kind` is not `Config`")]
    #[case::in_any_case(json!({"Kind": "Secret"}), "is not a kubeconfig: its `kind` is not `Config`")]
    #[case::another_version(json!({"apiVersion": "v2"}), "is not a kubeconfig: its `apiVersion` is not `v1`")]
    #[case::number(user(json!({"token": 5})), "has a `users[0].user.token` that is not a string: put it \
        into quotes")]
    #[case::flag(cluster(json!({"insecure-skip-tls-verify": "s3cret"})), "has a `clusters[0].cluster.insecure-skip-tls-verify` that is not true or false")]
    #[case::base64(user(json!({"client-key-data": "s3cret!"})), "has a `users[0].user.client-key-data` that is not base64")]
    #[case::list(user(json!({"as-groups": "s3cret"})), "has a `users[0].user.as-groups` that is not a list")]
    #[case::of_texts(user(json!({"as-groups": [true]})), "has a `users[0].user.as-groups` that is not a \
        list of strings: put each into quotes")]
    #[case::mapping(user(json!({"exec": "s3cret"})), "has a `users[0].user.exec` that is not a mapping")]
    #[case::in_a_mapping(user(json!({"exec": {"env": [{"name": "A", "value": 1}]}})), "has a \
        `users[0].user.exec.env[0].value` that is not a string: put it into quotes")]
    #[case::extra(user(json!({"as-user-extra": {"team": "s3cret"}})), "has a `users[0].user.as-user-extra.team` that is not a list")]
    #[case::twice(json!({"users": [{"name": "u"}, {"name": "u"}]}), "has the same name twice in `users`")]
    #[case::extensions_twice(cluster(json!({"extensions": [{"name": "e", "extension": {}}, {"name": "e", "extension": {}}]})), "has the same name twice in `clusters[0].cluster.extensions`")]
    fn a_field_of_another_type_is_named(#[case] value: Value, #[case] expected: &str) {
        let problem = problem(&value).expect("refused");
        assert_eq!(problem, expected);
        assert!(!problem.contains("s3cret"));
    }

    /// Each case is a kubeconfig that client-go reads, so jobpass must read it.
    #[rstest]
    #[case::nothing(Value::Null)]
    #[case::nulls(json!({"kind": null, "users": null, "preferences": null}))]
    #[case::null_in_a_list(user(json!({"as-groups": [null]})))]
    #[case::unknown_fields(json!({"new": 1, "users": [{"name": "u", "user": {"new": 1}}]}))]
    #[case::kind_in_any_case(json!({"Kind": "Config", "APIVERSION": "v1"}))]
    #[case::the_last_kind_counts(json!({"Kind": "Secret", "kind": "Config"}))]
    #[case::wrapped_base64(user(json!({"client-key-data": "czNj\r\ncmV0"})))]
    #[case::trailing_bits(user(json!({"client-key-data": "czNjcmV="})))]
    fn what_client_go_reads_is_read(#[case] value: Value) {
        assert_eq!(problem(&value), None);
    }

    /// Only plugins of the old versions may omit `interactiveMode`.
    #[rstest]
    #[case("client.authentication.k8s.io/v1beta1", "", "IfAvailable")]
    #[case("client.authentication.k8s.io/v1beta1", "Never", "Never")]
    #[case("client.authentication.k8s.io/v1", "", "")]
    #[case("example.com/v1beta1", "", "")]
    fn old_plugins_may_ask_a_person(#[case] version: &str, #[case] mode: &str, #[case] expected: &str) {
        let exec = json!({"exec": {"apiVersion": version, "interactiveMode": mode}});
        let config = Config::parse(&user(exec))
            .map_err(|Mismatch(problem)| problem)
            .expect("a kubeconfig");
        assert_eq!(
            config.users["u"]
                .exec
                .as_ref()
                .map(|exec| &*exec.interactive_mode),
            Some(expected)
        );
    }

    #[test]
    fn the_first_of_several_files_to_name_something_wins() {
        let file = |context: &str, server: &str, more: &str| {
            let cluster = |name: &str| json!({"name": name, "cluster": {"server": server}});
            let file = json!({"current-context": context, "clusters": [cluster("c"), cluster(more)]});
            Config::parse(&file)
                .map_err(|Mismatch(problem)| problem)
                .expect("a kubeconfig")
        };
        let mut config = file("", "https://first", "x");
        config.merge(file("second", "https://second", "y"));
        config.merge(file("third", "https://third", "z"));
        let servers = config
            .clusters
            .iter()
            .map(|(name, cluster)| (&**name, &*cluster.server));
        assert_eq!(config.current_context, "second");
        assert_eq!(
            servers.collect::<Vec<_>>(),
            [
                ("c", "https://first"),
                ("x", "https://first"),
                ("y", "https://second"),
                ("z", "https://third")
            ]
        );
    }
}
