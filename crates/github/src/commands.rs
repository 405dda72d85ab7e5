//! Workflow commands: lines on standard output that the runner executes.

use std::io::{Write as _, stdout};

use jobpass_core::{Error, Kind, access::Report, life::token_request::Minted, masks, token::Token};
use jobpass_mask::{Form, forms};
use secrecy::{ExposeSecret as _, SecretString};

/// Registers all masks of a minted token. The caller must do this before it writes any part of the token.
///
/// The runner itself derives some encodings of each mask (base64 at its three alignments, JSON, URI and
/// others).
pub(crate) fn mask(minted: &Minted) -> Result<(), Error> {
    let masks = masks::of(minted.token.expose());
    add_masks(&commands(masks.iter().map(|mask| &***mask)))
}

/// Registers masks of an ID token, in fewer encodings than those of a minted token, because no script gets
/// the ID token.
pub(crate) fn mask_token(token: &Token) -> Result<(), Error> {
    add_masks(&masks_of_forms(token.expose()))
}

/// Masks a credential that the runner keeps for post. Also masks each secret in it.
pub(crate) fn mask_credential(whole: &str, secrets: &[SecretString]) -> Result<(), Error> {
    let secrets = secrets
        .iter()
        .map(|secret| masks_of_forms(secret.expose_secret()));
    add_masks(&(format!("::add-mask::{}\n", data(whole)) + &secrets.collect::<String>()))
}

fn masks_of_forms(secret: &str) -> String {
    commands(forms(secret).iter().map(Form::expose))
}

/// The commands that register masks.
fn commands<'a>(masks: impl Iterator<Item = &'a str>) -> String {
    masks
        .map(|mask| format!("::add-mask::{}\n", data(mask)))
        .collect()
}

fn add_masks(lines: &str) -> Result<(), Error> {
    let written = stdout()
        .write_all(lines.as_bytes())
        .and_then(|()| stdout().flush());
    written.map_err(|error| {
        Error::new(Kind::Deliver, format!("cannot mask a secret in the log: {error}"))
            .help("check that the runner still reads the output of this step")
    })
}

/// Shows a failure: its message in one line as an annotation, then the next step as plain lines, which a
/// person can copy.
pub(crate) fn error(error: &Error) {
    annotate("error", error);
}

/// Shows a problem that does not fail the job.
pub(crate) fn warning(warning: &Error) {
    annotate("warning", warning);
}

fn annotate(level: &str, error: &Error) {
    say(&annotation(level, error));
}

fn annotation(level: &str, error: &Error) -> String {
    let help = error.next_step();
    let help = help.map_or_else(String::new, |help| format!("\n\n{help}\n"));
    format!("::{level} title=jobpass::{}{help}", data(error.message()))
}

/// Writes lines to the log. A failed write does not fail the job.
pub(crate) fn say(lines: &str) {
    let _ = stdout().write_all(format!("{lines}\n").as_bytes());
}

/// Escapes the data of a command (`ActionCommand.cs`).
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Shows the permissions that the inputs asked about.
pub(crate) fn access(report: &Report) {
    if !report.findings.is_empty() {
        say(&format!(
            "jobpass: the permissions of the token\n{}",
            report.text()
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_an_annotation_and_its_help_is_text_to_copy() {
        let error = Error::new(Kind::Refused, "100 % refused,\nand more");
        assert_eq!(
            annotation("error", &error),
            "::error title=jobpass::100 %25 refused,%0Aand more"
        );
        let with_help = annotation("warning", &error.help("run:\n\n  kubectl get pods"));
        assert!(
            with_help.ends_with("%0Aand more\n\nrun:\n\n  kubectl get pods\n"),
            "{with_help}"
        );
    }

    /// A command ends at a line break. If `data` did not escape the line breaks of a form, the runner would
    /// print the rest of the form.
    #[test]
    fn every_line_is_a_mask_of_one_form() {
        let payload = "eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQ6Y2k6c2Nhbm5lciJ9";
        let signature = "c2lnbmF0dXJlIHRoYXQgaXMgbG9uZyBlbm91Z2g";
        let whole = format!("eyJhbGciOiJSUzI1NiJ9.{payload}.{signature}");
        let lines = masks_of_forms(&whole);
        let forms = lines.lines().map(|line| line.strip_prefix("::add-mask::"));
        let forms = forms.collect::<Option<Vec<_>>>().expect("nothing but masks");
        for part in [&*whole, payload, signature] {
            assert!(forms.contains(&part), "{forms:?}");
        }
        assert!(
            forms.iter().all(|form| form.len() > 5),
            "an empty mask, or one of a few letters, hides the whole log: {forms:?}"
        );
    }

    #[test]
    fn a_credential_of_several_lines_is_one_mask() {
        assert_eq!(data("a: 100%\r\nb"), "a: 100%25%0D%0Ab");
    }
}
