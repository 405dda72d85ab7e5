//! Takes secrets out of a log while it is written.
//!
//! [`forms()`] lists how a log can show a secret: as it is, in base64, quoted, in hex, in parts. A [`Masker`] finds
//! them in a stream and writes [`MARK`] instead.
//!
//! # What is masked
//! Not only whole forms but *pieces* of one: at least [`PIECE`] bytes in a row (all of a form that is shorter). A piece
//! counts where it
//! - is the beginning of a form, anywhere;
//! - begins a line, after blanks or after the address with which `xxd`, `hexdump -C` and `od` begin theirs;
//! - follows something masked, with only blanks, line breaks, quotes, commas, bars or backslashes in between. There it
//!   may be shorter if it goes on where that left off.
//!
//! So base64 that is wrapped at any width is masked, with `\n` or `\r\n`, and a token that was cut off, folded or dumped
//! too. ANSI colours (CSI sequences, ECMA-48) inside a form are looked through; they come out after the mark, so that
//! colours end where they would have. Masked stretches that touch become one mark.
//!
//! Of a JWT, the header and the first claims do not count as part of a piece: other tokens of a cluster have the same,
//! and masks for them would cut holes into text that is no secret. (Where another token of the same cluster is folded or
//! dumped line by line, the claims that both have can still be masked.)
//!
//! # What is not masked
//! - Pieces of fewer than 16 bytes: a secret folded at 10 columns, a character at a time, or what is left of the line
//!   on which a form begins. A piece in the middle of a line with other text before it, such as the second half alone.
//! - Secrets of fewer than [`LEAST`] bytes.
//! - Any other way to write it: compressed, encrypted, reversed, base32, base64 of base64, octal (`od -c`), little-endian
//!   words (`od -x`), `\uXXXX` for what is no ASCII, quoted twice.
//! - A secret that holds a mark, or whose beginning or end looks like a part of one.
//!
//! # How it keeps up
//! A piece has 16 bytes or more, so one of the 8-byte words that begin at every ninth byte of the text lies inside it.
//! Only those words are looked up, in a [set](grams) of all 8-byte words of all forms; where one is found, and at the
//! ends of what has been read, each byte is followed by hand. That is several times faster than an automaton over the
//! forms, needs a hundredth of its memory, and sees pieces, which an automaton of whole forms does not.

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

/// What stands in the place of a secret: what GitLab itself writes for a masked variable. GitHub writes `***`, but there the
/// runner masks, not this.
pub const MARK: &str = "[MASKED]";

/// Bytes that a secret must have to be masked at all, as for GitLab's own masked variables: shorter ones are words that a log
/// has anyway, and a mask for each of them would tell what they are.
pub const LEAST: usize = 8;

/// Bytes of a form from which on a piece of it is masked, and that a part of a secret must have to be a form.
///
/// The least that a dump shows in one line (16 characters), and 96 bits of a token's base64: by chance no log has them.
pub const PIECE: usize = 16;
