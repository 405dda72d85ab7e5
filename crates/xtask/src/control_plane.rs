//! Builds Kubernetes itself for the tests and the measurements: the program of `tests/control-plane`, from Go
//! modules. Builds it again after its source has changed.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use sha2::{Digest as _, Sha256};

use crate::tools;
use crate::workspace::{Workspace, run, step};

/// The folder of the program's source, relative to the root.
const SOURCE: &str = "tests/control-plane";
/// The program that reads kubeconfigs as kubectl does. Its source is in a folder of the same name, within
/// [`SOURCE`].
const JUDGE: &str = "judge";

/// A release of Kubernetes for the tests.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Release {
    /// The name of the release on the command line.
    pub name: &'static str,
    /// The file that lists the Go modules and their versions.
    modules: &'static str,
    tags: &'static str,
    /// The name of the program in the folder of tools.
    pub program: &'static str,
}

/// The releases. The first is the default of the tests. Its program contains the etcd that all releases use.
pub(crate) const RELEASES: &[Release] = &[
    Release {
        name: "1.37",
        modules: "go.mod",
        tags: "providerless",
        program: "control-plane",
    },
    Release {
        name: "1.30",
        modules: "kubernetes-1.30.mod",
        // This release requires an older etcd, whose configuration has other fields. So this program contains
        // no etcd, and uses that of the newest release.
        tags: "providerless,older",
        program: "control-plane-1.30",
    },
];

/// Builds the program of the newest release and that of `release`, unless they are built already. On two
/// cores, the newest release takes about six minutes, and the older release about three more.
pub(crate) fn install(workspace: &Workspace, release: &Release) -> Result<()> {
    let mut needed = vec![&RELEASES[0]];
    if release.name != RELEASES[0].name {
        needed.push(release);
    }
    for release in needed {
        build(workspace, release)?;
    }
    Ok(())
}

fn build(workspace: &Workspace, release: &Release) -> Result<()> {
    let source = workspace.root.join(SOURCE);
    let home = workspace.target.join("tools");
    let program = home.join("bin").join(release.program);
    let stamp = home.join(format!("{}.installed", release.program));
    let id = digest(&source)?;
    if program.exists() && fs::read_to_string(&stamp).is_ok_and(|built| built == id) {
        return Ok(());
    }
    let version = version(&source.join(release.modules))?;
    let what = format!("build Kubernetes {version} from Go modules, which takes some minutes");
    step(
        &what,
        "run the same command again, which keeps the finished builds",
        || {
            let mut parts = version.trim_start_matches('v').split('.');
            let stamp_of =
                |name: &str, value: &str| format!("-X k8s.io/component-base/version.{name}={value}");
            let flags = [
                "-s -w".to_owned(),
                stamp_of("gitVersion", &version),
                stamp_of("gitMajor", parts.next().unwrap_or_default()),
                stamp_of("gitMinor", parts.next().unwrap_or_default()),
            ];
            fs::create_dir_all(home.join("bin"))?;
            run(Command::new(tools::go(workspace)?)
                .current_dir(&source)
                .args([
                    "build",
                    "-buildvcs=false",
                    "-trimpath",
                    "-mod=readonly",
                    "-tags",
                    release.tags,
                ])
                .args(["-ldflags", &flags.join(" ")])
                .arg(format!("-modfile={}", release.modules))
                .arg("-o")
                .arg(&program)
                .arg("."))?;
            fs::write(&stamp, &id).with_context(|| format!("cannot write {}", stamp.display()))
        },
    )
}

/// Builds the program that reads kubeconfigs as kubectl does, from the Go modules of the newest release. The
/// build takes less than a minute.
pub(crate) fn install_judge(workspace: &Workspace) -> Result<()> {
    let source = workspace.root.join(SOURCE);
    let home = workspace.target.join("tools");
    let program = home.join("bin").join(JUDGE);
    let stamp = home.join(format!("{JUDGE}.installed"));
    let modules = fs::read(source.join("go.sum")).context("cannot read go.sum")?;
    let id = format!(
        "{} {}",
        digest(&source.join(JUDGE))?,
        hex(&Sha256::digest(modules))
    );
    if program.exists() && fs::read_to_string(&stamp).is_ok_and(|built| built == id) {
        return Ok(());
    }
    step(
        "build the judge from Go modules",
        "run the same command again",
        || {
            fs::create_dir_all(home.join("bin"))?;
            run(Command::new(tools::go(workspace)?)
                .current_dir(&source)
                .args([
                    "build",
                    "-buildvcs=false",
                    "-trimpath",
                    "-mod=readonly",
                    "-ldflags",
                    "-s -w",
                    "-o",
                ])
                .arg(&program)
                .arg(format!("./{JUDGE}")))?;
            fs::write(&stamp, &id).with_context(|| format!("cannot write {}", stamp.display()))
        },
    )
}

/// The digest of the Go sources and the lists of modules in a folder, and the machine's architecture.
fn digest(source: &Path) -> Result<String> {
    let mut files = fs::read_dir(source)
        .with_context(|| format!("cannot read {}", source.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    let of_the_program = |file: &PathBuf| {
        let extension = file.extension().and_then(OsStr::to_str);
        extension.is_some_and(|extension| matches!(extension, "go" | "mod" | "sum"))
    };
    files.retain(of_the_program);
    files.sort();
    let mut digest = Sha256::new();
    for file in files {
        digest.update(fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?);
    }
    Ok(format!("{} {}", hex(&digest.finalize()), env::consts::ARCH))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The release of Kubernetes that a file of modules requires.
fn version(modules: &Path) -> Result<String> {
    let text = fs::read_to_string(modules).with_context(|| format!("cannot read {}", modules.display()))?;
    let line = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes "));
    let version = line.with_context(|| format!("{} requires no k8s.io/kubernetes", modules.display()))?;
    Ok(version.trim().to_owned())
}
