//! The table of options. An option has the same name in every front end.
//!
//! jobpass builds the command-line flags and the `JOBPASS_*` variables from this table. Tests compare
//! `action.yml` and the GitLab templates with it.

use std::{collections::BTreeMap, fmt};

use crate::{error::Error, text};

/// The interface through which a person sets options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrontEnd {
    /// The inputs of the GitHub Action: `action.yml`.
    Action,
    /// The inputs of the GitLab component's `templates/job.yml`.
    JobTemplate,
    /// The inputs of the GitLab component's `templates/handover.yml`.
    HandoverTemplate,
    /// The flags of `jobpass` and `jobpass-gitlab`, and their `JOBPASS_*` variables.
    CommandLine,
}

/// The form of an option's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// One line.
    Text,
    /// A path. Some options also accept the content itself.
    File,
    /// `true` or `false`.
    Flag,
    /// One entry a line, or a YAML list.
    Lines,
    /// One of these words.
    Choice(&'static [&'static str]),
}

/// A row of the table.
struct Row {
    name: &'static str,
    help: &'static str,
    value: Value,
    default: Option<&'static str>,
    /// The defaults of single front ends. They take precedence over `default`.
    default_on: &'static [(FrontEnd, &'static str)],
    on: &'static [FrontEnd],
    /// Whether the value itself may be a credential.
    secret: bool,
}

/// A row for an option of one line, without a default, on every front end.
const TEXT: Row = Row {
    name: "",
    help: "",
    value: Value::Text,
    default: None,
    default_on: &[],
    on: &[
        FrontEnd::Action,
        FrontEnd::JobTemplate,
        FrontEnd::HandoverTemplate,
        FrontEnd::CommandLine,
    ],
    secret: false,
};

/// Builds the enum and its table from one list, so that each option is defined in one place.
macro_rules! options {
    ($($option:ident { name: $name:literal, help: $help:literal, $($rest:tt)* })*) => {
        /// One option. The order is the one in which a person should read about the options.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Opt {
            $(
                #[doc = concat!("`", $name, "`: ", $help)]
                $option,
            )*
        }

        impl Opt {
            /// Every option, in order.
            pub const ALL: &[Self] = &[$(Self::$option),*];

            fn row(self) -> &'static Row {
                match self {
                    $(Self::$option => const { &Row { name: $name, help: $help, $($rest)* } },)*
                }
            }
        }
    };
}

options! {
    ServiceAccount {
        name: "service-account",
        help: "The ServiceAccount of the token. Required, unless `role-rules` is given.",
        ..TEXT
    }

    RoleRules {
        name: "role-rules",
        help: "The RBAC rules of a ServiceAccount that jobpass creates for this job, instead of \
            `service-account`: a YAML list of rules, or permissions as in `require`. jobpass deletes the \
            ServiceAccount and its Role when the job ends.",
        value: Value::Lines,
        ..TEXT
    }

    Namespace {
        name: "namespace",
        help: "The namespace of the ServiceAccount. Without this input: the namespace of the kubeconfig's \
            context or of the in-cluster ServiceAccount, else `default`.",
        ..TEXT
    }

    Duration {
        name: "duration",
        help: "The longest time that the token may live: `30m`, `1h`, `1h30m`, `900s` or `900` (seconds); \
            at least 10 minutes. jobpass revokes the token when the job ends.",
        default: Some("1h"),
        ..TEXT
    }

    Type {
        name: "type",
        help: "`bound`: a token that expires. `legacy`, for old tools: the token of a Secret of type \
            `kubernetes.io/service-account-token`, which does not expire. If jobpass does not delete that \
            Secret at the end of the job, `jobpass sweep` deletes it after `duration`. For `legacy`, the \
            minter also needs `get` on Secrets.",
        value: Value::Choice(&["bound", "legacy"]),
        default: Some("bound"),
        ..TEXT
    }

    RenewFor {
        name: "renew-for",
        help: "For long jobs: renew the token while the job runs, for at most this time, as in `6h`. Each \
               token lives for `duration`. jobpass writes each new token into the token's file and the \
               kubeconfig; outputs and variables keep the first one.",
        on: &[FrontEnd::Action, FrontEnd::JobTemplate, FrontEnd::CommandLine],
        ..TEXT
    }

    Proxy {
        name: "proxy",
        help: "`true`: the job gets no token. jobpass keeps the token in a proxy on 127.0.0.1, and the kubeconfig \
            names this proxy and a credential that works nowhere else. The proxy closes after `duration`, or \
            when the job ends.",
        value: Value::Flag,
        default: Some("false"),
        on: &[FrontEnd::Action, FrontEnd::JobTemplate, FrontEnd::CommandLine],
        ..TEXT
    }

    Allow {
        name: "allow",
        help: "With `proxy`: the requests that the proxy passes on, written as in `require`, or as a YAML list of \
            RBAC rules. The proxy refuses all others with 403, even if the ServiceAccount may do more.",
        value: Value::Lines,
        on: &[FrontEnd::Action, FrontEnd::JobTemplate, FrontEnd::CommandLine],
        ..TEXT
    }

    Record {
        name: "record",
        help: "With `proxy`: write a line of JSON for each request of the job to this file. The file stays when \
            the job ends. It has no body, no header, and no value of a query, except the name of an object in \
            a field selector.",
        value: Value::File,
        on: &[FrontEnd::Action, FrontEnd::JobTemplate, FrontEnd::CommandLine],
        ..TEXT
    }

    Audiences {
        name: "audiences",
        help: "The audiences of the token, separated by commas or line breaks. Without this input: the API \
            server's own audiences.",
        ..TEXT
    }

    Require {
        name: "require",
        help: "Permissions that the token must have, one permission a line: `get pods`, `create pods/exec \
               target-pod`, `list deployments.apps`, `get secrets -n other`, `list pods -A`, `get /metrics`. \
               If the token lacks one, jobpass revokes the token and the job fails.",
        value: Value::Lines,
        ..TEXT
    }

    Forbid {
        name: "forbid",
        help: "Permissions that the token must not have, written as in `require`.",
        value: Value::Lines,
        ..TEXT
    }

    EscapeCheck {
        name: "escape-check",
        help: "The reaction if the ServiceAccount can get credentials that outlive the token, because it \
               may mint tokens, impersonate, write RBAC, read Secrets, or run or enter Pods: `fail`, `warn` \
               or `off`.",
        value: Value::Choice(&["fail", "warn", "off"]),
        default: Some("warn"),
        ..TEXT
    }

    AnchorLabels {
        name: "anchor-labels",
        help: "Labels for the anchor and for the objects that jobpass creates for `role-rules`, if policies of \
            the cluster demand them. Write one label a line, for example `team=payments`.",
        value: Value::Lines,
        ..TEXT
    }

    AnchorAnnotations {
        name: "anchor-annotations",
        help: "Annotations for the anchor and for the objects that jobpass creates for `role-rules`, written \
               as in `anchor-labels`. A value may be any text.",
        value: Value::Lines,
        ..TEXT
    }

    Kubeconfig {
        name: "kubeconfig",
        help: "The minter's kubeconfig: a path, the YAML itself, or base64 of it.",
        value: Value::File,
        secret: true,
        ..TEXT
    }

    Context {
        name: "context",
        help: "The context of the kubeconfig, if it is not the current one.",
        ..TEXT
    }

    Server {
        name: "server",
        help: "The URL of the API server (https), instead of a kubeconfig.",
        ..TEXT
    }

    CertificateAuthority {
        name: "certificate-authority",
        help: "The certificate authority of `server`: a path, PEM, or base64 of PEM. Without this input: \
            the certificate authorities of the system.",
        value: Value::File,
        ..TEXT
    }

    BearerTokenFile {
        name: "bearer-token-file",
        help: "The file that holds the minter's bearer token for `server`.",
        value: Value::File,
        ..TEXT
    }

    BearerTokenEnv {
        name: "bearer-token-env",
        help: "The name of the environment variable that holds the minter's bearer token for `server`.",
        ..TEXT
    }

    OidcAudience {
        name: "oidc-audience",
        help: "Authenticate at `server` with the job's own ID token (OIDC) for this audience, without a \
               stored secret. The job needs `permissions: {id-token: write}`.",
        // On other front ends, a program cannot request ID tokens. GitLab puts them into variables.
        on: &[FrontEnd::Action],
        ..TEXT
    }

    JobServer {
        name: "job-server",
        help: "The URL of the API server (https) that the job uses. Give it if the minter's server refuses \
            ServiceAccount tokens, as Rancher, GitLab's KAS and the DNS endpoint of GKE may do. The job's \
            kubeconfig names this server, and jobpass asks it for the permissions of the token.",
        ..TEXT
    }

    JobCertificateAuthority {
        name: "job-certificate-authority",
        help: "The certificate authority of `job-server`, written as in `certificate-authority`.",
        value: Value::File,
        ..TEXT
    }

    TokenFile {
        name: "token-file",
        help: "Also write the token to this file, with mode 0600. jobpass removes the file when the job \
            ends. `true`: jobpass chooses a name in the job's temporary folder. A relative path begins in \
            that folder.",
        value: Value::File,
        on: &[FrontEnd::Action, FrontEnd::CommandLine],
        ..TEXT
    }

    KubeconfigFile {
        name: "kubeconfig-file",
        help: "Write a kubeconfig that holds the token to this file, with mode 0600. jobpass removes the \
            file when the job ends. `true`: jobpass chooses a name in the job's temporary folder. A \
            relative path begins in that folder. `false`: jobpass writes no kubeconfig.",
        value: Value::File,
        // kubectl treats an empty KUBECONFIG as absent, and reads `~/.kube/config`. A job could then succeed
        // as another user.
        default_on: &[(FrontEnd::Action, "true")],
        on: &[FrontEnd::Action, FrontEnd::CommandLine],
        ..TEXT
    }

    ExportKubeconfig {
        name: "export-kubeconfig",
        help: "`true`: later steps find the kubeconfig in the variable KUBECONFIG, without an `env:` of \
               their own. At the end of the job, KUBECONFIG gets its previous value back.",
        value: Value::Flag,
        default: Some("false"),
        on: &[FrontEnd::Action],
        ..TEXT
    }

    VerifyRevocation {
        name: "verify-revocation",
        help: "The proof that the token is dead: `off`, `quick` (ask the API server once) or `wait` (ask \
               until no API server can still accept the token from its 10-second cache).",
        value: Value::Choice(&["off", "quick", "wait"]),
        default: Some("quick"),
        ..TEXT
    }

    FailOnRevokeError {
        name: "fail-on-revoke-error",
        help: "`true`: the job fails if jobpass cannot revoke its token. `false`: jobpass only warns.",
        value: Value::Flag,
        default: Some("false"),
        ..TEXT
    }
}

impl Opt {
    /// The options that a front end has, in order.
    pub fn on(front_end: FrontEnd) -> impl Iterator<Item = Self> {
        let all = Self::ALL.iter().copied();
        all.filter(move |option| option.row().on.contains(&front_end))
    }

    /// The name: the input of the action and of a template, and the long flag.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The description: a few sentences for a person.
    pub fn help(self) -> &'static str {
        self.row().help
    }

    /// The form of the value.
    pub fn value(self) -> Value {
        self.row().value
    }

    /// The value of an absent option, in front ends without a default of their own.
    pub fn default(self) -> Option<&'static str> {
        self.row().default
    }

    /// The value of an absent option on a front end.
    pub fn default_on(self, front_end: FrontEnd) -> Option<&'static str> {
        let own = self.row().default_on.iter().find(|(on, _)| *on == front_end);
        own.map(|(_, default)| *default).or(self.default())
    }

    /// Whether the value itself may be a credential.
    pub fn is_secret(self) -> bool {
        self.row().secret
    }
}

/// Formats the option as its name, as errors show it.
impl fmt::Display for Opt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The values of the options, as strings.
///
/// Not `Debug`: `kubeconfig` may hold a secret.
///
/// ```
/// use jobpass_core::inputs::options::{FrontEnd, Inputs, Opt};
///
/// // The front end of a new CI platform reads each option; here `duration` comes from an expression.
/// let given = |duration: Option<&str>| {
///     let duration = duration.map(str::to_owned);
///     Inputs::read(FrontEnd::CommandLine, |option| match option {
///         Opt::ServiceAccount => Some("scanner\n".to_owned()),
///         Opt::Duration => duration.clone(),
///         _ => None,
///     })
/// };
/// let inputs = given(None)?;
/// assert_eq!(inputs.get(Opt::ServiceAccount), Some("scanner"));
/// assert_eq!(inputs.get(Opt::Duration), Some("1h"), "the default");
/// assert!(given(Some("")).is_err(), "an expression that came out empty is a mistake");
/// # Ok::<(), jobpass_core::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Inputs(BTreeMap<Opt, String>);

impl Inputs {
    /// Reads each option of a front end with `read`. Gives an absent option its default. An empty list counts
    /// as absent: GitLab's templates pass `[]` for each list that a job leaves out.
    ///
    /// # Errors
    /// If an option with a default is empty. An expression of the CI platform that evaluates to nothing is a
    /// mistake, and must not silently become the default.
    pub fn read(front_end: FrontEnd, mut read: impl FnMut(Opt) -> Option<String>) -> Result<Self, Error> {
        let mut inputs = BTreeMap::new();
        for option in Opt::on(front_end) {
            let value = read(option);
            let value = match (value.as_deref().map(str::trim), option.default_on(front_end)) {
                (Some(""), Some(default)) => {
                    return Err(Error::input(
                        option,
                        "is empty",
                        format!("leave it out for `{default}`. {}", option.help()),
                    ));
                }
                (Some("" | "[]") | None, None) => continue,
                (None, Some(default)) => default.to_owned(),
                (Some(value), _) => value.to_owned(),
            };
            inputs.insert(option, value);
        }
        Ok(Self(inputs))
    }

    /// The value of an option, trimmed and not empty. An absent option has its default, if it has one.
    pub fn get(&self, option: Opt) -> Option<&str> {
        self.0.get(&option).map(String::as_str)
    }

    /// The same inputs with another value for one option.
    #[must_use]
    pub fn with(mut self, option: Opt, value: impl Into<String>) -> Self {
        self.0.insert(option, value.into());
        self
    }

    /// The same inputs without one option.
    #[must_use]
    pub fn without(mut self, option: Opt) -> Self {
        self.0.remove(&option);
        self
    }

    /// Whether an option that is [`Value::Flag`] is `true`.
    ///
    /// # Errors
    /// If the value is neither `true` nor `false`.
    pub fn flag(&self, option: Opt) -> Result<bool, Error> {
        match self.get(option) {
            Some("true") => Ok(true),
            Some("false") | None => Ok(false),
            Some(other) => Err(Error::input(
                option,
                format!("is `{}`", text::wrong(other)),
                "use `true` or `false`",
            )),
        }
    }

    /// The meaning of an option that is [`Value::Choice`]. `parse` maps each of the option's words to its
    /// meaning.
    ///
    /// # Errors
    /// If the value is another word.
    pub(crate) fn choice<T>(&self, option: Opt, parse: fn(&str) -> Option<T>) -> Result<T, Error> {
        let word = self.get(option).or(option.default()).unwrap_or_default();
        parse(word).ok_or_else(|| {
            let problem = format!("is `{}`", text::wrong(word));
            Error::input(option, problem, format!("use {}", words(option)))
        })
    }
}

/// The words of a choice, as messages list them: `` `off`, `quick` or `wait` ``.
fn words(option: Opt) -> String {
    let Value::Choice(words) = option.value() else {
        return option.help().to_owned();
    };
    let words = words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>();
    match &words[..] {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        _ => words.concat(),
    }
}

impl<const N: usize> From<[(Opt, &str); N]> for Inputs {
    /// Creates inputs from the defaults and from values, which it does not check. An empty value counts as
    /// absent.
    fn from(values: [(Opt, &str); N]) -> Self {
        let defaults = Opt::ALL
            .iter()
            .filter_map(|&option| Some((option, option.default()?)));
        let given = values.into_iter().filter(|(_, value)| !value.is_empty());
        Self(
            defaults
                .chain(given)
                .map(|(option, value)| (option, value.to_owned()))
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_that_was_set_to_nothing_is_not_silently_its_default() {
        let read = |option| (option == Opt::Duration).then(String::new);
        let error = Inputs::read(FrontEnd::CommandLine, read)
            .map(|_| ())
            .expect_err("refused")
            .to_string();
        assert!(
            error.starts_with("input `duration` is empty\n\nleave it out for `1h`"),
            "{error}"
        );
    }

    #[test]
    fn values_are_trimmed_and_empty_ones_absent() {
        // `role-rules` is a list that a job with GitLab's template left out.
        let read = |option| match option {
            Opt::Namespace => Some(" ci\n".to_owned()),
            Opt::Context => Some("  ".to_owned()),
            Opt::RoleRules => Some(" []".to_owned()),
            _ => None,
        };
        let inputs = Inputs::read(FrontEnd::CommandLine, read).expect("inputs");
        assert_eq!(inputs.get(Opt::Namespace), Some("ci"));
        assert_eq!(inputs.get(Opt::Context), None);
        assert_eq!(inputs.get(Opt::RoleRules), None);
        assert_eq!(inputs.get(Opt::Duration), Some("1h"));
    }

    #[test]
    fn a_flag_is_true_or_false() {
        let flag = |value| Inputs::from([(Opt::FailOnRevokeError, value)]).flag(Opt::FailOnRevokeError);
        assert!(flag("true").expect("a flag"));
        assert!(!flag("false").expect("a flag"));
        let error = flag("yes").expect_err("refused").to_string();
        assert_eq!(
            error,
            "input `fail-on-revoke-error` is `yes`\n\nuse `true` or `false`"
        );
    }

    #[test]
    fn an_unknown_word_is_answered_with_the_known_ones() {
        let inputs = Inputs::from([(Opt::VerifyRevocation, "later")]);
        let error = inputs
            .choice(Opt::VerifyRevocation, |_| None::<()>)
            .expect_err("refused");
        assert_eq!(
            error.to_string(),
            "input `verify-revocation` is `later`\n\nuse `off`, `quick` or `wait`"
        );
    }
}
