//! The program: a dev cluster for a person with kubectl.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use tokio::signal::unix::{SignalKind, signal};

use crate::{DevCluster, Version};

#[expect(
    clippy::print_stderr,
    reason = "the one place where the program says why it failed"
)]
pub fn main() -> ExitCode {
    let matches = command().get_matches();
    let result = match matches.subcommand() {
        Some(("serve", matches)) => serve(matches),
        _ => unreachable!("clap demands a known subcommand"),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn command() -> Command {
    let serve = Command::new("serve")
        .about("Run a dev cluster until SIGINT or SIGTERM")
        .arg(
            Arg::new("kubeconfig")
                .long("kubeconfig")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Where to write the administrator's kubeconfig; it must not exist [default: in the temporary directory]"),
        )
        .arg(
            Arg::new("listen")
                .long("listen")
                .value_name("ADDR")
                .default_value("127.0.0.1:0")
                .value_parser(value_parser!(SocketAddr))
                .help("Address and port, 0 for any free one"),
        )
        .arg(
            Arg::new("kubernetes")
                .long("kubernetes")
                .value_name("1.36|1.27")
                .default_value("1.36")
                .value_parser(|text: &str| text.parse::<Version>())
                .help("Which Kubernetes to answer as"),
        )
        .arg(
            Arg::new("max-token-lifetime")
                .long("max-token-lifetime")
                .value_name("DURATION")
                .value_parser(parse_duration)
                .help("Shorten longer tokens, as with kube-apiserver's --service-account-max-token-expiration"),
        )
        .arg(
            Arg::new("no-http2")
                .long("no-http2")
                .action(ArgAction::SetTrue)
                .help("Speak HTTP/1.1 only, as some load balancers do"),
        )
        .arg(
            Arg::new("anchors")
                .long("anchors")
                .value_name("NUMBER")
                .default_value("0")
                .value_parser(value_parser!(u32))
                .help("Begin with so many expired anchors in the namespace ci, and a clock that is an hour ahead"),
        );
    Command::new("jobpass-devkit")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A dev cluster that answers as kube-apiserver does")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(serve)
}

fn serve(matches: &ArgMatches) -> Result<()> {
    let mut builder = DevCluster::builder().http2(!matches.get_flag("no-http2"));
    if let Some(address) = matches.get_one::<SocketAddr>("listen") {
        builder = builder.listen(*address);
    }
    if let Some(version) = matches.get_one::<Version>("kubernetes") {
        builder = builder.version(*version);
    }
    if let Some(longest) = matches.get_one::<Duration>("max-token-lifetime") {
        builder = builder.max_token_lifetime(*longest);
    }

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        // Before there is a file to remove.
        let mut interrupted = signal(SignalKind::interrupt())?;
        let mut terminated = signal(SignalKind::terminate())?;
        let cluster = builder.start()?;
        cluster.leave_behind(*matches.get_one::<u32>("anchors").context("it has a default")? as usize);
        let kubeconfig = matches
            .get_one::<PathBuf>("kubeconfig")
            .cloned()
            .unwrap_or_else(|| {
                std::env::temp_dir().join(format!("jobpass-devkit-{}.kubeconfig", std::process::id()))
            });
        write_private(&kubeconfig, &cluster.admin_kubeconfig())?;
        let greeted = greet(&cluster, &kubeconfig);
        if greeted.is_ok() {
            tokio::select! {
                _ = interrupted.recv() => {}
                _ = terminated.recv() => {}
            }
        }
        fs::remove_file(&kubeconfig).with_context(|| format!("failed to remove {}", kubeconfig.display()))?;
        greeted.context("failed to write to standard output")
    })
}

fn greet(cluster: &DevCluster, kubeconfig: &Path) -> io::Result<()> {
    let mut out = io::stdout().lock();
    write!(
        out,
        "The dev cluster listens on {url}.

    export KUBECONFIG={kubeconfig}
    kubectl create namespace ci
    kubectl create serviceaccount deployer -n ci
    kubectl create role pods --verb=get,list --resource=pods -n ci
    kubectl create rolebinding deployer --role=pods --serviceaccount=ci:deployer -n ci
    kubectl create token deployer -n ci --duration=10m
    kubectl auth can-i --list -n ci
    kubectl get secrets -A

Everything is in memory. End it with Ctrl-C.
",
        url = cluster.url(),
        kubeconfig = kubeconfig.display(),
    )?;
    out.flush()
}

/// A file that only its owner can read, and that was not there before.
fn write_private(path: &Path, text: &str) -> Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("failed to create {}", path.display()))?;
    file.write_all(text.as_bytes())
        .with_context(|| format!("failed to write {}", path.display()))
}

fn parse_duration(text: &str) -> Result<Duration> {
    let duration: jiff::SignedDuration = text.parse().context("not a duration such as 90m or 24h")?;
    Ok(duration.try_into()?)
}
