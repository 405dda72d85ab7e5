//! `jobpass doctor`: the checks that find the reason why minting fails.

use clap::{Arg, ArgMatches, Command, ValueHint};
use jobpass_core::{
    Error,
    doctor::{AuthenticationConfig, Diagnosis, Finding, Health},
    inputs::{flags, options::Opt, spec::Spec},
    process::{environment::Environment, interrupt::Interrupt},
};
use serde_json::json;

use crate::terminal::{
    output,
    screen::{GREEN, RED, Screen, YELLOW},
};

/// The indentation of the next steps, below the text of a finding.
const INDENT: &str = "         ";

/// The options for the minter, the cluster and the ServiceAccount.
const OPTIONS: [Opt; 12] = [
    Opt::ServiceAccount,
    Opt::RoleRules,
    Opt::Namespace,
    Opt::Type,
    Opt::Kubeconfig,
    Opt::Context,
    Opt::Server,
    Opt::CertificateAuthority,
    Opt::BearerTokenFile,
    Opt::BearerTokenEnv,
    Opt::JobServer,
    Opt::JobCertificateAuthority,
];

/// The verb, its options and its help.
pub(crate) fn command() -> Command {
    Command::new("doctor")
        .about("Find out why minting fails and what to do about it, without changing anything")
        .args(OPTIONS.map(flags::flag))
        .args([
            Arg::new("authentication-config")
                .long("authentication-config")
                .value_name("FILE")
                .value_hint(ValueHint::FilePath)
                .help(
                    "The file of the API server's flag --authentication-config, as `jobpass setup` printed \
                     it: doctor compares the job's ID token with the issuers, audiences and rules in it.",
                ),
            output::flag(),
        ])
        .after_help(
            "Give doctor the minter, the server and the ServiceAccount of `jobpass mint`. Each line is ok, \
             warning (minting works, but something should change), failed (minting does not work), or \
             unknown (doctor cannot tell).\nExit code 0: minting should work. Any other exit code is that of \
             the first failure: 2 an input is wrong, 3 the API server does not answer, 4 the API server \
             refuses.\n\nExample:\n  \
             jobpass doctor --service-account scanner --namespace ci \\\n    --kubeconfig minter.yaml",
        )
}

/// Runs the verb.
pub(crate) async fn run(
    matches: &ArgMatches,
    environment: &Environment,
    mut interrupt: Interrupt,
) -> Result<(), Error> {
    let inputs = flags::inputs(matches)?;
    Spec::parse(&inputs, None)?;
    let config = matches.get_one::<String>("authentication-config");
    let config = config
        .map(|path| AuthenticationConfig::read(path.as_ref()))
        .transpose()?;
    let diagnosis = Diagnosis::examine(&inputs, environment, config.as_ref(), &mut interrupt).await?;
    if output::is_json(matches) {
        output::result(&json_of(&diagnosis))?;
    } else {
        let screen = Screen::of_stdout(environment);
        output::result(&text_of(diagnosis.findings(), screen))?;
        if diagnosis.verdict().is_ok() {
            output::result(&format!("\n{}", last_line(diagnosis.findings())))?;
        }
    }
    diagnosis.verdict()
}

fn json_of(diagnosis: &Diagnosis) -> String {
    let finding = |finding: &Finding| {
        json!({
            "check": finding.check, "result": finding.health.word(), "said": finding.said,
            "fix": Some(&finding.fix).filter(|fix| !fix.is_empty()),
        })
    };
    let findings = diagnosis.findings().iter().map(finding).collect::<Vec<_>>();
    json!({"passed": diagnosis.verdict().is_ok(), "findings": findings}).to_string()
}

/// The findings as text: a line for each, with its next steps below.
fn text_of(findings: &[Finding], screen: Screen) -> String {
    let wide = findings
        .iter()
        .map(|finding| finding.check.len())
        .max()
        .unwrap_or_default();
    let lines = findings.iter().map(|finding| {
        let word = finding.health.word();
        let colour = match finding.health {
            Health::Ok => GREEN,
            Health::Failed(_) => RED,
            Health::Warning | Health::Unknown => YELLOW,
        };
        let line = screen.laid_out(&format!("{word:<7}  {:<wide$}  {}", finding.check, finding.said));
        let line = line.replacen(word, &screen.paint(word, colour), 1);
        let below = Screen {
            width: screen.width.map(|width| width.saturating_sub(INDENT.len())),
            ..screen
        };
        let fix = below.laid_out(&finding.fix);
        let fix = fix
            .lines()
            .map(|line| format!("\n{}", format!("{INDENT}{line}").trim_end()));
        format!("{line}{}", fix.collect::<String>())
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The result, if no finding makes minting fail. Otherwise the error is the last line.
fn last_line(findings: &[Finding]) -> String {
    let count = |health: Health| {
        let number = findings.iter().filter(|finding| finding.health == health).count();
        let plural = if number == 1 { "" } else { "s" };
        (number, plural)
    };
    let unknown = match count(Health::Unknown) {
        (0, _) => String::new(),
        (number, plural) => {
            let are = if number == 1 { "is" } else { "are" };
            format!(", as far as doctor can tell: {number} check{plural} {are} unknown")
        }
    };
    let warnings = match count(Health::Warning) {
        (0, _) => String::new(),
        (number, plural) => format!(" See {number} warning{plural} above."),
    };
    format!("Minting should work{unknown}.{warnings}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::screen::PIPE;

    #[test]
    fn the_findings_as_text() {
        let finding = |check, health, said: &str, fix: &str| Finding {
            check,
            health,
            said: said.into(),
            fix: fix.into(),
        };
        let findings = [
            finding("version", Health::Ok, "Kubernetes 1.36.0", ""),
            finding(
                "policy for anchors",
                Health::Warning,
                "none",
                "an administrator:\n\nsetup",
            ),
        ];
        insta::assert_snapshot!(text_of(&findings, PIPE), @r"
        ok       version             Kubernetes 1.36.0
        warning  policy for anchors  none
                 an administrator:

                 setup
        ");
        assert_eq!(last_line(&findings), "Minting should work. See 1 warning above.");
        assert_eq!(last_line(&findings[..1]), "Minting should work.");
        let unknown = [Health::Unknown, Health::Unknown].map(|health| finding("x", health, "", ""));
        assert_eq!(
            last_line(&unknown),
            "Minting should work, as far as doctor can tell: 2 checks are unknown."
        );
        let coloured = Screen {
            colours: true,
            ..PIPE
        };
        assert!(text_of(&findings, coloured).starts_with("\x1b[32mok\x1b[0m       version"));
    }
}
