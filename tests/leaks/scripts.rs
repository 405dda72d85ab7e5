//! Careless scripts, run behind `jobpass exec` and judged: does their output give the token away?
//!
//! See `scripts/README.md`.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    io::{Seek as _, Write as _},
    path::Path,
    process::Command,
    sync::OnceLock,
    time::Duration,
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jobpass_core::{
    masks, process::files::create_private_folder, record::filter::FilterJournal, token::Token,
};
use jobpass_judge::{Finding, Judge, Verdict};
use jobpass_tests::{launch::tool, runner::github::Masker};

use super::views::Random;
use crate::{cli::Desk, cluster::Cluster, support};

/// The kinds of outputs. The test writes the tables of `docs/masking.md` in this order.
const KINDS: [&str; 13] = [
    include_str!("scripts/plain.bash"),
    include_str!("scripts/clients.bash"),
    include_str!("scripts/parts.bash"),
    include_str!("scripts/base64.bash"),
    include_str!("scripts/escapes.bash"),
    include_str!("scripts/hex.bash"),
    include_str!("scripts/dumps.bash"),
    include_str!("scripts/numbers.bash"),
    include_str!("scripts/folded.bash"),
    include_str!("scripts/decorated.bash"),
    include_str!("scripts/terminal.bash"),
    include_str!("scripts/debugging.bash"),
    include_str!("scripts/beyond.bash"),
];
const EXCEPTIONS: &str = include_str!("scripts/exceptions.txt");

/// A script of the corpus.
struct Script {
    kind: &'static str,
    name: &'static str,
    text: &'static str,
    /// The reason why the mask does not cover the script, and the command that undoes the encoding.
    exception: Option<(&'static str, &'static str)>,
}

fn corpus() -> Vec<Script> {
    let exceptions = exceptions();
    let exception = |name| {
        let found = exceptions.iter().find(|(_, known, _)| *known == name);
        found.map(|(reason, _, undo)| (*reason, *undo))
    };
    let scripts = KINDS.iter().flat_map(|file| {
        let mut parts = file.split("### ");
        let kind = parts.next().and_then(|first| first.trim().strip_prefix("# "));
        parts.map(move |script| {
            let (name, text) = script.split_once('\n').expect("a name and a script");
            (kind.expect("a title"), name, text)
        })
    });
    let scripts = scripts.map(|(kind, name, text)| Script {
        kind,
        name,
        text,
        exception: exception(name),
    });
    scripts.collect()
}

/// Each exception: its reason, its name, and the command that undoes its encoding.
fn exceptions() -> Vec<(&'static str, &'static str, &'static str)> {
    let mut reason = "";
    let lines = EXCEPTIONS.lines().filter_map(|line| {
        if let Some(heading) = line.strip_prefix("# ") {
            reason = heading;
            return None;
        }
        let (name, undo) = line.split_once(" => ").unwrap_or((line, "cat"));
        Some((reason, name, undo))
    });
    lines.collect()
}

/// The token that the scripts show. Its characters decide about some scripts: a hexadecimal line without a
/// letter looks the same in upper case. So the token is the same in every run.
fn token() -> String {
    let claims = r#"{"aud":["https://kubernetes.default.svc.cluster.local"],"exp":1800003600,"iat":1800000000,"iss":"https://kubernetes.default.svc.cluster.local","jti":"5f0c7a1e-64a0-4a53-9d9f-0c2f2f1b7c55","kubernetes.io":{"namespace":"ci","secret":{"name":"jobpass-k2v7q4m9x3c8b5n1z6w0","uid":"0b1f8f6e-3d0b-4b52-8a1c-6f0a4b9c7d21"},"serviceaccount":{"name":"scanner","uid":"d2c4f1a7-7f5e-4c1b-9a38-51e0c6b2f943"}},"nbf":1800000000,"sub":"system:serviceaccount:ci:scanner"}"#;
    let header = r#"{"alg":"RS256","kid":"Hv2mZk0Qe5rYw8TtLr1b3nPxq7sUcA4dJf9gKo6iEwM"}"#;
    let parts = [header.into(), claims.into(), Random(7).bytes(256)];
    parts.map(|part: Vec<u8>| URL_SAFE_NO_PAD.encode(part)).join(".")
}

/// A kubeconfig of jobpass with [`token`], of the same length in every run. The length of a certificate
/// differs, so line breaks, which have no meaning, fill it up.
fn kubeconfig(desk: &Desk) -> String {
    desk.mint(&["--kubeconfig-file", "minted"]).succeeded();
    let minted = fs::read_to_string(desk.path("minted")).expect("a kubeconfig");
    desk.run(&["revoke", "--kubeconfig-file", "minted"]).succeeded();
    let ca = desk.cluster.ca_pem();
    let same = format!("{ca:\n<1000}");
    assert_eq!(same.len(), 1000);
    let kubeconfig = minted.replace(&STANDARD.encode(&ca), &STANDARD.encode(same));
    assert_ne!(kubeconfig, minted);
    kubeconfig.replace(&desk.cluster.issued()[0], &token())
}

/// Writes the scripts into a folder, with a script `all.bash` that runs each in a folder of its own.
fn prepare(folder: &Path, cluster: &Cluster) {
    fs::write(folder.join("ca.pem"), cluster.ca_pem()).expect("written");
    let tools = tool("kubectl");
    let tools = tools.parent().expect("a folder").display();
    let mut all = format!(
        "export PATH={tools}:$PATH LC_ALL=C.UTF-8 SERVER={} CA=$PWD/ca.pem HOME=$PWD GIT_CONFIG_NOSYSTEM=1\n\
         export TOKEN={} KUBECONFIG=$PWD/kubeconfig\nunset BASH_ENV\n",
        cluster.url(),
        token(),
    );
    for (at, script) in corpus().iter().enumerate() {
        fs::write(folder.join(format!("{at}.bash")), script.text).expect("written");
        let _ = writeln!(
            all,
            "printf '\\n@@@ {at} @@@\\n'\nmkdir run-{at} && cd run-{at} && printf %s \"$TOKEN\" > token\n\
             bash ../{at}.bash 2>&1 < /dev/null\ncd ..; rm -rf run-{at}"
        );
    }
    fs::write(folder.join("all.bash"), all + "printf '\\n@@@ end @@@\\n'\n").expect("written");
}

/// The output of each script.
fn outputs(log: &[u8], scripts: usize) -> Vec<&[u8]> {
    let marks = (0..scripts).map(|at| at.to_string()).chain(["end".to_owned()]);
    let mut from = 0;
    let places = marks.map(|name| {
        let mark = format!("\n@@@ {name} @@@\n");
        let found = log[from..]
            .windows(mark.len())
            .position(|window| window == mark.as_bytes());
        let at = from + found.unwrap_or_else(|| panic!("the script {name} did not run"));
        from = at + mark.len();
        (at, from)
    });
    let places = places.collect::<Vec<_>>();
    places.windows(2).map(|pair| &log[pair[0].1..pair[1].0]).collect()
}

/// Judges an output. If the script is an exception with a command, the command first undoes the encoding.
fn judged(judge: &Judge, script: &Script, output: &[u8]) -> Finding {
    match script.exception {
        None | Some((_, "cat")) => judge.read(output),
        Some((_, undo)) => judge.read(&undone(undo, output)),
    }
}

fn undone(undo: &str, output: &[u8]) -> Vec<u8> {
    let mut input = tempfile::tempfile().expect("a file");
    input.write_all(output).expect("written");
    input.rewind().expect("a file");
    let done = Command::new("bash").arg("-c").arg(undo).stdin(input).output();
    done.expect("bash starts").stdout
}

/// The verdicts on the output of a script.
struct Judged {
    script: Script,
    /// Behind the mask of GitHub's runner, which knows the masks of the action.
    github: Finding,
    /// Behind `jobpass exec`. The filter of a GitLab job uses the same masker.
    exec: Finding,
}

/// Runs all scripts, once for all tests.
fn judge_all() -> &'static [Judged] {
    static ALL: OnceLock<Vec<Judged>> = OnceLock::new();
    ALL.get_or_init(|| {
        let scripts = corpus();
        let desk = Desk::at(Cluster::start());
        prepare(&desk.path("."), &desk.cluster);
        fs::write(desk.path("kubeconfig"), kubeconfig(&desk)).expect("written");
        let namespace = desk.cluster.namespace();
        let issued = desk
            .cluster
            .service_account_token(namespace, "scanner", Duration::from_secs(3600));
        desk.cluster.accept(&token(), &issued);
        let github = on_github(&desk, &scripts);
        // The filter learns the token like one that the command mints.
        create_private_folder(&desk.path("filter")).expect("made");
        let journal = FilterJournal::create(&desk.path("filter")).expect("created");
        let announced = journal.announce(&Token::parse(&token(), "token").expect("a token"));
        announced.expect("announced");
        let exec = [
            &["exec", "--service-account", "scanner", "--namespace", "NAMESPACE"][..],
            &["--kubeconfig", "minter.yaml", "--", "bash", "all.bash"],
        ];
        let mut exec = desk.command(&exec.concat());
        exec.env(FilterJournal::VARIABLE, journal.path());
        let masked = exec.output().expect("jobpass starts");
        let judge = Judge::new(&token());
        let outputs = outputs(&masked.stdout, scripts.len());
        let exec = scripts
            .iter()
            .zip(outputs)
            .map(|(script, output)| judged(&judge, script, output));
        let exec = exec.collect::<Vec<_>>();
        let all = scripts.into_iter().zip(github).zip(exec);
        all.map(|((script, github), exec)| Judged { script, github, exec })
            .collect()
    })
}

/// Runs the scripts without a filter, and masks their output like GitHub's runner, with the masks that the
/// action registers. Panics if a script does not show the token in the clear.
fn on_github(desk: &Desk, scripts: &[Script]) -> Vec<Finding> {
    let mut shell = support::scrubbed(Command::new("bash"));
    shell.arg("all.bash").current_dir(desk.path("."));
    let clear = shell.output().expect("bash starts").stdout;
    let judge = Judge::new(&token());
    let mut masker = Masker::default();
    for mask in masks::of(&token()) {
        masker.add(&mask);
    }
    let findings = scripts
        .iter()
        .zip(outputs(&clear, scripts.len()))
        .map(|(script, output)| {
            let finding = judged(&judge, script, output);
            assert_eq!(
                finding.verdict,
                Verdict::Usable,
                "without a mask, `{}` does not show the token: {finding}\n{}",
                script.name,
                String::from_utf8_lossy(output)
            );
            judged(
                &judge,
                script,
                masker.mask(&String::from_utf8_lossy(output)).as_bytes(),
            )
        });
    findings.collect()
}

#[test]
fn the_token_can_be_read_only_from_the_documented_exceptions() {
    let all = judge_all();
    let names = all
        .iter()
        .map(|judged| judged.script.name)
        .collect::<BTreeSet<_>>();
    assert_eq!(names.len(), all.len(), "two scripts have the same name");
    let readable = all.iter().filter(|judged| judged.exec.verdict == Verdict::Usable);
    let readable = readable.map(|judged| judged.script.name).collect::<BTreeSet<_>>();
    let excepted = exceptions()
        .iter()
        .map(|(_, name, _)| *name)
        .collect::<BTreeSet<_>>();
    let missing = excepted.difference(&names).collect::<Vec<_>>();
    assert_eq!(missing, [&""; 0], "these scripts do not exist");
    let undocumented = readable.difference(&excepted);
    let report = undocumented.fold(String::new(), |mut report, name| {
        let judged = all
            .iter()
            .find(|judged| judged.script.name == *name)
            .expect("there");
        let _ = writeln!(report, "{name}: {}", judged.exec);
        report
    });
    assert_eq!(
        report,
        "",
        "of {} scripts, the token can be read from {}",
        all.len(),
        readable.len()
    );
    let masked = excepted.difference(&readable).collect::<Vec<_>>();
    assert!(
        masked.is_empty(),
        "the mask covers these scripts, so remove them from exceptions.txt: {masked:?}"
    );
}

/// The tables of docs/masking.md. With the variable `JOBPASS_WRITE_DOCS`, the test writes them.
#[test]
fn the_documents_say_which_outputs_each_platform_masks() {
    let path = support::root().join("docs/masking.md");
    let page = fs::read_to_string(&path).expect("docs/masking.md");
    let (before, rest) = page.split_once(BEGIN).expect("a mark");
    let (_, after) = rest.split_once(END).expect("a mark");
    let written = format!("{before}{BEGIN}{}{END}{after}", tables(judge_all()));
    if std::env::var_os("JOBPASS_WRITE_DOCS").is_some() {
        fs::write(&path, written).expect("written");
        return;
    }
    assert_eq!(
        page, written,
        "docs/masking.md is not up to date: run this test with JOBPASS_WRITE_DOCS=1, and read the difference"
    );
}

/// The marks around the tables.
const BEGIN: &str = "<!-- The tables are made from the results of tests/leaks/scripts.rs. -->\n";
const END: &str = "<!-- The end of the tables. -->\n";

/// The width of a line of the documents, in bytes.
const WIDTH: usize = 180;

fn tables(all: &[Judged]) -> String {
    let masked = |finding: &Finding| finding.verdict != Verdict::Usable;
    let mut text =
        "\n| output | scripts | GitHub masks | GitLab and `exec` mask |\n|---|--:|--:|--:|\n".to_owned();
    let of_kind = |kind| {
        let scripts = all.iter().filter(move |judged| judged.script.kind == kind);
        scripts
            .filter(|judged| judged.script.exception.is_none())
            .collect::<Vec<_>>()
    };
    let mut only_filters = String::new();
    for kind in kinds() {
        let scripts = of_kind(kind);
        if scripts.is_empty() {
            continue;
        }
        let count = |masks: &dyn Fn(&Judged) -> bool| scripts.iter().filter(|judged| masks(judged)).count();
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} |",
            kind,
            scripts.len(),
            count(&|judged| masked(&judged.github)),
            count(&|judged| masked(&judged.exec)),
        );
        let names = |show: &dyn Fn(&Judged) -> bool| {
            let names = scripts.iter().filter(|judged| show(judged));
            names.map(|judged| judged.script.name).collect::<Vec<_>>()
        };
        let names = names(&|judged| masked(&judged.exec) && !masked(&judged.github));
        if !names.is_empty() {
            only_filters += &item(kind, &names);
        }
    }
    let _ = write!(text, "\n## What only GitLab and `exec` mask\n\n{only_filters}");
    text += "\n## What no mask covers\n\n";
    let exceptions = exceptions();
    let mut reasons = exceptions.iter().map(|(reason, ..)| *reason).collect::<Vec<_>>();
    reasons.dedup();
    for reason in reasons {
        let names = exceptions
            .iter()
            .filter(|(of, ..)| *of == reason)
            .map(|(_, name, _)| *name);
        text += &item(reason, &names.collect::<Vec<_>>());
    }
    text + "\n"
}

fn kinds() -> impl Iterator<Item = &'static str> {
    KINDS
        .iter()
        .filter_map(|file| file.lines().next()?.strip_prefix("# "))
}

/// The names of scripts as an item of a list. Each name is code, so that no punctuation of it is Markdown.
fn item(kind: &str, names: &[&str]) -> String {
    let mut text = String::new();
    let mut line = format!("- {kind}:");
    for (number, name) in names.iter().enumerate() {
        let comma = if number + 1 < names.len() { "," } else { "" };
        let word = format!(" `{name}`{comma}");
        if line.len() + word.len() > WIDTH {
            text += &format!("{line}\n");
            // The indentation of the item's text.
            " ".clone_into(&mut line);
        }
        line += &word;
    }
    text + &line + "\n"
}
