//! `jobpass inspect`: shows the claims of a token and, with `--verify`, whether a cluster accepts the token.

use std::{
    io::{IsTerminal as _, Read as _, stdin},
    path::Path,
    process::ExitCode,
};

use clap::{Arg, ArgAction, ArgMatches, Command};
use jiff::Timestamp;
use jobpass_core::{
    Error,
    anchor::legacy,
    claims::{
        Claims,
        warnings::{Warning, warnings},
    },
    cluster::{Budget, Cluster, Connection},
    inputs::{
        flags,
        options::{Inputs, Opt},
    },
    json,
    maintenance::inspect::{Signature, Verified, verify},
    minter::Minter,
    process::{environment::Environment, interrupt::Interrupt},
    text::{harmless, in_words, time},
    token::Token,
};

use crate::{
    options::connection::{self, TIME_LIMIT},
    terminal::{
        output,
        progress::Progress,
        screen::{GREEN, RED, Screen, YELLOW, roughly},
    },
};

/// The verb, its options and its help.
pub(crate) fn command() -> Command {
    Command::new("inspect")
        .about("Show the claims of a token and what is unusual about them, without showing the token")
        .arg(
            // Unlike most verbs, this one does not read JOBPASS_TOKEN_FILE. So in a job that sets this
            // variable, `inspect` still reads a token from standard input.
            flags::flag(Opt::TokenFile).env(None::<&str>).help(
                "The file that holds the token, or `-` for standard input. Without this option and \
                 `--kubeconfig`, jobpass reads standard input.",
            ),
        )
        .arg(Arg::new("verify").long("verify").action(ArgAction::SetTrue).help(
            "Also ask the API server whether it accepts the token, and check the signature with the keys of \
             the cluster.",
        ))
        .args(connection::flags())
        .mut_arg(Opt::Kubeconfig.name(), |flag| {
            flag.help(
                "Without `--token-file`: the kubeconfig whose user has the token. With it: the kubeconfig \
                 with which `--verify` asks the cluster.",
            )
        })
        .mut_arg(Opt::Server.name(), |flag| {
            flag.help(
                "The URL of the API server (https) for `--verify`. Without a bearer token, `--verify` asks \
                 with the token itself.",
            )
        })
        .arg(output::flag())
        .after_help(
            "Without `--verify`, jobpass asks no cluster. With `--verify`, the exit code is 5 if no \
             key of the cluster signed the token. Otherwise, it is 4 if the API server refuses the token.\n\n\
             The API server refuses even a valid token if the token is for another audience. For such a \
             token, the exit code is 0 if a key of the cluster signed it, and 3 if jobpass could not check \
             the signature.\n\n\
             Examples:\n  \
             kubectl create token scanner --namespace ci | jobpass inspect\n  \
             jobpass inspect --kubeconfig scan.yaml --verify\n  \
             jobpass inspect --token-file token --server https://10.0.0.1:6443 \\\n    \
             --certificate-authority ca.pem --verify",
        )
}

/// Runs the verb.
pub(crate) async fn run(
    matches: &ArgMatches,
    environment: &Environment,
    mut interrupt: Interrupt,
) -> Result<ExitCode, Error> {
    let inspection = tokio::select! {
        interrupted = interrupt.wait() => return Err(interrupted),
        inspection = inspect(matches, environment) => inspection?,
    };
    let now = Timestamp::now();
    if output::is_json(matches) {
        output::result(&json_of(&inspection, now)?)?;
    } else {
        output::result(&text_of(&inspection, now, Screen::of_stdout(environment)))?;
    }
    let failure = inspection.verified.and_then(|verified| verified.failure());
    Ok(failure.map_or(ExitCode::SUCCESS, |kind| ExitCode::from(kind.exit_code())))
}

/// The token's claims, and jobpass's findings about them.
struct Inspection {
    claims: Claims,
    /// The answers of the cluster. `None` without `--verify`.
    verified: Option<Verified>,
    /// The warning that nothing will delete the token's Secret, if that is so. `None` without `--verify`,
    /// because only the cluster has the Secret.
    forgotten: Option<Warning>,
}

impl Inspection {
    fn warnings(&self, now: Timestamp) -> Vec<Warning> {
        let mut all = warnings(&self.claims, now);
        all.extend(self.forgotten.clone());
        all
    }
}

async fn inspect(matches: &ArgMatches, environment: &Environment) -> Result<Inspection, Error> {
    let inputs = flags::inputs(matches)?;
    let subject = Subject::find(matches, &inputs, environment).await?;
    let claims = Claims::decode(&subject.token).map_err(|error| {
        Error::input(
            subject.input,
            format!("holds no Kubernetes token: {}", error.message()),
            "give the token of a ServiceAccount, as `kubectl create token` prints it",
        )
    })?;
    if !matches.get_flag("verify") {
        return Ok(Inspection {
            claims,
            verified: None,
            forgotten: None,
        });
    }
    let cluster = subject.cluster(&inputs, environment).await?;
    let budget = Budget::new(TIME_LIMIT);
    let asked = async {
        let verified = verify(&cluster, &subject.token, &claims, &budget).await?;
        // A token that the API server refuses may be forged. No Secret belongs to a forged token.
        let forgotten = match verified.accepted {
            true => legacy::forgotten(&cluster, &claims, &budget).await,
            false => None,
        };
        Ok::<_, Error>((verified, forgotten))
    };
    let asked = Progress::new().during("asking the API server", TIME_LIMIT, asked);
    let (verified, forgotten) = asked.await?;
    Ok(Inspection {
        claims,
        verified: Some(verified),
        forgotten,
    })
}

/// The token to inspect.
struct Subject {
    token: Token,
    /// The input that gave the token.
    input: &'static str,
    /// The cluster of the kubeconfig that gave the token.
    cluster: Option<Cluster>,
}

impl Subject {
    async fn find(matches: &ArgMatches, inputs: &Inputs, environment: &Environment) -> Result<Self, Error> {
        let given = flags::given(matches, Opt::TokenFile);
        let file = given.as_deref().filter(|path| *path != "-");
        // Only the flag counts. In a job, JOBPASS_KUBECONFIG names the minter's kubeconfig, and a person does
        // not want to inspect the minter's token.
        let asked_for = flags::is_flag(matches, Opt::Kubeconfig);
        let (token, input, cluster) = match file {
            Some(path) => (
                Token::from_file(Opt::TokenFile.name(), Path::new(path))?,
                Opt::TokenFile.name(),
                None,
            ),
            None if asked_for && given.is_none() => {
                let cluster = Cluster::connect(&Minter::resolve(inputs, environment).await?)?;
                let token = cluster.bearer().cloned().ok_or_else(|| {
                    let problem = "has a user without a token: the user has a client certificate, or no \
                                   credential";
                    Error::input(
                        Opt::Kubeconfig,
                        problem,
                        "run `jobpass whoami` to see this user. Or name a token with `--token-file`",
                    )
                })?;
                (token, Opt::Kubeconfig.name(), Some(cluster))
            }
            None if stdin().is_terminal() => {
                let problem = "is a terminal, and a terminal shows everything that a person types";
                return Err(Error::input(
                    "standard input",
                    problem,
                    "pipe a token into it, or name a file with `--token-file`, or a `--kubeconfig`",
                ));
            }
            None => {
                // A thread of its own reads, so that jobpass can handle a signal before anything arrives.
                let read = tokio::task::spawn_blocking(read_stdin).await;
                let read = read.map_err(|_| {
                    let what = "cannot read standard input: jobpass panicked while it read the token";
                    Error::defect(what)
                })?;
                let text = read.map_err(|error| {
                    let problem = format!("cannot be read: {}", harmless(&error.to_string()));
                    Error::input(
                        "standard input",
                        problem,
                        "pipe a token into it, or name a file with `--token-file`",
                    )
                })?;
                (Token::parse(&text, "standard input")?, "standard input", None)
            }
        };
        Ok(Self {
            token,
            input,
            cluster,
        })
    }

    /// The cluster to ask, with the credential for the requests.
    async fn cluster(&self, inputs: &Inputs, environment: &Environment) -> Result<Cluster, Error> {
        let bearer = [Opt::BearerTokenFile, Opt::BearerTokenEnv]
            .iter()
            .any(|option| inputs.get(*option).is_some());
        match &self.cluster {
            Some(cluster) => cluster.with_token(&self.token),
            None if inputs.get(Opt::Server).is_some() && inputs.get(Opt::Kubeconfig).is_none() && !bearer => {
                Cluster::connect_with(&Connection::of_server(inputs, environment)?, &self.token)
            }
            None => Cluster::connect(&Minter::resolve(inputs, environment).await?),
        }
    }
}

fn read_stdin() -> std::io::Result<String> {
    let mut text = String::new();
    stdin().take(1 << 20).read_to_string(&mut text)?;
    Ok(text)
}

/// The inspection as JSON.
fn json_of(inspection: &Inspection, now: Timestamp) -> Result<String, Error> {
    let claims = &inspection.claims;
    let mut json = serde_json::json!({
        "claims": claims, "expires-in": claims.expires_in(now), "unusual": inspection.warnings(now),
    });
    if let Some(verified) = &inspection.verified {
        json["verified"] = json::value(verified)?;
    }
    Ok(json.to_string())
}

/// The inspection as text for people.
fn text_of(inspection: &Inspection, now: Timestamp, screen: Screen) -> String {
    let claims = &inspection.claims;
    let time = |seconds: Option<i64>| seconds.and_then(|s| Timestamp::from_second(s).ok()).map(time);
    let shown = |text: &Option<String>| text.as_deref().map_or_else(|| "(none)".into(), harmless);
    let bound = claims.bound_to().map_or_else(
        || "nothing".into(),
        |(kind, name)| format!("{kind} {}", harmless(name)),
    );
    let audiences = match claims.aud.is_empty() {
        true => "(none)".into(),
        false => harmless(&claims.aud.join(", ")),
    };
    let expires = time(claims.exp).unwrap_or_else(|| "never".into());
    let lifetime = claims.lifetime().map(|seconds| in_words(seconds.unsigned_abs()));
    let mut rows = [
        ("subject", shown(&claims.sub)),
        ("issuer", shown(&claims.iss)),
        ("audiences", audiences),
        ("bound to", bound),
        ("issued", time(claims.iat).unwrap_or_else(|| "(not said)".into())),
        ("expires", expires),
        ("lifetime", lifetime.unwrap_or_else(|| "unlimited".into())),
        ("credential id", shown(&claims.jti)),
    ]
    .map(|(name, value)| screen.row(name, &value, ""))
    .to_vec();
    if let Some((text, colour, part)) = remaining(claims, now) {
        // A pipe or a file gets the text alone.
        let shown = match screen.width {
            Some(_) => screen.beside_names().bar(part, &text),
            None => text,
        };
        // This puts the bar below the lifetime.
        rows.insert(7, screen.row("", &shown, colour));
    }
    for (number, Warning { why, .. }) in inspection.warnings(now).iter().enumerate() {
        rows.push(screen.row(if number == 0 { "unusual" } else { "" }, why, YELLOW));
    }
    if let Some(verified) = &inspection.verified {
        let signature = match verified.signature {
            Signature::Good => GREEN,
            Signature::NotChecked(_) => YELLOW,
            _ => RED,
        };
        let colour = if verified.failure().is_some() { RED } else { GREEN };
        rows.push(screen.row("asked", &verified.server, ""));
        rows.push(screen.row("signature", &verified.signature.sentence(), signature));
        rows.push(screen.row("verdict", &verified.meaning, colour));
    }
    rows.join("\n")
}

/// The remaining lifetime in words, a colour, and the fraction of the lifetime that is left.
fn remaining(claims: &Claims, now: Timestamp) -> Option<(String, &'static str, f64)> {
    let (left, lifetime) = (claims.expires_in(now)?, claims.lifetime().filter(|all| *all > 0)?);
    let words = roughly(left.unsigned_abs());
    Some(match left {
        1.. => {
            let part = left as f64 / lifetime as f64;
            (
                format!("expires in {words}"),
                if part < 0.1 { YELLOW } else { GREEN },
                part,
            )
        }
        _ => (format!("expired {words} ago"), RED, 0.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::screen::PIPE;

    fn claims() -> Claims {
        serde_json::from_value::<Claims>(serde_json::json!({
            "iss": "https://kubernetes.default.svc", "sub": "system:serviceaccount:ci:scanner", "aud": ["https://kubernetes.default.svc"],
            "iat": 1_800_000_000, "nbf": 1_800_000_000, "exp": 1_800_003_600, "jti": "11111111-2222-3333-4444-555555555555",
            "kubernetes.io": {"namespace": "ci", "serviceaccount": {"name": "scanner", "uid": "s"}, "secret": {"name": "jobpass-a", "uid": "u"}}
        }))
        .expect("claims")
    }

    fn shown(claims: &Claims, screen: Screen) -> String {
        let now = Timestamp::from_second(1_800_001_080).expect("a time");
        let inspection = Inspection {
            claims: claims.clone(),
            verified: None,
            forgotten: None,
        };
        text_of(&inspection, now, screen)
    }

    #[test]
    fn the_claims_as_text() {
        insta::assert_snapshot!(shown(&claims(), PIPE), @r"
        subject        system:serviceaccount:ci:scanner
        issuer         https://kubernetes.default.svc
        audiences      https://kubernetes.default.svc
        bound to       Secret jobpass-a
        issued         2027-01-15 08:00:00 UTC
        expires        2027-01-15 09:00:00 UTC
        lifetime       1 h
                       expires in 42 min
        credential id  11111111-2222-3333-4444-555555555555
        ");
        let legacy = Claims {
            iss: Some("kubernetes/serviceaccount".into()),
            legacy_secret: Some("scanner-token".into()),
            legacy_namespace: Some("ci".into()),
            iat: None,
            exp: None,
            jti: None,
            aud: vec![],
            kubernetes: None,
            ..claims()
        };
        insta::assert_snapshot!(shown(&legacy, PIPE), @r"
        subject        system:serviceaccount:ci:scanner
        issuer         kubernetes/serviceaccount
        audiences      (none)
        bound to       Secret scanner-token
        issued         (not said)
        expires        never
        lifetime       unlimited
        credential id  (none)
        unusual        it is a legacy token: everyone who may read its Secret has it
                       it never expires
        ");
    }

    #[test]
    fn long_values_are_wrapped_on_a_narrow_terminal() {
        let year = Claims {
            exp: Some(1_800_000_000 + 365 * 86_400),
            kubernetes: None,
            ..claims()
        };
        let narrow = Screen {
            width: Some(60),
            ..PIPE
        };
        insta::assert_snapshot!(shown(&year, narrow), @r"
        subject        system:serviceaccount:ci:scanner
        issuer         https://kubernetes.default.svc
        audiences      https://kubernetes.default.svc
        bound to       nothing
        issued         2027-01-15 08:00:00 UTC
        expires        2028-01-15 08:00:00 UTC
        lifetime       365 d
                       ██████████████████████  expires in 364 d 23 h
        credential id  11111111-2222-3333-4444-555555555555
        unusual        it is not a ServiceAccount token: another
                       issuer made it, for example a CI platform
                       it lives for 365 d, longer than most jobs
        ");
    }
}
