//! `cargo xtask docs`: writes the table of options into docs/reference.md.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use clap::{ArgMatches, Command};
use jobpass_core::inputs::options::{FrontEnd, Opt};

use crate::{Verb, workspace::Workspace};

pub const VERB: Verb = Verb { command, run };

/// The document with the table of all options.
const REFERENCE: &str = "docs/reference.md";
/// The lines around the generated part.
const BEGIN: &str = "<!-- `cargo xtask docs` writes this table. -->\n";
const END: &str = "<!-- The end of the table. -->\n";

fn command() -> Command {
    Command::new("docs").about("Write the table of options into the reference")
}

fn run(workspace: &Workspace, _: &ArgMatches) -> Result<()> {
    let path = workspace.root.join(REFERENCE);
    fs::write(&path, with_options(&path)?).context("cannot write docs/reference.md")
}

/// The reference with the current table of options.
fn with_options(path: &Path) -> Result<String> {
    let text = fs::read_to_string(path).context("cannot read docs/reference.md")?;
    let (before, rest) = text.split_once(BEGIN).context(
        "docs/reference.md has no line that begins the table: add `BEGIN` of crates/xtask/src/docs.rs",
    )?;
    let (_, after) = rest.split_once(END).context(
        "docs/reference.md has no line that ends the table: add `END` of crates/xtask/src/docs.rs",
    )?;
    Ok(format!("{before}{BEGIN}\n{}\n{END}{after}", options()))
}

/// The table of all options, in Markdown.
fn options() -> String {
    let places = [
        (FrontEnd::Action, "GitHub"),
        (FrontEnd::JobTemplate, "GitLab"),
        (FrontEnd::CommandLine, "command line"),
    ];
    let mut table = "| option | default | only for | |\n|---|---|---|---|\n".to_owned();
    for &option in Opt::ALL {
        let has = |front_end| Opt::on(front_end).any(|other| other == option);
        let on = places.iter().filter(|(front_end, _)| has(*front_end));
        let on = on.map(|(_, place)| *place).collect::<Vec<_>>();
        let only = match on.len() < places.len() {
            true => on.join(", "),
            false => String::new(),
        };
        let default = places.iter().find_map(|(front_end, place)| {
            let default = option.default_on(*front_end)?;
            Some(match option.default() {
                Some(_) => format!("`{default}`"),
                None => format!("`{default}` ({place})"),
            })
        });
        // Writing to a String does not fail.
        let _ = writeln!(
            table,
            "| `{}` | {} | {only} | {} |",
            option.name(),
            default.unwrap_or_default(),
            option.help().replace('|', "\\|")
        );
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_has_the_options_as_they_are() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../..")
            .join(REFERENCE);
        let now = fs::read_to_string(&path).expect("the reference");
        let wanted = with_options(&path).expect("a table");
        assert!(
            now == wanted,
            "docs/reference.md is outdated: run `cargo xtask docs`"
        );
    }
}
