//! The masks, and the forms of each that the runner derives (`SecretMasker.cs`, `ValueEncoders.cs`,
//! `HostContext.cs`).

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The values that the log must not show.
#[derive(Default)]
pub struct Masker(BTreeSet<String>);

impl Masker {
    /// Adds a whole value and each of its lines, as the runner does for secrets (`Worker.cs`) and for
    /// `::add-mask::` (`ActionCommandManager.cs`).
    pub fn add(&mut self, value: &str) {
        self.add_value(value);
        for line in value.split(['\r', '\n']) {
            self.add_value(line.trim());
        }
    }

    fn add_value(&mut self, value: &str) {
        if !value.is_empty() {
            self.0.insert(value.to_owned());
            self.0
                .extend(encodings(value).into_iter().filter(|form| !form.is_empty()));
        }
    }

    /// Masks a text. Where masks overlap or touch, one `***` replaces all of them.
    pub fn mask(&self, text: &str) -> String {
        let mut found: Vec<Range<usize>> = self.0.iter().flat_map(|form| positions(text, form)).collect();
        found.sort_by_key(|range| range.start);
        let mut masked = String::new();
        let mut from = 0;
        let mut found = found.into_iter().peekable();
        while let Some(mut range) = found.next() {
            while let Some(next) = found.next_if(|next| next.start <= range.end) {
                range.end = range.end.max(next.end);
            }
            masked += &text[from..range.start];
            masked += "***";
            from = range.end;
        }
        masked + &text[from..]
    }
}

/// All positions of a form in a text, including overlapping ones (`ValueSecret.cs`).
fn positions<'a>(text: &'a str, form: &'a str) -> impl Iterator<Item = Range<usize>> + 'a {
    let mut from = 0;
    std::iter::from_fn(move || {
        let start = from + text[from..].find(form)?;
        from = start + text[start..].chars().next().map_or(1, char::len_utf8);
        Some(start..start + form.len())
    })
}

fn encodings(value: &str) -> [String; 11] {
    [
        base64_shifted(value, 0),
        base64_shifted(value, 1),
        base64_shifted(value, 2),
        // This is `CommandLineArgumentEscape`.
        value.replace('"', "\\\""),
        // This is `ExpressionStringEscape`.
        value.replace('\'', "''"),
        json(value),
        uri(value),
        xml(value),
        without_quotes(value).to_owned(),
        before_ampersand(value).to_owned(),
        after_ampersand(value).to_owned(),
    ]
}

/// The base64 of the value without its first `shift` bytes, or of the whole value if nothing would be left
/// (`Base64StringEscapeShift1` and `2`). Inside a longer text, the value begins at one of three positions in
/// base64's groups of three bytes.
fn base64_shifted(value: &str, shift: usize) -> String {
    let bytes = value.as_bytes();
    STANDARD.encode(
        bytes
            .get(shift..)
            .filter(|rest| !rest.is_empty())
            .unwrap_or(bytes),
    )
}

/// The escaping of `JsonStringEscape`. It uses Newtonsoft.Json, which also escapes U+0085, U+2028 and U+2029;
/// `serde_json` does not.
fn json(value: &str) -> String {
    let quoted = serde_json::Value::from(value).to_string();
    quoted[1..quoted.len() - 1]
        .replace('\u{85}', "\\u0085")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

/// The escaping of `UriDataEscape`.
fn uri(value: &str) -> String {
    value.bytes().fold(String::new(), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
        escaped
    })
}

/// The escaping of `XmlDataEscape`.
fn xml(value: &str) -> String {
    value
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&apos;")
}

/// The value without its quotes (`TrimDoubleQuotes`). Empty if the value is short or has no quotes.
fn without_quotes(value: &str) -> &str {
    let inner = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.filter(|_| value.len() > 8).unwrap_or_default()
}

/// The value up to and including its first `&+`, or else its last `&` (`PowerShellPreAmpersandEscape`). Empty
/// if this part has fewer than 6 bytes. PowerShell's errors show the text before and after an `&` separately.
fn before_ampersand(value: &str) -> &str {
    let end = value
        .find("&+")
        .map(|at| at + 2)
        .or_else(|| value.rfind('&').map(|at| at + 1));
    long(&value[..end.unwrap_or(0)])
}

/// The value after its first `&+` and one more character, or else after its last `&`
/// (`PowerShellPostAmpersandEscape`). Empty if this part has fewer than 6 bytes.
fn after_ampersand(value: &str) -> &str {
    let rest = match value.find("&+") {
        // PowerShell may print the character after `&+` separately, in colour.
        Some(at) => {
            let mut rest = value[at + 2..].chars();
            rest.next();
            rest.as_str()
        }
        None => value.rsplit_once('&').map_or("", |(_, rest)| rest),
    };
    long(rest)
}

fn long(section: &str) -> &str {
    if section.len() >= 6 { section } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masker(value: &str) -> Masker {
        let mut masker = Masker::default();
        masker.add(value);
        masker
    }

    #[test]
    fn every_form_that_the_runner_derives() {
        let secret = r#"'a"b'&c<d>ef ghi/é"#;
        let masker = masker(secret);
        for form in encodings(secret).iter().filter(|form| !form.is_empty()) {
            assert_eq!(masker.mask(&format!("<{form}>")), "<***>", "{form}");
        }
        assert_eq!(masker.mask(&STANDARD.encode(format!("xyz{secret}"))), "eHl6***");
    }

    #[test]
    fn what_echo_adds_hides_a_value_in_two_of_three_lengths() {
        let shown = ["abcdef", "abcdefg", "abcdefgh"].map(|secret| {
            let masked = masker(secret).mask(&STANDARD.encode(format!("{secret}\n")));
            !masked.contains("***")
        });
        assert_eq!(shown, [false, true, true]);
    }

    #[test]
    fn each_line_is_a_mask_too_even_a_brace() {
        let masker = masker("{\n  \"key\": 1\n}");
        assert_eq!(masker.mask("fn main() { \"key\": 1 }"), "fn main() *** *** ***");
    }

    #[test]
    fn masks_that_touch_are_one() {
        let mut masker = masker("abc");
        masker.add("cde");
        assert_eq!(masker.mask("xabcdexabccdex"), "x***x***x");
        assert_eq!(masker.mask("ab"), "ab");
    }

    #[test]
    fn pieces_that_powershell_shows() {
        assert_eq!(before_ampersand("abcdef&+ghijkl"), "abcdef&+");
        assert_eq!(after_ampersand("abcdef&+ghijklm"), "hijklm");
        assert_eq!(
            (before_ampersand("abc&def&"), after_ampersand("abc&def&ghijkl")),
            ("abc&def&", "ghijkl")
        );
        assert_eq!(before_ampersand("ab&"), "");
        assert_eq!(without_quotes("\"abcdefg\""), "abcdefg");
        assert_eq!(without_quotes("\"abc\""), "");
    }
}
