//! `jobpass check`: asks the API server for the permissions of a token.

use std::{
    io::{self, Read as _, stdin},
    time::Duration,
};

use clap::{Arg, ArgMatches, Command};
use jobpass_core::{
    Error,
    access::Holder,
    cluster::{Budget, Cluster},
    inputs::{
        checks::{Checks, EscapeCheck},
        flags::{self, flag},
        options::Opt,
    },
    minter::Minter,
    process::{environment::Environment, interrupt::Interrupt},
    text::harmless,
    token::Token,
};

use crate::terminal::{access, output, screen::Screen};

/// The name of the positional arguments, in the help and in messages.
const PERMISSION: &str = "PERMISSION";
/// The time limit for all requests, retries included.
const TIME_LIMIT: Duration = Duration::from_secs(45);

/// The verb, its options and its help.
pub(crate) fn command() -> Command {
    let flags = [
        flag(Opt::Namespace).help(
            "The namespace in which to check the permissions. [default: the namespace of the kubeconfig's \
             context, else of the ServiceAccount, else `default`]",
        ),
        flag(Opt::Require).help(
            "A permission that must be allowed, written as PERMISSION. Give one permission per line or \
             per flag.",
        ),
        flag(Opt::Forbid).help(
            "A permission that must not be allowed, written as PERMISSION. Give one permission per line or \
             per flag.",
        ),
        flag(Opt::EscapeCheck),
        flag(Opt::Kubeconfig).help(
            "The path of the kubeconfig. jobpass checks the permissions of its user. The variable \
             JOBPASS_KUBECONFIG may also hold the YAML itself, or base64 of it.",
        ),
        flag(Opt::Context),
        flag(Opt::Server),
        flag(Opt::CertificateAuthority),
        flag(Opt::BearerTokenFile).help("The file that holds the token to check at `server`."),
        flag(Opt::BearerTokenEnv)
            .help("The name of the environment variable that holds the token to check at `server`."),
        flag(Opt::TokenFile).help(
            "The file that holds the token to check, instead of the kubeconfig's \
            user.",
        ),
    ];
    Command::new("check")
        .about("Ask the API server what a token may do: each answer is allowed, denied or unknown")
        .arg(Arg::new("permission").value_name(PERMISSION).num_args(0..).help(
            "The permissions that must be allowed, each in quotes: 'get pods', 'create pods/exec \
             target-pod', 'list deployments.apps', 'get secrets -n other', 'list pods -A', 'get /metrics'. \
             `-` reads permissions from standard input, one permission a line.",
        ))
        .args(flags)
        .arg(
            output::flag()
                .value_parser(["text", "json", "markdown", "junit"])
                .help("Print a table for people, JSON, Markdown, or JUnit XML, which GitLab shows."),
        )
        .after_help(
            "Exit codes: 0 all permissions are as expected; 5 one differs; 3 one is unknown; 2 wrong \
             input.\n\nExample:\n  jobpass check --kubeconfig scan.yaml 'get pods' \\\n    'create \
             pods/exec target-pod' --forbid 'get secrets'",
        )
}

/// Runs the verb.
pub(crate) async fn run(
    matches: &ArgMatches,
    environment: &Environment,
    mut interrupt: Interrupt,
) -> Result<(), Error> {
    let inputs = flags::inputs(matches)?;
    let mut checks = Checks::parse(&inputs)?;
    let arguments = matches.get_many::<String>("permission").into_iter().flatten();
    let permissions = permissions(arguments.map(String::as_str), read_stdin)?;
    checks.also_require(PERMISSION, &permissions)?;
    if checks.require.is_empty() && checks.forbid.is_empty() && checks.escape != EscapeCheck::Fail {
        return Err(Error::input(
            PERMISSION,
            "is missing: there is nothing to check",
            "name the permissions that must be allowed, each in quotes: `jobpass check 'get pods' 'create \
             pods/exec target-pod'`",
        ));
    }
    let asked = async {
        let minter = Minter::resolve(&inputs, environment).await?;
        let mut cluster = Cluster::connect(&minter)?;
        if let Some(path) = inputs.get(Opt::TokenFile) {
            cluster = cluster.with_token(&Token::from_file(Opt::TokenFile.name(), path.as_ref())?)?;
        }
        let account = cluster.account();
        if account.is_none() && checks.escape == EscapeCheck::Fail {
            return Err(Error::input(
                Opt::EscapeCheck,
                "is `fail`, but the credential is not the token of a ServiceAccount",
                "leave out `escape-check`: it searches for permissions with which a ServiceAccount keeps \
                 its access after jobpass has revoked the token",
            ));
        }
        let own = account.as_ref().map(|account| &*account.namespace);
        let namespace = inputs.get(Opt::Namespace).or(minter.namespace.as_deref()).or(own);
        let holder = Holder {
            namespace: namespace.unwrap_or("default").to_owned(),
            account,
        };
        Ok(checks.ask(&cluster, &holder, &Budget::new(TIME_LIMIT)).await)
    };
    let report = tokio::select! {
        interrupted = interrupt.wait() => return Err(interrupted),
        report = asked => report?,
    };
    match matches.get_one::<String>("output").map(String::as_str) {
        Some("json") => output::result(&access::json(&report).to_string()),
        Some("markdown") => output::result(report.markdown().trim_end()),
        Some("junit") => output::result(&access::junit(&report)),
        _ => {
            report
                .warnings()
                .iter()
                .for_each(|warning| output::warning(warning));
            output::result(&access::table(&report, Screen::of_stdout(environment)))
        }
    }?;
    report.verdict()
}

/// The permissions in the arguments, one permission a line. The argument `-` stands for the lines of `stdin`.
fn permissions<'a>(
    arguments: impl Iterator<Item = &'a str>,
    stdin: impl Fn() -> io::Result<String>,
) -> Result<String, Error> {
    let mut lines = Vec::new();
    for argument in arguments.map(str::trim) {
        match argument {
            "-" => lines.push(stdin().map_err(|error| {
                let why = harmless(&error.to_string());
                let problem = format!("cannot be read from standard input: {why}");
                Error::input(
                    PERMISSION,
                    problem,
                    "pipe the permissions into this command, one permission a line",
                )
            })?),
            word if !word.contains(char::is_whitespace) => {
                return Err(Error::input(
                    PERMISSION,
                    format!("is `{}`, which is only one word", harmless(word)),
                    "put each permission in quotes: `jobpass check 'get pods' 'create pods/exec target-pod'`",
                ));
            }
            permission => lines.push(permission.to_owned()),
        }
    }
    Ok(lines.join("\n"))
}

fn read_stdin() -> io::Result<String> {
    let mut text = String::new();
    stdin().take(1 << 20).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use jobpass_core::Kind;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(&["get pods", " create pods/exec target-pod "], Some("get pods\ncreate pods/exec target-pod"))]
    #[case(&["get pods", "-"], Some("get pods\nlist nodes\n"))]
    #[case(&["get /metrics"], Some("get /metrics"))]
    #[case(&[], Some(""))]
    #[case(&["get", "pods"], None)]
    fn an_argument_is_one_permission(#[case] arguments: &[&str], #[case] expected: Option<&str>) {
        let lines = permissions(arguments.iter().copied(), || Ok("list nodes\n".to_owned()));
        assert_eq!(lines.ok().as_deref(), expected);
    }

    #[test]
    fn standard_input_that_cannot_be_read_is_wrong_input() {
        let error = permissions(["-"].into_iter(), || {
            Err(io::Error::other("stream did not contain valid UTF-8"))
        });
        assert_eq!(error.map_err(|error| error.kind()), Err(Kind::Input));
    }
}
