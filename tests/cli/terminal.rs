//! The output on a terminal, and the files for shells and `man`.

use std::{
    fs,
    process::{Command, Output},
};

use rstest::rstest;

use super::Desk;
use crate::support;

impl Desk {
    /// Runs a script in a terminal with this number of columns. `$JOBPASS` is jobpass.
    fn on_terminal(&self, columns: usize, variable: (&str, &str), script: &str) -> String {
        let script = self.here(&format!("stty rows 24 cols {columns}; {script}"));
        let Output { stdout, .. } = support::scrubbed(Command::new("script"))
            .args(["--quiet", "--return", "--command", &script, "/dev/null"])
            .current_dir(self.path("."))
            .env("JOBPASS", support::binary("jobpass"))
            .env("TERM", "xterm")
            .env_remove("NO_COLOR")
            .env(variable.0, variable.1)
            .output()
            .expect("script(1) starts");
        String::from_utf8(stdout).expect("text")
    }
}

#[rstest]
#[case(("SOME", "1"), true)]
#[case(("NO_COLOR", "1"), false)]
#[case(("TERM", "dumb"), false)]
fn a_terminal_is_not_left_and_only_it_has_colours(#[case] variable: (&str, &str), #[case] colours: bool) {
    let desk = Desk::new();
    desk.mint(&["--kubeconfig-file", "scan.yaml"]).succeeded();
    for columns in [120, 60] {
        // Results, a failure, and a warning. The test does not compare the results themselves.
        let script = "$JOBPASS inspect --kubeconfig scan.yaml --verify; $JOBPASS whoami --kubeconfig scan.yaml; \
                      $JOBPASS check --kubeconfig scan.yaml 'get pods' 'create pods/exec target-pod'; \
                      $JOBPASS setup --service-account scanner --namespace NAMESPACE --minter user:jane > setup.yaml";
        let shown = desk.on_terminal(columns, variable, script);
        assert!(shown.contains("█  expires in"), "{shown}");
        for coloured in [
            "\u{1b}[32mok",
            "\u{1b}[31mFAILED",
            "\u{1b}[31mjobpass:\u{1b}[0m `create pods/exec target-pod`",
            "\u{1b}[33mjobpass: warning:\u{1b}[0m this set-up has no sweeper",
        ] {
            assert_eq!(shown.contains(coloured), colours, "{shown}");
        }
        let lines = shown.lines().map(|line| {
            let plain = ["\u{1b}[31m", "\u{1b}[32m", "\u{1b}[33m", "\u{1b}[1m", "\u{1b}[0m"];
            plain
                .iter()
                .fold(line.to_owned(), |line, colour| line.replace(colour, ""))
        });
        let longest = lines.map(|line| line.chars().count()).max();
        assert!(longest <= Some(columns), "{shown}");
    }
    let piped = desk.run(&["inspect", "--kubeconfig", "scan.yaml"]);
    assert!(!piped.log.contains('\u{1b}'), "{}", piped.log);
}

/// A terminal shows the text that a person types, so jobpass reads no token from it.
#[test]
fn no_token_is_typed_into_a_terminal() {
    let shown = Desk::new().on_terminal(80, ("SOME", "1"), "$JOBPASS inspect");
    assert!(shown.contains("is a terminal, and a terminal shows"), "{shown}");
}

/// jobpass draws each state of the bar over the one before, and erases the bar at the end.
#[test]
fn a_wait_is_a_bar() {
    let desk = Desk::new();
    let test = "$JOBPASS expiry-test --service-account scanner --namespace NAMESPACE --kubeconfig minter.yaml --revoke-after 2s";
    let shown = desk.on_terminal(60, ("SOME", "1"), test);
    assert!(
        shown.contains("\r\u{1b}[2K") && shown.contains("█") && shown.contains("jobpass revokes it in 1 s"),
        "{shown}"
    );
    let (_, result) = shown.rsplit_once("\u{1b}[2K").expect("a bar");
    assert!(
        result.starts_with("\u{1b}[1mtoken") && result.contains("passed"),
        "{shown}"
    );
}

#[test]
fn shells_and_man_know_every_verb() {
    let desk = Desk::new();
    let help = desk.run(&["--help"]).succeeded().log;
    let verbs = help
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1);
    let verbs = verbs
        .take_while(|line| !line.is_empty())
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next());
    let verbs = verbs.filter(|verb| *verb != "help").collect::<Vec<_>>();
    assert!(verbs.contains(&"expiry-test"), "{help}");

    desk.run(&["man", "share/man/man1"]).succeeded();
    let bash = desk.run(&["completions", "bash"]).succeeded().log;
    for verb in verbs {
        let page = desk.path(&format!("share/man/man1/jobpass-{verb}.1"));
        assert!(page.is_file(), "{verb}");
        assert!(bash.contains(&format!("jobpass,{verb})")), "{verb}");
    }
    fs::write(desk.path("completions"), bash).expect("written");
    let complete = "source ./completions; COMP_WORDS=(jobpass who); COMP_CWORD=1; _jobpass jobpass who jobpass; echo \"${COMPREPLY[@]}\"";
    let completed = Command::new("bash")
        .args(["-c", complete])
        .current_dir(desk.path("."))
        .output()
        .expect("bash starts");
    assert_eq!(String::from_utf8_lossy(&completed.stdout), "whoami\n");

    // A folder cannot be below a file.
    let nowhere = desk.run(&["man", "completions/man1"]);
    assert_eq!(nowhere.code(), 2, "{}", nowhere.log);
}
