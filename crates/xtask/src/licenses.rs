//! The licence texts of everything in the programs of a release.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::workspace::{Workspace, output};

/// The programs of a release, and the certificate authorities that the images contain.
const PARTS: [&str; 4] = ["jobpass", "jobpass-github", "jobpass-gitlab", "webpki-root-certs"];

/// The text for a crate that names MIT as its licence and contains no copy of it.
const MIT: &str = "\
Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the \"Software\"), to deal in the Software without restriction, including without
limitation the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the
Software, and to permit persons to whom the Software is furnished to do so, subject to the following
conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions
of the Software.

THE SOFTWARE IS PROVIDED \"AS IS\", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED
TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL
THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF
CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER
DEALINGS IN THE SOFTWARE.
";

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    authors: Vec<String>,
    manifest_path: PathBuf,
    /// The registry. `None` for a crate of the workspace.
    source: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    /// `dev` or `build`. `None` for an ordinary dependency.
    kind: Option<String>,
}

/// Collects the licence texts of the programs on all platforms: jobpass's own text, and each other text with
/// the list of its crates. Fails if a crate contains no text, unless it may be used under Apache-2.0 alone or
/// its licence is MIT.
pub fn texts(workspace: &Workspace) -> Result<String> {
    let metadata = output(
        workspace
            .cargo()
            .args(["metadata", "--format-version=1", "--locked"]),
    )?;
    let metadata: Metadata =
        serde_json::from_str(&metadata).context("cannot read the output of cargo metadata")?;
    let mut under_apache = BTreeSet::new();
    let mut others: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in linked(&metadata) {
        let name = format!("{} {}", package.name, package.version);
        for text in of(package)? {
            others.entry(text).or_default().insert(name.clone());
        }
        if apache_is_enough(package) {
            under_apache.insert(name);
        }
    }
    // The C library of the Linux programs.
    let musl = format!("Copyright (c) 2005-2020 Rich Felker, et al.\n\n{MIT}");
    others.entry(musl).or_default().insert("musl libc".to_owned());
    under_apache.insert("the standard library of Rust".to_owned());

    let license = workspace.root.join("LICENSE");
    let license =
        fs::read_to_string(&license).with_context(|| format!("cannot read {}", license.display()))?;
    let rule = "=".repeat(100);
    let list = |names: &BTreeSet<String>| names.iter().map(|name| format!("  {name}\n")).collect::<String>();
    let mut text = format!(
        "jobpass, and these parts of it, are under the Apache License 2.0, whose text is next:\n\n{}\n{rule}\n{license}",
        list(&under_apache)
    );
    for (other, names) in others {
        text += &format!("\n{rule}\nFor:\n{}\n{}\n", list(&names), other.trim_end());
    }
    Ok(text)
}

/// The crates from registries on which a program depends, on any platform. They include the crates of
/// procedural macros, such as `syn`, which run only during the build.
fn linked(metadata: &Metadata) -> Vec<&Package> {
    let nodes: HashMap<_, _> = metadata
        .resolve
        .nodes
        .iter()
        .map(|node| (&node.id, node))
        .collect();
    let mut left: Vec<_> = metadata
        .packages
        .iter()
        .filter(|package| PARTS.contains(&&*package.name))
        .map(|package| &package.id)
        .collect();
    let mut seen = BTreeSet::new();
    while let Some(id) = left.pop() {
        if seen.insert(id) {
            let dependencies = nodes.get(id).map_or(&[][..], |node| &node.deps);
            let ordinary = |found: &&Dependency| found.dep_kinds.iter().any(|kind| kind.kind.is_none());
            left.extend(dependencies.iter().filter(ordinary).map(|found| &found.pkg));
        }
    }
    metadata
        .packages
        .iter()
        .filter(|package| package.source.is_some() && seen.contains(&package.id))
        .collect()
}

/// Whether the crate may be used under the Apache License 2.0 alone.
fn apache_is_enough(package: &Package) -> bool {
    let license = package.license.as_deref().unwrap_or_default();
    !license.contains(" AND ")
        && license
            .replace('/', " OR ")
            .split(" OR ")
            .any(|choice| choice.trim() == "Apache-2.0")
}

/// The licence texts and notices of a crate, without the Apache License.
fn of(package: &Package) -> Result<Vec<String>> {
    let folder = package
        .manifest_path
        .parent()
        .context("a crate's manifest has no folder")?;
    let mut files = Vec::new();
    find(folder, &mut files)?;
    files.sort();
    // The collection contains the Apache License already. A licence file in a folder of its own is for code
    // that the crate took from others.
    let apache = apache_is_enough(package);
    files.retain(|file| !apache || file.parent() != Some(folder) || named(file, &["NOTICE"]));
    if files.is_empty() && !apache {
        let license = package.license.as_deref().unwrap_or("no licence");
        if license == "MIT" {
            let holders = package.authors.join(", ");
            return Ok(vec![format!("Copyright (c) {holders}\n\n{MIT}")]);
        }
        bail!(
            "{} {} is under {license}, but has no file with its text: add the text to crates/xtask/src/licenses.rs",
            package.name,
            package.version
        );
    }
    files
        .iter()
        .map(|file| {
            let text = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            Ok(String::from_utf8_lossy(&text).replace("\r\n", "\n"))
        })
        .collect()
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if named(&path, &["LICEN", "COPYING", "COPYRIGHT", "UNLICENSE", "NOTICE"]) {
            files.push(path);
        }
    }
    Ok(())
}

fn named(file: &Path, beginnings: &[&str]) -> bool {
    let name = file
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .to_uppercase();
    beginnings.iter().any(|beginning| name.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(license: &str, folder: &Path) -> Package {
        Package {
            id: String::new(),
            name: "some".to_owned(),
            version: "1.0.0".to_owned(),
            license: Some(license.to_owned()),
            authors: vec!["Somebody".to_owned()],
            manifest_path: folder.join("Cargo.toml"),
            source: None,
        }
    }

    #[test]
    fn each_crate_brings_the_texts_that_its_licence_asks_for() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text);
        fs::create_dir(folder.path().join("taken"))?;
        write("LICENSE-MIT", "mit of some\r\n")?;
        write("NOTICE", "notice")?;
        write("taken/LICENSE", "of others")?;
        let of = |license: &str| of(&package(license, folder.path()));
        assert_eq!(of("MIT OR Apache-2.0")?, ["notice", "of others"]);
        assert_eq!(of("MIT/Apache-2.0")?, ["notice", "of others"]);
        assert_eq!(
            of("Apache-2.0 AND MIT")?,
            ["mit of some\n", "notice", "of others"]
        );
        assert_eq!(of("MIT")?, ["mit of some\n", "notice", "of others"]);
        Ok(())
    }

    #[test]
    fn a_crate_without_a_text_is_found() -> Result<()> {
        let folder = tempfile::tempdir()?;
        assert!(of(&package("Apache-2.0", folder.path()))?.is_empty());
        assert!(of(&package("MIT", folder.path()))?[0].starts_with("Copyright (c) Somebody\n\nPermission"));
        let error = of(&package("ISC", folder.path())).map_err(|error| error.to_string());
        assert!(error.is_err_and(|error| error.starts_with("some 1.0.0 is under ISC, but has no file")));
        Ok(())
    }
}
