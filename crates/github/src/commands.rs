//! Workflow commands: lines on standard output that the runner acts on.

use std::io::{Write as _, stdout};

use jobpass_core::{Error, Kind, access::Report, life::token_request::Minted, token::Token};
use jobpass_mask::{Encoding, forms};
use secrecy::{ExposeSecret as _, SecretString};

/// Masks what was minted.
pub(crate) fn mask(minted: &Minted) -> Result<(), Error> {
    mask_token(&minted.token)
}

/// Registers every form of a token as a mask. Nothing of it may be written anywhere before.
///
/// The runner derives some encodings by itself (base64 at its three alignments, JSON, URI and others), but not the parts
/// of a JWT, base64 in lines, or base64 with the line break that `echo` adds.
pub(crate) fn mask_token(token: &Token) -> Result<(), Error> {
    add_masks(&masks(token.expose()))
}

/// Masks a credential that the runner keeps, as a whole, and the secrets in it.
pub(crate) fn mask_credential(whole: &str, secrets: &[SecretString]) -> Result<(), Error> {
    let secrets = secrets.iter().map(|secret| masks(secret.expose_secret()));
    add_masks(&(format!("::add-mask::{}\n", data(whole)) + &secrets.collect::<String>()))
}

fn masks(secret: &str) -> String {
    let forms = forms(secret);
    let whole = forms.iter().filter(|form| form.encoding != Encoding::Dump);
    whole
        .map(|form| format!("::add-mask::{}\n", data(form.expose())))
        .collect()
}

fn add_masks(lines: &str) -> Result<(), Error> {
    let written = stdout()
        .write_all(lines.as_bytes())
        .and_then(|()| stdout().flush());
    written.map_err(|error| Error::new(Kind::Deliver, format!("cannot mask the token: {error}")))
}

/// Shows a failure: its one line as an annotation, then what to do, as plain lines that can be copied.
pub(crate) fn error(error: &Error) {
    annotate("error", error);
}

/// Shows something that does not fail the job.
pub(crate) fn warning(warning: &Error) {
    annotate("warning", warning);
}

fn annotate(level: &str, error: &Error) {
    say(&format!("::{level} title=jobpass::{}", data(error.message())));
    if let Some(help) = error.next_step() {
        say(&format!("\n{help}\n"));
    }
}

/// Writes lines to the log. A log that cannot be written to fails no job.
pub(crate) fn say(lines: &str) {
    let _ = stdout().write_all(format!("{lines}\n").as_bytes());
}

/// `ActionCommand.cs`: what command data escapes.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// What it may do, as far as it was asked for by name.
pub(crate) fn access(report: &Report) {
    if !report.findings.is_empty() {
        say(&format!("jobpass: what the token may do\n{}", report.text()));
    }
}
