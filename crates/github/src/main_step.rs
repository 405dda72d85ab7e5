//! `jobpass-github main`: the user's step.

use std::path::Path;

use jobpass_core::{
    Error, Kind,
    inputs::options::Inputs,
    life::{
        mint::{Handover, Plan},
        proxy, renew,
        token_request::Minted,
    },
    minter::{Auth, Minter, kept::Kept},
    process::{files::utf8, harden, interrupt::Interrupt},
    record::{renewal::Renewal, state::State},
    text::harmless,
};

use crate::{
    commands,
    export::{self, Export},
    forget, id_token,
    job::{ANCHOR, CommandFile, Job, NOTHING, STATE},
    summary,
};

pub(crate) async fn run(job: &Job, mut interrupt: Interrupt) -> Result<(), Error> {
    if let Some(launcher) = job
        .environment
        .get("JOBPASS_LAUNCHER")
        .and_then(|pid| pid.parse().ok())
    {
        harden::follow(launcher)?;
    }
    let (output, saved) = (job.file("GITHUB_OUTPUT")?, job.file("GITHUB_STATE")?);
    let record = |state: Option<&State>| {
        let (json, anchor) = match state {
            Some(state) => (
                state.json()?,
                format!("{}/{}", state.receipt.namespace, state.receipt.anchor),
            ),
            None => {
                saved.keep(None)?;
                (NOTHING.to_owned(), String::new())
            }
        };
        saved.set(&[(STATE, &json), (ANCHOR, &anchor)])
    };
    // This comes first, so that main saves every value that post reads. Later steps cannot set a saved value
    // through GITHUB_ENV, but they could set an unsaved one.
    record(None)?;
    export::nothing(&saved)?;
    let inputs = job.inputs()?;
    id_token::check_permission(&inputs, &job.environment)?;
    let plan = Plan::make(&inputs, &job.temp()?, &job.environment, &mut interrupt).await?;
    let export = Export::plan(job, &inputs, &saved, plan.state.files.kubeconfig_file.as_deref())?;
    keep_credential(job, &plan.state.auth, &inputs, &saved, &mut interrupt).await?;

    let summary_file = job.file("GITHUB_STEP_SUMMARY").ok();
    let deliver = move |minted: &Minted, state: &State| {
        let receipt = &state.receipt;
        // The bearer of a proxy is not a token, and only the kubeconfig contains it.
        let token = match state.proxy {
            Some(_) => None,
            None => Some(("token", minted.token.expose())),
        };
        let files = [
            ("token-file", utf8_of(state.files.token_file.as_deref())?),
            ("kubeconfig", utf8_of(state.files.kubeconfig_file.as_deref())?),
        ];
        let expires_at = receipt.expires.map(|time| time.to_string()).unwrap_or_default();
        let mut values = Vec::from_iter(token);
        values.extend([
            ("expires-at", &*expires_at),
            ("anchor", &receipt.anchor),
            (
                "credential-id",
                receipt.credential_id.as_deref().unwrap_or_default(),
            ),
        ]);
        values.extend(files.iter().filter_map(|(name, path)| Some((*name, (*path)?))));
        output.set(&values)?;

        let handed_over = values
            .iter()
            .filter_map(|(name, value)| place(name, value, export.is_some()));
        let account = format!("{}/{}", receipt.namespace, receipt.service_account);
        let ends = Renewal::in_words(state.renewal.as_ref()) + "; revoked at the end of this job";
        let words = receipt.minted_in_words(&ends, &handed_over.collect::<Vec<_>>());
        commands::say(&format!("jobpass: {words}"));
        if let Some(report) = &minted.access {
            commands::access(report);
            summary::access(summary_file.as_ref(), &account, report);
        }
        // The renewer replaces the token in files, which exist by now.
        renew::in_background(state)?;
        // This comes last. So an earlier failure never leaves KUBECONFIG with the path of a missing file.
        match (&export, &state.files.kubeconfig_file) {
            (Some(export), Some(path)) => export.set(path),
            _ => Ok(()),
        }
    };
    let handover = Handover {
        revoked_by: None,
        record,
        open: Box::new(proxy::in_background),
        mask: commands::mask,
        deliver,
    };
    let minted = plan.mint(&job.origin(), handover, &mut interrupt).await;
    let minted = minted.inspect_err(|error| summary::refused(job, error))?;
    for warning in minted.warnings {
        commands::warning(&Error::new(Kind::Refused, warning));
    }
    Ok(())
}

/// Describes an output that hands the token over, for the log. `None` for every other output.
fn place(output: &str, value: &str, is_exported: bool) -> Option<String> {
    match output {
        "token" => Some("output `token`, masked".to_owned()),
        "kubeconfig" if is_exported => {
            Some(format!("KUBECONFIG and output `kubeconfig`: {}", harmless(value)))
        }
        "token-file" | "kubeconfig" => Some(format!("output `{output}`: {}", harmless(value))),
        _ => None,
    }
}

/// Saves the minter's credential for post, if post might not find it again. Masks the credential first,
/// because in debug mode the runner prints saved values.
async fn keep_credential(
    job: &Job,
    auth: &Auth,
    inputs: &Inputs,
    saved: &CommandFile,
    interrupt: &mut Interrupt,
) -> Result<(), Error> {
    let Some(kept) = Kept::of(auth, inputs, &job.environment) else {
        return Ok(());
    };
    let (secrets, saved) = (Minter::credentials(inputs, &job.environment), saved.clone());
    // This runs on a thread of its own: a log that nobody reads must not delay the reaction to a signal.
    let keeping = tokio::task::spawn_blocking(move || {
        commands::mask_credential(kept.expose(), &secrets)?;
        saved.keep(Some(&kept))?;
        // If the process that overwrites the saved credential does not start, the file stays as it is. `keep`
        // has made it private.
        let _ = forget::start(saved.path(), kept.expose());
        Ok(())
    });
    let panicked = |_| Error::defect("jobpass panicked while it masked the minter's credential");
    interrupt
        .run_until_signal(async { keeping.await.map_err(panicked)? })
        .await
}

/// A path as the value of an output.
fn utf8_of(path: Option<&Path>) -> Result<Option<&str>, Error> {
    path.map(|path| utf8("RUNNER_TEMP", path)).transpose()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("token", "s3cret", false, Some("output `token`, masked"))]
    #[case("token-file", "/tmp/a", true, Some("output `token-file`: /tmp/a"))]
    #[case("kubeconfig", "/tmp/a", false, Some("output `kubeconfig`: /tmp/a"))]
    #[case(
        "kubeconfig",
        "/tmp/a",
        true,
        Some("KUBECONFIG and output `kubeconfig`: /tmp/a")
    )]
    #[case("anchor", "jobpass-a", true, None)]
    fn the_log_says_where_the_token_is(
        #[case] output: &str,
        #[case] value: &str,
        #[case] is_exported: bool,
        #[case] expected: Option<&str>,
    ) {
        assert_eq!(place(output, value, is_exported).as_deref(), expected);
    }
}
