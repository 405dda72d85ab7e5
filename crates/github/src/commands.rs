//! Workflow commands: lines on standard output that the runner acts on.

use std::io::{Write as _, stdout};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jobpass_core::{Error, Kind, claims::Claims, mint::Minted};

/// Registers masks for a token. Nothing of it may be written anywhere before.
///
/// The runner also masks some encodings of each value by itself (base64 at its three alignments, JSON, URI and others);
/// not the parts of a JWT by themselves, nor base64 in lines, nor base64 with the line break that `echo` adds.
pub(crate) fn mask(minted: &Minted) -> Result<(), Error> {
    let lines = masks(minted.token.expose())
        .iter()
        .map(|mask| format!("::add-mask::{}\n", data(mask)))
        .collect::<String>();
    let written = stdout()
        .write_all(lines.as_bytes())
        .and_then(|()| stdout().flush());
    written.map_err(|error| Error::new(Kind::Deliver, format!("cannot mask the token: {error}")))
}

fn masks(token: &str) -> Vec<String> {
    // Not the header: every token of the cluster has the same one, and it is no secret.
    let parts = token.split('.').skip(1).map(str::to_owned);
    let echoed = STANDARD.encode(format!("{token}\n"));
    // `base64` and Python write lines of 76 characters, OpenSSL of 64.
    let wrapped = [76, 64].into_iter().flat_map(|width| {
        let plain = STANDARD.encode(token);
        [&echoed, &plain]
            .into_iter()
            .flat_map(|text| lines(text, width))
            .collect::<Vec<_>>()
    });
    let mut masks = vec![token.to_owned(), echoed.clone()];
    masks.extend(parts.chain(wrapped).filter(|mask| mask.len() >= SHORTEST));
    let mut seen = std::collections::HashSet::new();
    masks.retain(|mask| seen.insert(mask.clone()));
    masks
}

/// A shorter mask might hide words that are no secret.
const SHORTEST: usize = 20;

fn lines(text: &str, width: usize) -> Vec<String> {
    text.as_bytes()
        .chunks(width)
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect()
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
    say(&format!("::{level} title=jobpass::{}", data(error.what())));
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

/// What the log says once the token is handed over.
pub(crate) fn minted(claims: &Claims, service_account: &str, anchor: &str, handed_over: &[String]) {
    let at = |seconds: Option<i64>| {
        let time = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
        time.map_or_else(
            || "never".to_owned(),
            |time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        )
    };
    let lifetime = claims
        .exp
        .zip(claims.iat)
        .map_or(0, |(exp, iat)| exp.saturating_sub(iat).unsigned_abs());
    say(&format!(
        "jobpass: minted a token for ServiceAccount {service_account}\n  \
           bound to       anchor {anchor}\n  \
           expires        {}, after {}; revoked at the end of this job in any case\n  \
           credential id  {}\n  \
           handed over    {}",
        at(claims.exp),
        jobpass_core::spec::in_words(lifetime),
        claims
            .jti
            .as_deref()
            .unwrap_or("(none: this API server sets none)"),
        handed_over.join("\n                 "),
    ));
}
