//! The variables of a job's dotenv report, which hand the job's token to later jobs.

mod report;

use clap::{Arg, ArgMatches};
use jobpass_core::{
    Error,
    cluster::Connection,
    inputs::{
        flags,
        options::{Inputs, Opt},
    },
    process::environment::Environment,
    text,
    token::Token,
};

pub(crate) use self::report::Dotenv;
use crate::{job::value, sealed};

/// A prefix that makes runners (15.5 and later) mask the text after it, in the logs of all jobs.
pub(crate) const MASKED_PREFIX: &str = "glpat-";

pub(crate) const ANCHOR: &str = "JOBPASS_ANCHOR";
pub(crate) const ANCHOR_UID: &str = "JOBPASS_ANCHOR_UID";
const EXPIRES_AT: &str = "JOBPASS_EXPIRES_AT";
const CREDENTIAL_ID: &str = "JOBPASS_CREDENTIAL_ID";
/// The variable for the API server's URL, for the kubeconfig of a job without a minter.
const API_SERVER: &str = "JOBPASS_API_SERVER";
const API_SERVER_NAME: &str = "JOBPASS_API_SERVER_NAME";
/// The variable for the certificate authority: PEM in base64, as in kubeconfigs.
const API_CA: &str = "JOBPASS_API_CA";
const OURS: [&str; 7] = [
    ANCHOR,
    ANCHOR_UID,
    EXPIRES_AT,
    CREDENTIAL_ID,
    API_SERVER,
    API_SERVER_NAME,
    API_CA,
];

pub(crate) fn flags() -> [Arg; 4] {
    let flag = |name: &'static str, variable: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .env(variable)
            .hide_env_values(true)
            .value_name(name.to_uppercase().replace('-', "_"))
            .help(help)
    };
    [
        flag(
            "dotenv",
            "JOBPASS_DOTENV",
            "Also write the token to this file, the job's dotenv report, for later jobs. jobpass keeps the \
             lines that other commands wrote to it.",
        ),
        flag(
            "dotenv-mode",
            "JOBPASS_DOTENV_MODE",
            "The form of the token in the report: `masked` (with `glpat-` before it, so that runners mask it), `sealed` \
             (encrypted to `recipient`) or `plain`. [default: masked]",
        ),
        sealed::recipient_flag(),
        variable_flag(),
    ]
}

/// The flag `--variable`, which `open`, `revoke` and `mask` also have.
pub(crate) fn variable_flag() -> Arg {
    Arg::new("variable")
        .long("variable")
        .env("JOBPASS_VARIABLE")
        .hide_env_values(true)
        .value_name("NAME")
        .help("The name of the variable that hands the token to later jobs. [default: JOBPASS_TOKEN]")
}

/// The name of the token's variable.
pub(crate) fn variable(matches: &ArgMatches) -> Result<&str, Error> {
    let name = value(matches, "variable").unwrap_or("JOBPASS_TOKEN");
    let refuse = |problem: &str| {
        Err(Error::input(
            "variable",
            format!("is `{}`{problem}", text::wrong(name)),
            "choose another name, of letters, digits and `_`, without a digit at the beginning: for example \
             `SCAN_TOKEN`",
        ))
    };
    if !is_key(name) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return refuse(": no variable can have this name");
    }
    let of_options = |option: &str| name == flags::variable(option);
    let mut options = Opt::ALL.iter().map(|option| option.name());
    let own = [
        "dotenv",
        "dotenv-mode",
        "recipient",
        "identity",
        "variable",
        "mask-log",
        "revoke-after",
        "template",
    ];
    if OURS.contains(&name) || options.any(of_options) || own.into_iter().any(of_options) {
        return refuse(", which jobpass uses for something else");
    }
    Ok(name)
}

/// The token that an earlier job handed over in the variable `name`, as the API server issued it.
pub(crate) fn handed_over(
    name: &str,
    matches: &ArgMatches,
    environment: &Environment,
) -> Option<Result<Token, Error>> {
    let text = environment.get(name)?.trim();
    // A JWT contains dots, and the base64 of a sealed token contains none.
    Some(match text.contains('.') {
        true => Token::parse(text.strip_prefix(MASKED_PREFIX).unwrap_or(text), "variable"),
        false => sealed::open(text, name, matches),
    })
}

/// The API server of the token that an earlier job handed over. `None` if that job did not name the server.
///
/// # Errors
/// If the URL or the certificate authority is wrong. The error names the variable, because the job that gets
/// the token has no such input.
pub(crate) fn api_server(environment: &Environment) -> Result<Option<Connection>, Error> {
    let Some(server) = environment.get(API_SERVER) else {
        return Ok(None);
    };
    let authority = environment.get(API_CA).unwrap_or_default();
    let inputs = Inputs::from([(Opt::Server, server), (Opt::CertificateAuthority, authority)]);
    let mut connection = Connection::of_server(&inputs, &Environment::default()).map_err(|error| {
        let named = error
            .message()
            .replace("input `server`", &format!("variable {API_SERVER}"))
            .replace("input `certificate-authority`", &format!("variable {API_CA}"));
        Error::new(error.kind(), named).help(
            "compare this variable with the dotenv report of the job that mints. If the project, the group or \
             the pipeline sets it, remove that setting: it takes precedence over the report",
        )
    })?;
    connection.tls_server_name = environment.get(API_SERVER_NAME).map(str::to_owned);
    Ok(Some(connection))
}

fn is_key(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use clap::Command;
    use rstest::rstest;

    use super::*;
    use crate::job::tests::matches;

    fn given(arguments: &[&str]) -> ArgMatches {
        matches(Command::new("verb").args(flags()), arguments)
    }

    #[rstest]
    #[case::by_default(&[], Ok("JOBPASS_TOKEN"))]
    #[case::another(&["--variable", "SCAN_TOKEN"], Ok("SCAN_TOKEN"))]
    #[case::a_digit_first(&["--variable", "1A"], Err("no variable can have this name"))]
    #[case::two_words(&["--variable", "A B"], Err("no variable can have this name"))]
    #[case::of_the_anchor(&["--variable", ANCHOR], Err("uses for something else"))]
    #[case::of_an_option(&["--variable", "JOBPASS_TOKEN_FILE"], Err("uses for something else"))]
    #[case::of_the_identity(&["--variable", "JOBPASS_IDENTITY"], Err("uses for something else"))]
    fn the_variable_has_a_name_that_is_free(
        #[case] arguments: &[&str],
        #[case] expected: Result<&str, &str>,
    ) {
        match (variable(&given(arguments)), expected) {
            (Ok(name), Ok(expected)) => assert_eq!(name, expected),
            (Err(error), Err(why)) => assert!(error.message().contains(why), "{error}"),
            (name, expected) => panic!("{name:?} instead of {expected:?}"),
        }
    }

    const MINTED: &str = "e30.eyJzdWIiOiJhIn0.c2ln";

    #[rstest]
    #[case::plain(MINTED)]
    #[case::masked(&format!("{MASKED_PREFIX}{MINTED}"))]
    #[case::with_a_line_break(&format!("{MASKED_PREFIX}{MINTED}\n"))]
    fn a_token_arrives_as_it_was_minted(#[case] value: &str) {
        let environment = Environment::from([("JOBPASS_TOKEN", value)]);
        let token = handed_over("JOBPASS_TOKEN", &given(&[]), &environment);
        assert_eq!(token.expect("it is there").expect("a token").expose(), MINTED);
        assert!(handed_over("ANOTHER", &given(&[]), &environment).is_none());
    }

    #[test]
    fn the_api_server_arrives_as_it_was_handed_over() {
        let server = |variables| api_server(&Environment::from(variables));
        let handed_over = server([
            (API_SERVER, "https://k8s.example.com"),
            (API_SERVER_NAME, "k8s.internal"),
        ]);
        let handed_over = handed_over.expect("usable").expect("a server");
        assert_eq!(
            (&*handed_over.server, handed_over.tls_server_name.as_deref()),
            ("https://k8s.example.com", Some("k8s.internal"))
        );
        assert!(server([("A", ""), ("B", "")]).expect("usable").is_none());
        assert!(server([(API_SERVER, "http://k8s.example.com"), ("B", "")]).is_err());
    }
}
