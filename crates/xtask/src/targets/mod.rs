//! `cargo xtask targets`: builds the programs for several targets, and tries their main uses on the dev
//! cluster. Programs for another processor run under qemu, and programs for Windows run under wine.
//!
//! Releases need rustup's targets, and this verb does not: it builds the standard library from the source in
//! Debian's packages, with zig or mingw as the C compiler. For macOS, this verb only checks the code, because
//! a program cannot be linked without Apple's libraries.

mod trial;
mod wine;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use clap::{Arg, ArgMatches};

use self::wine::Wine;
use crate::Verb;
use crate::nsswitch;
use crate::tools::{self, CARGO_ZIGBUILD, KUBECTL};
use crate::workspace::{Workspace, output, run, step};

pub const VERB: Verb = Verb { command, run: verb };

/// The programs of a release.
const PROGRAMS: [&str; 3] = ["jobpass", "jobpass-github", "jobpass-gitlab"];

/// A target, and the machine that runs its programs.
struct Target {
    triple: &'static str,
    machine: Machine,
}

#[derive(Clone, Copy, PartialEq)]
enum Machine {
    /// This machine.
    This,
    /// An emulator of Debian's qemu-user-static.
    Emulated(&'static str),
    Windows,
    /// A machine that no emulator of these tests emulates.
    MacOs,
}

const TARGETS: [Target; 5] = [
    Target {
        triple: "x86_64-unknown-linux-musl",
        machine: Machine::This,
    },
    Target {
        triple: "aarch64-unknown-linux-musl",
        machine: Machine::Emulated("qemu-aarch64-static"),
    },
    Target {
        triple: "x86_64-pc-windows-gnu",
        machine: Machine::Windows,
    },
    Target {
        triple: "aarch64-apple-darwin",
        machine: Machine::MacOs,
    },
    Target {
        triple: "x86_64-apple-darwin",
        machine: Machine::MacOs,
    },
];

impl Target {
    /// The programs of a release for this target. There is no jobpass-gitlab for Windows, because the
    /// templates that run it need a POSIX shell.
    fn programs(&self) -> impl Iterator<Item = &'static str> {
        let all = self.machine != Machine::Windows;
        PROGRAMS
            .into_iter()
            .filter(move |name| all || *name != "jobpass-gitlab")
    }
}

fn command() -> clap::Command {
    clap::Command::new("targets")
        .about("Build for other targets on a Debian x64 machine, and try the main uses of each program")
        .arg(
            Arg::new("triple")
                .value_parser(TARGETS.map(|target| target.triple))
                .help("Only this target. [default: all]"),
        )
}

fn verb(workspace: &Workspace, arguments: &ArgMatches) -> Result<()> {
    let chosen = arguments.get_one::<String>("triple");
    let bin = tools::install(workspace, &[&CARGO_ZIGBUILD, &KUBECTL])?;
    // xtask calls Debian's compiler by its path, because rustup's compiler may come before it on PATH.
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
        let alone = format!("cargo xtask targets {}", target.triple);
        if target.machine == Machine::MacOs {
            step(&format!("check for {}", target.triple), &alone, || {
                check(workspace, &bin, target)
            })?;
            continue;
        }
        let machine = Runner::of(target.machine, workspace)?;
        let programs = step(&format!("build for {}", target.triple), &alone, || {
            build(workspace, &bin, target)
        })?;
        step(&format!("try the main uses on {}", target.triple), &alone, || {
            machine.prepare(&programs)?;
            stands_alone(target, &machine, &programs)?;
            trial::run_all(&machine, &programs, &bin.join(KUBECTL.name))
        })?;
        if target.machine == Machine::This {
            step(&format!("resolve a name with {}", target.triple), &alone, || {
                nsswitch::try_out(&programs.join("jobpass"))
            })?;
        }
    }
    Ok(())
}

/// A machine that is ready to run its programs.
enum Runner {
    This,
    Emulated(&'static str),
    Windows(Wine),
}

impl Runner {
    fn of(machine: Machine, workspace: &Workspace) -> Result<Self> {
        Ok(match machine {
            Machine::This | Machine::MacOs => Self::This,
            Machine::Emulated(emulator) => {
                tools::system(emulator, "qemu-user-static")?;
                Self::Emulated(emulator)
            }
            Machine::Windows => Self::Windows(Wine::install(workspace)?),
        })
    }

    fn prepare(&self, programs: &Path) -> Result<()> {
        match self {
            Self::This | Self::Emulated(_) => Ok(()),
            Self::Windows(wine) => wine.put_libraries(programs),
        }
    }

    /// A command that runs one of the programs in the folder `programs`.
    fn command(&self, programs: &Path, name: &str) -> Command {
        match self {
            Self::This => Command::new(programs.join(name)),
            Self::Emulated(emulator) => {
                let mut command = Command::new(emulator);
                command.arg(programs.join(name));
                command
            }
            Self::Windows(wine) => wine.command(&programs.join(format!("{name}.exe"))),
        }
    }

    /// Whether a program can start itself again, as jobpass does for a renewer. A program that starts itself
    /// does not use the emulator, and the kernel cannot run a program for another processor.
    fn runs_its_own_programs(&self) -> bool {
        match self {
            Self::This | Self::Windows(_) => true,
            Self::Emulated(_) => false,
        }
    }

    /// The words of a command that makes the machine's shell run one line.
    fn shell<'a>(&self, posix: &'a str, windows: &'a str) -> [&'a str; 3] {
        match self {
            Self::This | Self::Emulated(_) => ["sh", "-c", posix],
            Self::Windows(_) => ["cmd", "/c", windows],
        }
    }

    /// Whether the machine has the shell that the GitLab templates need.
    fn has_a_posix_shell(&self) -> bool {
        !matches!(self, Self::Windows(_))
    }

    /// A path as the programs write it.
    fn path(&self, path: &Path) -> String {
        match self {
            Self::This | Self::Emulated(_) => path.display().to_string(),
            Self::Windows(_) => wine::path(path),
        }
    }
}

/// Builds the programs. Returns their folder.
///
/// Unlike a release, this builds all programs at once, and without link-time optimisation. That takes only
/// two thirds of the processor time, and the difference does not matter here.
fn build(workspace: &Workspace, bin: &Path, target: &Target) -> Result<PathBuf> {
    let flag = match target.machine {
        // As in a release, this links the C runtime into the program.
        Machine::Windows => "-Ctarget-feature=+crt-static",
        // zig adds the start files of the C library, so rustc must not add its own.
        Machine::This | Machine::Emulated(_) | Machine::MacOs => "-Clink-self-contained=no",
    };
    let mut build = cargo(workspace, bin, target, "build")?;
    build
        .arg("--release")
        .args(target.programs().flat_map(|program| ["--package", program]))
        .env(of_target(target, "RUSTFLAGS"), flag)
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
    run(&mut build)?;
    Ok(folder(workspace).join(target.triple).join("release"))
}

/// The name of cargo's variable for a setting of this target.
fn of_target(target: &Target, setting: &str) -> String {
    let triple = target.triple.to_uppercase().replace('-', "_");
    format!("CARGO_TARGET_{triple}_{setting}")
}

fn check(workspace: &Workspace, bin: &Path, target: &Target) -> Result<()> {
    let mut check = cargo(workspace, bin, target, "check")?;
    run(check.args(target.programs().flat_map(|program| ["--package", program])))
}

fn folder(workspace: &Workspace) -> PathBuf {
    workspace.target.join("targets")
}

/// A verb of cargo for this target, with Debian's compiler.
fn cargo(workspace: &Workspace, bin: &Path, target: &Target, verb: &str) -> Result<Command> {
    let path = env::join_paths(
        // cargo-zigbuild starts zig as a module of the Python in this virtual environment.
        [workspace.target.join("tools/venv/bin"), PathBuf::from("/usr/bin")]
            .into_iter()
            .chain(env::split_paths(&env::var_os("PATH").unwrap_or_default())),
    )?;
    let mut cargo = match target.machine {
        // mingw links programs for Windows, so zig is not needed.
        Machine::Windows => workspace.command("/usr/bin/cargo"),
        Machine::This | Machine::Emulated(_) | Machine::MacOs => {
            workspace.command(bin.join(CARGO_ZIGBUILD.name))
        }
    };
    cargo
        .args([
            verb,
            "--locked",
            "-Zbuild-std=std,panic_unwind",
            "--target",
            target.triple,
        ])
        .env("PATH", &path)
        .env("RUSTC", "/usr/bin/rustc")
        .env("CARGO", "/usr/bin/cargo")
        // Debian's cargo is not a nightly build, and refuses -Z without this variable.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", folder(workspace))
        .env_remove("RUSTUP_TOOLCHAIN");
    Ok(cargo)
}

/// Fails if a program does not start, or needs a library that not every machine has.
fn stands_alone(target: &Target, machine: &Runner, programs: &Path) -> Result<()> {
    for name in target.programs() {
        let version = output(machine.command(programs, name).arg("--version"))?;
        let path = match target.machine {
            Machine::Windows => programs.join(format!("{name}.exe")),
            Machine::This | Machine::Emulated(_) | Machine::MacOs => programs.join(name),
        };
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        println!("    {}: {:.2} MB", version.trim(), bytes.len() as f64 / 1e6);
        ensure!(
            !needs_a_library(&bytes),
            "{} needs a loader or a library that not every machine has",
            path.display()
        );
    }
    Ok(())
}

/// Whether a program needs a loader or a library that not every machine has.
fn needs_a_library(program: &[u8]) -> bool {
    let names = [
        // The paths of the loader, which a static program does not name (ELF, PT_INTERP).
        &b"/lib64/ld-linux"[..],
        b"/lib/ld-linux",
        b"/lib/ld-musl",
        // The library of mingw.
        b"libgcc_s_seh-1.dll",
    ];
    names
        .iter()
        .any(|name| program.windows(name.len()).any(|window| window == *name))
}
