//! Why minting does not work, or would not: from the configuration to the policies, each finding with what to do about it.
//!
//! Nothing is changed, and no token is ever asked for that the API server could give.

mod api_checks;
mod authentication_config;
mod credential;
mod legacy;
mod policies;

use std::time::Duration;

use self::api_checks::ApiChecks;
use crate::{
    cluster::{Budget, Cluster},
    error::{Error, Kind},
    inputs::{
        options::Inputs,
        spec::{Spec, TokenType},
    },
    minter::{Auth, Minter},
    process::{environment::Environment, interrupt::Interrupt},
    text::harmless,
};

pub use self::authentication_config::AuthenticationConfig;

/// All questions of a whole examination.
const EXAMINE: Duration = Duration::from_secs(30);
/// All questions after a failure, when a job waits for its end.
const EXPLAIN: Duration = Duration::from_secs(4);

/// What was looked at, in the order in which one thing needs the other.
#[derive(Default)]
pub struct Diagnosis {
    findings: Vec<Finding>,
}

/// One thing that was looked at.
pub struct Finding {
    /// What was looked at: `clock`.
    pub check: &'static str,
    /// How it is.
    pub health: Health,
    /// What there is to say, in one line; harmless.
    pub said: String,
    /// What to do about it; empty if nothing.
    pub fix: String,
}

/// How a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// As it should be.
    Ok,
    /// Minting works, but.
    Warning,
    /// Minting does not work; and how it would fail.
    Failed(Kind),
    /// It cannot be known from here.
    Unknown,
}

impl Health {
    /// One word for people and programs.
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

    /// What kept something else from being done.
    fn failed(check: &'static str, error: &Error) -> Self {
        Self::new(check, Health::Failed(error.kind()), error.what())
            .fix(error.next_step().unwrap_or_default())
    }
}

impl Diagnosis {
    /// Looks at everything, until something is found without which the rest has no answer. `config` is what the API server was
    /// told of ID tokens, if that is at hand.
    ///
    /// # Errors
    /// If it is interrupted.
    pub async fn examine(
        inputs: &Inputs,
        environment: &Environment,
        config: Option<&AuthenticationConfig>,
        interrupt: &mut Interrupt,
    ) -> Result<Self, Error> {
        let mut diagnosis = Self::default();
        tokio::select! {
            interrupted = interrupt.wait() => return Err(interrupted),
            () = diagnosis.look(inputs, environment, config) => {}
        }
        Ok(diagnosis)
    }

    async fn look(
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
        self.offline(&minter);
        if let Some(config) = config {
            self.findings
                .extend(config.findings(minter.identity.bearer.as_ref()));
        }
        let cluster = match Cluster::connect(&minter) {
            Ok(cluster) => cluster,
            Err(error) => return self.findings.push(Finding::failed("TLS", &error)),
        };
        let budget = Budget::new(EXAMINE);
        let checks = ApiChecks::new(&cluster, &spec, &budget);
        let user = checks.about_access(&mut self.findings).await;
        let Some(user) = user else { return };
        if self.verdict().is_ok() {
            match spec.token_type {
                TokenType::Bound => checks.about_policies(&user, &mut self.findings).await,
                TokenType::Legacy => self.findings.push(checks.about_legacy_secrets().await),
            }
        }
        self.findings.push(checks.about_forgotten_tokens().await);
    }

    fn offline(&mut self, minter: &Minter) {
        let now = jiff::Timestamp::now();
        self.findings.extend([
            credential::finding(&minter.identity, now),
            credential::authority(minter, now),
        ]);
        let proxy = minter.connection.proxy.as_ref();
        let said = proxy.map_or_else(
            || "none".into(),
            |proxy| format!("through {}", harmless(proxy.url())),
        );
        self.findings.push(Finding::new("proxy", Health::Ok, said));
    }

    /// What was found.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Whether minting should work.
    ///
    /// # Errors
    /// The first thing that keeps it from working, as the failure that it would be.
    pub fn verdict(&self) -> Result<(), Error> {
        let failed = self.findings.iter().find_map(|finding| match finding.health {
            Health::Failed(kind) => Some(Error::new(kind, format!("{}: {}", finding.check, finding.said))),
            _ => None,
        });
        failed.map_or(Ok(()), Err)
    }

    /// Only what is wrong, as it stands below an error that says the rest.
    fn in_short(&self) -> String {
        let wrong = self
            .findings
            .iter()
            .filter(|finding| matches!(finding.health, Health::Warning | Health::Failed(_)));
        let lines = wrong.map(|finding| {
            format!(
                "  {:<8} {}: {}\n",
                finding.health.word(),
                finding.check,
                finding.said
            )
        });
        lines.collect()
    }
}

/// Adds to a failure of minting what else is wrong, if that may be the cause: the API server refused, or was not reached. What
/// failed stays first, and what to do about it last. Takes 4 s at most, and no longer than until a signal.
pub async fn explained(error: Error, minter: &Minter, spec: &Spec, interrupt: &mut Interrupt) -> Error {
    // What was asked about the token itself has its own explanation.
    if error.report().is_some() || !matches!(error.kind(), Kind::Refused | Kind::Unreachable) {
        return error;
    }
    let mut diagnosis = Diagnosis::default();
    diagnosis.offline(minter);
    if error.kind() == Kind::Refused
        && let Ok(cluster) = Cluster::connect(minter)
    {
        let budget = Budget::new(EXPLAIN);
        let checks = ApiChecks::new(&cluster, spec, &budget);
        tokio::select! {
            biased;
            _ = interrupt.wait() => {}
            () = tokio::time::sleep(EXPLAIN) => {}
            _ = checks.about_access(&mut diagnosis.findings) => {}
        }
    }
    let wrong = diagnosis.in_short();
    if wrong.is_empty() {
        return error;
    }
    // Before the next step, which may end with YAML to paste.
    let explained = Error::new(error.kind(), error.what()).help(format!(
        "What `jobpass doctor` finds wrong from here:\n\n{}",
        wrong.trim_end()
    ));
    match error.next_step() {
        Some(next_step) => explained.help(next_step),
        None => explained,
    }
}

fn configuration(minter: &Minter) -> String {
    let from = match &minter.auth {
        Auth::Kubeconfig { paths, context, .. } => {
            let paths = paths.iter().map(|path| harmless(&path.to_string_lossy()));
            let paths = paths.collect::<Vec<_>>().join(", ");
            let paths = if paths.is_empty() {
                "given as text".into()
            } else {
                paths
            };
            format!("kubeconfig {paths}, context {}", harmless(context))
        }
        Auth::BearerTokenFile { path } => {
            format!("bearer token in the file {}", harmless(&path.to_string_lossy()))
        }
        Auth::BearerTokenEnv { name } => format!("bearer token in the variable {}", harmless(name)),
        Auth::IdToken { audience, .. } => format!("the job's ID token for {}", harmless(audience)),
        Auth::InCluster => "the account of this Pod".into(),
    };
    format!("{}, {from}", harmless(&minter.connection.server))
}
