//! `cargo xtask sbom`: writes a bill of materials (CycloneDX) for each program of a release.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use clap::{Arg, ArgMatches, Command};

use crate::Verb;
use crate::dist;
use crate::tools::{self, CARGO_CYCLONEDX};
use crate::workspace::{Workspace, output, run, step};

pub const VERB: Verb = Verb { command, run: verb };

/// The programs, and the folders of their crates.
const PROGRAMS: [(&str, &str); 3] = [
    ("jobpass", "cli"),
    ("jobpass-github", "github"),
    ("jobpass-gitlab", "gitlab"),
];

fn command() -> Command {
    Command::new("sbom")
        .about("Write a bill of materials (CycloneDX) for each program, into <target>/dist/assets")
        .arg(
            Arg::new("target")
                .long("target")
                .value_name("TRIPLE")
                .help("The platform of the programs. [default: this machine]"),
        )
}

fn verb(workspace: &Workspace, arguments: &ArgMatches) -> Result<()> {
    let target = match arguments.get_one::<String>("target") {
        Some(triple) => triple.clone(),
        None => dist::target()?,
    };
    let bin = tools::install(workspace, &[&CARGO_CYCLONEDX])?;
    let assets = workspace.target.join("dist/assets");
    fs::create_dir_all(&assets).with_context(|| format!("cannot create {}", assets.display()))?;
    step("bills of materials", "cargo xtask sbom", || {
        // With the commit's date, the same commit gives the same files.
        let date = output(workspace.command("git").args(["log", "-1", "--format=%ct"]))?;
        let name = "jobpass-sbom";
        run(workspace
            .command(bin.join(CARGO_CYCLONEDX.name))
            .args(["cyclonedx", "--quiet", "--format=json", "--spec-version=1.5"])
            .args(["--target", &target])
            .args(["--override-filename", name])
            .env("SOURCE_DATE_EPOCH", date.trim()))?;
        // The tool writes a file into the folder of each crate.
        let root = workspace.root.to_string_lossy();
        for (program, folder) in PROGRAMS {
            let bill = workspace.root.join(format!("crates/{folder}/{name}.json"));
            let text =
                fs::read_to_string(&bill).with_context(|| format!("cannot read {}", bill.display()))?;
            // Like the programs, the files contain no path of this machine.
            let text = text.replace(&*root, "/jobpass");
            let to = assets.join(format!("{program}-{}.cdx.json", dist::platform_of(&target)));
            fs::write(&to, text).with_context(|| format!("cannot write {}", to.display()))?;
        }
        remove(&workspace.root, &format!("{name}.json"))
    })
}

/// Removes the file `name` from the folder of each crate of the workspace.
fn remove(root: &Path, name: &str) -> Result<()> {
    let mut folders = vec![root.join("tests")];
    for entry in fs::read_dir(root.join("crates"))? {
        folders.push(entry?.path());
    }
    for folder in folders {
        drop(fs::remove_file(folder.join(name)));
    }
    Ok(())
}
