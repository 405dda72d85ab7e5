//! The options that the end of a job needs.

use crate::{
    error::Error,
    inputs::options::{Inputs, Opt},
};

/// The options that the end of a job needs. The state records them.
pub const AT_END: [Opt; 2] = [Opt::VerifyRevocation, Opt::FailOnRevokeError];

/// The proof that jobpass seeks after it has revoked a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verify {
    /// No proof.
    Off,
    /// Ask the API server once.
    Quick,
    /// Ask until no API server can still accept the token from its cache.
    Wait,
}

/// Parses `verify-revocation` alone, without a [`Spec`](crate::inputs::spec::Spec): a wrong value of another
/// input must not keep jobpass from revoking.
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
