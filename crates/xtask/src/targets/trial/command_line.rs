//! The command line, as a person runs it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};

use super::{PODS, Trial, signal};
use crate::workspace::output;

const MINTER: [&str; 4] = ["--service-account", "scanner", "--kubeconfig", "minter.yaml"];

/// Mints into files, uses the token, and revokes it.
pub(super) fn mint_use_revoke(trial: &Trial<'_>) -> Result<()> {
    output(trial.program("jobpass").arg("mint").args(MINTER).args([
        "--token-file",
        "token",
        "--kubeconfig-file",
        "kubeconfig",
    ]))?;
    trial.list_pods(&trial.folder.path().join("kubeconfig"))?;
    let whoami = output(
        trial
            .program("jobpass")
            .args(["whoami", "--kubeconfig", "kubeconfig"]),
    )?;
    ensure!(
        whoami.contains("scanner"),
        "the token is not the one of `scanner`: {whoami}"
    );
    // `whoami` has just used the token, so the API server caches the token for 10 seconds.
    let revoked = output(
        trial
            .program("jobpass")
            .args(["revoke", "--token-file", "token"])
            .args(["--verify-revocation", "wait"]),
    )?;
    ensure!(
        revoked.contains("401"),
        "revoke has no proof that the token is dead: {revoked}"
    );
    for file in ["token", "kubeconfig"] {
        ensure!(
            !trial.folder.path().join(file).exists(),
            "revoke left the file {file}"
        );
    }
    trial.nothing_is_left()
}

/// jobpass finds the command on PATH, masks its output, and ends with its exit code.
pub(super) fn exec(trial: &Trial<'_>) -> Result<()> {
    let exec = trial
        .program("jobpass")
        .arg("exec")
        .args(MINTER)
        .args(["--env", "TOKEN", "--"])
        .args(trial.machine.shell(
            "echo the token is $TOKEN; exit 3",
            "echo the token is %TOKEN%& exit 3",
        ))
        .output()?;
    let said = String::from_utf8_lossy(&exec.stdout);
    ensure!(
        exec.status.code() == Some(3) && said.contains("the token is [MASKED]"),
        "exec ended with {}: {said}{}",
        exec.status,
        String::from_utf8_lossy(&exec.stderr)
    );
    trial.nothing_is_left()
}

/// A person interrupts the command, and jobpass revokes its token.
pub(super) fn interrupt(trial: &Trial<'_>) -> Result<()> {
    let mut exec = trial
        .program("jobpass")
        .arg("exec")
        .args(MINTER)
        .arg("--")
        .args(trial.machine.shell(
            "echo started; exec sleep 600",
            "echo started& ping -n 10 127.0.0.1 > nul",
        ))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut said = BufReader::new(exec.stdout.take().context("a pipe")?);
    let mut line = String::new();
    said.read_line(&mut line)?;
    ensure!(line.trim_end() == "started", "the command printed: {line}");
    signal("INT", &exec)?;
    let status = exec.wait()?;
    said.read_to_string(&mut line)?;
    // On Windows, the console interrupts the command, and wine has no console here. So the command ends
    // later.
    ensure!(
        status.code() == Some(130) || !trial.machine.has_a_posix_shell(),
        "exec ended with {status}: {line}"
    );
    trial.nothing_is_left()
}

/// The command reaches the API server through the proxy, and has no token. The command can already read the
/// record.
pub(super) fn proxy(trial: &Trial<'_>) -> Result<()> {
    let kubectl = format!(
        "{} get --raw {PODS} && cat record && echo it worked",
        trial.kubectl.display()
    );
    let jobpass = trial.machine.path(&trial.programs.join("jobpass.exe"));
    // Windows' command `type` cannot open a file while another program writes to it. `learn` can.
    let whoami = format!("{jobpass} whoami && {jobpass} learn record && echo it worked");
    let exec = output(
        trial
            .program("jobpass")
            .arg("exec")
            .args(MINTER)
            .args(["--proxy", "--record", "record", "--"])
            .args(trial.machine.shell(&kubectl, &whoami)),
    )?;
    ensure!(exec.contains("it worked"), "exec printed: {exec}");
    let record = std::fs::read_to_string(trial.folder.path().join("record"))?;
    ensure!(
        record.contains(r#""status":20"#),
        "no request is recorded: {record}"
    );
    trial.nothing_is_left()
}
