//! `jobpass-devkit serve`: a dev cluster for people.

use std::{
    env,
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::support;

/// A program that is running.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
    }
}

#[test]
fn what_it_proposes_works() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut serve = support::scrubbed(Command::new(support::binary("jobpass-devkit")));
    if let Some(records) = env::var_os("JOBPASS_TEST_RECORDS") {
        serve.env("JOBPASS_TEST_RECORDS", records);
    }
    serve.arg("serve").arg("--dir").arg(folder.path().join("dev"));
    serve.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut serve = Running(serve.spawn().expect("it starts"));
    let mut greeting = BufReader::new(serve.0.stdout.take().expect("piped")).lines();
    let mut proposed = Vec::new();
    for line in greeting.by_ref() {
        let line = line.expect("text");
        match line.strip_prefix("    ") {
            Some(command) => proposed.push(command.to_owned()),
            None if line.ends_with("Ctrl-C.") => break,
            None => {}
        }
    }

    let programs = support::binary("jobpass");
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = [programs.parent().expect("a folder").to_owned()];
    let path = env::join_paths(folders.into_iter().chain(env::split_paths(&path)));
    let ran = support::scrubbed(Command::new("sh"))
        .args(["-e", "-x", "-c", &proposed.join("\n")])
        .current_dir(folder.path())
        .env("PATH", path.expect("a PATH"))
        .output()
        .expect("sh starts");
    let said = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
    assert!(ran.status.success(), "{said}");
    for part in [
        "minted a token for",
        " live",
        "revoked the token of",
        "system:serviceaccount:ci:scanner",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }

    kill_process(Pid::from_child(&serve.0), Signal::INT).expect("it runs");
    let mut notes = String::new();
    let mut stderr = serve.0.stderr.take().expect("piped");
    stderr.read_to_string(&mut notes).expect("text");
    assert!(serve.0.wait().expect("it ends").success());
    assert_eq!(notes, "", "it was not made for what it proposes");
    assert!(!folder.path().join("dev").exists());
}
