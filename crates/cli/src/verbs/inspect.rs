//! `jobpass inspect`.

use std::{
    io::{IsTerminal as _, Read as _, stdin},
    path::Path,
    process::ExitCode,
};

use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint, parser::ValueSource};
use jiff::Timestamp;
use jobpass_core::{
    Error,
    anchor::legacy,
    claims::{
        Claims,
        warnings::{Unusual, unusual},
    },
    cluster::{Budget, Cluster, Connection},
    inputs::{flags, options::Inputs},
    json,
    maintenance::inspect::{Signature, Verified, verify},
    minter::Minter,
    process::{environment::Environment, interrupt::Interrupt},
    text::{harmless, in_words, time},
    token::Token,
};

use crate::{
    options::connection::{self, ASK},
    terminal::{
        output,
        progress::Progress,
        screen::{GREEN, RED, Screen, YELLOW, roughly},
    },
};

pub(crate) fn command() -> Command {
    Command::new("inspect")
        .about("Show what a token says of itself and what is unusual about it, without showing the token")
        .arg(
            // Not also a variable, unlike elsewhere: a job that has one still wants to look at what it pipes in.
            Arg::new("token-file")
                .long("token-file")
                .value_name("TOKEN_FILE")
                .value_hint(ValueHint::FilePath)
                .help("File that holds the token; `-`, or neither this nor `--kubeconfig`: standard input"),
        )
        .arg(
            Arg::new("verify")
                .long("verify")
                .action(ArgAction::SetTrue)
                .help("Also ask the cluster: whether its API server takes the token, and whether one of its keys signed it"),
        )
        .args(connection::flags().map(|flag| match flag.get_id().as_str() {
            "kubeconfig" => flag.help(
                "Without `--token-file`: look at the token of this kubeconfig's user. With it: the cluster, and who asks for its keys, \
                 for `--verify`",
            ),
            "server" => flag.help("URL of the API server (https), for `--verify`; without a bearer token, the token itself is shown to it"),
            _ => flag,
        }))
        .arg(output::flag())
        .after_help(
            "Without `--verify`, nothing is asked of a cluster. With it, the exit code is 4 if the API server refuses the token \
             and 5 if no key of the cluster signed it.\n\n\
             Examples:\n  kubectl create token scanner --namespace ci | jobpass inspect\n  \
             jobpass inspect --kubeconfig scan.yaml --verify\n  \
             jobpass inspect --token-file token --server https://10.0.0.1:6443 --certificate-authority ca.pem --verify",
        )
}

pub(crate) async fn run(
    matches: &ArgMatches,
    environment: &Environment,
    mut interrupt: Interrupt,
) -> Result<ExitCode, Error> {
    let looked = tokio::select! {
        interrupted = interrupt.wait() => return Err(interrupted),
        looked = look(matches, environment) => looked?,
    };
    let now = Timestamp::now();
    if output::is_json(matches) {
        output::result(&json_of(&looked, now)?)?;
    } else {
        output::result(&text_of(&looked, now, Screen::of_stdout(environment)))?;
    }
    let failure = looked.verified.and_then(|verified| verified.failure());
    Ok(failure.map_or(ExitCode::SUCCESS, |kind| ExitCode::from(kind.exit_code())))
}

/// What is known about a token.
struct Looked {
    claims: Claims,
    verified: Option<Verified>,
    /// What only the cluster knows to be unusual.
    forgotten: Option<Unusual>,
}

impl Looked {
    fn unusual(&self, now: Timestamp) -> Vec<Unusual> {
        let mut all = unusual(&self.claims, now);
        all.extend(self.forgotten.clone());
        all
    }
}

async fn look(matches: &ArgMatches, environment: &Environment) -> Result<Looked, Error> {
    let inputs = flags::inputs(matches)?;
    let subject = Subject::find(matches, &inputs, environment).await?;
    let claims = Claims::decode(&subject.token).map_err(|error| {
        Error::input(
            subject.input,
            format!("holds something else: {}", error.what()),
            "give a Kubernetes token",
        )
    })?;
    if !matches.get_flag("verify") {
        return Ok(Looked {
            claims,
            verified: None,
            forgotten: None,
        });
    }
    let cluster = subject.cluster(&inputs, environment).await?;
    let budget = Budget::new(ASK);
    let asked = async {
        let verified = verify(&cluster, &subject.token, &claims, &budget).await?;
        // A forged token says nothing of a Secret.
        let forgotten = match verified.accepted {
            true => legacy::forgotten(&cluster, &claims, &budget).await,
            false => None,
        };
        Ok::<_, Error>((verified, forgotten))
    };
    let asked = Progress::new().during("asking the API server", ASK, asked);
    let (verified, forgotten) = asked.await?;
    Ok(Looked {
        claims,
        verified: Some(verified),
        forgotten,
    })
}

/// The token that is looked at.
struct Subject {
    token: Token,
    /// Where it is from.
    input: &'static str,
    /// Its kubeconfig's cluster, if it is from one.
    cluster: Option<Cluster>,
}

impl Subject {
    async fn find(matches: &ArgMatches, inputs: &Inputs, environment: &Environment) -> Result<Self, Error> {
        let file = matches
            .get_one::<String>("token-file")
            .filter(|path| *path != "-");
        // In a job, the variable names the minter, which nobody asked about.
        let asked_for = matches.value_source("kubeconfig") == Some(ValueSource::CommandLine);
        let (token, input, cluster) = match file {
            Some(path) => (
                Token::from_file("token-file", Path::new(path))?,
                "token-file",
                None,
            ),
            None if asked_for && !matches.contains_id("token-file") => {
                let cluster = Cluster::connect(&Minter::resolve(inputs, environment).await?)?;
                let token = cluster.bearer().cloned().ok_or_else(|| {
                    let problem = "has a user without a token: a client certificate, or nobody";
                    Error::input(
                        "kubeconfig",
                        problem,
                        "`jobpass whoami` says who that is; to look at a token beside it, add `--token-file`",
                    )
                })?;
                (token, "kubeconfig", Some(cluster))
            }
            None if stdin().is_terminal() => {
                let problem = "is a terminal, which would show the token";
                return Err(Error::input(
                    "standard input",
                    problem,
                    "pipe a token into it, or name a file with `--token-file`, or a `--kubeconfig`",
                ));
            }
            None => {
                // A thread of its own waits for whoever writes there.
                let read = tokio::task::spawn_blocking(read_stdin).await;
                let text = read.unwrap_or_else(|_| Err(std::io::Error::other("a defect")));
                let text = text.map_err(|error| {
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

    /// Whom to ask about it, and as whom.
    async fn cluster(&self, inputs: &Inputs, environment: &Environment) -> Result<Cluster, Error> {
        let bearer = ["bearer-token-file", "bearer-token-env", "oidc-audience"]
            .iter()
            .any(|name| inputs.get(name).is_some());
        match &self.cluster {
            Some(cluster) => cluster.with_token(&self.token),
            None if inputs.get("server").is_some() && inputs.get("kubeconfig").is_none() && !bearer => {
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

fn json_of(looked: &Looked, now: Timestamp) -> Result<String, Error> {
    let claims = &looked.claims;
    let mut json = serde_json::json!({
        "claims": claims, "expires-in": claims.expires_in(now), "unusual": looked.unusual(now),
    });
    if let Some(verified) = &looked.verified {
        json["verified"] = json::value(verified)?;
    }
    Ok(json.to_string())
}

fn text_of(looked: &Looked, now: Timestamp, screen: Screen) -> String {
    let claims = &looked.claims;
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
    if let Some((text, colour, part)) = left(claims, now) {
        // Below the lifetime.
        rows.insert(7, screen.row("", &screen.beside_names().bar(part, &text), colour));
    }
    for (number, Unusual { why, .. }) in looked.unusual(now).iter().enumerate() {
        rows.push(screen.row(if number == 0 { "unusual" } else { "" }, why, YELLOW));
    }
    if let Some(verified) = &looked.verified {
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

/// How much of its life is over, and what is left in words.
fn left(claims: &Claims, now: Timestamp) -> Option<(String, &'static str, f64)> {
    let (left, lifetime) = (claims.expires_in(now)?, claims.lifetime().filter(|all| *all > 0)?);
    let words = roughly(left.unsigned_abs());
    Some(match left {
        1.. => {
            let part = 1.0 - left as f64 / lifetime as f64;
            (
                format!("expires in {words}"),
                if part > 0.9 { YELLOW } else { GREEN },
                part,
            )
        }
        _ => (format!("expired {words} ago"), RED, 1.0),
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
        let looked = Looked {
            claims: claims.clone(),
            verified: None,
            forgotten: None,
        };
        text_of(&looked, now, screen)
    }

    #[test]
    fn what_a_person_sees() {
        insta::assert_snapshot!(shown(&claims(), PIPE), @r"
        subject        system:serviceaccount:ci:scanner
        issuer         https://kubernetes.default.svc
        audiences      https://kubernetes.default.svc
        bound to       Secret jobpass-a
        issued         2027-01-15 08:00:00 UTC
        expires        2027-01-15 09:00:00 UTC
        lifetime       1 h
                       ████████████░░░░░░░░░░░░░░░░░░░░░░░░░░░░  expires in 42 min
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
        unusual        it is a legacy token, from a Secret: whoever reads that Secret has it
                       it never expires
        ");
    }

    #[test]
    fn a_narrow_terminal_is_enough() {
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
                       ░░░░░░░░░░░░░░░░░░░░░░  expires in 364 d 23 h
        credential id  11111111-2222-3333-4444-555555555555
        unusual        it is no ServiceAccount's token: another
                       issuer's, a CI platform's for instance
                       it lives for 365 d, longer than any job
        ");
    }
}
