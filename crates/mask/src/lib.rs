//! Removes secrets from a log while the log is written.
//!
//! Scripts seldom print a secret as it is. They print it in base64, quoted, in hexadecimal, in colours,
//! folded at some column, or cut off. A [`Masker`] copies a stream of any bytes, and writes [`MARK`] in place
//! of each stretch that stands for a secret in one of these forms. After a [`flush`](Masker::flush), the
//! masker holds back only bytes that may be the beginning of a secret. Its memory does not grow with the log.
//!
//! ```
//! use jobpass_mask::Masker;
//!
//! let mut masker = Masker::new(["correct-horse-battery-staple", "Tr0ub4dor&3"]);
//! let mut log = Vec::new();
//! // A chunk may end anywhere. This one ends within a secret, so the masker holds the secret's start back.
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
//! - [`copy`] masks everything that a reader returns. [`copy_to_mark`] stops at an [`end_mark`].
//! - A [`SecretSource`] tells a masker about secrets that are made after the log has begun.
//! - [`forms()`] lists common forms of a secret, for programs that only replace whole values.
//!
//! # What is masked
//! The masker reads a log through *views*. Each view undoes one change that programs make to a text, such as
//! base64. A view can also read the text that another view returns. Base64, hexadecimal, numbers and escapes
//! may be inside one another, up to three deep. In the log and in all texts that the views return, the masker
//! searches for the secrets. If a JWT's signature, or a secret that is base64 with `+` and `/`, stands for at
//! least 24 random bytes, the masker also searches for these decoded bytes, and for those that a lenient
//! decoder makes of a whole token. The views are:
//!
//! | view | reads |
//! |---|---|
//! | terminal | text without control sequences, overstruck or invisible characters, or the zeros of UTF-16 |
//! | printed | text without control sequences and overstruck characters that a program printed as text: `\x1b[32m` |
//! | diff | the old and the new lines of a diff, without their signs |
//! | joined | text without separators (line breaks, quotes, columns), for secrets of at least 16 bytes that have none |
//! | characters | single characters of the secrets in the row above: in a list, in a table, or one in each line |
//! | cells | parts of a few characters behind the same label, also if each is there several times: in lines, names |
//! | scattered | parts of a JWT's signature of at least three characters, in their order, with any text between |
//! | table | bytes or short words in a column, or a few bytes in each row: a line, tuple, list or object |
//! | labels | characters or numbers behind the same label: `"code": 101`; one or two before it: `eDEBUG:root` |
//! | base64 | both alphabets, every alignment, across line breaks |
//! | hexadecimal | any case and grouping, lists, signs, escapes, words, dumps with addresses and text columns |
//! | numbers | bytes in lists and tables, decimal, octal and binary; larger integers; GUIDs; text columns of dumps |
//! | bits | bits alone or in small groups: `0 1 1 0`, `0110 0101`, the digits of base64 in binary |
//! | literals | lists of characters, escapes and numbers, such as `'w', '\x8f'` or `od -c` |
//! | Latin-1 | bytes that a program took for characters of Latin-1 or Windows-1252, once or twice |
//! | carets | control characters and bytes above 0x7f as `cat -v` and `less` print them |
//! | escapes | of URLs, JSON, XML, HTML, shells, C, Python and quoted-printable |
//! | decimal escapes | of Haskell, Lua and OCaml |
//! | strings | a few bytes in each string of a list, or of each line, with escapes or in Latin-1 |
//! | padded | base64 of a few bytes each, with its own padding, in a list or behind a label |
//!
//! The masker masks each whole secret. A *piece* of a secret is at least 16 of its bytes in a row
//! ([`PIECE`]), 8 bytes of a JWT's signature, or 12 of the bytes that another secret stands for. The masker
//! also masks a piece that
//! - is the beginning of the secret, or of a JWT's claims or signature, anywhere;
//! - continues the piece before it, which may be a JWT's header, with at most 1,024 bytes of decoration
//!   between the two;
//! - has only spaces, tabs or the address of a dump before it in its line, or follows masked text;
//! - has at least 24 bytes, 8 bytes of a signature, or 12 decoded bytes, anywhere.
//!
//! The masker writes the colours of masked text (CSI sequences, ECMA-48) after the mark, so that colours end
//! where they would have. Masked ranges that touch become one mark.
//!
//! The header and the first claims of a JWT do not count towards the numbers of bytes above. Other tokens of
//! the same issuer share them, and a mask for them would hide text that is not secret. In a JWT, only the
//! bytes of the signature count for the last two points of the list.
//!
//! # What is not masked
//! - A part of a secret with fewer than 16 bytes (of a signature, 8) that continues no other part.
//! - Secrets of fewer than [`LEAST`] bytes.
//! - Numbers that stand for fewer than 8 bytes in a line, and encodings that are folded at fewer than 16
//!   columns, if other text is between the lines. But the masker also reads one byte in each row of a table
//!   whose rows have almost the same length.
//! - A part of a secret of at least 64 bytes with one byte in each row, if it has fewer rows than a quarter of
//!   the secret. The masker reads only some rows of such text.
//! - Parts of one or two characters behind a label, if other text is between them.
//! - Pieces of fewer than 8 bytes between other words, except for those of a JWT's signature in their order. The
//!   masker recognises these when they have 12 characters together. So a program that pauses after each piece shows
//!   the first ones.
//! - Any other encoding of a secret: compressed, encrypted, reversed, base32, read in another character set.
//! - Secrets from [`SecretSource`]s, if the masker has already learned 256 valid ones from them. It forgets
//!   the oldest tokens that have expired by their claim `exp`, but keeps at least 16 secrets.
//! - Pieces that continue each other, but have only claims that most tokens of Kubernetes have, such as the
//!   usual issuer, and fewer than 12 bytes in a row of other claims.
//! - A line of base64 that has claims of a JWT, but not its signature, in the middle of other text.
//! - Numbers and escapes of a secret inside a control sequence, which a terminal does not show.
//! - A secret that contains [`MARK`] or a part of it: in the output, the mark of another secret can complete
//!   this secret.
//!
//! # How it keeps up
//! The views take time: they read some megabytes of text in a second. A log that never pauses fills one part
//! of 32 KiB after another. The views read the first 512 KiB of such parts, except for random bytes, very long
//! lines and numbers that stand for numbers. If the caller is [`copy`], they read more after the input has
//! paused for a while. Before they read any other part, the masker looks up words of the log among the words of
//! the secrets and of most of their forms. A word of four bytes every five bytes is enough, and the masker looks
//! at a longer word only around one that it knows. For 64 bytes at once, the masker also finds the class of each
//! byte, such as digit or capital. It decodes text that looks like base64, numbers or escapes, and looks up the
//! decoded words.
//!
//! If this first look finds words, the views read these 32 KiB. It seldom finds any in a log without secrets.
//! A whole secret of at least 64 bytes that the log shows as it is needs no view. The views also read all
//! text that the masker writes at a flush, at a pause or at the end.
//!
//! The first look misses some of what the views see: a few bytes in each line with much text between, or
//! pieces of a few bytes in records of different kinds.
//!
//! After at most 4 MiB without a pause, the look becomes brief. It looks up fewer words, and decodes only text that is
//! dense with digits, escapes, base64, or characters that stand alone. It misses numbers and characters that have
//! other text between them, and it can miss a piece of fewer than 16 bytes if no other one is near. If all secrets
//! have at least 400 bytes, it reads only samples of a long dense text. It finds each whole token there, and each
//! RS256 signature that is encoded once. It can miss a signature alone that is decoded, or encoded twice.
//!
//! If a brief look finds something, the views read this part, too. After they have found signatures in 512 KiB of
//! such parts, they read no more of them. The masker then masks each place that the look finds, together with the
//! rest of the line, or with up to 2 KiB of the dense text on each side. By default, GitLab Runner discards a log
//! after 4 MiB.
//!
//! The ends of the 32 KiB do not depend on the chunks in which the log comes. The masker reads numbers that
//! stand for numbers, such as a dump in binary digits, from their beginning on, up to 128 KiB at once, unless the
//! look is brief. So the chunks make no difference, unless the caller calls [`flush`](Masker::flush) or
//! [`pause`](Masker::pause) between them.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod classes;
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

/// Lets the documentation tests compile the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// The text that replaces a secret.
pub const MARK: &str = "[MASKED]";

/// The least number of bytes of a secret. The masker ignores shorter secrets. They can be words that a log
/// has anyway, and a mask in place of each such word would reveal the secret.
pub const LEAST: usize = 8;

/// The least number of bytes of a secret in a row that are a [piece](crate#what-is-masked). Also the least
/// number of secret bytes in a segment of a JWT, or in a line of base64, that [`forms()`] lists.
///
/// One line of a dump shows 16 characters. In base64, 16 characters are 96 bits of a secret, and no log has
/// those by chance.
pub const PIECE: usize = 16;

/// The least number of bytes of a secret in a row that the masker masks anywhere in a log. Of a JWT, only the
/// bytes of the signature count, because other tokens can have the same claims.
const ANYWHERE: usize = 24;

/// Like [`ANYWHERE`], for a JWT's signature. Eight of its characters are 48 bits, and no other text has them in
/// a row. So the masker can mask the pieces of a signature in any order, for example after `sort`.
const ANYWHERE_IN_SIGNATURE: usize = 8;

/// Like [`ANYWHERE`], for the decoded bytes of another secret. Keys can have some zeros or words in a row.
const ANYWHERE_IF_BINARY: usize = 12;

/// The byte with which an escape sequence begins.
const ESCAPE: u8 = 0x1b;
