//! `jobpass-gitlab revoke`: revokes the token in `after_script` if the guard has not revoked it, or in a job
//! of stage `.post`.

use std::fs;

use clap::{Arg, ArgAction, ArgMatches, Command};
use jobpass_core::{
    Error, Kind,
    claims::Claims,
    inputs::{
        flags,
        options::{Inputs, Opt},
    },
    life::revoke::{self, Revoked},
    process::interrupt::Interrupt,
    record::state::{State, lost},
    text::{self, harmless},
    token::Token,
};

use crate::{
    dotenv::{self, ANCHOR, ANCHOR_UID},
    guard::{self, Request},
    job::{Job, Recorded},
    log, sealed,
};

/// The options for the end of a job. Most of them name the API server, the minter, and the objects that
/// jobpass created for the job. The last two decide about the proof and about a failure to revoke.
const OPTIONS: [Opt; 13] = [
    Opt::ServiceAccount,
    Opt::RoleRules,
    Opt::Audiences,
    Opt::Kubeconfig,
    Opt::Context,
    Opt::Server,
    Opt::CertificateAuthority,
    Opt::BearerTokenFile,
    Opt::BearerTokenEnv,
    Opt::JobServer,
    Opt::JobCertificateAuthority,
    Opt::VerifyRevocation,
    Opt::FailOnRevokeError,
];

pub(crate) fn command() -> Command {
    let switch = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    Command::new("revoke")
        .about("Revoke every token that this job minted, prove that it is dead, and remove the files")
        .args(OPTIONS.map(flags::flag))
        .args([dotenv::variable_flag(), sealed::identity_flag()])
        .args([
            switch(
                "handed-over",
                "Instead, revoke the token that an earlier job handed over (JOBPASS_ANCHOR of its dotenv report)",
            ),
            switch(
                "unless-success",
                "Revoke only if CI_JOB_STATUS is not `success`: for the after_script of a job that hands \
                 its token over",
            )
            .conflicts_with("handed-over"),
        ])
        .after_help("Example:\n  jobpass-gitlab revoke --verify-revocation wait")
}

pub(crate) async fn run(matches: &ArgMatches, job: &Job, interrupt: Interrupt) -> Result<(), Error> {
    let inputs = flags::inputs_at_end(matches)?;
    let failures = if matches.get_flag("handed-over") {
        handed_over(matches, job, &inputs, interrupt).await
    } else if matches.get_flag("unless-success") && job.environment.get("CI_JOB_STATUS") == Some("success") {
        hand_on(job)
    } else {
        recorded(job, &inputs, interrupt).await
    };
    if inputs.flag(Opt::FailOnRevokeError).unwrap_or(true) {
        let mut failures = failures;
        let last = failures.pop();
        failures.iter().for_each(log::error);
        return last.map_or(Ok(()), Err);
    }
    failures.iter().for_each(log::warning);
    Ok(())
}

/// Revokes every token that this job recorded, one after the other, and goes on after a failure. If a guard
/// still runs, asks the guard to revoke its token.
async fn recorded(job: &Job, inputs: &Inputs, mut interrupt: Interrupt) -> Vec<Error> {
    guard::tell(job, Request::Revoke);
    let mut failures = Vec::new();
    let endings = guard::endings(job);
    let recorded = job.recorded();
    let had_begun = job.had_begun();
    if endings.is_empty() && recorded.is_empty() {
        match had_begun {
            true => drop(log::say("jobpass: nothing to revoke: this job minted no token")),
            false => log::warning(&nothing_recorded(job)),
        }
    }
    for mut ending in endings {
        failures.extend(ending.show().err());
    }
    for Recorded {
        path,
        anchor,
        is_ours,
    } in recorded
    {
        if !is_ours {
            let what = format!(
                "the recorded state `{}` is a link, or belongs to another user, or another user can write \
                 to it",
                text::path(&path)
            );
            let error = Error::new(Kind::Revoke, what).help(
                "jobpass left the file alone, because the file names the server to which jobpass would send \
                 the minter's credential. Find out who wrote the file",
            );
            failures.push(by_hand(&error, &anchor, job));
            continue;
        }
        let state = match State::read(&path) {
            Ok(state) => Ok(state),
            Err(error) => {
                log::warning(&error);
                reconstruct(job, inputs, &anchor, None, &mut interrupt).await
            }
        };
        let outcome = match state {
            Ok(state) => {
                let existed = state.receipt.minted.is_some();
                revoke(job, inputs, state, existed, &mut interrupt).await
            }
            Err(error) => Err(error),
        };
        // After a failure, the state stays for a later attempt.
        match outcome {
            Ok(_) => drop(fs::remove_file(path)),
            Err(error) => failures.push(error),
        }
    }
    failures
}

/// The warning that there is no record: `mint` did not run, or somebody removed the record.
fn nothing_recorded(job: &Job) -> Error {
    // After a `\` at the end of a line, Rust drops the spaces at the beginning of the next line.
    const INDENT: &str = "  ";
    let get = |name| harmless(job.environment.get(name).unwrap_or(name));
    let template = job.environment.get("JOBPASS_TEMPLATE").unwrap_or(".jobpass");
    let template = harmless(template);
    Error::new(
        Kind::Revoke,
        "nothing to revoke: this job has no record of a token",
    )
    .help(format!(
        "a job that extends `{template}` and has a `before_script` of its own mints no token, and gets no \
         KUBECONFIG: its scripts replace those of the template. Call the template's scripts from yours:\n\n\
         {INDENT}before_script:\n\
         {INDENT}  - !reference [{template}, before_script]\n\
         {INDENT}  # then your own commands\n\
         {INDENT}after_script:\n\
         {INDENT}  # your own commands, then\n\
         {INDENT}  - !reference [{template}, after_script]\n\n\
         If a program removed `{}` while the job ran, the job's token may still work. Ask an administrator \
         to revoke it with this command:\n\n  kubectl delete secrets --all-namespaces --selector \
         jobpass.dev/run-id={},jobpass.dev/job={},app.kubernetes.io/managed-by=jobpass",
        harmless(&job.folder_name()),
        get("CI_PIPELINE_ID"),
        get("CI_JOB_ID"),
    ))
}

/// Leaves the token of a successful job to the jobs that got it.
fn hand_on(job: &Job) -> Vec<Error> {
    let mut failures = Vec::new();
    job.had_begun();
    for Recorded { path, anchor, .. } in job.recorded().into_iter().filter(|recorded| recorded.is_ours) {
        if let Ok(state) = State::read(&path) {
            failures.extend(state.files.remove().err());
        }
        let _ = fs::remove_file(path);
        log::say(&format!(
            "jobpass: this job succeeded: later jobs get its token (anchor {}), until `revoke \
             --handed-over` revokes it",
            harmless(&anchor)
        ));
    }
    failures
}

/// Revokes the token that an earlier job handed over in its dotenv report.
///
/// A project variable, or a variable of one pipeline run, takes precedence over the report. So the anchor
/// and its uid come from the token's own claims, if jobpass can read the token. A legacy token does not
/// contain the uid. jobpass then deletes its Secret by the name alone, because a wrong uid would keep the
/// token alive. Without the identity, jobpass cannot read a sealed token, and takes the anchor from the
/// variables.
async fn handed_over(
    matches: &ArgMatches,
    job: &Job,
    inputs: &Inputs,
    mut interrupt: Interrupt,
) -> Vec<Error> {
    let token = dotenv::variable(matches)
        .ok()
        .and_then(|name| dotenv::handed_over(name, matches, &job.environment)?.ok());
    let claimed = token.as_ref().and_then(claimed);
    let named = job.environment.get(ANCHOR);
    let (anchor, uid) = match (&claimed, named) {
        (Some((anchor, uid)), _) => (&**anchor, uid.as_deref()),
        (None, Some(named)) => (named, job.environment.get(ANCHOR_UID)),
        (None, None) => {
            log::say(&format!(
                "jobpass: no token to revoke, because this job got no {ANCHOR}. If the job that mints has handed a \
                 token over, add that job to `needs` or `dependencies` of this job"
            ));
            return Vec::new();
        }
    };
    let outcome = match reconstruct(job, inputs, anchor, uid, &mut interrupt).await {
        Ok(mut state) => {
            let environment = &job.environment;
            let revoked = revoke::at_end_of_job(&mut state, token, inputs, environment, &mut interrupt).await;
            // If the uid comes from a variable, a Secret with another uid does not show that the token is dead.
            if let Ok(revoked) = &revoked
                && (claimed.is_some() || !revoked.left_alone)
            {
                guard::show(&state.receipt, true, &revoked.notes);
            }
            revoked
        }
        Err(error) => Err(error),
    };
    let failure = match outcome {
        Err(error) => Some(error),
        Ok(revoked) if revoked.left_alone && claimed.is_none() => {
            let what = format!("{ANCHOR_UID} is not the uid of the anchor that {ANCHOR} names");
            let error = Error::new(Kind::Revoke, what).help(
                "at least one of these variables does not come from the job that minted the token: somebody \
                 set it for the project, the group, the instance or the pipeline. Remove that setting",
            );
            // If the variable with the name is the wrong one, the name is of no use. So the commands find the
            // anchor by its run.
            Some(by_hand(&error, "", job))
        }
        Ok(_) => named.filter(|named| *named != anchor).map(|named| {
            let what = format!(
                "{ANCHOR} names {}, but the handed-over token is bound to {}",
                harmless(named),
                harmless(anchor)
            );
            Error::new(Kind::Revoke, what).help(format!(
                "jobpass revoked the handed-over token, and left the anchor that {ANCHOR} names alone. \
                 Remove the variable {ANCHOR} from the project, the group, the instance or the pipeline run"
            ))
        }),
    };
    failure.into_iter().collect()
}

/// The anchor of a token as `NAMESPACE/NAME`, and the anchor's uid, from the token's own claims.
fn claimed(token: &Token) -> Option<(String, Option<String>)> {
    let claims = Claims::decode(token).ok()?;
    if let (Some(namespace), Some(secret)) = (&claims.legacy_namespace, &claims.legacy_secret) {
        return Some((format!("{namespace}/{secret}"), None));
    }
    let kubernetes = claims.kubernetes?;
    let anchor = kubernetes.secret?;
    Some((format!("{}/{}", kubernetes.namespace?, anchor.name), anchor.uid))
}

async fn revoke(
    job: &Job,
    inputs: &Inputs,
    mut state: State,
    existed: bool,
    interrupt: &mut Interrupt,
) -> Result<Revoked, Error> {
    let revoked = revoke::at_end_of_job(&mut state, None, inputs, &job.environment, interrupt).await?;
    guard::show(&state.receipt, existed, &revoked.notes);
    Ok(revoked)
}

/// Builds a state from the anchor's name, and from its uid if that is known. The caller has no readable
/// record of the state.
async fn reconstruct(
    job: &Job,
    inputs: &Inputs,
    anchor: &str,
    uid: Option<&str>,
    interrupt: &mut Interrupt,
) -> Result<State, Error> {
    let run_id = job.environment.get("CI_PIPELINE_ID");
    State::reconstruct(anchor, uid, inputs, &job.environment, run_id, interrupt).await
}

/// The failure to revoke, with the commands that revoke without jobpass.
fn by_hand(cause: &Error, anchor: &str, job: &Job) -> Error {
    lost(cause, anchor, job.environment.get("CI_PIPELINE_ID"))
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::job::tests::job;

    /// The token's own claims take precedence over the variables of the pipeline, because a person can set
    /// those variables.
    #[rstest]
    #[case::bound(
        json!({"kubernetes.io": {"namespace": "ci", "secret": {"name": "jobpass-a", "uid": "u-1"}}}),
        Some(("ci/jobpass-a", Some("u-1")))
    )]
    #[case::legacy(
        json!({"kubernetes.io/serviceaccount/namespace": "ci", "kubernetes.io/serviceaccount/secret.name": "jobpass-a"}),
        Some(("ci/jobpass-a", None))
    )]
    #[case::bound_to_a_pod(json!({"kubernetes.io": {"namespace": "ci", "pod": {"name": "p", "uid": "u-1"}}}), None)]
    #[case::without_a_namespace(json!({"kubernetes.io": {"secret": {"name": "jobpass-a"}}}), None)]
    #[case::of_somebody_else(json!({"sub": "jane"}), None)]
    fn a_token_names_its_anchor(
        #[case] claims: serde_json::Value,
        #[case] expected: Option<(&str, Option<&str>)>,
    ) {
        let token = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let claimed = claimed(&Token::parse(&token, "token").expect("a token"));
        let claimed = claimed.as_ref().map(|(anchor, uid)| (&**anchor, uid.as_deref()));
        assert_eq!(claimed, expected);
        assert_eq!(
            self::claimed(&Token::parse("opaque", "token").expect("a token")),
            None
        );
    }

    /// The input `job-name` decides under which name jobs extend the template. The warning must use that
    /// name.
    #[rstest]
    #[case::the_component(&[], ".jobpass")]
    #[case::another(&[("JOBPASS_TEMPLATE", ".cluster")], ".cluster")]
    fn a_job_without_a_record_learns_why(#[case] variables: &[(&str, &str)], #[case] template: &str) {
        let folder = tempfile::tempdir().expect("a folder");
        let error = nothing_recorded(&job(folder.path(), variables));
        assert_eq!(error.kind(), Kind::Revoke);
        let help = error.next_step().expect("a next step");
        assert!(
            help.contains(&format!("- !reference [{template}, before_script]")),
            "{help}"
        );
        assert!(
            help.ends_with("jobpass.dev/run-id=7,jobpass.dev/job=42,app.kubernetes.io/managed-by=jobpass"),
            "{help}"
        );
    }

    const RECORDED: &str = r#"{"version":1,"connection":{"server":"https://10.0.0.1:6443"},"auth":{"kind":"in-cluster"},
        "receipt":{"service-account":"scanner","namespace":"ci","anchor":"jobpass-1f0c6e7a1f0c6e7a1f0c"},
        "for-api-server":true,"files":{"token-file":"TOKEN"}}"#;

    /// Later jobs get the token from the report, so they do not need the files of this job.
    #[test]
    fn a_job_that_hands_its_token_on_keeps_neither_state_nor_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let job = job(folder.path(), &[]);
        let token = folder.path().join("token");
        fs::write(&token, "t0ken").expect("written");
        let state = job.file("ci.jobpass-1f0c6e7a1f0c6e7a1f0c.json");
        fs::write(&state, RECORDED.replace("TOKEN", token.to_str().expect("text"))).expect("written");
        job.begin();
        assert!(hand_on(&job).is_empty());
        assert!(!token.exists() && !state.exists() && !job.had_begun());
    }

    /// A state that another user wrote may name files of this user, so jobpass removes none of them.
    #[test]
    fn a_state_that_is_not_ours_removes_nothing() {
        use std::os::unix::fs::PermissionsExt as _;

        let folder = tempfile::tempdir().expect("a folder");
        let job = job(folder.path(), &[]);
        let file = folder.path().join("of-this-user");
        fs::write(&file, "").expect("written");
        let state = job.file("ci.jobpass-1f0c6e7a1f0c6e7a1f0c.json");
        fs::write(&state, RECORDED.replace("TOKEN", file.to_str().expect("text"))).expect("written");
        fs::set_permissions(&state, fs::Permissions::from_mode(0o666)).expect("set");
        assert!(hand_on(&job).is_empty());
        assert!(file.exists() && state.exists());
    }
}
