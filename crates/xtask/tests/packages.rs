//! Checks the packages that crates.io and cargo-binstall get.

use std::{path::Path, process::Command};

use serde_json::Value;
use xtask::{licenses, workspace::Workspace};

/// The output of cargo in the workspace.
fn cargo(words: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(words)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn packages() -> Vec<Value> {
    let metadata = cargo(&["metadata", "--format-version=1", "--no-deps", "--offline"]);
    let metadata: Value = serde_json::from_str(&metadata).expect("JSON");
    metadata["packages"].as_array().expect("packages").clone()
}

#[test]
fn a_published_crate_has_its_license_and_readme() {
    let mut published = Vec::new();
    for package in packages() {
        if package["publish"].is_array() {
            continue;
        }
        let name = package["name"].as_str().expect("a name");
        for field in ["keywords", "categories"] {
            assert_ne!(package[field], Value::Array(Vec::new()), "{field} of {name}");
        }
        let files = cargo(&[
            "package",
            "--list",
            "--allow-dirty",
            "--offline",
            "--package",
            name,
        ]);
        for file in ["LICENSE", "README.md"] {
            assert!(files.lines().any(|line| line == file), "{name} without {file}");
        }
        published.push(name.to_owned());
    }
    published.sort();
    assert_eq!(published, ["jobpass", "jobpass-core", "jobpass-mask"]);
}

/// The manifest must name the files as `cargo xtask dist` and dist/release.sh name them.
#[test]
fn binstall_finds_the_file_of_each_platform() {
    let packages = packages();
    let package = packages
        .iter()
        .find(|package| package["name"] == "jobpass")
        .expect("there");
    let overrides = &package["metadata"]["binstall"]["overrides"];
    for (target, overridden) in overrides.as_object().expect("overrides") {
        let words: Vec<_> = target.split('-').collect();
        let arch = if words[0] == "x86_64" { "x64" } else { "arm64" };
        let (system, suffix) = match words[2] {
            "linux" => ("linux", ""),
            "darwin" => ("darwin", ""),
            _ => ("win32", ".exe"),
        };
        assert_eq!(
            overridden["pkg-url"],
            format!("{{ repo }}/releases/download/v{{ version }}/jobpass-{system}-{arch}{suffix}"),
            "{target}"
        );
    }
    let workflow = include_str!("../../../.github/workflows/build.yml");
    for target in workflow
        .lines()
        .filter_map(|line| Some(line.split_once("target: ")?.1))
    {
        let target = target.split([',', ' ']).next().unwrap_or_default();
        assert!(overrides[target].is_object(), "no binary for {target}");
    }
}

#[test]
fn the_licence_texts_of_a_release_cover_what_is_linked() {
    let workspace = Workspace::load().expect("a workspace");
    let texts = licenses::texts(&workspace).expect("a text for each crate");
    for part in [
        "  musl libc\n",
        "  ring ",
        "  the standard library of Rust\n",
        "  tokio ",
        "  webpki-root-certs ",
    ] {
        assert!(texts.contains(part), "{part}");
    }
    assert!(!texts.contains("  kube-derive ") && !texts.contains("  proptest "));
}
