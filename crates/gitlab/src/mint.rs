//! `jobpass-gitlab mint`: mints a token in `before_script`, or in a job that hands the token to other jobs.

use clap::{ArgMatches, Command};
use jiff::Timestamp;
use jobpass_core::{
    Error, Kind,
    inputs::{
        flags,
        lifetime::Lifetime,
        options::{Inputs, Opt},
    },
    life::{
        mint::{Handover, Plan},
        token_request::Minted,
    },
    process::{environment::Environment, interrupt::Interrupt},
    record::{renewal::Renewal, state::State},
    text::{self, harmless},
    token::Token,
};

use crate::{
    dotenv::{self, Dotenv},
    guard::{self, After, Script},
    job::Job,
    log, proxy_exec,
    time::Timeout,
};

pub(crate) fn command() -> Command {
    Command::new("mint")
        .about("Mint a token for this job into files, or for later jobs into a dotenv report")
        .args(flags::flags())
        .args(dotenv::flags())
        .arg(After::flag())
        .after_help(
            "Each option also has a variable with the prefix JOBPASS_, such as JOBPASS_SERVICE_ACCOUNT.\n\
             Examples:\n  \
             jobpass-gitlab mint --service-account scanner --kubeconfig-file true\n  \
             jobpass-gitlab mint --service-account scanner --dotenv jobpass.env",
        )
}

pub(crate) async fn run(matches: &ArgMatches, job: &Job, mut interrupt: Interrupt) -> Result<(), Error> {
    // The mark comes before any failure. Without the mark, the end of the job warns that it has no record of
    // a token.
    job.begin();
    let after = After::parse(matches)?;
    let inputs = job.with_file_names(flags::inputs(matches)?);
    // The template `job.yml` always sets `token-file`, but with a proxy no file holds the token.
    let inputs = match inputs.flag(Opt::Proxy)? && !flags::is_flag(matches, Opt::TokenFile) {
        true => inputs.without(Opt::TokenFile),
        false => inputs,
    };
    let dotenv = Dotenv::plan(matches, &job.environment)?;
    let timeout = Timeout::of(&job.environment, Timestamp::now());
    let inputs = match (timeout, &dotenv) {
        (Some(timeout), None) => no_longer_than(timeout.seconds_left(Timestamp::now()), inputs),
        // Later jobs need the token after this job has ended.
        _ => inputs,
    };
    let plan = Plan::make(&inputs, job.folder()?, &job.environment, &mut interrupt).await?;
    let state = &plan.state;
    if state.files.is_empty() && dotenv.is_none() {
        return Err(Error::input(
            Opt::TokenFile,
            "is missing: jobpass would have no file for the token",
            "give `token-file` or `kubeconfig-file` (`true` chooses a name) for this job, or `dotenv` for \
             later jobs. jobpass does not print tokens",
        ));
    }
    if let Some(dotenv) = &dotenv {
        dotenv.check(state)?;
        if state.proxy.is_some() {
            return Err(Error::input(
                Opt::Proxy,
                "is given for a token that goes to later jobs: the proxy ends with this job",
                "mint in each job, with the template `job.yml`. Or leave out `proxy`",
            ));
        }
        if state.renewal.is_some() {
            return Err(Error::input(
                Opt::RenewFor,
                "is given together with `dotenv`, but later jobs get only the first token from the report",
                "mint in each long job, with the template `job.yml`. Or leave out `renew-for`, and give a \
                 `duration` that lasts for all jobs",
            ));
        }
    }
    if let Some(warning) = shown_by_the_runner(&inputs, &job.environment) {
        log::warning(&warning);
    }
    if timeout.is_none() && dotenv.is_none() {
        log::warning(&without_a_timeout(&job.environment));
    }
    let end = End {
        script: Script::find(),
        after,
        timeout,
        inputs: inputs.clone(),
    };
    let state_file = job.state_file(state);
    let record = |state: Option<&State>| match state {
        Some(state) => state.write(&state_file),
        // If jobpass recorded nothing, the file does not exist.
        None => std::fs::remove_file(&state_file).or(Ok(())),
    };
    let report = dotenv.clone();
    let (script, inputs) = (end.script, end.inputs.clone());
    let open =
        move |state: &State, token: &Token| guard::start_with_proxy(state, token, script, after, &inputs);
    let deliver = move |minted: &Minted, state: &State| deliver(minted, state, report.as_ref(), &end);
    let handover = Handover {
        revoked_by: timeout.filter(|_| dotenv.is_none()).map(Timeout::revoked_by),
        record,
        open: Box::new(open),
        mask: |minted| proxy_exec::mask(&minted.token),
        deliver,
    };
    let minted = plan.mint(&job.origin(), handover, &mut interrupt).await;
    let minted = minted.inspect_err(|_| {
        if let Some(dotenv) = &dotenv {
            dotenv.undo();
        }
    })?;
    for warning in minted.warnings {
        log::warning(&Error::new(Kind::Refused, warning));
    }
    if let Some(warning) = dotenv.as_ref().and_then(Dotenv::warning) {
        log::warning(&warning);
    }
    Ok(())
}

/// The values with which the guard of this job starts, and the job's timeout for the words in the log.
struct End {
    script: Script,
    after: After,
    timeout: Option<Timeout>,
    inputs: Inputs,
}

impl End {
    /// The words about revocation that follow the expiry in the log.
    fn in_words(&self) -> String {
        let after = match self.after {
            After::Script => "when the script is over",
            After::AfterScript if self.script.may_end_container => {
                return "; `jobpass-gitlab revoke` in after_script revokes it, and nothing else does if the \
                        container ends with the script"
                    .to_owned();
            }
            After::AfterScript => "when after_script is over",
        };
        let at = self.timeout.map_or_else(String::new, |timeout| {
            let margin = timeout.margin().as_secs();
            format!(
                ", at the latest at {}, {margin} s before the job's timeout",
                text::time(timeout.deadline())
            )
        });
        format!("; revoked {after}{at}")
    }
}

fn deliver(minted: &Minted, state: &State, dotenv: Option<&Dotenv>, end: &End) -> Result<(), Error> {
    let (files, receipt) = (&state.files, &state.receipt);
    if let Some(dotenv) = dotenv {
        dotenv.write(&minted.token, receipt, state.for_job())?;
    } else if state.proxy.is_none() {
        // The guard also renews the token. A guard that holds the proxy runs already.
        guard::start(state, end.script, end.after, &end.inputs)?;
    }
    let paths = [
        ("file", &files.token_file),
        ("kubeconfig", &files.kubeconfig_file),
    ];
    let paths = paths
        .into_iter()
        .filter_map(|(what, path)| Some(format!("{what} {}", text::path(path.as_ref()?))));
    let handed_over = paths.chain(dotenv.map(Dotenv::description)).collect::<Vec<_>>();
    let ends = match dotenv {
        None => end.in_words(),
        Some(_) => "; the job in `.post` revokes it, or the end of this job if this job fails".to_owned(),
    };
    let ends = Renewal::in_words(state.renewal.as_ref()) + &ends;
    let words = receipt.minted_in_words(&ends, &handed_over);
    log::say(&format!("jobpass: {words}"));
    if let Some(report) = &minted.access {
        log::access(report);
    }
    Ok(())
}

/// Limits `duration` to the time that the job has left, but never to less than 10 minutes, the shortest
/// lifetime of a token.
fn no_longer_than(seconds: u64, inputs: Inputs) -> Inputs {
    let most = match seconds.max(Lifetime::LEAST) {
        // Kubernetes treats exactly this number as the lifetime of a Pod's token, so jobpass refuses it.
        Lifetime::MAGIC => Lifetime::MAGIC - 1,
        seconds => seconds,
    };
    // The parser of all inputs reports a wrong value later.
    let longer = |given: &str| Lifetime::of_legacy(given).is_ok_and(|given| given.seconds() > most);
    if inputs.get(Opt::Duration).is_some_and(longer) {
        return inputs.with(Opt::Duration, format!("{most}s"));
    }
    inputs
}

/// Warns that the runner is too old to give the job its timeout.
fn without_a_timeout(environment: &Environment) -> Error {
    let version = environment.get("CI_RUNNER_VERSION").map_or_else(
        || "this runner".to_owned(),
        |version| format!("this gitlab-runner ({})", harmless(version)),
    );
    Error::new(
        Kind::Revoke,
        format!(
            "{version} does not tell the job its timeout (CI_JOB_TIMEOUT), so the token may outlive a job \
             that reaches its timeout"
        ),
    )
    .help(
        "update gitlab-runner to 15.7 or later. Until then, a short `duration` (10 minutes or more) limits \
         how long the token can outlive the job; this warning stays",
    )
}

/// Warns that the log may show the minter's credential. With CI_DEBUG_TRACE, the runner itself writes every
/// variable into the log before any script runs.
fn shown_by_the_runner(inputs: &Inputs, environment: &Environment) -> Option<Error> {
    let trace = environment.get("CI_DEBUG_TRACE")?.trim();
    if !["true", "1"].contains(&trace.to_ascii_lowercase().as_str()) {
        return None;
    }
    let variable = match (
        inputs.get(Opt::BearerTokenEnv),
        inputs.get(Opt::Server),
        inputs.get(Opt::Kubeconfig),
    ) {
        (Some(name), _, _) => harmless(name),
        (None, None, Some(_)) => "JOBPASS_KUBECONFIG".to_owned(),
        (None, None, None) if environment.get("KUBECONFIG").is_some() => "KUBECONFIG".to_owned(),
        _ => return None,
    };
    environment.get(&variable)?;
    let what = format!(
        "CI_DEBUG_TRACE is on: the runner wrote every variable of this job into the log. So the log shows \
         the minter's credential in {variable}, unless GitLab masks it"
    );
    Some(Error::new(Kind::Deliver, what).help(
        "look at the beginning of this log. If it shows the credential, erase the log (`Erase job log and \
         artifacts` on the job's page), give the minter a new credential, and remove CI_DEBUG_TRACE",
    ))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("1h", 3000, "3000s")]
    #[case("1h", 3600, "1h")]
    #[case("1h", 7200, "1h")]
    #[case("10h", 3607, "3606s")]
    #[case("30m", 20, "600s")]
    #[case("600", 20, "600")]
    #[case("soon", 20, "soon")]
    fn no_token_is_asked_for_longer_than_the_job_has_left(
        #[case] given: &str,
        #[case] left: u64,
        #[case] expected: &str,
    ) {
        let inputs = no_longer_than(left, Inputs::from([(Opt::Duration, given)]));
        assert_eq!(inputs.get(Opt::Duration), Some(expected));
    }

    #[rstest]
    #[case(Inputs::from([(Opt::Kubeconfig, "/minter")]), Some("JOBPASS_KUBECONFIG"))]
    #[case(Inputs::from([(Opt::Server, "https://s"), (Opt::BearerTokenEnv, "KUBE_TOKEN")]), Some("KUBE_TOKEN"))]
    #[case(Inputs::from([(Opt::Server, "https://s"), (Opt::BearerTokenFile, "/token")]), None)]
    #[case(Inputs::default(), Some("KUBECONFIG"))]
    fn a_minter_that_the_runner_shows_is_named(#[case] inputs: Inputs, #[case] named: Option<&str>) {
        let environment = Environment::from([
            ("CI_DEBUG_TRACE", "true"),
            ("JOBPASS_KUBECONFIG", "/minter"),
            ("KUBECONFIG", "/config"),
            ("KUBE_TOKEN", "token"),
        ]);
        let warning = shown_by_the_runner(&inputs, &environment).map(|warning| warning.to_string());
        assert_eq!(warning.is_some(), named.is_some());
        if let (Some(warning), Some(named)) = (warning, named) {
            assert!(warning.contains(&format!("in {named},")), "{warning}");
        }
        let quiet = environment.with("CI_DEBUG_TRACE", Some("false"));
        assert!(shown_by_the_runner(&inputs, &quiet).is_none());
    }
}
