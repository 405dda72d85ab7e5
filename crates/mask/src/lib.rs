//! Takes secrets out of a log while it is written.
//!
//! Scripts seldom print a secret as it is. They print it in base64, quoted, in hexadecimal, in colours,
//! folded at some column, or cut off. A [`Masker`] finds a secret in all these [forms](forms()) in a stream
//! of any bytes, and writes [`MARK`] instead. It holds back only what may be the beginning of a secret, and
//! its memory does not grow with the log.
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
//! - [`copy`] masks everything that a reader gives, [`copy_to_mark`] the part before a mark.
//! - A [`SecretSource`] tells a masker of secrets that are made after the log has begun.
//! - [`forms()`] lists the forms, for a program that hands them to another masker or searches for leaks.
//!
//! # What is masked
//! Not only whole forms are masked but also *pieces* of one: at least [`PIECE`] bytes in a row, or all of a
//! form that is shorter. A piece counts where it
//! - is the beginning of a form, anywhere;
//! - begins a line, after blanks or after the address with which `xxd`, `hexdump -C` and `od` begin theirs;
//! - follows something masked, with only blanks, line breaks, quotes, commas, bars or backslashes in between.
//!   There it may be shorter if it goes on where the masked text left off.
//!
//! So base64 is masked at whatever width it is wrapped, with `\n` or `\r\n`, and so is a secret that was cut
//! off, folded or dumped. ANSI colours (CSI sequences, ECMA-48) inside a form are looked through. They are
//! written after the mark, so that colours end where they would have. Masked stretches that touch become one
//! mark.
//!
//! The header and the first claims of a JWT do not count as part of a piece. Other tokens of its issuer have
//! the same, and masks for them would cut holes into text that is not secret. (Where another token of the
//! issuer is folded or dumped line by line, the claims that both have can still be masked.)
//!
//! # What is not masked
//! - Pieces of fewer than 16 bytes: a secret folded at 10 columns, a character at a time, or what is left of
//!   the line on which a form begins.
//! - A piece in the middle of a line with other text before it, such as the second half of a secret alone.
//! - Secrets of fewer than [`LEAST`] bytes.
//! - Any other way to write a secret: compressed, encrypted, reversed, base32, base64 of base64, octal
//!   (`od -c`), little-endian words (`od -x`), `\uXXXX` for characters that are not ASCII, quoted twice.
//! - A secret that holds a mark, or whose beginning or end looks like a part of one.
//!
//! # How it keeps up
//! A piece has 16 bytes or more, so one of the 8-byte words that begin at every ninth byte of the text lies
//! inside it. Only those words are looked up, in a set of all 8-byte words of all forms. Where one is found,
//! and at the ends of each chunk, the bytes are followed one by one. That is several times faster than an
//! automaton over the forms and needs a hundredth of its memory. It also sees pieces, which an automaton of
//! whole forms does not.

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

/// The text that stands in the place of a secret.
pub const MARK: &str = "[MASKED]";

/// The fewest bytes of a secret that is masked. Shorter secrets are words that a log has anyway, and a mask
/// for each of them would tell what they are.
pub const LEAST: usize = 8;

/// The fewest bytes of a form that are masked as a piece of it, and the fewest bytes of a part of a secret
/// that is a form.
///
/// A dump shows no fewer in one line (16 characters). They are 96 bits of a secret in base64, which no log
/// has by chance.
pub const PIECE: usize = 16;

/// The byte with which an escape sequence begins.
const ESCAPE: u8 = 0x1b;
