//! The options for the end of a job.

use crate::{
    error::Error,
    inputs::options::{Inputs, Opt},
};

/// The options for the end of a job. The state records them.
pub const AT_END: [Opt; 2] = [Opt::VerifyRevocation, Opt::FailOnRevokeError];

/// The proof that a token is revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verify {
    /// No proof.
    Off,
    /// Ask the API server once.
    Quick,
    /// Ask until no API server can still accept the token from its cache.
    Wait,
}

/// Parses `verify-revocation`. Needs no [`Spec`](crate::inputs::spec::Spec), because revoking needs no other
/// input.
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

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(None, Verify::Quick)]
    #[case(Some("off"), Verify::Off)]
    #[case(Some("quick"), Verify::Quick)]
    #[case(Some("wait"), Verify::Wait)]
    fn a_proof_is_asked_for_unless_it_is_switched_off(#[case] word: Option<&str>, #[case] expected: Verify) {
        let given = word.map_or_else(
            || Inputs::from([]),
            |word| Inputs::from([(Opt::VerifyRevocation, word)]),
        );
        assert_eq!(verify_revocation(&given).expect("a word"), expected);
    }
}
