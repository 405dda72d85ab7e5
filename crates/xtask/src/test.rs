//! `cargo xtask test`: runs the tests. It needs Rust, Node, git and Python. It installs the other programs.
//! If programs of the system are missing, it installs them only as root on Debian.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as Program;

use anyhow::{Context, Result, ensure};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::Verb;
use crate::clients;
use crate::control_plane::{self, RELEASES, Release};
use crate::dist;
use crate::tools::{self, ACT, GITLAB_CI_LOCAL, HELM, KUBECTL, KUBERNETES_VALIDATE};
use crate::workspace::{Workspace, output, run, step};

pub const VERB: Verb = Verb { command, run: verb };

/// The list of the tests that need the dev cluster, or a Kubernetes that the tests configure. The path is
/// relative to the root.
const WHERE: &str = "tests/cluster/where.txt";
/// The number of threads of the tests. It may exceed the number of cores, because end-to-end tests mostly
/// wait.
const THREADS: &str = "6";

/// The cluster for the end-to-end tests.
enum Kubernetes<'a> {
    /// A control plane that this run starts.
    Own(&'static Release),
    /// The user's cluster, by its administrator's kubeconfig.
    Borrowed(&'a Path),
    /// No Kubernetes: only the dev cluster.
    None,
}

/// The environment of a test run.
struct Run<'a> {
    workspace: &'a Workspace,
    kubernetes: Kubernetes<'a>,
    /// The value of PATH. It begins with the folder of the tools.
    path: OsString,
    bin: PathBuf,
    /// The folder in which tests record the clusters that they used, and their requests to the dev cluster.
    records: PathBuf,
    /// The arguments for `cargo test`.
    arguments: Vec<&'a String>,
}

fn command() -> Command {
    Command::new("test")
        .about(
            "Install the programs that the tests need, Kubernetes included, build everything, and run \
                every test",
        )
        .arg(
            Arg::new("quick")
                .long("quick")
                .action(ArgAction::SetTrue)
                .help("Leave out the tests that run on Kubernetes itself"),
        )
        .arg(
            Arg::new("kubernetes")
                .long("kubernetes")
                .value_name("RELEASE")
                .default_value(RELEASES[0].name)
                .value_parser(RELEASES.iter().map(|release| release.name).collect::<Vec<_>>())
                .help("The release of Kubernetes to build and to test on"),
        )
        .arg(
            Arg::new("kubeconfig")
                .long("kubeconfig")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .conflicts_with_all(["quick", "kubernetes"])
                .help(
                    "Run on the cluster of this administrator's kubeconfig, each test in a temporary \
                       namespace. Leaves out the tests that need flags of the API server",
                ),
        )
        .arg(
            Arg::new("args")
                .last(true)
                .num_args(0..)
                .help("Arguments for cargo test"),
        )
}

fn verb(workspace: &Workspace, arguments: &ArgMatches) -> Result<()> {
    let kubernetes = match arguments.get_one::<PathBuf>("kubeconfig") {
        Some(kubeconfig) => Kubernetes::Borrowed(kubeconfig),
        None if arguments.get_flag("quick") => Kubernetes::None,
        None => {
            let name = arguments.get_one::<String>("kubernetes");
            let release = RELEASES
                .iter()
                .find(|release| Some(release.name) == name.map(String::as_str));
            Kubernetes::Own(release.context("clap accepts only known releases")?)
        }
    };
    let bin = install(workspace, &kubernetes)?;
    build(workspace)?;

    let path = env::var_os("PATH").unwrap_or_default();
    let run = Run {
        workspace,
        kubernetes,
        path: env::join_paths([bin.clone()].into_iter().chain(env::split_paths(&path))).context(
            "the path of the target directory has a character that PATH does not allow: set \
                 CARGO_TARGET_DIR to another path",
        )?,
        bin,
        records: workspace.target.join("tmp/records"),
        arguments: arguments.get_many("args").unwrap_or_default().collect(),
    };
    drop(fs::remove_dir_all(&run.records));
    fs::create_dir_all(&run.records).with_context(|| format!("cannot create {}", run.records.display()))?;
    run.launcher()?;
    run.crates()?;
    if let Kubernetes::Own(_) = run.kubernetes {
        run.parity()?;
    }
    run.end_to_end()?;
    // The replay needs the requests of all tests, on the newest release: the dev cluster answers like that
    // release.
    let newest = matches!(run.kubernetes, Kubernetes::Own(release) if *release == RELEASES[0]);
    if run.arguments.is_empty() && newest && env::var_os("KUBEBUILDER_ASSETS").is_none() {
        run.demo()?;
        run.replay()?;
    }
    run.summary()
}

fn install(workspace: &Workspace, kubernetes: &Kubernetes<'_>) -> Result<PathBuf> {
    tools::node()?;
    // gitlab-ci-local copies the project with rsync.
    tools::system("rsync", "rsync")?;
    // Many images have dash or busybox instead of bash. With the other programs, the careless scripts of
    // `tests/leaks` print tokens.
    for (program, package) in [
        ("dash", "dash"),
        ("bunzip2", "bzip2"),
        ("busybox", "busybox"),
        ("curl", "curl"),
        ("hexdump", "bsdextrautils"),
        ("jq", "jq"),
        ("openssl", "openssl"),
        ("perl", "perl"),
        ("ps", "procps"),
        ("xxd", "xxd"),
    ] {
        tools::system(program, package)?;
    }
    let bin = tools::install(
        workspace,
        &[&ACT, &KUBECTL, &KUBERNETES_VALIDATE, &GITLAB_CI_LOCAL],
    )?;
    if let Kubernetes::Own(release) = kubernetes {
        control_plane::install(workspace, release)?;
        control_plane::install_judge(workspace)?;
    }
    if !matches!(kubernetes, Kubernetes::None) {
        tools::install(workspace, &[&HELM])?;
        clients::install(workspace)?;
    }
    Ok(bin)
}

fn build(workspace: &Workspace) -> Result<()> {
    // This builds all targets: the tests start programs of other packages, which `cargo test` would not
    // build.
    let build = ["build", "--workspace", "--all-targets"];
    step("build everything", &format!("cargo {}", build.join(" ")), || {
        run(workspace.cargo().args(build))
    })?;
    let binary = workspace.target.join("debug").join(dist::BINARY);
    step(
        "put the binary where the launcher looks for it",
        "cargo xtask dist --profile dev",
        || dist::place(&binary, &workspace.root.join("dist")),
    )?;
    Ok(())
}

impl Run<'_> {
    fn launcher(&self) -> Result<()> {
        let node = ["--test", "--test-reporter=spec", "tests/launcher/launch.test.mjs"];
        step("test the launcher", &format!("node {}", node.join(" ")), || {
            run(self.workspace.command("node").args(node))
        })
    }

    fn crates(&self) -> Result<()> {
        let words = ["test", "--workspace", "--exclude", "jobpass-tests"];
        self.cargo("test each crate", &words, &[])?;
        let words = ["test", "--package", "jobpass-tests", "--lib", "--test", "layers"];
        self.cargo(
            "test the layers of the crates, and the runners that tests run jobs on",
            &words,
            &[],
        )
    }

    fn parity(&self) -> Result<()> {
        let words = ["test", "--package", "jobpass-tests", "--test", "parity"];
        self.cargo("compare jobpass with kubectl", &words, &[])
    }

    fn end_to_end(&self) -> Result<()> {
        let words = ["test", "--package", "jobpass-tests", "--test", "e2e"];
        let mut filters = Vec::new();
        let names = |place: &str| self.tests_of(place);
        match self.kubernetes {
            Kubernetes::Own(_) => {}
            // The tests with the word `own` need flags of the API server, which this run cannot choose.
            Kubernetes::Borrowed(_) => {
                for name in names("own")? {
                    filters.extend(["--skip".to_owned(), name]);
                }
            }
            Kubernetes::None => filters = names("dev")?,
        }
        self.cargo("test from end to end", &words, &filters)
    }

    fn cargo(&self, what: &str, words: &[&str], filters: &[String]) -> Result<()> {
        let mut cargo = self.workspace.cargo();
        cargo.args(words).args(&self.arguments);
        if !filters.is_empty() {
            if !self.arguments.iter().any(|argument| *argument == "--") {
                cargo.arg("--");
            }
            cargo.args(filters);
        }
        let cargo = self.surround(&mut cargo);
        // The shown command leaves PATH out, because the tests find the tools by JOBPASS_TOOLS.
        let variables = cargo.get_envs().filter_map(|(name, value)| {
            let name = name.to_str().filter(|name| name.starts_with("JOBPASS_"))?;
            Some(format!("{name}={}", value?.to_string_lossy()))
        });
        let words = cargo.get_args().map(|word| word.to_string_lossy().into_owned());
        let alone = variables.chain(["cargo".to_owned()]).chain(words);
        let alone = alone.collect::<Vec<_>>().join(" ");
        step(what, &alone, || run(cargo))
    }

    /// Runs the demo and records its requests. `tests/replay` sends them to Kubernetes as well.
    fn demo(&self) -> Result<()> {
        step("run the demo and record its requests", "cargo xtask demo", || {
            // This starts the demo through cargo, because the build of the tests may have replaced this
            // program.
            let mut demo = self.workspace.cargo();
            demo.args(["run", "--quiet", "--package", "xtask", "--", "demo"]);
            output(self.surround(&mut demo)).map(drop)
        })
    }

    fn replay(&self) -> Result<()> {
        let words = ["test", "--package", "jobpass-tests", "--test", "replay"];
        self.cargo(
            "send to Kubernetes the requests that the dev cluster got, and compare the answers",
            &words,
            &[],
        )
    }

    fn surround<'c>(&self, command: &'c mut Program) -> &'c mut Program {
        if env::var_os("RUST_TEST_THREADS").is_none() {
            command.env("RUST_TEST_THREADS", THREADS);
        }
        match self.kubernetes {
            Kubernetes::Own(release) => command.env("JOBPASS_TEST_CONTROL_PLANE", release.program),
            Kubernetes::Borrowed(kubeconfig) => command.env("JOBPASS_TEST_KUBECONFIG", kubeconfig),
            Kubernetes::None => command,
        };
        command
            .env("PATH", &self.path)
            .env("JOBPASS_TOOLS", &self.bin)
            .env("JOBPASS_TEST_RECORDS", &self.records)
    }

    /// The tests in [`WHERE`] whose line begins with the word `place`.
    fn tests_of(&self, place: &str) -> Result<Vec<String>> {
        let path = self.workspace.root.join(WHERE);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {WHERE}"))?;
        let words = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>());
        let names = words.filter_map(|words| match words[..] {
            [first, name, ..] if first == place => Some(name.to_owned()),
            _ => None,
        });
        Ok(names.collect())
    }

    /// Prints the number of tests on each kind of cluster, and the result of the replay. Fails if no test of
    /// a whole run was on Kubernetes.
    fn summary(&self) -> Result<()> {
        let read = |name: &str| fs::read_to_string(self.records.join(name)).unwrap_or_default();
        let clusters = read("clusters");
        let on = |place: &str| {
            let tests = clusters.lines().filter_map(|line| line.strip_prefix(place));
            tests.collect::<BTreeSet<_>>().len()
        };
        println!("{} tests ran on Kubernetes itself", on("real "));
        println!(
            "{} tests ran on the dev cluster, each with its reason in {WHERE}",
            on("dev ")
        );
        let replay = read("replay");
        if !replay.is_empty() {
            println!("{}", replay.trim_end());
        }
        if self.arguments.is_empty() && matches!(self.kubernetes, Kubernetes::Own(_)) {
            ensure!(
                on("real ") > 0,
                "no test recorded that it ran on Kubernetes: JOBPASS_TEST_RECORDS must reach the tests"
            );
        }
        Ok(())
    }
}
