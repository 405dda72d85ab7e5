//! Finds the reasons why minting fails, from the configuration to the admission policies. For each problem,
//! the finding also names the next step.
//!
//! Doctor changes nothing. It requests at most one token, bound to a Secret that does not exist. So no API
//! server issues that token.

mod api_checks;
mod authentication_config;
mod credential;
mod legacy;
mod policies;

use std::time::Duration;

use self::api_checks::ApiChecks;
use crate::{
    cluster::{Budget, Cluster, Connection},
    error::{Error, Kind},
    inputs::{
        options::Inputs,
        spec::{Spec, TokenType},
    },
    minter::{Auth, Minter},
    process::{environment::Environment, interrupt::Interrupt},
    text::{self, harmless},
};

pub use self::authentication_config::AuthenticationConfig;

/// The time limit for the requests of an examination to the API server and to the job's server. The search
/// for legacy tokens, an exec plugin and the request for an ID token have limits of their own.
const EXAMINE: Duration = Duration::from_secs(30);
/// The time limit for all requests after a failure, while the job waits.
const EXPLAIN: Duration = Duration::from_secs(4);

/// All findings, in the order of the checks. Each check comes after the checks that it depends on.
#[derive(Default)]
pub struct Diagnosis {
    findings: Vec<Finding>,
}

/// The result of one check.
pub struct Finding {
    /// The name of the check, such as `clock`.
    pub check: &'static str,
    /// The severity.
    pub health: Health,
    /// The finding in one line, safe for a terminal and a log.
    pub said: String,
    /// The next step for a person; empty if there is nothing to do.
    pub fix: String,
}

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Nothing is wrong.
    Ok,
    /// Doctor knows no reason why minting would fail, but a person should change something.
    Warning,
    /// Minting would fail with this kind of error.
    Failed(Kind),
    /// Doctor cannot tell, for example because the minter lacks the permission that the check needs.
    Unknown,
}

impl Health {
    /// The severity as a word, for text and for JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed(_) => "failed",
            Self::Unknown => "unknown",
        }
    }
}

impl Finding {
    fn new(check: &'static str, health: Health, said: impl Into<String>) -> Self {
        Self {
            check,
            health,
            said: said.into(),
            fix: String::new(),
        }
    }

    fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = fix.into();
        self
    }

    /// The finding as one line of text, for an error. Leaves out the name of a check such as `may create
    /// tokens`, which would contradict the failure.
    fn in_words(&self) -> String {
        match self.check.starts_with("may ") {
            true => self.said.clone(),
            false => format!("{}: {}", self.check, self.said),
        }
    }

    /// The finding of a check that ended with an error.
    fn failed(check: &'static str, error: &Error) -> Self {
        Self::new(check, Health::Failed(error.kind()), error.message())
            .fix(error.next_step().unwrap_or_default())
    }
}

impl Diagnosis {
    /// Runs all checks. Stops at a failure that makes the other checks impossible. `config` is the file of
    /// the API server's flag `--authentication-config`, if the caller has it.
    ///
    /// # Errors
    /// If a signal arrives.
    pub async fn examine(
        inputs: &Inputs,
        environment: &Environment,
        config: Option<&AuthenticationConfig>,
        interrupt: &mut Interrupt,
    ) -> Result<Self, Error> {
        let mut diagnosis = Self::default();
        tokio::select! {
            interrupted = interrupt.wait() => return Err(interrupted),
            () = diagnosis.run(inputs, environment, config) => {}
        }
        Ok(diagnosis)
    }

    async fn run(
        &mut self,
        inputs: &Inputs,
        environment: &Environment,
        config: Option<&AuthenticationConfig>,
    ) {
        let minter = match Minter::resolve(inputs, environment).await {
            Ok(minter) => minter,
            Err(error) => return self.findings.push(Finding::failed("configuration", &error)),
        };
        self.findings
            .push(Finding::new("configuration", Health::Ok, configuration(&minter)));
        let spec = match Spec::parse(inputs, minter.namespace.as_deref()) {
            Ok(spec) => spec,
            Err(error) => return self.findings.push(Finding::failed("options", &error)),
        };
        self.check_offline(&minter, &spec);
        if let Some(config) = config {
            self.findings
                .extend(config.findings(minter.identity.bearer.as_ref()));
        }
        let cluster = match Cluster::connect(&minter) {
            Ok(cluster) => cluster,
            Err(error) => return self.findings.push(Finding::failed("TLS", &error)),
        };
        let budget = Budget::new(EXAMINE);
        match Connection::of_job(inputs, environment) {
            Ok(Some(server)) => self
                .findings
                .push(api_checks::check_job_server(&server, &budget).await),
            Ok(None) => {}
            Err(error) => return self.findings.push(Finding::failed("job server", &error)),
        }
        let checks = ApiChecks::new(&cluster, &spec, &budget);
        let user = checks.check_access(&mut self.findings).await;
        let Some(user) = user else { return };
        if self.verdict().is_ok() {
            match spec.token_type {
                TokenType::Bound => checks.check_policies(&user, &mut self.findings).await,
                TokenType::Legacy => self.findings.push(checks.legacy_secrets().await),
            }
        }
        self.findings.push(checks.forgotten_tokens().await);
    }

    fn check_offline(&mut self, minter: &Minter, spec: &Spec) {
        let now = jiff::Timestamp::now();
        self.findings.extend([
            credential::finding(minter, spec, now),
            credential::authority(minter, now),
        ]);
        let proxy = minter.connection.proxy.as_ref();
        let said = proxy.map_or_else(
            || "none".into(),
            |proxy| format!("through {}", harmless(proxy.url())),
        );
        self.findings.push(Finding::new("proxy", Health::Ok, said));
    }

    /// The findings so far.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Whether minting should work.
    ///
    /// # Errors
    /// The first finding that makes minting fail, as an error of that kind.
    pub fn verdict(&self) -> Result<(), Error> {
        let failed = self.findings.iter().find_map(|finding| match finding.health {
            Health::Failed(kind) => Some(Error::new(kind, finding.in_words())),
            _ => None,
        });
        failed.map_or(Ok(()), Err)
    }

    /// The warnings and failures, one line each, to show below an error.
    fn in_short(&self) -> String {
        let wrong = self
            .findings
            .iter()
            .filter(|finding| matches!(finding.health, Health::Warning | Health::Failed(_)));
        let lines = wrong.map(|finding| format!("  {:<8} {}\n", finding.health.word(), finding.in_words()));
        lines.collect()
    }
}

/// Adds doctor's findings to the error of a failed minting, if the API server refused a request or gave no
/// usable answer. After a refusal, the checks send requests for up to 4 s, or until a signal. Otherwise, they
/// send none. The error's message stays the first line, and its next step the last.
pub async fn explained(error: Error, minter: &Minter, spec: &Spec, interrupt: &mut Interrupt) -> Error {
    // An access report has its own explanation. `kind` may be the later failure to revoke, so this compares
    // the cause.
    if error.report().is_some() || !matches!(error.cause(), Kind::Refused | Kind::Unreachable) {
        return error;
    }
    let mut diagnosis = Diagnosis::default();
    diagnosis.check_offline(minter, spec);
    if error.cause() == Kind::Refused
        && let Ok(cluster) = Cluster::connect(minter)
    {
        let budget = Budget::new(EXPLAIN);
        let checks = ApiChecks::new(&cluster, spec, &budget);
        tokio::select! {
            biased;
            _ = interrupt.wait() => {}
            () = tokio::time::sleep(EXPLAIN) => {}
            _ = checks.check_access(&mut diagnosis.findings) => {}
        }
    }
    let wrong = diagnosis.in_short();
    if wrong.is_empty() {
        return error;
    }
    error.explained(format!(
        "`jobpass doctor` finds these problems from this machine:\n\n{}",
        wrong.trim_end()
    ))
}

fn configuration(minter: &Minter) -> String {
    let from = match &minter.auth {
        Auth::Kubeconfig { paths, context, .. } => {
            let paths = paths.iter().map(|path| text::path(path));
            let paths = paths.collect::<Vec<_>>().join(", ");
            let paths = if paths.is_empty() {
                "given as text".into()
            } else {
                paths
            };
            format!("kubeconfig {paths}, context {}", harmless(context))
        }
        Auth::BearerTokenFile { path } => {
            format!("bearer token in the file {}", text::path(path))
        }
        Auth::BearerTokenEnv { name } => {
            format!("bearer token in the environment variable {}", harmless(name))
        }
        Auth::IdToken { audience, .. } => format!("the job's ID token for {}", harmless(audience)),
        Auth::InCluster => "the ServiceAccount of this Pod".into(),
    };
    format!("{}, {from}", harmless(&minter.connection.server))
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use rstest::rstest;

    use super::*;
    use crate::{cluster::Identity, inputs::options::Opt, token::Token};

    fn minter(bearer: &str) -> Minter {
        let bearer = Token::parse(bearer, "token").expect("a token");
        Minter {
            connection: Connection::new("server", "https://k8s.example.com", None).expect("a server"),
            identity: Identity::from(bearer),
            auth: Auth::InCluster,
            namespace: None,
        }
    }

    /// A token that expired in 1970.
    fn expired() -> String {
        let part = |json: &str| URL_SAFE_NO_PAD.encode(json);
        format!(
            "{}.{}.c2ln",
            part("{}"),
            part(r#"{"iss":"https://issuer","exp":1}"#)
        )
    }

    fn diagnosis(findings: &[(&'static str, Health)]) -> Diagnosis {
        let finding = |&(check, health)| Finding::new(check, health, format!("said of {check}"));
        Diagnosis {
            findings: findings.iter().map(finding).collect(),
        }
    }

    #[rstest]
    #[case::fine(&[("a", Health::Ok), ("b", Health::Warning), ("c", Health::Unknown)], None)]
    #[case::the_first_failure_counts(
        &[("a", Health::Warning), ("b", Health::Failed(Kind::Refused)), ("c", Health::Failed(Kind::Input))],
        Some((Kind::Refused, "b: said of b"))
    )]
    #[case::a_missing_permission(&[("may b", Health::Failed(Kind::Refused))], Some((Kind::Refused, "said of may b")))]
    #[case::nothing_was_found(&[], None)]
    fn minting_fails_as_the_first_failure(
        #[case] findings: &[(&'static str, Health)],
        #[case] expected: Option<(Kind, &str)>,
    ) {
        let error = diagnosis(findings).verdict().err();
        let error = error.as_ref().map(|error| (error.kind(), error.message()));
        assert_eq!(error, expected);
    }

    #[test]
    fn below_an_error_stands_only_what_is_wrong() {
        let all = diagnosis(&[
            ("a", Health::Ok),
            ("b", Health::Warning),
            ("c", Health::Unknown),
            ("d", Health::Failed(Kind::Refused)),
        ]);
        assert_eq!(
            all.in_short(),
            "  warning  b: said of b\n  failed   d: said of d\n"
        );
    }

    async fn explained_to(error: Error, minter: &Minter) -> Error {
        let inputs = Inputs::from([(Opt::ServiceAccount, "scanner"), (Opt::Namespace, "ci")]);
        let spec = Spec::parse(&inputs, None).expect("a spec");
        let mut interrupt = Interrupt::listen().expect("signals");
        explained(error, minter, &spec, &mut interrupt).await
    }

    /// The message stays. The cause comes before the next step, which may end with YAML to paste.
    #[tokio::test]
    async fn a_failure_is_explained_by_what_is_wrong() {
        let error = Error::new(Kind::Unreachable, "no route").help("check the network");
        let explained = explained_to(error, &minter(&expired())).await;
        assert_eq!(
            (explained.kind(), explained.message()),
            (Kind::Unreachable, "no route")
        );
        let help = explained.next_step().expect("a next step");
        assert!(help.starts_with("`jobpass doctor` finds these problems from this machine:\n\n  failed   credential: ID token of https://issuer"), "{help}");
        assert!(help.ends_with("\n\ncheck the network"), "{help}");
    }

    /// doctor explains the cause even if the clean-up failed. The exit code stays that of a living token.
    #[tokio::test]
    async fn a_failure_is_explained_even_if_the_token_is_not_revoked() {
        let unrevoked = Error::new(Kind::Unreachable, "no route").into_unrevoked();
        let error = Error::new(Kind::Unreachable, "no route").and_unrevoked(&unrevoked);
        let explained = explained_to(error, &minter(&expired())).await;
        assert_eq!(explained.kind(), Kind::Revoke);
        let help = explained.next_step().expect("a next step");
        assert!(help.starts_with("`jobpass doctor` finds"), "{help}");
        assert!(help.ends_with("\n\nthe token is not revoked: no route"), "{help}");
    }

    #[rstest]
    #[case::nothing_is_wrong(Error::new(Kind::Unreachable, "no route"), "opaque")]
    #[case::not_of_the_api_server(Error::new(Kind::Deliver, "disk full"), &expired())]
    #[case::with_a_report(Error::new(Kind::Refused, "no").reporting("text".into(), "markdown".into()), &expired())]
    #[tokio::test]
    async fn other_failures_stay_as_they_are(#[case] error: Error, #[case] bearer: &str) {
        let before = error.to_string();
        assert_eq!(explained_to(error, &minter(bearer)).await.to_string(), before);
    }

    #[rstest]
    #[case(Auth::Kubeconfig { paths: vec!["/a".into(), "/b".into()], context: "one\u{1b}".into(), exec: None }, "kubeconfig /a, /b, context one")]
    #[case(Auth::Kubeconfig { paths: Vec::new(), context: "one".into(), exec: None }, "kubeconfig given as text, context one")]
    #[case(Auth::BearerTokenFile { path: "/a".into() }, "bearer token in the file /a")]
    #[case(Auth::BearerTokenEnv { name: "A".into() }, "bearer token in the environment variable A")]
    #[case(Auth::InCluster, "the ServiceAccount of this Pod")]
    fn the_configuration_is_said_in_words(#[case] auth: Auth, #[case] words: &str) {
        let minter = Minter {
            auth,
            ..minter("opaque")
        };
        assert_eq!(
            configuration(&minter),
            format!("https://k8s.example.com, {words}")
        );
    }
}
