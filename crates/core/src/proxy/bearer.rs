//! The credential that the proxy accepts from the job.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, header::AUTHORIZATION};
use ring::{
    digest::{Digest, SHA256, digest},
    rand::{SecureRandom as _, SystemRandom},
};
use zeroize::Zeroizing;

use crate::{error::Error, names, token::Token};

/// A bearer of 256 random bits, and its digest.
pub(super) struct Bearer {
    token: Token,
    digest: Digest,
}

/// The verdict about the `Authorization` of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    /// The header holds the bearer.
    Known,
    /// The header is missing, or holds another credential.
    Unknown,
    /// The request has the bearer, and a second `Authorization`.
    NotAlone,
}

impl Bearer {
    /// Creates a random bearer.
    ///
    /// # Errors
    /// If the operating system returns no random bytes.
    pub(super) fn new() -> Result<Self, Error> {
        let mut bits = Zeroizing::new([0; 32]);
        SystemRandom::new()
            .fill(&mut *bits)
            .map_err(|_| names::no_random_bytes())?;
        let token = Token::parse(&Zeroizing::new(URL_SAFE_NO_PAD.encode(*bits)), "proxy")?;
        let digest = digest(&SHA256, token.expose().as_bytes());
        Ok(Self { token, digest })
    }

    pub(super) fn token(&self) -> &Token {
        &self.token
    }

    /// Checks the `Authorization` of a request. Compares digests, so that the time of a comparison tells
    /// nothing about the bearer.
    pub(super) fn check(&self, headers: &HeaderMap) -> Verdict {
        let is_bearer = |value: &[u8]| {
            let (scheme, credential) = value.split_at_checked("Bearer ".len()).unwrap_or_default();
            scheme.eq_ignore_ascii_case(b"Bearer ")
                && digest(&SHA256, credential.trim_ascii()).as_ref() == self.digest.as_ref()
        };
        let values = headers.get_all(AUTHORIZATION).iter().collect::<Vec<_>>();
        match &values[..] {
            values if !values.iter().any(|value| is_bearer(value.as_bytes())) => Verdict::Unknown,
            [_] => Verdict::Known,
            _ => Verdict::NotAlone,
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(&["Bearer B"], Verdict::Known)]
    #[case(&["bearer  B"], Verdict::Known)]
    #[case(&[], Verdict::Unknown)]
    #[case(&[""], Verdict::Unknown)]
    #[case(&["B"], Verdict::Unknown)]
    #[case(&["Basic B"], Verdict::Unknown)]
    #[case(&["Bearer BB"], Verdict::Unknown)]
    #[case(&["Bearer "], Verdict::Unknown)]
    #[case(&["Bearer other"], Verdict::Unknown)]
    #[case(&["Bearer other", "Bearer B"], Verdict::NotAlone)]
    #[case(&["Bearer B", "Bearer B"], Verdict::NotAlone)]
    fn only_the_bearer_alone_counts(#[case] values: &[&str], #[case] expected: Verdict) {
        let bearer = Bearer::new().expect("a bearer");
        let mut headers = HeaderMap::new();
        for value in values {
            // `B` stands for the bearer.
            let value = match value.split_once(' ') {
                Some((scheme, rest)) => format!("{scheme} {}", rest.replace('B', bearer.token.expose())),
                None => value.replace('B', bearer.token.expose()),
            };
            headers.append(AUTHORIZATION, value.parse().expect("a header"));
        }
        assert_eq!(bearer.check(&headers), expected);
    }

    #[test]
    fn two_bearers_differ_and_have_256_bits() {
        let [one, other] = [(); 2].map(|()| Bearer::new().expect("a bearer"));
        assert_ne!(one.token.expose(), other.token.expose());
        let bits = URL_SAFE_NO_PAD.decode(one.token.expose()).expect("base64");
        assert_eq!(bits.len() * 8, 256);
    }
}
