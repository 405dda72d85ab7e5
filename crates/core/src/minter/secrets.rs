//! The secrets that a kubeconfig gives to an exec plugin or a proxy, and those in the output of a plugin.
//!
//! A kubeconfig does not say which of its values are secret, so jobpass decides by the names of variables,
//! flags and fields.

use jobpass_mask::Masker;
use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use serde_json::Value;
use zeroize::Zeroizing;

use super::kubeconfig::{Cluster, Exec, yaml};
use crate::process::environment::Environment;

/// The parts of a name that mark its value as a secret.
const NAMES: [&str; 12] = [
    "TOKEN",
    "SECRET",
    "PASS",
    "PWD",
    "KEY",
    "CREDENTIAL",
    "AUTH",
    "BEARER",
    "COOKIE",
    "JWT",
    "DSN",
    "PRIVATE",
];
/// The fixed words of the format `ExecCredential`, which are not secrets.
const WORDS_OF_THE_FORM: [&str; 7] = [
    "ExecCredential",
    "apiVersion",
    "expirationTimestamp",
    "clientCertificateData",
    "clientKeyData",
    "client.authentication.k8s.io/v1",
    "client.authentication.k8s.io/v1beta1",
];
/// The length above which a variable's value counts as a document, in bytes. A document may hold a secret
/// under any name.
const DOCUMENT: usize = 200;
/// The greatest total length of the secrets for a masker, in bytes. A masker searches for the
/// [`jobpass_mask::forms`] of each secret, which together are about 40 times as long.
const MOST: usize = 64 << 10;

/// Whether a variable, a flag or a field with this name holds a secret. `PWD` and `OLDPWD` hold the path of a
/// folder. `AUTHORITY`, as in `AZURE_AUTHORITY_HOST`, stands for a server, and does not count as `AUTH`.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase().replace("AUTHORITY", "");
    !matches!(&*name, "PWD" | "OLDPWD")
        && (name.ends_with("_PAT") || NAMES.iter().any(|part| name.contains(part)))
}

/// Secrets, each on one line. Their memory is wiped when they are dropped. Not `Debug`.
#[derive(Default)]
pub(super) struct Secrets(Vec<Zeroizing<String>>);

impl Secrets {
    /// The secrets in an exec plugin's arguments and variables: the values whose names mark them as secrets,
    /// and the credentials in URLs. Other values, such as a region, must stay readable in a job's log.
    pub(super) fn of_plugin(config: &Exec) -> Self {
        let mut secrets = Self::default();
        for (name, value) in &config.environment {
            secrets.add_variable(name, value);
        }
        secrets.add_named_arguments(&config.arguments);
        secrets
    }

    /// The secrets of a cluster in a kubeconfig: the password of its proxy, and those in the configuration
    /// for exec plugins.
    pub(super) fn of_cluster(cluster: &Cluster) -> Self {
        let mut secrets = Self::default();
        secrets.add_proxy(&cluster.proxy_url);
        if let Some(configuration) = &cluster.plugin_configuration {
            secrets.add_named_fields(configuration);
        }
        secrets
    }

    /// The credentials in the URL of the proxy that the environment names.
    pub(super) fn of_environment(environment: &Environment) -> Self {
        let mut secrets = Self::default();
        for name in ["HTTPS_PROXY", "https_proxy"] {
            secrets.add_proxy(environment.raw(name).unwrap_or_default());
        }
        secrets
    }

    /// The texts that may be secret if a plugin prints them to its standard error: its standard output, all
    /// words that the kubeconfig gives it, and the secrets in the job's variables.
    pub(super) fn of_run(
        config: &Exec,
        cluster: Option<&Cluster>,
        environment: &Environment,
        output: &[u8],
    ) -> Self {
        let mut secrets = Self::default();
        for (name, value) in environment.iter() {
            secrets.add_variable(name, value);
            if value.contains('\n') || value.len() > DOCUMENT {
                secrets.add_lines(value);
            }
        }
        for (name, value) in &config.environment {
            secrets.add_variable(name, value);
            secrets.add_words(value);
        }
        for argument in &config.arguments {
            secrets.add_words(argument);
        }
        if let Some(cluster) = cluster {
            secrets.add_proxy(&cluster.proxy_url);
            let configuration = cluster.plugin_configuration.as_ref();
            configuration
                .into_iter()
                .for_each(|value| secrets.add_fields(value));
        }
        secrets.add_words(&Zeroizing::new(String::from_utf8_lossy(output).into_owned()));
        if let Ok(value) = yaml::to_json(output) {
            secrets.add_fields(&value);
        }
        secrets
    }

    /// A masker for these secrets. `None` if they are longer than [`MOST`] together.
    pub(super) fn masker(&mut self) -> Option<Masker> {
        self.0.sort_unstable_by(|one, other| one.as_str().cmp(other));
        self.0.dedup();
        let bytes: usize = self.0.iter().map(|secret| secret.len()).sum();
        (bytes <= MOST).then(|| Masker::new(self.0.iter().map(|secret| secret.as_str())))
    }

    fn add(&mut self, text: &str) {
        let text = text.trim();
        if text.len() >= jobpass_mask::LEAST && !WORDS_OF_THE_FORM.contains(&text) {
            self.0.push(text.to_owned().into());
        }
    }

    /// Adds each line. Leaves out the lines that frame PEM, which are public.
    pub(super) fn add_lines(&mut self, text: &str) {
        let unescaped = unescaped(text);
        for text in [text, &unescaped] {
            for line in text.lines().filter(|line| !line.starts_with("-----")) {
                self.add(line);
            }
        }
    }

    /// Adds each line, each word of a line, and the text after an equals sign. All three are needed, because
    /// a secret may contain a character that ends a word.
    fn add_words(&mut self, text: &str) {
        self.add_lines(text);
        let unescaped = unescaped(text);
        for text in [text, &unescaped] {
            self.add_words_of(text);
        }
    }

    fn add_words_of(&mut self, text: &str) {
        let quotes = ['"', '\'', ',', '{', '}', '[', ']'];
        for long in text.split_whitespace() {
            self.add_url(long);
            self.add(long.trim_matches(quotes));
            if let Some((_, value)) = long.split_once('=') {
                self.add(value.trim_matches(quotes));
            }
            for word in long.split(quotes) {
                self.add(word);
                word.split([';', '&', '|', '(', ')', '<', '>', '=', ':', '`', '\\'])
                    .for_each(|part| self.add(part));
            }
        }
    }

    fn add_variable(&mut self, name: &str, value: &str) {
        if name.to_ascii_uppercase().contains("PROXY") {
            return self.add_proxy(value);
        }
        self.add_url(value);
        if is_secret(name) {
            self.add_lines(value);
            // The key of a cloud account may be JSON.
            if let Ok(value) = serde_json::from_str(value) {
                self.add_named_fields(&value);
            }
        }
    }

    /// Adds the values of `NAME=VALUE` and `--name VALUE` whose names mark them as secrets. Also adds the
    /// credentials in URLs.
    fn add_named_arguments(&mut self, arguments: &[String]) {
        let quotes = ['"', '\''];
        let words = arguments
            .iter()
            .flat_map(|argument| argument.split_whitespace())
            .map(|word| word.trim_matches(quotes));
        let mut follows = false;
        for word in words {
            self.add_url(word);
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value.trim_start_matches(quotes))),
                None => (word, None),
            };
            let is_value = follows && !word.starts_with("--");
            match value {
                _ if is_value => self.add(word),
                Some(value) if is_secret(name) => self.add(value),
                Some(_) | None => {}
            }
            follows = !is_value && value.is_none() && name.starts_with('-') && is_secret(name);
        }
        // A value may have several words.
        for pair in arguments.windows(2).filter(|pair| pair[0].starts_with('-')) {
            if !pair[0].contains('=') && is_secret(&pair[0]) && !pair[1].starts_with("--") {
                self.add_lines(&pair[1]);
            }
        }
    }

    /// Adds the strings and numbers in fields whose names mark secrets. Also adds the credentials in URLs.
    fn add_named_fields(&mut self, value: &Value) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match is_secret(name) {
                        true => texts(value, &mut |text| self.add_lines(text)),
                        false => self.add_named_fields(value),
                    }
                }
            }
            Value::Array(values) => values.iter().for_each(|value| self.add_named_fields(value)),
            Value::String(text) => self.add_url(text),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn add_fields(&mut self, value: &Value) {
        texts(value, &mut |text| self.add_words(text));
    }

    fn add_url(&mut self, text: &str) {
        if let Some((_, rest)) = text.split_once("://") {
            self.add_authority(rest);
        }
    }

    /// Adds the credentials in a proxy's URL. The URL may lack a scheme.
    fn add_proxy(&mut self, text: &str) {
        self.add_authority(text.split_once("://").map_or(text, |(_, rest)| rest));
    }

    /// Adds the password of a URL, `USER:PASSWORD`, and `USER:PASSWORD@HOST`. A masker ignores a short password,
    /// but finds it in these longer texts. Without a password, the user is the secret.
    fn add_authority(&mut self, rest: &str) {
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let Some((both, _)) = authority.rsplit_once('@') else {
            return;
        };
        let (user, password) = both.split_once(':').unwrap_or((both, ""));
        let secret = if password.is_empty() { user } else { password };
        self.add(authority);
        for text in [both, secret] {
            self.add(text);
            if text.contains('%') {
                let decoded = percent_decode_str(text).decode_utf8_lossy();
                self.add(&Zeroizing::new(decoded.into_owned()));
            }
        }
    }
}

impl IntoIterator for Secrets {
    type Item = SecretString;
    type IntoIter =
        std::iter::Map<std::vec::IntoIter<Zeroizing<String>>, fn(Zeroizing<String>) -> SecretString>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter().map(|secret| secret.as_str().into())
    }
}

/// The text with real line breaks in place of JSON's `\n` and `\r`, because a script may print a secret from
/// JSON with real line breaks. Empty if the text has neither.
fn unescaped(text: &str) -> Zeroizing<String> {
    let is_escaped = text.contains("\\n") || text.contains("\\r");
    let text = is_escaped.then(|| text.replace("\\r", "\n").replace("\\n", "\n"));
    text.unwrap_or_default().into()
}

/// Calls `each` with every string and every number in a value.
fn texts(value: &Value, each: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => each(text),
        Value::Array(values) => values.iter().for_each(|value| texts(value, each)),
        Value::Object(fields) => fields.values().for_each(|value| texts(value, each)),
        // A password of digits without quotes is a number.
        Value::Number(number) => each(&number.to_string()),
        Value::Null | Value::Bool(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn sorted(secrets: Secrets) -> Vec<String> {
        let mut secrets = secrets
            .0
            .iter()
            .map(|secret| secret.to_string())
            .collect::<Vec<_>>();
        secrets.sort();
        secrets.dedup();
        secrets
    }

    #[rstest]
    #[case("VAULT_TOKEN", true)]
    #[case("--client-secret", true)]
    #[case("aws_access_key_id", true)]
    #[case("PWD", false)]
    #[case("OLDPWD", false)]
    #[case("DB_PWD", true)]
    #[case("AUTHORITY_HOST", false)]
    #[case("AWS_REGION", false)]
    #[case("NPM_PAT", true)]
    #[case("MODULE_PATH", false)]
    #[case("DATABASE_DSN", true)]
    fn a_name_says_whether_its_value_is_a_secret(#[case] name: &str, #[case] is: bool) {
        assert_eq!(is_secret(name), is);
    }

    /// In the job's log, jobpass masks only the arguments whose names mark them as secrets. Others, such as a
    /// region, stay readable, because they help to understand a failure.
    #[rstest]
    #[case::named(&["--client-secret=0123456789abcdef"], &["0123456789abcdef"])]
    #[case::after_its_name(&["--token", "0123456789abcdef"], &["0123456789abcdef"])]
    #[case::quoted(&["-c", "login TOKEN='0123456789abcdef'"], &["0123456789abcdef"])]
    #[case::in_a_url(&["https://me:0123456789abcdef@example.com/"], &["0123456789abcdef", "me:0123456789abcdef", "me:0123456789abcdef@example.com"])]
    #[case::a_flag_without_a_value(&["--token", "--region=0123456789abcdef"], &[])]
    #[case::another_name(&["--region", "0123456789abcdef"], &[])]
    #[case::the_name_alone(&["--token"], &[])]
    fn arguments_with_the_name_of_a_secret_are_secret(#[case] arguments: &[&str], #[case] expected: &[&str]) {
        let config = Exec {
            arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
            ..Exec::default()
        };
        assert_eq!(sorted(Secrets::of_plugin(&config)), expected);
    }

    #[rstest]
    #[case::a_token("TOKEN", "0123456789abcdef", &["0123456789abcdef"])]
    #[case::a_region("REGION", "0123456789abcdef", &[])]
    #[case::the_key_of_an_account("CREDENTIALS", r#"{"type":"account","private_key":"0123456789abcdef"}"#, &["0123456789abcdef", r#"{"type":"account","private_key":"0123456789abcdef"}"#])]
    #[case::a_proxy("https_proxy", "me:0123456789abcdef@proxy:3128", &["0123456789abcdef", "me:0123456789abcdef", "me:0123456789abcdef@proxy:3128"])]
    #[case::a_proxy_without_a_password("https_proxy", "http://proxy.example.com:3128", &[])]
    fn variables_with_the_name_of_a_secret_are_secret(
        #[case] name: &str,
        #[case] value: &str,
        #[case] expected: &[&str],
    ) {
        let config = Exec {
            environment: vec![(name.to_owned(), value.to_owned())],
            ..Exec::default()
        };
        assert_eq!(sorted(Secrets::of_plugin(&config)), expected);
    }

    #[test]
    fn the_configuration_of_a_cluster_hands_secrets_on() {
        let mut cluster = Cluster::default();
        cluster.proxy_url = "http://me:p%40ssword-of-proxy@proxy:3128".into();
        let nested = json!([{ "clientSecret": "0123456789abcdef", "password": 99_887_766_554_u64 }]);
        cluster.plugin_configuration = Some(json!({ "audience": "kubernetes-of-ci", "nested": nested }));
        let secrets = sorted(Secrets::of_cluster(&cluster));
        for secret in ["0123456789abcdef", "99887766554", "p@ssword-of-proxy"] {
            assert!(secrets.iter().any(|text| text == secret), "{secrets:?}");
        }
        assert!(
            !secrets.iter().any(|text| text.contains("kubernetes-of-ci")),
            "{secrets:?}"
        );
    }

    /// A credential may be anywhere in a plugin's output. The fixed words of the format must stay readable:
    /// an error about the credential may contain them.
    #[test]
    fn a_plugin_s_output_is_secret_but_for_its_form() {
        let output = br#"{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"0123456789abcdef"}}"#;
        let run = || Secrets::of_run(&Exec::default(), None, &Environment::default(), output);
        let secrets = sorted(run());
        assert!(
            secrets.iter().any(|text| text == "0123456789abcdef"),
            "{secrets:?}"
        );
        for word in ["ExecCredential", "client.authentication.k8s.io/v1"] {
            assert!(!secrets.iter().any(|text| text == word), "{secrets:?}");
        }
        assert!(run().masker().is_some());
    }

    /// If the secrets together are longer than [`MOST`], jobpass shows no part of a plugin's standard error.
    #[test]
    fn too_much_to_look_for_is_not_masked_in_part() {
        let mut secrets = Secrets::default();
        secrets.add_lines(&"x".repeat(MOST + 1));
        assert!(secrets.masker().is_none());
    }
}
