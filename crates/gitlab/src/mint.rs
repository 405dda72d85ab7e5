//! `jobpass-gitlab mint`: in `before_script`, or in a job that hands the token on.

use clap::{ArgMatches, Command};
use jobpass_core::{
    Error, Kind,
    inputs::flags,
    life::{
        mint::{Handover, Plan},
        renew,
        token_request::Minted,
    },
    process::interrupt::Interrupt,
    record::{renewal::Renewal, state::State},
};

use crate::{
    dotenv::{self, Dotenv},
    job::Job,
    log, proxy_exec,
};

pub(crate) fn command() -> Command {
    Command::new("mint")
        .about("Mint a token for this job into files, or for later jobs into a dotenv report")
        .args(flags::flags())
        .args(dotenv::flags())
        .after_help(
            "Each option may also stand in the variable JOBPASS_ and its name, as in JOBPASS_SERVICE_ACCOUNT.\n\
             Examples:\n  jobpass-gitlab mint --service-account scanner --kubeconfig-file true\n  \
             jobpass-gitlab mint --service-account scanner --dotenv jobpass.env",
        )
}

pub(crate) async fn run(matches: &ArgMatches, job: &Job, mut interrupt: Interrupt) -> Result<(), Error> {
    let inputs = job.with_file_names(&flags::inputs(matches)?)?;
    let dotenv = Dotenv::plan(matches, &job.environment)?;
    let plan = Plan::make(&inputs, job.folder()?, &job.environment, &mut interrupt).await?;
    let state = &plan.state;
    if state.files.is_empty() && dotenv.is_none() {
        return Err(Error::input(
            "token-file",
            "is missing: the token has nowhere to go",
            "give `token-file` or `kubeconfig-file` (`true` chooses a name) for this job, or `dotenv` for later jobs; the log \
             cannot hide a token",
        ));
    }
    if let Some(dotenv) = &dotenv {
        dotenv.check(state)?;
        if state.renewal.is_some() {
            return Err(Error::input(
                "renew-for",
                "is given for a token that goes to later jobs: what it is handed on in is written once",
                "mint in each job that takes long, with the template `job.yml`; or leave out `renew-for` and give a `duration` \
                 that lasts for all of them",
            ));
        }
    }
    let state_file = job.state_file(state);
    let record = |state: Option<&State>| match state {
        Some(state) => state.write(&state_file),
        // Not there if nothing was recorded.
        None => std::fs::remove_file(&state_file).or(Ok(())),
    };
    let report = dotenv.clone();
    let deliver = move |minted: &Minted, state: &State| deliver(minted, state, report.as_ref());
    let handover = Handover {
        record,
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

fn deliver(minted: &Minted, state: &State, dotenv: Option<&Dotenv>) -> Result<(), Error> {
    let (files, receipt) = (&state.files, &state.receipt);
    if let Some(dotenv) = dotenv {
        dotenv.write(&minted.token, receipt)?;
    }
    let paths = [
        ("file", &files.token_file),
        ("kubeconfig", &files.kubeconfig_file),
    ];
    let paths = paths
        .into_iter()
        .filter_map(|(what, path)| Some(format!("{what} {}", path.as_ref()?.display())));
    let handed_over = paths.chain(dotenv.map(Dotenv::description)).collect::<Vec<_>>();
    let ends = match dotenv {
        None => "; revoked at the end of this job in any case",
        Some(_) => "; revoked by the job in `.post`, or at the end of this job if it fails",
    };
    let ends = Renewal::in_words(state.renewal.as_ref()) + ends;
    let words = receipt.minted_in_words(&ends, &handed_over);
    log::say(&format!("jobpass: {words}"));
    if let Some(report) = &minted.access {
        log::access(report);
    }
    renew::in_background(state)
}
