//! How the end of a job goes.

use crate::{
    error::Error,
    inputs::options::{Inputs, Opt},
};

/// The options that the end of a job obeys. They are recorded in the state.
pub const AT_END: [Opt; 2] = [Opt::VerifyRevocation, Opt::FailOnRevokeError];

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
    inputs.choice(Opt::VerifyRevocation, |word| match word {
        "off" => Some(Verify::Off),
        "quick" => Some(Verify::Quick),
        "wait" => Some(Verify::Wait),
        _ => None,
    })
}
