//! One manual page, in the form that `man` reads.

use std::io;

use clap::{Arg, Command};
use clap_mangen::{
    Man,
    roff::{Inline, Roff, bold, roman},
};
use jobpass_core::inputs::flags::EXIT_CODES;

use crate::terminal::help;

/// The variables that have no flag of their own. Each entry is a flag, the names of the variables, and their
/// meaning. The page of a verb lists the entry if the verb has the flag.
const OTHER_VARIABLES: [(&str, &str, &str); 4] = [
    (
        "kubeconfig",
        "KUBECONFIG",
        "The kubeconfigs, separated by colons, if no option names one. Without this variable: \
         ~/.kube/config, or the ServiceAccount of the Pod.",
    ),
    (
        "kubeconfig",
        "HTTPS_PROXY, NO_PROXY",
        "The proxy to the API server, and the hosts that jobpass reaches without a proxy.",
    ),
    (
        "env",
        "TMPDIR",
        "The folder in which jobpass creates the folder of the token's files. Without this variable: /tmp.",
    ),
    (
        "log-format",
        "NO_COLOR",
        "If it is set and not empty, jobpass prints no colours.",
    ),
];

/// The page of a verb, or of jobpass itself.
///
/// # Errors
/// A write to memory does not fail.
pub(super) fn of(command: &Command) -> io::Result<Vec<u8>> {
    let page = Man::new(command.clone());
    let mut text = Vec::new();
    page.render_title(&mut text)?;
    page.render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    let after_help = command.get_after_help().map(ToString::to_string);
    let after_help = after_help.unwrap_or_default();
    // In the help of jobpass itself, this text is the list of exit codes, which every page gets below.
    let (notes, examples) = match &*after_help {
        EXIT_CODES => ("", ""),
        text => help::parts(text),
    };
    let (exit_codes, notes) = notes
        .trim_end()
        .split('\n')
        .partition::<Vec<_>, _>(|line| line.starts_with("Exit code"));
    let mut sections = Roff::new();
    paragraphs(&mut sections, notes.into_iter());
    sections.to_writer(&mut text)?;
    page.render_options_section(&mut text)?;
    if command.has_subcommands() {
        page.render_subcommands_section(&mut text)?;
    }
    let mut sections = Roff::new();
    environment(&mut sections, command);
    sections.control("SH", ["EXIT STATUS"]);
    paragraphs(&mut sections, exit_codes.into_iter());
    for line in EXIT_CODES.lines().skip(1) {
        match line.trim_start().split_once("  ") {
            Some((code, meaning)) => entry(&mut sections, code, meaning.trim_start()),
            None => paragraphs(&mut sections, [line].into_iter()),
        }
    }
    if !examples.is_empty() {
        sections.control("SH", ["EXAMPLES"]);
        sections.control("nf", []);
        for line in examples.lines().skip(1) {
            sections.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
        }
        sections.control("fi", []);
    }
    sections.to_writer(&mut text)?;
    Ok(text)
}

/// The variables that the verb reads.
fn environment(page: &mut Roff, command: &Command) {
    let has_flag = |name: &str| command.get_arguments().any(|flag| flag.get_id() == name);
    page.control("SH", ["ENVIRONMENT"]);
    for (variable, flag) in command.get_arguments().filter_map(variable_of) {
        entry(
            page,
            &variable,
            &format!("The value of --{flag}, if that flag is absent."),
        );
    }
    for (flag, variable, meaning) in OTHER_VARIABLES {
        if has_flag(flag) || flag == "log-format" {
            entry(page, variable, meaning);
        }
    }
}

/// The variable and the long name of a flag.
fn variable_of(flag: &Arg) -> Option<(String, &str)> {
    let variable = flag.get_env()?.to_str()?.to_owned();
    Some((variable, flag.get_long()?))
}

/// A term, and its meaning below it.
fn entry(page: &mut Roff, term: &str, meaning: &str) {
    page.control("TP", []);
    page.text([bold(term)]);
    page.text(plain(meaning));
}

fn paragraphs<'l>(page: &mut Roff, lines: impl Iterator<Item = &'l str>) {
    for line in lines.filter(|line| !line.is_empty()) {
        page.control("PP", []);
        page.text(plain(line));
    }
}

fn plain(text: &str) -> Vec<Inline> {
    vec![roman(text)]
}
