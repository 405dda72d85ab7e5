//! A secret that nobody can print by mistake.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

use crate::error::Error;

/// A bearer token, such as the one that jobpass mints, or the minter's own.
///
/// It holds only characters that an HTTP header can carry, and no spaces or line breaks. `Debug` redacts the
/// token, there is no `Display`, and dropping the token wipes its memory.
#[derive(Clone)]
pub struct Token(SecretString);

impl Token {
    /// Parses `text`, the value of the input `name`, as a token.
    ///
    /// # Errors
    /// If nothing is left after trimming, or if a character is not visible ASCII. The error does not show the
    /// value.
    pub fn parse(text: &str, name: &str) -> Result<Self, Error> {
        Self::read(text).map_err(|problem| {
            Error::input(
                name,
                format!("holds no token: {problem}"),
                "give a bearer token as one line of text (jobpass does not show the value)",
            )
        })
    }

    /// Parses a text that need not come from an input.
    ///
    /// # Errors
    /// As [`parse`](Self::parse). The error is a clause about the text, such as `it is empty`.
    pub(crate) fn read(text: &str) -> Result<Self, &'static str> {
        match text.trim() {
            "" => Err("it is empty"),
            text if text.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Self(text.into())),
            _ => Err("it has spaces, line breaks or other characters that a bearer token cannot have"),
        }
    }

    /// The token itself. Every call is a place where the token can leak: only deliver it or send it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl From<Token> for SecretString {
    fn from(token: Token) -> Self {
        token.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(<redacted>)")
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn debug_shows_nothing_of_it() {
        let token = Token::parse(" eyJhbGciOi.payload.signature\n", "bearer-token-file").expect("a token");
        assert_eq!(token.expose(), "eyJhbGciOi.payload.signature");
        assert_eq!(
            format!("{token:?} {:?}", Some(&token)),
            "Token(<redacted>) Some(Token(<redacted>))"
        );
    }

    #[rstest]
    #[case("")]
    #[case(" \n\t")]
    #[case("secret-part\nsecond line")]
    #[case("secret part")]
    #[case("secret\u{7f}part")]
    #[case("sécret")]
    fn what_a_header_cannot_carry_is_refused_unseen(#[case] text: &str) {
        let error = Token::parse(text, "bearer-token-env")
            .expect_err("refused")
            .to_string();
        assert!(
            error.starts_with("input `bearer-token-env` holds no token"),
            "{error}"
        );
        assert!(
            !error.contains("secret-part") && !error.contains("sécret"),
            "{error}"
        );
    }
}
