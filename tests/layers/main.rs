//! The modules at the root of a crate are its layers: each imports only from the layers below it.
//!
//! Imports without circles let a reader read one folder at a time, and keep a change in its folder.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use syn::{UseTree, visit::Visit};

/// The layers of a crate, the topmost first. A layer imports only from itself and from the layers after it.
struct Layers {
    crate_name: &'static str,
    folders: &'static [&'static str],
    /// The names that the crate's root re-exports, each with the module that defines it.
    reexports: &'static [(&'static str, &'static str)],
}

const CORE: Layers = Layers {
    crate_name: "core",
    folders: &[
        "tests",
        "life",
        "doctor",
        "maintenance",
        "anchor",
        "record",
        "access",
        "minter",
        "refusal",
        "proxy",
        "cluster",
        "oidc",
        "inputs",
        "claims",
        "rbac",
        "process",
        "masks",
        "token",
        "names",
        "json",
        "error",
        "text",
    ],
    reexports: &[("Error", "error"), ("Kind", "error")],
};

const CLI: Layers = Layers {
    crate_name: "cli",
    folders: &["verbs", "session", "pipelines", "options", "terminal"],
    reexports: &[],
};

const DEVKIT: Layers = Layers {
    crate_name: "devkit",
    folders: &[
        "cli",
        "dev_cluster",
        "issuer",
        "ci_api",
        "front",
        "cluster",
        "asked",
        "kubeconfig",
        "transcript",
        "pki",
        "jwt",
        "clock",
        "random",
    ],
    reexports: &[("DevCluster", "dev_cluster")],
};

#[test]
fn core_imports_downwards() {
    assert_eq!(upward(&CORE, &files(&source(&CORE))), "");
}

#[test]
fn the_command_line_imports_downwards() {
    assert_eq!(upward(&CLI, &files(&source(&CLI))), "");
}

#[test]
fn the_devkit_imports_downwards() {
    assert_eq!(upward(&DEVKIT, &files(&source(&DEVKIT))), "");
}

/// The other tests of this file prove something only if `upward` finds imports that run upwards.
#[test]
fn a_planted_upward_import_is_seen() {
    let planted = [
        (
            "claims/mod.rs",
            "use crate::{error::Error, life::mint::Plan};",
            "claims -> life",
        ),
        (
            "cluster/pool.rs",
            "fn pool() { crate::refusal::explain() }",
            "cluster -> refusal",
        ),
        (
            "record/state/mod.rs",
            "use super::super::doctor;",
            "record -> doctor",
        ),
        (
            "error.rs",
            "mod tests { use crate::Error; use crate::access::Report; }",
            "error -> access",
        ),
        (
            "token.rs",
            "type Result = std::result::Result<(), crate::minter::Refused>;",
            "token -> minter",
        ),
        (
            "cluster/mod.rs",
            "impl crate::anchor::Anchor {}",
            "cluster -> anchor",
        ),
        (
            "rbac/rule.rs",
            "macro_rules! rule { () => { crate::access::Checks } }",
            "rbac -> access",
        ),
        (
            "inputs/new.rs",
            "use crate::unlisted::Thing;",
            "inputs -> unlisted",
        ),
    ];
    for (file, text, arrow) in planted {
        let found = upward(&CORE, &[(PathBuf::from(file), text.into())]);
        assert!(found.contains(arrow), "{file}: {text}: {found}");
    }
    let fine = "use crate::{Error, cluster::Cluster}; use super::pool; mod tests { use super::super::list; }";
    assert_eq!(
        upward(&CORE, &[(PathBuf::from("anchor/role.rs"), fine.into())]),
        ""
    );
}

fn source(layers: &Layers) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../crates")
        .join(layers.crate_name)
        .join("src")
}

/// Every source file below `folder`, with its relative path.
fn files(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("text");
                files.push((path.strip_prefix(folder).expect("below it").to_path_buf(), text));
            }
        }
    }
    assert!(!files.is_empty(), "no source in {}", folder.display());
    files.sort();
    files
}

/// Returns a line for each import that runs upwards, and for each that names a module without a layer.
fn upward(layers: &Layers, files: &[(PathBuf, String)]) -> String {
    let mut found = String::new();
    for (path, text) in files {
        let module = module(path);
        // The root is above all layers, because it lists them.
        let Some(from) = module.first() else { continue };
        let mut imports = Imports {
            module: &module,
            inline: 0,
            paths: Vec::new(),
        };
        imports.visit_file(&syn::parse_file(text).expect("Rust"));
        for name in imports.paths.into_iter().filter(|name| name != from) {
            let reexported = layers.reexports.iter().find(|(reexport, _)| *reexport == name);
            let to = reexported.map_or(&*name, |(_, module)| module);
            let place = |layer: &str| layers.folders.iter().position(|folder| *folder == layer);
            if to != from && place(to).is_none_or(|to| place(from).is_none_or(|from| from > to)) {
                _ = writeln!(found, "{from} -> {to} in {}", path.display());
            }
        }
    }
    found
}

/// The modules in a path, such as `["record", "state"]` for `record/state/mod.rs`.
fn module(path: &Path) -> Vec<String> {
    let path = path.with_extension("");
    let parts = path.iter().map(|part| part.to_string_lossy().into_owned());
    parts
        .filter(|part| !matches!(&**part, "mod" | "lib" | "main"))
        .collect()
}

/// The first segments of all paths from the crate's root.
struct Imports<'a> {
    module: &'a [String],
    /// The number of inline modules around the current item. A path may have as many `super` segments and
    /// still stay inside the file.
    inline: usize,
    paths: Vec<String>,
}

impl Imports<'_> {
    fn path(&mut self, segments: &[String]) {
        let supers = segments.iter().take_while(|segment| *segment == "super").count();
        let root = match segments.first().map(String::as_str) {
            Some("crate") => 1,
            Some("super") if supers == self.module.len() + self.inline => supers,
            _ => return,
        };
        self.paths.extend(segments.get(root).cloned());
    }

    fn tree(&mut self, tree: &UseTree, before: &[String]) {
        let and = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.tree(&path.tree, &and(&path.ident)),
            UseTree::Name(name) => self.path(&and(&name.ident)),
            UseTree::Rename(rename) => self.path(&and(&rename.ident)),
            UseTree::Glob(_) => self.path(before),
            UseTree::Group(group) => group.items.iter().for_each(|item| self.tree(item, before)),
        }
    }
}

impl<'ast> Visit<'ast> for Imports<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.inline += 1;
        syn::visit::visit_item_mod(self, item);
        self.inline -= 1;
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.tree(&item.tree, &[]);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<_> = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string())
            .collect();
        self.path(&segments);
        syn::visit::visit_path(self, path);
    }

    /// A macro has no syntax tree, so this searches its text, for `crate::` only.
    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        let text = item.tokens.to_string().replace(' ', "");
        for rest in text.split("crate::").skip(1) {
            let name = rest
                .split(|letter: char| !letter.is_alphanumeric() && letter != '_')
                .next();
            self.paths
                .extend(name.filter(|name| !name.is_empty()).map(str::to_owned));
        }
    }
}
