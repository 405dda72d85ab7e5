//! `jobpass rotate`: replaces a legacy token with a new one.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::{Arg, ArgMatches, Command, ValueHint};
use jobpass_core::{
    Error,
    cluster::{Budget, Cluster},
    inputs::{flags, lifetime},
    json,
    maintenance::rotate::{Location, ROTATE, Rotated, Rotation},
    minter::Minter,
    process::{environment::Environment, interrupt::Interrupt},
    record::{filter::FilterJournal, receipt::Proof},
};
use tokio::time::sleep;

use crate::{
    options::connection,
    terminal::{
        output,
        progress::{Progress, TICK},
        screen::roughly,
    },
};

/// The verb, its options and its help.
pub(crate) fn command() -> Command {
    // These flags have no variables: a job's variables name the files of other verbs.
    let flag = |name: &'static str, value: &'static str| Arg::new(name).long(name).value_name(value);
    Command::new("rotate")
        .about("Replace a legacy token without downtime, and delete the Secret of the old token")
        .args([
            flag("token-file", "FILE")
                .value_hint(ValueHint::FilePath)
                .help("The file that holds the token."),
            flag("kubeconfig-file", "FILE").value_hint(ValueHint::FilePath).help(
                "The kubeconfig whose current user has the token, or names the file that holds it. The rest \
                 of the kubeconfig stays unchanged.",
            ),
            flag("secret", "NAMESPACE/NAME")
                .requires("key")
                .help("The Secret that holds a copy of the token."),
        ])
        .group(
            clap::ArgGroup::new("place")
                .args(["token-file", "kubeconfig-file", "secret"])
                .required(true),
        )
        .args([
            flag("key", "KEY")
                .requires("secret")
                .help("The key of the token in that Secret."),
            flag("grace", "TIME").default_value("5m").help(
                "The time for which the old token still works, for clients that do not have the new one \
                 yet: Pods see a changed Secret after up to 2 min. `0`: jobpass revokes the old token at \
                 once.",
            ),
        ])
        .args(connection::flags())
        .arg(output::flag())
        .after_help(
            "The token itself names its ServiceAccount. The new Secret is named after the old one, with \
             random letters added, and gets the labels, annotations, owners and expiry of the old one. If \
             anything fails before the new token is in its place, the old token stays in this place, and \
             works. If a signal interrupts the grace period, run the same command again. If nobody does, \
             `jobpass sweep` deletes the old Secret when the period is over.\n\
             The credential needs `create`, `get`, `patch` and `delete` on Secrets.\n\n\
             Examples:\n  \
             jobpass rotate --kubeconfig-file scanner.yaml\n  \
             jobpass rotate --token-file token --grace 30s --output json\n  \
             jobpass rotate --secret scans/cluster-token --key token \\\n    --kubeconfig admin.yaml",
        )
}

/// Runs the verb.
pub(crate) async fn run(
    matches: &ArgMatches,
    environment: &Environment,
    mut interrupt: Interrupt,
) -> Result<(), Error> {
    let inputs = flags::inputs(matches)?;
    let location = location(matches)?;
    let grace = grace(matches)?;
    let filter = FilterJournal::of(environment)?;
    let minter = tokio::select! {
        interrupted = interrupt.wait() => return Err(interrupted),
        minter = Minter::resolve(&inputs, environment) => minter?,
    };
    let cluster = Cluster::connect(&minter)?;
    let budget = Budget::new(connection::TIME_LIMIT);
    let prepared = Rotation::prepare(&cluster, &location, filter, &budget);
    let prepared = Progress::new().during("finding the Secret", connection::TIME_LIMIT, prepared);
    let rotation = tokio::select! {
        interrupted = interrupt.wait() => return Err(interrupted),
        prepared = prepared => prepared?,
    };
    let replaced = rotation.replace(&mut interrupt);
    let mut replaced = Progress::new()
        .during("asking for a new token", ROTATE, replaced)
        .await?;
    let json = output::is_json(matches);
    let ended = {
        let rest = async {
            let wait = replaced.retire(grace).await?;
            if !json {
                output::result(&in_place(&replaced.report, wait))?;
            }
            wait_out(wait).await;
            let finish = replaced.finish();
            Progress::new()
                .during("deleting the old Secret", ROTATE, finish)
                .await
        };
        tokio::select! {
            interrupted = interrupt.wait() => Err(interrupted),
            ended = rest => Ok(ended),
        }
    };
    match ended {
        Ok(ended) => ended?,
        Err(interrupted) => return Err(replaced.unfinished(&interrupted)),
    }
    match json {
        true => output::result(&json::text(&replaced.report)?),
        false => output::result(&in_words(&replaced.report)),
    }
}

/// The place of the token, as the flags name it.
fn location(matches: &ArgMatches) -> Result<Location, Error> {
    let given = |name: &str| matches.get_one::<String>(name);
    let path = |path: &String| PathBuf::from(path);
    match (given("token-file"), given("kubeconfig-file"), given("secret")) {
        (Some(file), _, _) => Ok(Location::TokenFile(path(file))),
        (_, Some(file), _) => Ok(Location::KubeconfigFile(path(file))),
        (_, _, secret) => {
            let text = |text: Option<&String>| text.cloned().unwrap_or_default();
            Location::secret(&text(secret), &text(given("key")))
        }
    }
}

/// The grace period. Unlike other times, it may be zero.
fn grace(matches: &ArgMatches) -> Result<Duration, Error> {
    match matches.get_one::<String>("grace").map(String::as_str) {
        None | Some("0" | "0s") => Ok(Duration::ZERO),
        Some(text) => lifetime::time("grace", text),
    }
}

/// Waits until the grace period is over.
async fn wait_out(wait: Duration) {
    let mut progress = Progress::new();
    let begun = Instant::now();
    while let Some(left) = wait.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) {
        let text = format!(
            "jobpass revokes the old token in {}",
            roughly((left + TICK).as_secs())
        );
        progress.show(begun.elapsed().as_secs_f64() / wait.as_secs_f64(), &text);
        sleep(left.min(TICK)).await;
    }
}

/// The text that jobpass prints after it wrote the new token over the old one.
fn in_place(rotated: &Rotated, wait: Duration) -> String {
    let Rotated {
        namespace,
        service_account,
        old,
        new,
        place,
        resumed,
        ..
    } = rotated;
    let again = if *resumed {
        ", from an earlier rotation that was interrupted"
    } else {
        ""
    };
    let end = match wait.as_secs() {
        0 => "which jobpass deletes now".to_owned(),
        seconds => format!("which jobpass deletes in {}", roughly(seconds)),
    };
    format!(
        "the new token of ServiceAccount {namespace}/{service_account} is in place, and works\n  \
         in   {place}\n  \
         new  Secret {new}{again}\n  \
         old  Secret {old}, {end}"
    )
}

/// The text that jobpass prints after it revoked the old token.
fn in_words(rotated: &Rotated) -> String {
    let proof = rotated.proof.unwrap_or(Proof::NotAsked).sentence();
    format!(
        "the old token is revoked\n  Secret  {} is deleted\n  proof   {proof}",
        rotated.old
    )
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn matches(arguments: &[&str]) -> Option<ArgMatches> {
        // The environment of the tests must have no effect.
        let command = command().no_binary_name(true).mut_args(|flag| flag.env(None));
        command.try_get_matches_from(arguments).ok()
    }

    #[rstest]
    #[case(&["--token-file", "t"], Some("file t"))]
    #[case(&["--kubeconfig-file", "k"], Some("kubeconfig k"))]
    #[case(&["--secret", "ci/copy", "--key", "token"], Some("Secret ci/copy, key token"))]
    #[case::no_namespace(&["--secret", "copy", "--key", "token"], None)]
    #[case::no_key(&["--secret", "ci/copy"], None)]
    #[case::two_places(&["--token-file", "t", "--kubeconfig-file", "k"], None)]
    #[case::no_place(&[], None)]
    fn the_flags_name_one_place(#[case] arguments: &[&str], #[case] expected: Option<&str>) {
        let location = matches(arguments).and_then(|matches| location(&matches).ok());
        let location = location.map(|location| match location {
            Location::TokenFile(path) => format!("file {}", path.display()),
            Location::KubeconfigFile(path) => format!("kubeconfig {}", path.display()),
            Location::Secret { namespace, name, key } => format!("Secret {namespace}/{name}, key {key}"),
        });
        assert_eq!(location.as_deref(), expected);
    }

    #[rstest]
    #[case(&[], Some(300))]
    #[case(&["--grace", "0"], Some(0))]
    #[case(&["--grace", "0s"], Some(0))]
    #[case(&["--grace", "90s"], Some(90))]
    #[case(&["--grace", "soon"], None)]
    fn the_grace_period_may_be_zero(#[case] arguments: &[&str], #[case] seconds: Option<u64>) {
        let matches = matches(&[&["--token-file", "t"], arguments].concat()).expect("arguments");
        assert_eq!(grace(&matches).ok(), seconds.map(Duration::from_secs));
    }

    #[test]
    fn the_two_moments_as_text() {
        let rotated = Rotated {
            namespace: "ci".into(),
            service_account: "scanner".into(),
            old: "scanner-token".into(),
            new: "scanner-token-abcdefghijklmnop".into(),
            place: "file scan.yaml".into(),
            resumed: false,
            proof: Some(Proof::Unauthorized),
        };
        insta::assert_snapshot!(in_place(&rotated, Duration::from_secs(300)), @r"
        the new token of ServiceAccount ci/scanner is in place, and works
          in   file scan.yaml
          new  Secret scanner-token-abcdefghijklmnop
          old  Secret scanner-token, which jobpass deletes in 5 min
        ");
        insta::assert_snapshot!(in_words(&rotated), @r"
        the old token is revoked
          Secret  scanner-token is deleted
          proof   the API server answers 401 to the token (jobpass asked once; another replica that saw the token just before may accept it for up to 10 s more)
        ");
    }
}
