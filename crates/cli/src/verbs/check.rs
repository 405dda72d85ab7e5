//! `jobpass check`.

use std::{io::Read as _, time::Duration};

use clap::{Arg, ArgMatches, Command};
use jobpass_core::{
    Error,
    access::Holder,
    cluster::{Budget, Cluster},
    inputs::{
        checks::{Checks, EscapeCheck},
        flags,
    },
    minter::Minter,
    process::{environment::Environment, interrupt::Interrupt},
    text::harmless,
    token::Token,
};

use crate::terminal::{access, output, screen::Screen};

/// All questions, retries included.
const ASK: Duration = Duration::from_secs(45);

pub(crate) fn command() -> Command {
    let flags = flags::flags().filter_map(|flag| match flag.get_id().as_str() {
        "token-file" => Some(flag.help("File with the token to ask about, in place of the kubeconfig's user")),
        "namespace" => Some(flag.short('n').help(
            "Namespace that permissions are about; without it, that of the kubeconfig's context, else of the ServiceAccount",
        )),
        "kubeconfig" => Some(flag.help("The kubeconfig to ask with: a path, the YAML itself, or base64 of it")),
        "bearer-token-file" => Some(flag.help("File that holds the token to ask about at `server`")),
        "bearer-token-env" => {
            Some(flag.help("Name of the environment variable that holds the token to ask about at `server`"))
        }
        "require" => Some(flag.help("What must be allowed, one permission a line or flag; as PERMISSION")),
        "forbid" => Some(flag.help("What must not be allowed, written as in `require`")),
        "context" | "server" | "certificate-authority" | "escape-check" => Some(flag),
        _ => None,
    });
    Command::new("check")
        .about("Ask the API server what a token may do: allowed, denied and unknown are three answers")
        .arg(Arg::new("permission").value_name("PERMISSION").num_args(0..).help(
            "What must be allowed, in quotes: 'get pods', 'create pods/exec target-pod', 'list deployments.apps', \
             'get secrets -n other', 'list pods -A', 'get /metrics'; `-` reads them from standard input, one a line",
        ))
        .args(flags)
        .arg(
            output::flag()
                .value_parser(["text", "json", "markdown", "junit"])
                .help("Print a table for people, JSON, Markdown, or JUnit XML, which GitLab shows"),
        )
        .after_help(
            "Exit codes: 0 all is as it should be; 5 something is not; 3 something is not known; 2 wrong input.\n\
             Example:\n  jobpass check --kubeconfig scan.yaml 'get pods' 'create pods/exec target-pod' --forbid 'get secrets'",
        )
}

pub(crate) async fn run(
    matches: &ArgMatches,
    environment: &Environment,
    mut interrupt: Interrupt,
) -> Result<(), Error> {
    let inputs = flags::inputs(matches)?;
    let mut checks = Checks::parse(&inputs)?;
    checks.also_require("PERMISSION", &permissions(matches)?)?;
    if checks.require.is_empty() && checks.forbid.is_empty() && checks.escape != EscapeCheck::Fail {
        return Err(Error::input(
            "PERMISSION",
            "is missing: there is nothing to check",
            "name what must be allowed, in quotes: `jobpass check 'get pods' 'create pods/exec target-pod'`",
        ));
    }
    let asked = async {
        let minter = Minter::resolve(&inputs, environment).await?;
        let mut cluster = Cluster::connect(&minter)?;
        if let Some(path) = inputs.get("token-file") {
            cluster = cluster.with_token(&token(path)?)?;
        }
        let account = cluster.account();
        if account.is_none() && checks.escape == EscapeCheck::Fail {
            return Err(Error::input(
                "escape-check",
                "is `fail`, and what asks is no ServiceAccount with a token",
                "only a ServiceAccount can outlive its token; leave it out",
            ));
        }
        let own = account.as_ref().map(|account| &*account.namespace);
        let namespace = inputs.get("namespace").or(minter.namespace.as_deref()).or(own);
        let holder = Holder {
            namespace: namespace.unwrap_or("default").to_owned(),
            account,
        };
        Ok(checks.ask(&cluster, &holder, &Budget::new(ASK)).await)
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

/// What the arguments name, and standard input if one of them is `-`; one permission a line.
fn permissions(matches: &ArgMatches) -> Result<String, Error> {
    let arguments = matches
        .get_many::<String>("permission")
        .into_iter()
        .flatten()
        .map(|text| text.trim());
    let mut lines = Vec::new();
    for argument in arguments {
        match argument {
            "-" => {
                let mut text = String::new();
                let read = std::io::stdin().take(1 << 20).read_to_string(&mut text);
                read.map_err(|error| {
                    let problem = format!(
                        "cannot be read from standard input: {}",
                        harmless(&error.to_string())
                    );
                    Error::input("PERMISSION", problem, "give text, one permission a line")
                })?;
                lines.push(text);
            }
            word if !word.contains(char::is_whitespace) => {
                return Err(Error::input(
                    "PERMISSION",
                    format!("is the one word `{}`", harmless(word)),
                    "put each permission in quotes: `jobpass check 'get pods' 'create pods/exec target-pod'`",
                ));
            }
            permission => lines.push(permission.to_owned()),
        }
    }
    Ok(lines.join("\n"))
}

fn token(path: &str) -> Result<Token, Error> {
    let text = jobpass_core::process::files::read(path.as_ref()).map_err(|error| {
        let problem = format!(
            "is `{}`, which cannot be read: {}",
            harmless(path),
            harmless(&error.to_string())
        );
        Error::input("token-file", problem, "name a file that holds a token")
    })?;
    Token::parse(&text, "token-file")
}
