//! The job's ID tokens (OIDC): GitHub's endpoint for them, and the reasons for which GitHub may refuse them.

use jobpass_core::{
    Error,
    inputs::options::{Inputs, Opt},
    process::environment::{Environment, IdTokens},
    token::Token,
};

use crate::commands;

const URL: &str = "ACTIONS_ID_TOKEN_REQUEST_URL";
const BEARER: &str = "ACTIONS_ID_TOKEN_REQUEST_TOKEN";

/// GitHub's endpoint for ID tokens, from two variables. If the job has the permission `id-token: write`, the
/// runner sets them in main and in post, and overwrites other values (`Handlers/NodeScriptActionHandler.cs`).
/// Without the permission, a step can set them through GITHUB_ENV.
pub(crate) fn source(environment: &Environment) -> Option<IdTokens> {
    Some(IdTokens {
        url: environment.get(URL)?.to_owned(),
        variable: URL,
        bearer: Token::parse(environment.get(BEARER)?, BEARER).ok()?,
        mask: commands::mask_token,
    })
}

/// Checks that the job has the permission to request an ID token, if it needs one.
///
/// # Errors
/// If the job lacks the permission.
pub(crate) fn check_permission(inputs: &Inputs, environment: &Environment) -> Result<(), Error> {
    if inputs.get(Opt::OidcAudience).is_none() || environment.id_tokens().is_some() {
        return Ok(());
    }
    let help = if is_from_fork(environment) {
        "This is a pull request from a fork. For the event `pull_request`, GitHub by default gives its \
         jobs no ID token, whatever `permissions` says, because anybody can open such a pull request. \
         Run this step after the merge (`on: push`), or leave it out for pull requests from forks:\n\n    \
         if: github.event.pull_request == null || github.event.pull_request.head.repo.full_name == \
         github.repository"
    } else {
        concat!(
            "Give the job this permission. If the job is in a reusable workflow, the calling job must give the \
             permission as well:\n\n",
            "    permissions:\n",
            "      id-token: write   # to ask GitHub for an ID token\n",
            "      contents: read    # for actions/checkout: a job that names permissions gets no others",
        )
    };
    Err(Error::input(
        Opt::OidcAudience,
        "needs an ID token, and this job may not request one",
        help,
    ))
}

/// Whether a pull request from a fork started the workflow (docs.github.com, "Webhook events and payloads").
fn is_from_fork(environment: &Environment) -> bool {
    let event = environment
        .get("GITHUB_EVENT_PATH")
        .and_then(|path| std::fs::read(path).ok());
    let event = event.and_then(|json| serde_json::from_slice::<serde_json::Value>(&json).ok());
    event.is_some_and(|event| {
        let head = &event["pull_request"]["head"]["repo"];
        // If somebody deleted the fork meanwhile, `head.repo` is `null`, and so is its `full_name`.
        event["pull_request"].is_object() && head["full_name"] != event["repository"]["full_name"]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(event: &str) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("event.json");
        std::fs::write(&path, event).expect("written");
        let environment = Environment::from([("GITHUB_EVENT_PATH", path.to_str().expect("text"))]);
        let inputs = Inputs::from([(Opt::OidcAudience, "k8s")]);
        check_permission(&inputs, &environment)
            .expect_err("refused")
            .to_string()
    }

    #[test]
    fn a_job_without_the_permission_reads_what_to_add() {
        for event in [
            "{}",
            "no JSON",
            r#"{"repository": {"full_name": "a/b"}, "pull_request": {"head": {"repo": {"full_name": "a/b"}}}}"#,
        ] {
            let refusal = refusal(event);
            let lines: Vec<_> = refusal
                .lines()
                .rev()
                .take(3)
                .map(|line| line.split(" #").next())
                .collect();
            let expected = [
                "      contents: read   ",
                "      id-token: write  ",
                "    permissions:",
            ];
            assert_eq!(lines, expected.map(Some), "{refusal}");
        }
    }

    #[test]
    fn a_pull_request_from_a_fork_reads_that_there_is_nothing_to_add() {
        for event in [
            r#"{"repository": {"full_name": "a/b"}, "pull_request": {"head": {"repo": {"full_name": "c/b"}}}}"#,
            r#"{"repository": {"full_name": "a/b"}, "pull_request": {"head": {"repo": null}}}"#,
        ] {
            let refusal = refusal(event);
            assert!(
                refusal.contains("from a fork") && !refusal.contains("permissions:\n"),
                "{refusal}"
            );
            let condition = "\n    if: github.event.pull_request == null || github.event.pull_request.head.repo.full_name == github.repository";
            assert!(refusal.contains(condition), "{refusal}");
        }
    }
}
