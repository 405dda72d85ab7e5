//! Removes secrets from a log while the log is written.
//!
//! Scripts seldom print a secret as it is. They print it in base64, quoted, in hexadecimal, in colours,
//! folded at some column, or cut off. A [`Masker`] finds a secret in all these [forms](forms()) in a stream
//! of any bytes, and writes [`MARK`] instead. It holds back only bytes that may be the beginning of a secret,
//! and its memory does not grow with the log.
//!
//! ```
//! use jobpass_mask::Masker;
//!
//! let mut masker = Masker::new(["correct-horse-battery-staple", "Tr0ub4dor&3"]);
//! let mut log = Vec::new();
//! // A chunk may end anywhere. This one ends in the middle of a secret, so that is held back.
//! masker.push(b"password: correct-horse-", &mut log)?;
//! assert_eq!(log, b"password: ");
//! masker.push(b"battery-staple\n", &mut log)?;
//! // The other secret as part of a URL, and what `echo "Tr0ub4dor&3" | base64` prints.
//! masker.push(b"GET /login?password=Tr0ub4dor%263\n", &mut log)?;
//! masker.push(b"VHIwdWI0ZG9yJjMK\n", &mut log)?;
//! masker.finish(&mut log)?;
//! assert_eq!(
//!     String::from_utf8_lossy(&log),
//!     "password: [MASKED]\nGET /login?password=[MASKED]\n[MASKED]\n",
//! );
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! - [`copy`] masks everything that a reader returns, [`copy_to_mark`] the part before a mark.
//! - A [`SecretSource`] tells a masker about secrets that are made after the log has begun.
//! - [`forms()`] lists the forms, for a program that gives them to another masker or searches for leaks.
//!
//! # What is masked
//! The masker masks whole forms, and also *pieces* of a form: at least [`PIECE`] bytes in a row, or all of a
//! shorter form. A piece counts if it
//! - is the beginning of a form, anywhere;
//! - begins a line, after spaces, tabs or the address with which `xxd`, `hexdump -C` and `od` begin a line;
//! - follows masked text, with only spaces, tabs, line breaks, quotes, commas, bars or backslashes in
//!   between. There it may be shorter if it continues where the masked text ended.
//!
//! So the masker finds base64 that is wrapped at any width, with `\n` or `\r\n`, and a secret that is cut
//! off, folded or dumped. It ignores ANSI colours (CSI sequences, ECMA-48) inside a form, and writes them
//! after the mark, so that colours end where they would have. Masked ranges that touch become one mark.
//!
//! The header and the first claims of a JWT do not count as part of a piece. Other tokens of its issuer have
//! the same header and claims, and masks for them would hide text that is not secret. (If another token of
//! the issuer is folded or dumped line by line, the masker may still mask the claims that both tokens have.)
//!
//! # What is not masked
//! - Pieces of fewer than 16 bytes: a secret folded at 10 columns, a character at a time, or the short part
//!   of a form before the first line break.
//! - A piece in the middle of a line with other text before it, such as the second half of a secret alone.
//! - Secrets of fewer than [`LEAST`] bytes.
//! - Any other encoding of a secret: compressed, encrypted, reversed, base32, base64 of base64, octal
//!   (`od -c`), little-endian words (`od -x`), `\uXXXX` for characters that are not ASCII, quoted twice.
//! - A secret that contains a mark, or whose beginning or end looks like a part of a mark.
//!
//! # How it keeps up
//! A piece has 16 bytes or more, so one of the 8-byte words that begin at every ninth byte of the text lies
//! inside it. The masker looks up only those words, in a set of all 8-byte words of all forms. If it finds
//! one, and at the ends of each chunk, it follows the bytes one by one. That is several times faster than an
//! automaton over the forms, and needs a hundredth of its memory. The masker also sees pieces, and an
//! automaton of whole forms does not.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod cursors;
mod forms;
mod grams;
mod patterns;
mod skip;
mod source;
mod stream;
#[cfg(test)]
mod tests;
mod until;

pub use forms::{Encoding, Form, forms};
pub use source::SecretSource;
pub use stream::{Masker, copy};
pub use until::{copy_to_mark, end_mark};

/// The example of the README, so that it compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// The text that replaces a secret.
pub const MARK: &str = "[MASKED]";

/// The least number of bytes of a secret. The masker ignores shorter ones: they are words that a log has
/// anyway, and a mask for each word would tell what the secret is.
pub const LEAST: usize = 8;

/// The least number of bytes of a form that count as a piece. Also the least number of bytes of a part of a
/// secret that is a form.
///
/// One line of a dump shows 16 characters. They are 96 bits of a secret in base64, which no log has by
/// chance.
pub const PIECE: usize = 16;

/// The byte with which an escape sequence begins.
const ESCAPE: u8 = 0x1b;
