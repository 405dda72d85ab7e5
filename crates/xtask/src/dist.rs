//! `cargo xtask dist`: builds the GitHub Action's binary, and puts it and its digest where the launcher looks
//! for them. With `--assets`, also builds the other programs of a release.

use std::env::{self, consts};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::Verb;
use crate::licenses;
use crate::workspace::{Workspace, output, run, step};

pub const VERB: Verb = Verb { command, run: verb };

/// The program that the launcher runs.
pub const BINARY: &str = "jobpass-github";

/// The other programs of a release.
const OTHERS: [&str; 2] = ["jobpass", "jobpass-gitlab"];

/// The profile of the build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// The ordinary build of the workspace, which is quick: for tests and the demo.
    Dev,
    /// A small and reproducible build, in a target directory of its own. On Linux, the binary is static if
    /// Rust's musl target is installed.
    Release,
}

fn command() -> Command {
    Command::new("dist")
        .about(
            "Build the GitHub Action's binary, and put it and its digest where the launcher looks for \
                them",
        )
        .arg(
            Arg::new("profile")
                .long("profile")
                .value_parser(["dev", "release"])
                .default_value("release"),
        )
        .arg(
            Arg::new("target")
                .long("target")
                .value_name("TRIPLE")
                .conflicts_with("profile")
                .help("Build for another platform, such as `x86_64-pc-windows-gnu`. [default: this machine]"),
        )
        .arg(
            Arg::new("assets")
                .long("assets")
                .action(ArgAction::SetTrue)
                .help("Also build the other programs of a release into <target>/dist/assets, with the files that dist/Dockerfile needs"),
        )
}

fn verb(workspace: &Workspace, arguments: &ArgMatches) -> Result<()> {
    let dist = workspace.root.join("dist");
    let dev = arguments
        .get_one::<String>("profile")
        .is_some_and(|profile| profile == "dev");
    let target = arguments.get_one::<String>("target");
    let with_assets = arguments.get_flag("assets");
    let missing = match (dev, target) {
        (false, None) => missing_musl(&host()?),
        (true, _) | (false, Some(_)) => None,
    };
    if let (true, Some(musl)) = (with_assets, &missing) {
        bail!(
            "cannot build the programs of a release: Rust's target {musl} is missing, and a program for this machine's \
             C library runs neither in Alpine nor in an image from scratch. Run `rustup target add {musl}`; on Debian \
             and Ubuntu, also install `musl-tools`"
        );
    }
    let platform = target.map_or_else(Platform::of_this_machine, |triple| Platform::of(triple));
    let build = |name: &str| match (dev, target) {
        (true, _) => build(workspace, Profile::Dev, name),
        (false, None) => build(workspace, Profile::Release, name),
        (false, Some(triple)) => release(workspace, triple, name),
    };
    let written = place_for(&platform, &build(BINARY)?, &dist)?;
    println!("{}", fs::read_to_string(written)?.trim_end());
    if with_assets {
        let assets = workspace.target.join("dist/assets");
        fs::create_dir_all(&assets).with_context(|| format!("cannot create {}", assets.display()))?;
        for name in OTHERS.into_iter().filter(|name| platform.has(name)) {
            copy(&build(name)?, &assets.join(platform.file(name)))?;
        }
        let roots = assets.join("ca-certificates.crt");
        fs::write(&roots, certificate_authorities())
            .with_context(|| format!("cannot write {}", roots.display()))?;
        let texts = assets.join("licenses.txt");
        fs::write(&texts, licenses::texts(workspace)?)
            .with_context(|| format!("cannot write {}", texts.display()))?;
    }
    // This comes last, because the output of the build is long.
    if let Some(musl) = missing {
        println!(
            "\nThis binary needs a C library like this machine's. For a binary that runs on every Linux, run `rustup target \
             add {musl}` and then the same command again"
        );
    }
    Ok(())
}

/// Builds a program of the workspace, and returns its path. The program's package has the same name.
pub fn build(workspace: &Workspace, profile: Profile, name: &str) -> Result<PathBuf> {
    let file = format!("{name}{}", consts::EXE_SUFFIX);
    match profile {
        // `--workspace` selects the same features as a build of everything, so that cargo builds little
        // twice. `--package` would select other features.
        Profile::Dev => {
            let arguments = ["build", "--workspace", "--bin", name];
            step(
                &format!("build {name} (dev)"),
                &format!("cargo {}", arguments.join(" ")),
                || {
                    run(workspace.cargo().args(arguments))?;
                    Ok(workspace.target.join("debug").join(&file))
                },
            )
        }
        Profile::Release => release(workspace, &target()?, name),
    }
}

/// Builds a program of a release for the target `triple`.
fn release(workspace: &Workspace, triple: &str, name: &str) -> Result<PathBuf> {
    step(&format!("build {name} (release)"), "cargo xtask dist", || {
        let target = workspace.target.join("dist");
        let mut cargo = workspace.cargo();
        cargo.args(["build", "--locked", "--release", "--package", name]);
        // With an explicit target, the flags do not reach build scripts and procedural macros. A procedural
        // macro is a dynamic library, so it cannot be static.
        cargo.args(["--target", triple]).arg("--target-dir").arg(&target);
        cargo.env("CARGO_ENCODED_RUSTFLAGS", rustflags(workspace, triple)?);
        run(&mut cargo)?;
        let file = format!("{name}{}", Platform::of(triple).suffix());
        Ok(target.join(triple).join("release").join(file))
    })
}

/// Copies the built [`BINARY`] to `bin/jobpass-github-<platform>-<arch>` in `dist`, the launcher's folder or
/// a copy of it. Removes other binaries from `bin`. Writes `checksums.json` and returns its path.
pub fn place(binary: &Path, dist: &Path) -> Result<PathBuf> {
    place_for(&Platform::of_this_machine(), binary, dist)
}

fn place_for(platform: &Platform, binary: &Path, dist: &Path) -> Result<PathBuf> {
    let bin = dist.join("bin");
    if bin.exists() {
        fs::remove_dir_all(&bin).with_context(|| format!("cannot empty {}", bin.display()))?;
    }
    fs::create_dir_all(&bin).with_context(|| format!("cannot create {}", bin.display()))?;
    copy(binary, &bin.join(platform.file(BINARY)))?;
    checksums(dist)
}

/// Writes `checksums.json` for every binary in `dist/bin`.
pub fn checksums(dist: &Path) -> Result<PathBuf> {
    let bin = dist.join("bin");
    let mut binaries = Map::new();
    for entry in
        fs::read_dir(&bin).with_context(|| format!("cannot read {}: run cargo xtask dist", bin.display()))?
    {
        let entry = entry?;
        let file = entry
            .file_name()
            .into_string()
            .ok()
            .context("a file name in dist/bin is not UTF-8")?;
        let Some(platform) = file.strip_prefix(&format!("{BINARY}-")) else {
            bail!("{file} in dist/bin is not named {BINARY}-<platform>-<arch>: remove it");
        };
        let platform = platform.trim_end_matches(".exe").to_owned();
        binaries.insert(
            platform,
            json!({ "file": file, "sha256": sha256(&entry.path())? }),
        );
    }
    if binaries.is_empty() {
        bail!("{} is empty: run cargo xtask dist", bin.display());
    }
    let document = json!({ "version": env!("CARGO_PKG_VERSION"), "binaries": Value::Object(binaries) });
    let path = dist.join("checksums.json");
    fs::write(&path, format!("{document:#}\n"))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// Mozilla's certificate authorities as PEM, because an image from scratch has no certificates.
fn certificate_authorities() -> String {
    let mut pem = String::new();
    for certificate in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        pem += "-----BEGIN CERTIFICATE-----\n";
        for line in STANDARD.encode(certificate).as_bytes().chunks(64) {
            pem += &String::from_utf8_lossy(line);
            pem += "\n";
        }
        pem += "-----END CERTIFICATE-----\n";
    }
    pem
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

/// A platform, as the launcher computes it from `process.platform` and `process.arch`.
struct Platform(String);

impl Platform {
    fn of_this_machine() -> Self {
        Self::new(consts::OS, consts::ARCH)
    }

    /// The platform of the target `triple`.
    fn of(triple: &str) -> Self {
        let os = match triple {
            windows if windows.contains("-windows-") => "windows",
            macos if macos.contains("-apple-") => "macos",
            _ => "linux",
        };
        Self::new(os, triple.split('-').next().unwrap_or_default())
    }

    fn new(os: &str, arch: &str) -> Self {
        let os = match os {
            "macos" => "darwin",
            "windows" => "win32",
            other => other,
        };
        let arch = match arch {
            "x86_64" => "x64",
            "aarch64" => "arm64",
            other => other,
        };
        Self(format!("{os}-{arch}"))
    }

    fn is_windows(&self) -> bool {
        self.0.starts_with("win32-")
    }

    /// Whether a release has the program. There is no jobpass-gitlab for Windows, because the templates that
    /// run it need a POSIX shell.
    fn has(&self, program: &str) -> bool {
        !(self.is_windows() && program == "jobpass-gitlab")
    }

    fn suffix(&self) -> &'static str {
        if self.is_windows() { ".exe" } else { "" }
    }

    /// The name of a program's file in a release.
    fn file(&self, program: &str) -> String {
        format!("{program}-{}{}", self.0, self.suffix())
    }
}

/// The name of the platform of the target `triple`.
pub fn platform_of(triple: &str) -> String {
    Platform::of(triple).0
}

/// The target of a release on this machine. On Linux, the target is musl if Rust's musl target is installed.
/// Then one binary runs in every image of its architecture. A static glibc would load the NSS modules of the
/// image. These modules would load another glibc and crash.
pub fn target() -> Result<String> {
    let host = host()?;
    Ok(match musl(&host) {
        Some(musl) if is_installed(&musl) => musl,
        Some(_) | None => host,
    })
}

/// The musl target that [`target`] would return if somebody installed it. `None` if it is installed, or if
/// the host has no musl target.
fn missing_musl(host: &str) -> Option<String> {
    musl(host).filter(|musl| !is_installed(musl))
}

fn musl(host: &str) -> Option<String> {
    let machine = host.strip_suffix("-linux-gnu")?;
    Some(format!("{machine}-linux-musl"))
}

fn is_installed(triple: &str) -> bool {
    let library =
        output(std::process::Command::new("rustc").args(["--print", "target-libdir", "--target", triple]));
    library.is_ok_and(|folder| Path::new(folder.trim()).exists())
}

/// The flags that keep paths of this machine out of the binary, so that anyone can build the same bytes. For
/// Windows, also the flag that links the C runtime into the binary.
fn rustflags(workspace: &Workspace, triple: &str) -> Result<String> {
    let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    let mut flags = vec![
        remap(&workspace.root, "/jobpass"),
        remap(&cargo_home()?, "/cargo"),
    ];
    if Platform::of(triple).is_windows() {
        flags.push("-Ctarget-feature=+crt-static".to_owned());
    }
    Ok(flags.join("\u{1f}"))
}

fn cargo_home() -> Result<PathBuf> {
    env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(env::home_dir()?.join(".cargo")))
        .context("cannot find cargo's folder: set CARGO_HOME, or HOME")
}

fn host() -> Result<String> {
    let said = output(std::process::Command::new("rustc").arg("-vV"))?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_owned())
}

fn sha256(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placing_a_binary_removes_older_ones_and_writes_its_digest() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let dist = dir.path().join("dist");
        fs::create_dir_all(dist.join("bin"))?;
        fs::write(dist.join("bin/jobpass-github-plan9-mips"), "old")?;
        let binary = dir.path().join("built");
        fs::write(&binary, "abc")?;

        let written: Value = serde_json::from_str(&fs::read_to_string(place(&binary, &dist)?)?)?;

        let platform = Platform::of_this_machine();
        let file = platform.file(BINARY);
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let expected = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "binaries": { platform.0: { "file": file, "sha256": sha256 } },
        });
        assert_eq!(written, expected);
        Ok(())
    }

    #[test]
    fn a_file_is_named_after_the_platform_of_its_target() {
        let file = |triple: &str| Platform::of(triple).file(BINARY);
        assert_eq!(file("aarch64-unknown-linux-musl"), "jobpass-github-linux-arm64");
        assert_eq!(file("x86_64-apple-darwin"), "jobpass-github-darwin-x64");
        assert_eq!(file("x86_64-pc-windows-gnu"), "jobpass-github-win32-x64.exe");
    }

    #[test]
    fn a_stray_file_among_the_binaries_is_refused() -> Result<()> {
        let dir = tempfile::tempdir()?;
        fs::create_dir(dir.path().join("bin"))?;
        fs::write(dir.path().join("bin/README"), "")?;
        let error = checksums(dir.path()).map(drop).map_err(|error| error.to_string());
        assert_eq!(
            error,
            Err("README in dist/bin is not named jobpass-github-<platform>-<arch>: remove it".to_owned())
        );
        Ok(())
    }
}
