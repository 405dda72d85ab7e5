//! `cargo xtask targets`: builds the programs for Linux targets that contain their C library. Mints and
//! revokes with each program on the dev cluster, under emulation if the target is another machine.
//!
//! Releases are built with rustup's targets, and this needs none: Debian has a compiler with the source of
//! its standard library, and zig has a C compiler for every target.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::{Arg, ArgMatches};
use jobpass_devkit::{DevCluster, cli::MANIFESTS};

use crate::Verb;
use crate::nsswitch;
use crate::tools::{self, CARGO_ZIGBUILD};
use crate::workspace::{Workspace, output, run, step};

pub const VERB: Verb = Verb { command, run: verb };

/// The programs of a release.
const PROGRAMS: [&str; 3] = ["jobpass", "jobpass-gitlab", "jobpass-github"];

/// A target, and the emulator that runs its programs on another machine.
struct Target {
    triple: &'static str,
    emulator: Option<&'static str>,
}

const TARGETS: [Target; 2] = [
    Target {
        triple: "x86_64-unknown-linux-musl",
        emulator: None,
    },
    Target {
        triple: "aarch64-unknown-linux-musl",
        emulator: Some("qemu-aarch64-static"),
    },
];

fn command() -> clap::Command {
    clap::Command::new("targets")
        .about("Build for other Linux targets on a Debian x64 machine, and mint and revoke with each program")
        .arg(
            Arg::new("triple")
                .value_parser(TARGETS.map(|target| target.triple))
                .help("Only this target. [default: all]"),
        )
}

fn verb(workspace: &Workspace, arguments: &ArgMatches) -> Result<()> {
    let chosen = arguments.get_one::<String>("triple");
    let bin = tools::install(workspace, &[&CARGO_ZIGBUILD])?;
    // Its compiler is not on PATH before rustup's.
    for (file, package) in [
        ("/usr/bin/rustc", "rustc-web"),
        ("/usr/bin/cargo", "cargo-web"),
        ("/usr/lib/rustlib/src/rust/library/std", "rust-web-src"),
    ] {
        tools::package(Path::new(file), package)?;
    }
    for target in TARGETS
        .iter()
        .filter(|target| chosen.is_none_or(|chosen| chosen == target.triple))
    {
        if let Some(emulator) = target.emulator {
            tools::system(emulator, "qemu-user-static")?;
        }
        let programs = step(
            &format!("build for {}", target.triple),
            &format!("cargo xtask targets {}", target.triple),
            || build(workspace, &bin, target),
        )?;
        step(
            &format!("mint and revoke with {}", target.triple),
            "cargo xtask targets",
            || try_out(target, &programs),
        )?;
        if target.emulator.is_none() {
            step(
                &format!("resolve a name with {}", target.triple),
                "cargo xtask targets",
                || nsswitch::try_out(&programs.join("jobpass")),
            )?;
        }
    }
    Ok(())
}

/// Builds the programs. Returns their folder.
fn build(workspace: &Workspace, bin: &Path, target: &Target) -> Result<PathBuf> {
    let folder = workspace.target.join("targets");
    let path = env::join_paths(
        // zigbuild starts zig as a module of its own Python.
        [workspace.target.join("tools/venv/bin"), PathBuf::from("/usr/bin")]
            .into_iter()
            .chain(env::split_paths(&env::var_os("PATH").unwrap_or_default())),
    )?;
    for program in PROGRAMS {
        let mut build = workspace.command(bin.join(CARGO_ZIGBUILD.name));
        build
            .args([
                "rustc",
                "--release",
                "--locked",
                "-Zbuild-std=std,panic_unwind",
                "--target",
                target.triple,
            ])
            .args(["--package", program, "--bin", program])
            // zig brings the start files.
            .args(["--", "-Clink-self-contained=no"])
            .env("PATH", &path)
            .env("RUSTC", "/usr/bin/rustc")
            .env("CARGO", "/usr/bin/cargo")
            // For -Z in a compiler that is no nightly.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_TARGET_DIR", &folder)
            .env_remove("RUSTUP_TOOLCHAIN");
        run(&mut build)?;
    }
    Ok(folder.join(target.triple).join("release"))
}

fn try_out(target: &Target, programs: &Path) -> Result<()> {
    let program = |name: &str| match target.emulator {
        None => Command::new(programs.join(name)),
        Some(emulator) => {
            let mut command = Command::new(emulator);
            command.arg(programs.join(name));
            command
        }
    };
    for name in PROGRAMS {
        let path = programs.join(name);
        let bytes = fs::metadata(&path)
            .with_context(|| format!("cannot read {}", path.display()))?
            .len();
        let version = output(program(name).arg("--version"))?;
        println!("    {}: {:.2} MB", version.trim(), bytes as f64 / 1e6);
        ensure!(
            !needs_a_library(&path)?,
            "{} needs a library of this machine",
            path.display()
        );
    }
    let cluster = DevCluster::start();
    cluster.apply(MANIFESTS);
    let minter = cluster.service_account_token("ci", "jobpass-minter", Duration::from_secs(3600));
    let folder = tempfile::tempdir()?;
    fs::write(
        folder.path().join("minter.yaml"),
        cluster.kubeconfig(&minter, "ci"),
    )?;
    let mut mint = program("jobpass");
    mint.current_dir(&folder)
        .args([
            "mint",
            "--service-account",
            "scanner",
            "--kubeconfig",
            "minter.yaml",
        ])
        .args(["--token-file", "token", "--kubeconfig-file", "kubeconfig"]);
    output(&mut mint)?;
    let whoami =
        output(
            program("jobpass")
                .current_dir(&folder)
                .args(["whoami", "--kubeconfig", "kubeconfig"]),
        )?;
    ensure!(
        whoami.contains("scanner"),
        "the token does not belong to `scanner`: {whoami}"
    );
    // `whoami` has just used the token, so the API server remembers it for 10 seconds.
    let revoked = output(program("jobpass").current_dir(&folder).args([
        "revoke",
        "--token-file",
        "token",
        "--verify-revocation",
        "wait",
    ]))?;
    ensure!(
        revoked.contains("401"),
        "no proof that the token is dead: {revoked}"
    );
    Ok(())
}

/// Whether a program needs the dynamic loader to find libraries.
fn needs_a_library(program: &Path) -> Result<bool> {
    let bytes = fs::read(program)?;
    // The path of the loader, which a static program does not name (ELF, PT_INTERP).
    Ok([&b"/lib64/ld-linux"[..], b"/lib/ld-linux", b"/lib/ld-musl"]
        .iter()
        .any(|loader| bytes.windows(loader.len()).any(|window| window == *loader)))
}
