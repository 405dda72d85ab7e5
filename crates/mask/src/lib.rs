//! Removes secrets from a log while the log is written.
//!
//! Scripts seldom print a secret as it is. They print it in base64, quoted, in hexadecimal, in colours,
//! folded at some column, or cut off. A [`Masker`] reads a stream of any bytes as these tools write it, and
//! writes [`MARK`] in place of each stretch that reads as a secret. It holds back only bytes that may be the
//! beginning of a secret, and its memory does not grow with the log.
//!
//! ```
//! use jobpass_mask::Masker;
//!
//! let mut masker = Masker::new(["correct-horse-battery-staple", "Tr0ub4dor&3"]);
//! let mut log = Vec::new();
//! // A chunk may end anywhere. This one ends in the middle of a secret, so that is held back.
//! masker.push(b"password: correct-horse-", &mut log)?;
//! masker.flush(&mut log)?;
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
//! - [`forms()`] lists common forms of a secret, for a masker that only replaces whole values.
//!
//! # What is masked
//! The masker reads a log through *views*, and up to two views one after the other. It searches the secrets,
//! and the bytes of a JWT's signature, in all that they read:
//!
//! | view | reads |
//! |---|---|
//! | terminal | text without control sequences, overstruck, zero-width and zero bytes (so also ASCII in UTF-16) |
//! | joined | text of a secret of at least 16 bytes without the separators in it: line breaks, quotes, columns |
//! | base64 | both alphabets, every alignment, over line breaks |
//! | hexadecimal | any case and grouping, lists, escapes, dumps with addresses and text columns, words |
//! | numbers | decimal, octal and binary bytes; decimal and octal words of dumps; the text beside them |
//! | escapes | of URLs, JSON, XML, HTML, shells, C, Python and quoted-printable |
//!
//! A whole secret is masked, and a *piece* of it: at least [`PIECE`] bytes in a row, if the piece
//! - is the beginning of the secret, or of a JWT's claims or signature, anywhere;
//! - continues the piece before it, over a decoration of at most 256 bytes, also from a JWT's header on;
//! - begins a line, after spaces, tabs or the address of a dump, or follows masked text;
//! - has 24 bytes or more. Then it may be anywhere.
//!
//! The masker writes the colours of masked text (CSI sequences, ECMA-48) after the mark, so that colours end
//! where they would have. Masked ranges that touch become one mark.
//!
//! The header and the first claims of a JWT do not count as part of a piece. Other tokens of its issuer have
//! the same header and claims, and masks for them would hide text that is not secret. For the last two rules,
//! only its signature counts.
//!
//! # What is not masked
//! - Pieces of fewer than 16 bytes, unless only separators are between them.
//! - Secrets of fewer than [`LEAST`] bytes.
//! - Numbers of fewer than 16 bytes in a line, and encodings that are folded at fewer than 16 columns, if
//!   other text is between the lines.
//! - Any other encoding of a secret: compressed, encrypted, reversed, base32.
//! - Secrets from a [`SecretSource`] that has already told about 256 valid ones. The masker also forgets the
//!   oldest tokens that have expired by their claim `exp`, but keeps at least 16.
//! - A line of base64 that has claims of a JWT, but not its signature, in the middle of other text.
//! - A secret that contains a mark, or whose beginning or end looks like a part of a mark.
//!
//! # How it keeps up
//! The masker reads most of a log only once, without views. It looks up every fifth 8-byte word in a set of all
//! words of the secrets and of their base64, and counts the kinds of characters in half of the log. It decodes
//! what looks like base64, numbers or escapes, and looks up the words in that. It reads only the text around
//! the words that it knows with views. If there is a piece, it reads all the text around that piece.
//!
//! It does this for 64 KiB at once, at positions that do not depend on the chunks in which the log comes. So
//! the chunks make no difference, unless the caller asks for all decided text in between.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod forms;
mod grams;
mod input;
mod pieces;
mod scan;
mod search;
mod secrets;
mod source;
mod stream;
#[cfg(test)]
mod tests;
mod text;
mod until;
mod views;

pub use forms::{Encoding, Form, forms};
pub use input::Input;
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

/// The number of bytes in a row, which no other secret has, that count as a piece anywhere in a log.
const ANYWHERE: usize = 24;

/// The byte with which an escape sequence begins.
const ESCAPE: u8 = 0x1b;
