//! Makes text from servers safe to show. Writes values as YAML, CEL and Markdown.

use std::{borrow::Cow, path::Path};

/// The number of characters that jobpass shows of a server's text.
const LONGEST: usize = 600;

/// Returns server text without the parts that a terminal, a log or a CI runner would obey.
///
/// Control characters (line breaks, escapes, carriage returns) and invisible formatting become spaces, and a
/// run of spaces becomes one. This breaks up workflow commands: the GitHub runner obeys `##[` anywhere in a
/// line and `::` at the start of a line (`ActionCommand.cs` in the runner's source). It replaces anything
/// that looks like a JWT or a private key, because a server may echo the request. It keeps at most 600
/// characters.
pub fn harmless(text: &str) -> String {
    let begin = text
        .char_indices()
        .nth(4 * LONGEST)
        .map_or(text, |(end, _)| &text[..end]);
    let mut clean = not_a_command(clean(begin));
    if clean.chars().count() > LONGEST {
        clean = clean.chars().take(LONGEST).chain(" ... (cut)".chars()).collect();
    }
    clean
}

/// The last `longest` characters of a text, as [`harmless`] text. The whole text is made harmless before
/// the cut. Else the cut could remove the beginning of a credential, by which jobpass knows it.
pub(crate) fn harmless_end(text: &str, longest: usize) -> String {
    let clean = clean(text);
    match clean.char_indices().rev().nth(longest) {
        Some((last, _)) => {
            let end: String = clean[last..].chars().skip(1).collect();
            not_a_command(format!("(cut) ... {end}"))
        }
        None => not_a_command(clean),
    }
}

fn clean(text: &str) -> String {
    let text = without_private_keys(text);
    let visible = text.chars().map(|c| {
        if c.is_control() || is_invisible(c) || c.is_whitespace() {
            ' '
        } else {
            c
        }
    });
    let visible = visible.collect::<String>();
    let words = visible
        .split(' ')
        .filter(|word| !word.is_empty())
        .map(without_jwt)
        .collect::<Vec<_>>();
    words.join(" ").replace("##[", "# #[")
}

fn not_a_command(text: String) -> String {
    match text.strip_prefix("::") {
        Some(rest) => format!(": :{rest}"),
        None => text,
    }
}

/// A path, as [`harmless`] text. Shows bytes that are not UTF-8 as `�`.
pub fn path(path: &Path) -> String {
    harmless(&path.to_string_lossy())
}

/// Formats [`harmless`] text as code in Markdown. No part of the text can end the code, or the cell of a
/// table.
pub fn code(text: &str) -> String {
    format!("`{}`", harmless(text).replace('`', "'").replace('|', "\\|"))
}

/// A time, for people.
pub fn time(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// Zero-width and direction-changing characters: they let text look like something else.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Removes the text between the frames of a private key in PEM. If the second frame is missing, removes the
/// text after the first.
fn without_private_keys(text: &str) -> Cow<'_, str> {
    const BEGIN: &str = "PRIVATE KEY-----";
    let mut out = String::new();
    let mut rest = text;
    while let Some(begin) = rest.find(BEGIN) {
        let (before, key) = rest.split_at(begin + BEGIN.len());
        let length = key.find("-----END").unwrap_or(key.len());
        let (frame, after) = key.split_at(length);
        out.push_str(before);
        out.push_str(if frame.is_empty() { "" } else { "<redacted>" });
        // The second frame ends in the same characters as the first.
        let end = after.find(BEGIN).map_or(0, |end| end + BEGIN.len());
        out.push_str(&after[..end]);
        rest = &after[end..];
    }
    match out.is_empty() {
        true => Cow::Borrowed(text),
        false => Cow::Owned(out + rest),
    }
}

/// `eyJ` is how base64url writes `{"`, the beginning of a JWT's header and of its claims.
fn without_jwt(word: &str) -> String {
    let in_jwt = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '=' | '+' | '/');
    let mut out = String::new();
    let mut rest = word;
    while let Some(start) = rest.find("eyJ") {
        let end = rest[start..]
            .find(|c| !in_jwt(c))
            .map_or(rest.len(), |length| start + length);
        out.push_str(&rest[..start]);
        out.push_str(if end - start > 12 {
            "<redacted>"
        } else {
            &rest[start..end]
        });
        rest = &rest[end..];
    }
    out + rest
}

/// Writes seconds for people, in the two largest units: `5400` as `1 h 30 min`.
pub fn in_words(seconds: u64) -> String {
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3600 % 24, "h"),
        (seconds / 60 % 60, "min"),
        (seconds % 60, "s"),
    ];
    let words = parts
        .iter()
        .filter(|(n, _)| *n > 0)
        .take(2)
        .map(|(n, unit)| format!("{n} {unit}"))
        .collect::<Vec<_>>();
    if words.is_empty() {
        "0 s".into()
    } else {
        words.join(" ")
    }
}

/// Quotes a text for YAML, as JSON. No character of the text can end the quotes. YAML reads the result as a
/// string, never as a number or `null`.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Quotes a text for a CEL expression. The text must not have control characters.
pub(crate) fn cel(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("plain text", "plain text")]
    #[case("a\r\n::set-output name=x::y", "a ::set-output name=x::y")]
    #[case("::add-mask::x", ": :add-mask::x")]
    #[case("x ##[error]y", "x # #[error]y")]
    #[case("a\u{200b}##\u{200b}[error]b", "a ## [error]b")]
    #[case("\u{1b}[31mred\u{7}", "[31mred")]
    #[case("bearer \"eyJhbGciOi.eyJzdWIiOi.c2ln\" bad", "bearer \"<redacted>\" bad")]
    #[case(
        "-----BEGIN PRIVATE KEY-----\nMIIsecret\n-----END PRIVATE KEY----- a -----BEGIN EC PRIVATE KEY-----\\nMIIsecret",
        "-----BEGIN PRIVATE KEY-----<redacted>-----END PRIVATE KEY----- a -----BEGIN EC PRIVATE KEY-----<redacted>"
    )]
    #[case("::::", ": :::")]
    fn nothing_that_a_runner_acts_on_is_left(#[case] text: &str, #[case] shown: &str) {
        assert_eq!(harmless(text), shown);
    }

    #[rstest]
    #[case("abc", "abc")]
    #[case("a b c d", "(cut) ... b c d")]
    #[case("x eyJhbGciOi.eyJzdWIiOi.c2lnbmF0dXJl", "(cut) ... cted>")]
    #[case("::a", ": :a")]
    fn the_end_of_a_text_shows_no_end_of_a_credential(#[case] text: &str, #[case] shown: &str) {
        assert_eq!(harmless_end(text, 5), shown);
    }

    #[test]
    fn a_cell_cannot_be_left() {
        assert_eq!(code("a`|<b>\n| x"), "`a'\\|<b> \\| x`");
    }

    #[test]
    fn a_megabyte_is_cut() {
        assert!(harmless(&"x ".repeat(1 << 20)).chars().count() < LONGEST + 20);
    }
}
