//! The client libraries with which tests read jobpass's kubeconfigs, in `<target>/tools/clients`. A lock file
//! in `tests/clients` pins each library.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use sha2::{Digest as _, Sha256};

use crate::tools;
use crate::workspace::{Workspace, output, run, step};

/// The directory of the lock files, relative to the root.
const SOURCE: &str = "tests/clients";
const PYTHON: &str = "requirements.txt";
const JAVASCRIPT: [&str; 2] = ["package.json", "package-lock.json"];
const JAVA: &str = "jars.txt";
const MAVEN_CENTRAL: &str = "https://repo1.maven.org/maven2";

/// Installs the libraries of each lock file, unless they are installed already.
pub(crate) fn install(workspace: &Workspace) -> Result<()> {
    let source = workspace.root.join(SOURCE);
    let home = workspace.target.join("tools/clients");
    let [package, lock] = JAVASCRIPT;
    // The JDK compiles the program that uses the jars. It is a program of the system.
    tools::system("javac", "default-jdk-headless")?;
    once(&source, &home, "python", &[PYTHON], from_pypi)?;
    once(&source, &home, "javascript", &[package, lock], from_npm)?;
    once(&source, &home, "java", &[JAVA], from_maven)
}

fn once(
    source: &Path,
    home: &Path,
    name: &str,
    locks: &[&str],
    install: impl FnOnce(&Path, &Path) -> Result<()>,
) -> Result<()> {
    let mut digest = Sha256::new();
    for lock in locks {
        let path = source.join(lock);
        digest.update(fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?);
    }
    let id = hex(digest);
    let folder = home.join(name);
    // This writes the stamp last, so that the next run repeats an interrupted installation.
    let stamp = folder.join("installed");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == id) {
        return Ok(());
    }
    let what = format!("install the {name} clients of the tests");
    step(
        &what,
        "run the same command again, which keeps the installed libraries",
        || {
            drop(fs::remove_dir_all(&folder));
            fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
            install(source, &folder)?;
            fs::write(&stamp, id).with_context(|| format!("cannot write {}", stamp.display()))
        },
    )
}

fn from_pypi(source: &Path, folder: &Path) -> Result<()> {
    let python = tools::venv(folder)?;
    run(Command::new(python)
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-input",
        ])
        .args(["--only-binary=:all:", "--require-hashes", "--requirement"])
        .arg(source.join(PYTHON)))
}

fn from_npm(source: &Path, folder: &Path) -> Result<()> {
    for file in JAVASCRIPT {
        fs::copy(source.join(file), folder.join(file)).with_context(|| format!("cannot copy {file}"))?;
    }
    run(Command::new("npm")
        .args(["ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(folder))
}

/// Downloads the jars without Maven, because the lock file also lists their dependencies.
fn from_maven(source: &Path, folder: &Path) -> Result<()> {
    let list = fs::read_to_string(source.join(JAVA)).with_context(|| format!("cannot read {JAVA}"))?;
    let jars = list
        .lines()
        .map(|line| {
            let malformed = || format!("{JAVA} has a line that is not a digest and a path: {line}");
            let (digest, path) = line.split_once("  ").with_context(malformed)?;
            let (_, name) = path.rsplit_once('/').with_context(malformed)?;
            Ok((digest, path, folder.join(name)))
        })
        .collect::<Result<Vec<_>>>()?;
    let mut curl = Command::new("curl");
    curl.args([
        "--fail",
        "--silent",
        "--show-error",
        "--location",
        "--retry",
        "3",
        "--parallel",
    ]);
    for (_, path, jar) in &jars {
        curl.arg("--output")
            .arg(jar)
            .arg(format!("{MAVEN_CENTRAL}/{path}"));
    }
    output(&mut curl)?;
    for (digest, path, jar) in &jars {
        let content = fs::read(jar).with_context(|| format!("cannot read {}", jar.display()))?;
        let got = hex(Sha256::new_with_prefix(content));
        ensure!(
            got == *digest,
            "{path} from Maven Central has the SHA-256 {got}, but {JAVA} requires {digest}: find out why \
             before you use the file"
        );
    }
    Ok(())
}

fn hex(digest: Sha256) -> String {
    digest.finalize().iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
