//! How the end of a job goes.

use crate::{error::Error, inputs::options::Inputs, text::harmless};

/// How much proof is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verify {
    /// None.
    Off,
    /// Ask once.
    Quick,
    /// Ask until no API server can accept the token from its cache any more.
    Wait,
}

/// How the end of the job goes: read apart from [`Spec`](crate::inputs::spec::Spec), as revoking needs no other input.
///
/// # Errors
/// If `verify-revocation` is not one of its three words.
pub fn verify_revocation(inputs: &Inputs) -> Result<Verify, Error> {
    match inputs.get("verify-revocation") {
        Some("off") => Ok(Verify::Off),
        Some("quick") | None => Ok(Verify::Quick),
        Some("wait") => Ok(Verify::Wait),
        Some(other) => Err(Error::input(
            "verify-revocation",
            format!("is `{}`", harmless(other)),
            "use `off`, `quick` or `wait`",
        )),
    }
}
