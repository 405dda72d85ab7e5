//! Text from servers, made safe to show; and values as YAML, CEL and Markdown write them.

use std::path::Path;

/// The number of characters of a server's text that are shown.
const LONGEST: usize = 600;

/// Returns server text without anything that a terminal, a log or a CI runner would act on.
///
/// Control characters (line breaks, escapes, carriage returns) and invisible formatting become spaces, runs
/// of spaces one space; workflow commands are broken up: the GitHub runner acts on `##[` anywhere in a line
/// and on `::` at its start (`ActionCommand.cs` in the runner's source). Anything that looks like a JWT is
/// replaced, as a server may echo what it was sent. At most 600 characters are kept.
pub fn harmless(text: &str) -> String {
    let visible = text
        .chars()
        .take(4 * LONGEST)
        .map(|c| {
            if c.is_control() || is_invisible(c) || c.is_whitespace() {
                ' '
            } else {
                c
            }
        })
        .collect::<String>();
    let words = visible
        .split(' ')
        .filter(|word| !word.is_empty())
        .map(without_jwt)
        .collect::<Vec<_>>();
    let mut clean = words.join(" ").replace("##[", "# #[");
    if let Some(rest) = clean.strip_prefix("::") {
        clean = format!(": :{rest}");
    }
    if clean.chars().count() > LONGEST {
        clean = clean.chars().take(LONGEST).chain(" ... (cut)".chars()).collect();
    }
    clean
}

/// A path, as [`harmless`] text. What is not UTF-8 in it is shown as `�`.
pub fn path(path: &Path) -> String {
    harmless(&path.to_string_lossy())
}

/// Returns [`harmless`] text as code in Markdown. Nothing in it can end the code, or the cell of a table.
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

/// `5400` as `1 h 30 min`; the two largest units.
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

/// Quotes a text for YAML, as JSON: nothing in it can end the text, and it is not read as a number or `null`.
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
    #[case("::::", ": :::")]
    fn nothing_that_a_runner_acts_on_is_left(#[case] text: &str, #[case] shown: &str) {
        assert_eq!(harmless(text), shown);
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
