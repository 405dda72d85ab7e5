//! Makes text from servers safe to show. Writes values as YAML, CEL and Markdown.

use std::{borrow::Cow, path::Path};

/// The greatest number of characters that jobpass shows of a server's text.
const LONGEST: usize = 600;
/// The text that [`wrong`] shows in place of a word that could be a secret.
const NOT_SHOWN: &str = "<not shown: it could be a secret>";

/// Returns server text without the parts that a terminal, a log or a CI runner would obey.
///
/// Control characters (line breaks, escapes, carriage returns) and invisible formatting become spaces, and a
/// run of spaces becomes one. A space also breaks up workflow commands: the GitHub runner obeys `##[`
/// anywhere in a line and `::` at the start of a line (`ActionCommand.cs` in the runner's source). The
/// function replaces anything that looks like a JWT or a private key, because a server may echo the request.
/// It keeps at most 600 characters.
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

/// The last `longest` characters of a text, as [`harmless`] text. Makes the whole text harmless before the
/// cut, because the cut could remove the beginning of a credential, by which jobpass recognises the
/// credential.
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

/// The place of an error in a YAML text, such as ` (line 4)`. Empty if the error has no place. Callers use
/// this place instead of the error's own text, which may quote a secret.
pub(crate) fn at_line(error: &serde_yaml::Error) -> String {
    error
        .location()
        .map_or_else(String::new, |at| format!(" (line {})", at.line()))
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

/// The wrong value of an input, as [`harmless`] text. Does not show a word that could be a secret, because a
/// person may give a secret as the wrong input, and an opaque token looks like any text.
///
/// The characters `./:=_,` divide a word into parts. A word could be a secret if a part of 16 characters or
/// more has a digit or a `+`, and is not a number. The check also hides some harmless names, such as
/// `scanner-prod-eu-west-1`.
pub fn wrong(value: &str) -> String {
    let could_be_secret = |part: &str| {
        let is_number = part.bytes().all(|byte| byte.is_ascii_digit());
        part.len() >= 16 && !is_number && part.contains(|c: char| c.is_ascii_digit() || c == '+')
    };
    let shown = harmless(value);
    let words = shown.split(' ').map(|word| {
        let mut parts = word.split(['.', '/', ':', '=', '_', ',']);
        if parts.any(could_be_secret) {
            NOT_SHOWN
        } else {
            word
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// A path, as [`harmless`] text. Shows bytes that are not UTF-8 as `�`.
pub fn path(path: &Path) -> String {
    harmless(&path.to_string_lossy())
}

/// Writes [`harmless`] text for Markdown, so that nothing in it is markup: no link, no image, no mention.
/// Escapes punctuation with backslashes (CommonMark, section 2.4), except for punctuation that cannot be
/// markup, because GitLab shows the backslashes in a JUnit report, and a person must be able to read the
/// report.
pub fn markdown(text: &str) -> String {
    let text = harmless(text);
    let mut escaped = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        let (before, after) = (&text[..at], &text[at + c.len_utf8()..]);
        let next = after.chars().next();
        let is_plain = match c {
            '"' | '\'' | ',' | ';' | '/' | '(' | ')' | '?' | '%' => true,
            // A dash can begin a list, and a colon can belong to a link or an emoji.
            '-' => before.ends_with(char::is_alphanumeric) && next.is_some_and(char::is_alphanumeric),
            ':' => next.is_none_or(char::is_whitespace) && !before.ends_with(char::is_whitespace),
            // GitHub makes links of words that begin with `www.` (GFM, section 6.9).
            '.' => !before.to_ascii_lowercase().ends_with("www"),
            _ => !c.is_ascii_punctuation(),
        };
        if !is_plain {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
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

/// Whether a character has no width, or changes the direction of a text. With such a character, a text can
/// look like another text.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Replaces the text between the BEGIN line and the END line of a private key in PEM. If the END line is
/// missing, replaces all text after the BEGIN line.
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
        // The END line ends in the same characters as the BEGIN line.
        let end = after.find(BEGIN).map_or(0, |end| end + BEGIN.len());
        out.push_str(&after[..end]);
        rest = &after[end..];
    }
    match out.is_empty() {
        true => Cow::Borrowed(text),
        false => Cow::Owned(out + rest),
    }
}

/// Replaces JWTs: from `eyJ` to the next character that no JWT has, if that is more than 12 characters. `eyJ`
/// is `{"` in base64url, with which the header and the claims of a JWT begin.
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

/// Writes seconds for people, in the two largest units that are not zero: `5400` as `1 h 30 min`.
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

    #[rstest]
    #[case("5 minutes", "5 minutes")]
    #[case("Scanner", "Scanner")]
    #[case(
        "get deployments.v1.apps --all-namespaces",
        "get deployments.v1.apps --all-namespaces"
    )]
    #[case("/etc/secrets/ca-2024.pem", "/etc/secrets/ca-2024.pem")]
    #[case("MY_CLUSTER_TOKEN_V2", "MY_CLUSTER_TOKEN_V2")]
    #[case("opaque-secret-token-1234567890", NOT_SHOWN)]
    #[case("/home/ci/Zq8v/Xk2+opaque-SECRETw9==", NOT_SHOWN)]
    #[case("07401b.f395accd246ae52d", NOT_SHOWN)]
    #[case("get 9f86d081884c7d659a2feaa0", "get <not shown: it could be a secret>")]
    fn a_secret_in_the_wrong_input_is_not_shown(#[case] value: &str, #[case] shown: &str) {
        assert_eq!(wrong(value), shown);
    }

    #[rstest]
    #[case("[a](https://b.example)", r"\[a\](https\://b.example)")]
    #[case("![i](//x) <b> `c` @team *d*", r"\!\[i\](//x) \<b\> \`c\` \@team \*d\*")]
    #[case("WWW.b.example :key: 1-2", r"WWW\.b.example \:key: 1-2")]
    #[case(
        "RBAC: allowed by RoleBinding \"scanner-more\"",
        "RBAC: allowed by RoleBinding \"scanner-more\""
    )]
    #[case("# a | b & c\n- d", r"\# a \| b \& c \- d")]
    #[case("denied by \"x\"; ask y's owner", r#"denied by "x"; ask y's owner"#)]
    fn markdown_has_no_markup(#[case] text: &str, #[case] shown: &str) {
        assert_eq!(markdown(text), shown);
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
