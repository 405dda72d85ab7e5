//! `jobpass whoami`: the user to whom the API server maps a kubeconfig or a token.

use clap::{ArgMatches, Command};
use jobpass_core::{
    Error,
    cluster::{Budget, Cluster},
    inputs::flags,
    json,
    maintenance::whoami::{Whoami, WhoamiSource, whoami},
    minter::Minter,
    process::{environment::Environment, interrupt::Interrupt},
    text::harmless,
};

use crate::{
    options::connection::{self, TIME_LIMIT},
    terminal::{output, progress::Progress, screen::Screen},
};

/// The verb, its options and its help.
pub(crate) fn command() -> Command {
    Command::new("whoami")
        .about("Show which user the API server sees for a kubeconfig or a token")
        .args(connection::flags())
        .arg(output::flag())
        .after_help(
            "Without an option, jobpass uses $KUBECONFIG, ~/.kube/config or the in-cluster \
             ServiceAccount.\n\n\
             Examples:\n  \
             jobpass whoami --kubeconfig scan.yaml\n  \
             jobpass whoami --server https://10.0.0.1:6443 \\\n    --certificate-authority ca.pem \
             --bearer-token-file token",
        )
}

/// Runs the verb.
pub(crate) async fn run(
    matches: &ArgMatches,
    environment: &Environment,
    mut interrupt: Interrupt,
) -> Result<(), Error> {
    let inputs = flags::inputs(matches)?;
    let asked = async {
        let minter = Minter::resolve(&inputs, environment).await?;
        whoami(&Cluster::connect(&minter)?, &Budget::new(TIME_LIMIT)).await
    };
    let who = tokio::select! {
        interrupted = interrupt.wait() => return Err(interrupted),
        who = Progress::new().during("asking the API server", TIME_LIMIT, asked) => who?,
    };
    if output::is_json(matches) {
        return output::result(&json::text(&who)?);
    }
    output::result(&text_of(&who, Screen::of_stdout(environment)))
}

fn text_of(who: &Whoami, screen: Screen) -> String {
    let mut rows = Vec::new();
    let mut row = |name: &str, value: &str| rows.push(screen.row(name, &harmless(value), ""));
    row("user", &who.user.username);
    row("groups", &who.user.groups.join(", "));
    if let Some(uid) = &who.user.uid {
        row("uid", uid);
    }
    for (name, values) in &who.user.extra {
        match name.as_str() {
            "authentication.kubernetes.io/credential-id" => {
                // `jobpass inspect` and the token itself show the id in this form.
                let ids = values.iter().map(|id| id.strip_prefix("JTI=").unwrap_or(id));
                row("credential id", &ids.collect::<Vec<_>>().join(", "));
            }
            _ => row("extra", &format!("{name}: {}", values.join(", "))),
        }
    }
    if who.source == WhoamiSource::Token {
        row(
            "according to",
            "the token itself: the API server accepts it, but cannot name its user (Kubernetes before 1.28 \
             has no SelfSubjectReview v1)",
        );
    }
    rows.join("\n")
}

#[cfg(test)]
mod tests {
    use jobpass_core::maintenance::whoami::User;

    use super::*;
    use crate::terminal::screen::PIPE;

    #[test]
    fn the_user_as_text() {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let user = User {
            username: "system:serviceaccount:ci:scanner".into(),
            uid: Some("u".into()),
            groups: texts(&[
                "system:serviceaccounts",
                "system:serviceaccounts:ci",
                "system:authenticated",
            ]),
            extra: [
                (
                    "authentication.kubernetes.io/credential-id".to_owned(),
                    texts(&["JTI=1"]),
                ),
                ("jobpass.dev/run-id".to_owned(), texts(&["7\n7"])),
            ]
            .into(),
        };
        let who = |source| Whoami {
            user: user.clone(),
            source,
        };
        insta::assert_snapshot!(text_of(&who(WhoamiSource::ApiServer), PIPE), @r"
        user           system:serviceaccount:ci:scanner
        groups         system:serviceaccounts, system:serviceaccounts:ci, system:authenticated
        uid            u
        credential id  1
        extra          jobpass.dev/run-id: 7 7
        ");
        let narrow = Screen {
            width: Some(60),
            ..PIPE
        };
        insta::assert_snapshot!(text_of(&who(WhoamiSource::Token), narrow), @"
        user           system:serviceaccount:ci:scanner
        groups         system:serviceaccounts,
                       system:serviceaccounts:ci,
                       system:authenticated
        uid            u
        credential id  1
        extra          jobpass.dev/run-id: 7 7
        according to   the token itself: the API server accepts it,
                       but cannot name its user (Kubernetes before
                       1.28 has no SelfSubjectReview v1)
        ");
    }
}
