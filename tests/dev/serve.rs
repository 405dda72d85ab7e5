//! `jobpass-devkit serve`: a dev cluster for people.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, Command, Output, Stdio},
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

impl Running {
    /// Starts `jobpass-devkit serve --dir dev` in this folder. Returns the program and the lines that it
    /// printed.
    fn in_folder(folder: &Path) -> (Self, Vec<String>) {
        let mut serve = support::scrubbed(Command::new(support::binary("jobpass-devkit")));
        if let Some(records) = env::var_os("JOBPASS_TEST_RECORDS") {
            serve.env("JOBPASS_TEST_RECORDS", records);
        }
        serve.args(["serve", "--dir", "dev"]).current_dir(folder);
        serve.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut serve = Self(serve.spawn().expect("it starts"));
        let mut greeting = Vec::new();
        for line in BufReader::new(serve.0.stdout.take().expect("piped")).lines() {
            greeting.push(line.expect("text"));
            if greeting.last().is_some_and(|line| line.ends_with("Ctrl-C.")) {
                break;
            }
        }
        (serve, greeting)
    }

    /// Ends the program. Asserts that the program removes its kubeconfigs, and that the dev cluster supported
    /// every request.
    fn end(mut self, folder: &Path) {
        kill_process(Pid::from_child(&self.0), Signal::INT).expect("it runs");
        let mut notes = String::new();
        let mut stderr = self.0.stderr.take().expect("piped");
        stderr.read_to_string(&mut notes).expect("text");
        assert!(self.0.wait().expect("it ends").success());
        assert_eq!(notes, "", "the dev cluster does not support a request");
        assert!(!folder.join("dev").exists());
    }
}

/// Runs a script in a folder, with `jobpass` on PATH.
fn sh(folder: &Path, options: &[&str], script: &str) -> Output {
    let programs = support::binary("jobpass");
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = [programs.parent().expect("a folder").to_owned()];
    let path = env::join_paths(folders.into_iter().chain(env::split_paths(&path)));
    support::scrubbed(Command::new("sh"))
        .args(options)
        .args(["-c", script])
        .current_dir(folder)
        .env("PATH", path.expect("a PATH"))
        .output()
        .expect("sh starts")
}

#[test]
fn what_it_proposes_works() {
    let folder = tempfile::tempdir().expect("a folder");
    let (serve, greeting) = Running::in_folder(folder.path());
    let proposed = greeting.iter().filter_map(|line| line.strip_prefix("    "));
    let proposed = proposed.collect::<Vec<_>>().join("\n");
    let ran = sh(folder.path(), &["-e", "-x"], &proposed);
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
    serve.end(folder.path());
}

/// The quick start works word for word: each command runs, and prints the text below it. The page shows long
/// lines as a terminal wraps them.
#[test]
fn the_quick_start_works_word_for_word() {
    let page = fs::read_to_string(support::root().join("docs/quickstart-cli.md")).expect("the quick start");
    let blocks = page.split("```").skip(1).step_by(2);
    let blocks = blocks.filter_map(|block| block.split_once('\n'));
    let folder = tempfile::tempdir().expect("a folder");
    let (serve, greeting) = Running::in_folder(folder.path());
    // This test has already built the programs and started `serve`, so it leaves out these commands.
    let ours = [
        "cargo run --package jobpass-devkit -- serve --dir dev\n",
        "cargo install --locked --path crates/cli\n",
    ];
    let mut script = "exec 2>&1\n".to_owned();
    let mut shown = Vec::new();
    for (language, text) in blocks {
        match language {
            "sh" => script.push_str(&format!(
                "echo @@@\n{}",
                ours.iter()
                    .fold(text.to_owned(), |text, built| text.replace(built, ""))
            )),
            "text" => shown.push((script.matches("@@@").count(), text)),
            other => panic!("a block of {other}"),
        }
    }
    for built in ours {
        assert!(page.contains(built), "{built}");
    }
    let ran = sh(folder.path(), &[], &script);
    let said = String::from_utf8(ran.stdout).expect("text");
    let mut printed = said.split("@@@\n").map(str::to_owned).collect::<Vec<_>>();
    printed[1] = greeting.join("\n");
    assert_eq!(shown.len(), 8);
    for (command, text) in shown {
        let (printed, text) = (lasting(&printed[command]), lasting(text));
        assert!(printed.contains(&text), "{text}\n{said}");
    }
    assert_eq!(
        fs::read_dir(folder.path()).expect("a folder").count(),
        1,
        "the quick start leaves something behind"
    );
    serve.end(folder.path());
}

/// The parts of a text that are always the same, in one line. Leaves out numbers with their units, paths and
/// the names of anchors.
fn lasting(text: &str) -> String {
    let differs = |word: &&str| {
        word.starts_with(['/', '`'])
            || word.contains("jobpass-")
            || word.contains(|character: char| character.is_ascii_digit())
            || ["d", "h", "min", "s"].contains(word)
    };
    let words = text.split_whitespace();
    let mut words = words
        .map(|word| if differs(&word) { "#" } else { word })
        .collect::<Vec<_>>();
    // `1 h` and `59 min 30 s` become one and the same mark.
    words.dedup_by(|next, word| next == word && *word == "#");
    words.join(" ")
}
