//! Failures: the text that a person reads, and the exit code.

use std::fmt::Display;

/// A failure that a person can act on: one line with the failure and its cause, then the next step.
///
/// Holds no secret: callers pass text from servers, files and inputs through [`crate::text::harmless`] first.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}{}", .help.as_ref().map(|help| format!("\n\n{help}")).unwrap_or_default())]
pub struct Error {
    kind: Kind,
    /// The kind of the original failure. A failure to revoke replaces only `kind`.
    cause: Kind,
    message: String,
    help: Option<String>,
    report: Option<Box<str>>,
}

/// The reason for a failure. Its number is the exit code of every jobpass program, and part of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// 1: an event that jobpass did not expect, or a defect.
    Internal = 1,
    /// 2: an input is missing or wrong. jobpass created nothing in the cluster.
    Input = 2,
    /// 3: the API server, or the endpoint for ID tokens, gave no usable answer. Examples: no connection, a
    /// TLS error, a time-out, lasting server errors.
    Unreachable = 3,
    /// 4: the API server refused the request, for example with 401 (credentials), 403 (permissions), 404 (not
    /// found) or 422 (policy or validation). Also if a quota or an admission webhook refused the request,
    /// with any status.
    Refused = 4,
    /// 5: the token has other claims or permissions than requested, and jobpass revoked it. Also if a
    /// comparison or a test fails, such as `setup --diff` or `check`, or if `setup` would take a permission
    /// or a token from a minter or a job (`docs/reference.md`).
    Claims = 5,
    /// 6: jobpass could not hand the token over (file, output, summary), and revoked it. Also if jobpass
    /// cannot write another result, or cannot start the command that it was to run.
    Deliver = 6,
    /// 7: a token is not revoked, or its revocation is not proven. This kind replaces the kind of any earlier
    /// failure. Also if jobpass cannot read a state, because it then cannot revoke that state's token. Also
    /// if jobpass cannot remove a file of a revoked token.
    Revoke = 7,
    /// 130: SIGINT stopped jobpass. If jobpass had minted a token, it revoked the token.
    Interrupted = 130,
    /// 143: SIGTERM, SIGHUP or SIGQUIT stopped jobpass. If jobpass had minted a token, it revoked the token.
    Terminated = 143,
}

/// The next step after a defect in jobpass.
pub(crate) const DEFECT: &str = "this is a defect: report it to https://github.com/jobpass/jobpass/issues";

impl Error {
    /// Creates a failure with its one-line message, a lowercase fragment.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            cause: kind,
            message: message.into(),
            help: None,
            report: None,
        }
    }

    /// Creates the failure of a defect in jobpass, with its one-line message.
    pub fn defect(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message).help(DEFECT)
    }

    /// Creates the failure of a wrong input: its name, the problem, and the allowed values.
    ///
    /// `problem` may quote the value only if the value can never be a secret.
    pub fn input(name: impl Display, problem: impl Display, allowed: impl Into<String>) -> Self {
        Self::new(Kind::Input, format!("input `{name}` {problem}")).help(allowed)
    }

    /// Adds the next step to take.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        let help = help.into();
        self.help = Some(match self.help {
            Some(earlier) => format!("{earlier}\n\n{help}"),
            None => help,
        });
        self
    }

    /// Puts `the token was not handed over` before the message. Inserts the access report as text before the
    /// next step, and keeps it as Markdown for front ends that show Markdown.
    pub(crate) fn reporting(mut self, text: String, markdown: String) -> Self {
        self.message = format!("the token was not handed over: {}", self.message);
        let all = [Some(text), self.help.take()];
        let all = all
            .into_iter()
            .flatten()
            .filter(|text| !text.is_empty())
            .collect::<Vec<_>>();
        self.help = Some(all.join("\n\n"));
        self.report = Some(markdown.into());
        self
    }

    /// Turns the failure into a failure to revoke.
    pub(crate) fn into_unrevoked(mut self) -> Self {
        self.message = format!("the token is not revoked: {}", self.message);
        self.kind = Kind::Revoke;
        self
    }

    /// Turns the failure into the failure of a missing proof: the API server accepted the deletion of the
    /// anchor, or the anchor was missing, but jobpass could not prove that the token is dead.
    pub(crate) fn into_unproven(mut self) -> Self {
        self.message = format!(
            "the API server accepted the deletion of the anchor, but jobpass could not prove that the token is \
             dead: {}",
            self.message
        );
        self.kind = Kind::Revoke;
        self
    }

    /// Adds the failure of the revocation that followed. The kind becomes [`Kind::Revoke`], because a living
    /// token matters more than the original failure. The message stays.
    pub fn and_unrevoked(mut self, unrevoked: &Self) -> Self {
        self.kind = Kind::Revoke;
        self.help(unrevoked.to_string())
    }

    /// Inserts an explanation before the next step, which may end with YAML to paste.
    pub(crate) fn explained(mut self, explanation: String) -> Self {
        let next_step = self.help.replace(explanation);
        match next_step {
            Some(next_step) => self.help(next_step),
            None => self,
        }
    }

    /// The reason for the failure, which decides the exit code.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The original reason, before a failure to revoke replaced it. If only the revocation failed: the reason
    /// why jobpass could not revoke.
    pub fn cause(&self) -> Kind {
        self.cause
    }

    /// The text after the message: explanations, then the next step to take.
    pub fn next_step(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// The access report in Markdown, if the failure has one.
    pub fn report(&self) -> Option<&str> {
        self.report.as_deref()
    }

    /// The one-line message, without the next step.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl Kind {
    /// The kind's name, as programs read it in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::Input => "input",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::Claims => "claims",
            Self::Deliver => "deliver",
            Self::Revoke => "revoke",
            Self::Interrupted => "interrupted",
            Self::Terminated => "terminated",
        }
    }

    /// The exit code for this kind of failure.
    pub fn exit_code(self) -> u8 {
        self as u8
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// Scripts and `docs/reference.md` rely on the codes and words of [`Kind`].
    #[rstest]
    #[case(Kind::Internal, 1, "internal")]
    #[case(Kind::Input, 2, "input")]
    #[case(Kind::Unreachable, 3, "unreachable")]
    #[case(Kind::Refused, 4, "refused")]
    #[case(Kind::Claims, 5, "claims")]
    #[case(Kind::Deliver, 6, "deliver")]
    #[case(Kind::Revoke, 7, "revoke")]
    #[case(Kind::Interrupted, 130, "interrupted")]
    #[case(Kind::Terminated, 143, "terminated")]
    fn exit_codes_are_an_interface(#[case] kind: Kind, #[case] code: u8, #[case] word: &str) {
        assert_eq!((kind.exit_code(), kind.word()), (code, word));
    }

    #[test]
    fn steps_follow_the_line_in_their_order() {
        let error = Error::new(Kind::Refused, "it failed");
        assert_eq!(error.to_string(), "it failed");
        let error = error.help("first").help("then");
        assert_eq!(error.to_string(), "it failed\n\nfirst\n\nthen");
    }

    /// A next step may end with YAML to paste, so the report must come before it.
    #[rstest]
    #[case::all(Some("step"), "text", Some("text\n\nstep"))]
    #[case::no_step(None, "text", Some("text"))]
    #[case::no_text(Some("step"), "", Some("step"))]
    fn a_report_stands_before_the_step(
        #[case] step: Option<&str>,
        #[case] text: &str,
        #[case] expected: Option<&str>,
    ) {
        let error = Error::new(Kind::Claims, "a permission is missing");
        let error = match step {
            Some(step) => error.help(step),
            None => error,
        };
        let error = error.reporting(text.into(), "markdown".into());
        assert_eq!(
            error.message(),
            "the token was not handed over: a permission is missing"
        );
        assert_eq!((error.next_step(), error.report()), (expected, Some("markdown")));
    }

    /// Exit code 6 would say that jobpass revoked the token.
    #[test]
    fn a_failure_whose_token_lives_is_a_failure_to_revoke() {
        let unrevoked = Error::new(Kind::Unreachable, "no route").help("delete it");
        let error = Error::new(Kind::Deliver, "disk full")
            .help("make space")
            .and_unrevoked(&unrevoked.into_unrevoked());
        assert_eq!((error.kind(), error.cause()), (Kind::Revoke, Kind::Deliver));
        assert_eq!(
            error.to_string(),
            "disk full\n\nmake space\n\nthe token is not revoked: no route\n\ndelete it"
        );
    }

    /// Exit code 3 would say that nothing is left in the cluster, but the token may still work.
    #[test]
    fn a_proof_that_fails_is_a_failure_to_revoke() {
        let error = Error::new(Kind::Unreachable, "no route")
            .help("check the network")
            .into_unproven();
        assert_eq!(error.kind(), Kind::Revoke);
        assert!(error.message().contains("could not prove") && error.message().ends_with("no route"));
        assert_eq!(error.next_step(), Some("check the network"));
    }
}
