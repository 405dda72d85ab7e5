//! The program `jobpass-devkit`: a dev cluster on which a person can try jobpass.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::DevCluster;

/// The objects that docs/minter.md creates in its section "By hand".
pub const MANIFESTS: &str = r#"
{apiVersion: v1, kind: Namespace, metadata: {name: ci}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: scanner, namespace: ci}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: scanner, namespace: ci}
rules:
- {apiGroups: [""], resources: ["pods"], verbs: ["get", "list"]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: scanner, namespace: ci}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: scanner}
subjects: [{kind: ServiceAccount, name: scanner, namespace: ci}]
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: jobpass-minter, namespace: ci}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: jobpass-minter, namespace: ci}
rules:
- {apiGroups: [""], resources: ["secrets"], verbs: ["create", "delete"]}
- {apiGroups: [""], resources: ["serviceaccounts/token"], resourceNames: ["scanner"], verbs: ["create"]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: jobpass-minter, namespace: ci}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: jobpass-minter}
subjects: [{kind: ServiceAccount, name: jobpass-minter, namespace: ci}]
"#;

/// The names of the kubeconfig files.
const MINTERS: &str = "minter.kubeconfig";
const ADMINISTRATORS: &str = "admin.kubeconfig";
/// The lifetime of the minter's token.
const MINTER: Duration = Duration::from_secs(24 * 3600);

#[expect(
    clippy::print_stderr,
    reason = "the one place where the program prints why it failed"
)]
pub fn main() -> ExitCode {
    let matches = command().get_matches();
    let result = match matches.subcommand() {
        Some(("serve", matches)) => serve(matches),
        _ => unreachable!("clap demands a known subcommand"),
    };
    match result {
        Ok(refused) => {
            for refusal in refused {
                eprintln!("note: {refusal}");
            }
            ExitCode::SUCCESS
        }
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
            Arg::new("dir")
                .long("dir")
                .value_name("DIR")
                .value_parser(value_parser!(PathBuf))
                .help(
                    "The folder for the kubeconfigs. It must not exist yet. When the program ends, it \
                       removes the kubeconfigs, and the folder if no other file is in it [default: a \
                       folder in the temporary directory]",
                ),
        )
        .arg(
            Arg::new("listen")
                .long("listen")
                .value_name("ADDR")
                .default_value("127.0.0.1:0")
                .value_parser(value_parser!(SocketAddr))
                .help("The address and the port to listen on. Port 0 means any free port"),
        )
        .arg(
            Arg::new("no-http2")
                .long("no-http2")
                .action(ArgAction::SetTrue)
                .help("Speak HTTP/1.1 only, as some load balancers do"),
        );
    Command::new("jobpass-devkit")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A dev cluster that answers the requests of jobpass in CI jobs as kube-apiserver does")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(serve)
}

/// Serves until a signal arrives. Returns the message of each 501 that the dev cluster answered.
fn serve(matches: &ArgMatches) -> Result<Vec<String>> {
    let mut builder = DevCluster::builder().http2(!matches.get_flag("no-http2"));
    if let Some(address) = matches.get_one::<SocketAddr>("listen") {
        builder = builder.listen(*address);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        // The program catches the signals before it creates anything that it must remove.
        let interrupted = interrupt()?;
        let cluster = builder.start()?;
        cluster.apply(MANIFESTS);
        let folder = matches.get_one::<PathBuf>("dir").cloned();
        let folder = folder
            .unwrap_or_else(|| std::env::temp_dir().join(format!("jobpass-devkit-{}", std::process::id())));
        fs::create_dir(&folder).with_context(|| {
            format!(
                "failed to create the folder {} (give `--dir` a path that does not exist yet, in a \
                     folder that you can write to)",
                folder.display()
            )
        })?;
        let served = async {
            let token = cluster.service_account_token("ci", "jobpass-minter", MINTER);
            write_private(&folder.join(MINTERS), &cluster.kubeconfig(&token, "ci"))?;
            write_private(&folder.join(ADMINISTRATORS), &cluster.admin_kubeconfig())?;
            greet(&cluster, &folder).context("failed to write to standard output")?;
            interrupted.await;
            Ok(cluster.refused())
        };
        let served = served.await;
        remove(&folder).with_context(|| format!("failed to remove {}", folder.display()))?;
        served
    })
}

fn greet(cluster: &DevCluster, folder: &Path) -> io::Result<()> {
    let mut out = io::stdout().lock();
    write!(
        out,
        "The dev cluster listens on {url}.
In its namespace ci, the ServiceAccount scanner may see Pods, and the minter may mint tokens for it.

    export KUBECONFIG={folder}/{MINTERS}
    jobpass mint --service-account scanner --token-file token
    jobpass inspect --token-file token
    jobpass list --kubeconfig {folder}/{ADMINISTRATORS} --namespace ci
    jobpass revoke --token-file token
    jobpass exec --service-account scanner -- jobpass whoami

The dev cluster supports the requests of jobpass in CI jobs, and answers 501 to other requests. kubectl and
`jobpass setup` need Kubernetes: see tests/control-plane/README.md. Everything is in memory.
To end the dev cluster, press Ctrl-C.
",
        url = cluster.url(),
        folder = folder.display(),
    )?;
    out.flush()
}

/// Catches the signals that end the program. The future is ready when one arrives.
#[cfg(unix)]
fn interrupt() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
        }
    })
}

/// Catches Ctrl-C. The future is ready when somebody presses it.
#[cfg(windows)]
fn interrupt() -> io::Result<impl Future<Output = ()>> {
    let mut interrupted = tokio::signal::windows::ctrl_c()?;
    Ok(async move {
        interrupted.recv().await;
    })
}

/// Creates a file that only its owner can read. On Windows, the file inherits the permissions of its folder.
fn write_private(path: &Path, text: &str) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options
        .open(path)
        .with_context(|| format!("failed to create {}", path.display()))?;
    file.write_all(text.as_bytes())
        .with_context(|| format!("failed to write {}", path.display()))
}

/// Removes the files that the program created. Removes the folder as well, unless it has other files.
fn remove(folder: &Path) -> io::Result<()> {
    for name in [MINTERS, ADMINISTRATORS] {
        match fs::remove_file(folder.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    match fs::remove_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => Err(error),
        _ => Ok(()),
    }
}
