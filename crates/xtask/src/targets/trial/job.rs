//! A GitLab job, as the templates run it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::Trial;
use crate::workspace::output;

/// A job gets its token in files. `mint` starts the guard beside the job, and `revoke` leaves neither a file
/// nor a token that works.
pub(super) fn with_files(trial: &Trial<'_>) -> Result<()> {
    let files = [
        ("JOBPASS_TOKEN_FILE", "true"),
        ("JOBPASS_KUBECONFIG_FILE", "true"),
    ];
    output(job(trial, "7001", "mint")?.envs(files))?;
    let temp = project(trial).with_extension("tmp");
    trial.list_pods(&temp.join("jobpass-7001.kubeconfig"))?;
    output(job(trial, "7001", "revoke")?.env("CI_JOB_STATUS", "success"))?;
    ensure!(fs::read_dir(&temp)?.next().is_none(), "the job leaves files");
    trial.nothing_is_left()
}

/// A job hands its token over to a later job in a dotenv report, and a third job revokes the token.
pub(super) fn handed_over(trial: &Trial<'_>) -> Result<()> {
    output(job(trial, "7001", "mint")?.env("JOBPASS_DOTENV", "jobpass.env"))?;
    let report = fs::read_to_string(project(trial).join("jobpass.env"))?;
    let handed = || report.lines().filter_map(|line| line.split_once('='));
    output(
        job(trial, "7002", "open")?
            .envs(handed())
            .env("JOBPASS_TOKEN_FILE", "true"),
    )?;
    let opened = project(trial).with_extension("tmp").join("jobpass-7002.token");
    let opened = fs::read_to_string(&opened).context("no token is handed over")?;
    ensure!(
        trial.cluster.issued() == [opened],
        "the handed-over token is not the only issued token"
    );
    output(
        job(trial, "7003", "revoke")?
            .arg("--handed-over")
            .envs(handed())
            .env("CI_JOB_STATUS", "success"),
    )?;
    trial.nothing_is_left()
}

fn project(trial: &Trial<'_>) -> PathBuf {
    trial.folder.path().join("scan")
}

/// A command of a job, with the job's variables.
fn job(trial: &Trial<'_>, id: &str, verb: &str) -> Result<Command> {
    let project = project(trial);
    fs::create_dir_all(&project)?;
    let mut command = trial.program("jobpass-gitlab");
    command
        .arg(verb)
        .env("CI_PROJECT_DIR", &project)
        .env("CI_PROJECT_PATH", "team/scan")
        .env("CI_PIPELINE_ID", "77")
        .env("CI_JOB_ID", id)
        .env("CI_JOB_TIMEOUT", "3600")
        .env("JOBPASS_SERVICE_ACCOUNT", "scanner")
        .env("JOBPASS_NAMESPACE", "ci")
        .env("JOBPASS_KUBECONFIG", trial.folder.path().join("minter.yaml"))
        .current_dir(project);
    Ok(command)
}
