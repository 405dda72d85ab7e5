//! The strings with which a CI runner can mask a secret.
//!
//! A runner replaces only whole strings. So this module lists the strings that a single standard tool prints
//! for a secret in one line. For a JWT, most of them come from its signature: nobody can use the token
//! without the signature, and a tool may show the signature alone. GitHub's runner itself derives further
//! encodings of each string: base64, and escapes for JSON, URLs and XML.

use std::fmt::Write as _;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use zeroize::Zeroizing;

/// The least number of characters of a string that this module derives. A shorter string could hide a word of
/// innocent text.
const LEAST: usize = 16;
/// The length of the longest secret for which this module lists bytes and escapes, in bytes. A key in PEM is
/// shorter.
const LONGEST: usize = 8 << 10;
/// The columns at which `base64` and OpenSSL break their lines of base64.
const COLUMNS: [usize; 2] = [76, 64];
/// The columns at which `xxd -p` breaks its lines.
const HEX_COLUMNS: usize = 60;

/// Returns the strings with which a runner masks `secret`, each once. No string has a line break, unless the
/// secret has one.
///
/// ```
/// let masks = jobpass_core::masks::of("correct-horse-battery-staple");
/// let is_mask = |text: &str| masks.iter().any(|mask| **mask == text);
/// assert!(is_mask("correct-horse-battery-staple"));
/// assert!(is_mask("99, 111, 114, 114, 101, 99, 116, 45, 104, 111, 114, 115, 101, 45, 98, 97, 116, 116, 101, 114, 121, \
///     45, 115, 116, 97, 112, 108, 101"));
/// ```
pub fn of(secret: &str) -> Vec<Zeroizing<String>> {
    let mut masks = Masks::default();
    masks.forms(secret);
    let secret = secret.trim();
    if secret.len() < jobpass_mask::LEAST || secret.len() > LONGEST {
        return masks.list;
    }
    match signature(secret) {
        Some((signature, decoded)) => {
            // Other tokens of the issuer have the same header and perhaps the same claims.
            masks.hex_lines(secret.as_bytes(), secret.len() - signature.len());
            masks.hex_lines(signature.as_bytes(), 0);
            masks.hex_lines(&decoded, 0);
            masks.forms(signature);
            masks.bytes(signature.as_bytes());
            masks.escapes(signature);
            masks.wide(signature);
            masks.decoded(&decoded);
        }
        None => {
            masks.hex_lines(secret.as_bytes(), 0);
            masks.bytes(secret.as_bytes());
            if secret.is_ascii() && !secret.contains(char::is_whitespace) {
                masks.escapes(secret);
                masks.wide(secret);
            }
        }
    }
    masks.list
}

/// The last segment of a JWT, and the bytes that it encodes.
fn signature(secret: &str) -> Option<(&str, Zeroizing<Vec<u8>>)> {
    let (rest, signature) = secret.rsplit_once('.')?;
    let is_jwt = rest.starts_with("eyJ") && rest.split('.').count() == 2 && signature.len() >= LEAST;
    let decoded = URL_SAFE_NO_PAD.decode(signature).ok().filter(|_| is_jwt)?;
    Some((signature, decoded.into()))
}

#[derive(Default)]
struct Masks {
    list: Vec<Zeroizing<String>>,
}

impl Masks {
    fn add(&mut self, mask: impl Into<Zeroizing<String>>) {
        let mask = mask.into();
        if mask.len() >= LEAST && !self.list.contains(&mask) {
            self.list.push(mask);
        }
    }

    /// Adds the forms that a log filter finds. The forms of a short secret may have fewer than [`LEAST`]
    /// characters.
    fn forms(&mut self, secret: &str) {
        for form in jobpass_mask::forms(secret) {
            let form = Zeroizing::new(form.expose().to_owned());
            if !self.list.contains(&form) {
                self.list.push(form);
            }
        }
    }

    /// Adds the lists of bytes that programs print in one line.
    fn bytes(&mut self, bytes: &[u8]) {
        type Byte = fn(u8) -> String;
        let lower: Byte = |byte| format!("{byte:02x}");
        let upper: Byte = |byte| format!("{byte:02X}");
        let short: Byte = |byte| format!("{byte:x}");
        let decimal: Byte = |byte| byte.to_string();
        let octal: Byte = |byte| format!("{byte:03o}");
        let short_octal: Byte = |byte| format!("{byte:o}");
        let binary: Byte = |byte| format!("{byte:08b}");
        for (byte, separators) in [
            (
                lower,
                &[
                    "", " ", ":", "-", ",", ", ", "\\x", "%", "0x", " 0x", ", 0x", ",0x", "', '0x", "\\u00",
                ][..],
            ),
            (lower, &["\\U000000", "}\\u{", ";&#x"]),
            (
                upper,
                &[
                    "", " ", ":", "-", ",", ", ", "\\x", "%", "=", " 0x", ", 0x", "\\u00", ";&#x",
                ],
            ),
            // `perl -e 'printf "%vx"'`.
            (short, &["."]),
            (decimal, &[" ", ", ", ",", ".", ";&#"]),
            (octal, &[" ", ",", "\\", "\\0"]),
            (short_octal, &[" ", ",", "', '0o", ", 0"]),
            (binary, &["", " "]),
        ] {
            for separator in separators {
                self.add(joined(bytes, byte, separator));
            }
        }
        // Python counts the groups of `hex(" ", 4)` from the end.
        for group in [2, 4] {
            let groups = bytes.rchunks_exact(group).rev();
            let groups = groups.map(|group| joined(group, lower, "").to_string());
            self.add(groups.collect::<Vec<_>>().join(" "));
        }
    }

    /// Adds the lines that `xxd -p` prints. Leaves out lines that show almost only the first `public` bytes.
    fn hex_lines(&mut self, bytes: &[u8], public: usize) {
        let hex = joined(bytes, |byte| format!("{byte:02x}"), "");
        self.lines(&hex, HEX_COLUMNS, 2 * public);
    }

    /// Breaks a text into lines of `columns` characters. Adds a line if it ends at least [`LEAST`] characters
    /// after the first `public` characters of the text.
    fn lines(&mut self, text: &str, columns: usize, public: usize) {
        for from in (0..text.len()).step_by(columns) {
            let to = text.len().min(from + columns);
            if to >= public + LEAST {
                self.add(text[from..to].to_owned());
            }
        }
    }

    /// Adds the text with escapes for its `-`, `_` and `.` alone.
    fn escapes(&mut self, text: &str) {
        type Escape = fn(char) -> String;
        let escapes: [(&str, Escape); 9] = [
            ("-_.", |c| format!("\\u{:04x}", u32::from(c))),
            ("-_.", |c| format!("&#{};", u32::from(c))),
            ("-_.", |c| format!("%{:02X}", u32::from(c))),
            ("-_.", |c| format!("%25{:02X}", u32::from(c))),
            ("-_.", |c| format!("^{c}")),
            ("-_.", |c| format!("\\{c}")),
            // `quotemeta` of Perl and `re.escape` of Python.
            ("-.", |c| format!("\\{c}")),
            ("-.", |c| format!("[{c}]")),
            ("-_.", |c| format!("=2{:X}", u32::from(c) & 0xf)),
        ];
        for (escaped, escape) in escapes {
            let text = text.chars().map(|c| match escaped.contains(c) {
                true => escape(c),
                false => c.to_string(),
            });
            self.add(text.collect::<String>());
        }
    }

    /// Adds an ASCII text in UTF-16 (also in hexadecimal digits and in base64) and in UTF-32. Both have zero
    /// bytes between the characters.
    fn wide(&mut self, text: &str) {
        let wide = |between: &str| {
            let characters = text.split("").filter(|character| !character.is_empty());
            Zeroizing::new(characters.collect::<Vec<_>>().join(between))
        };
        let utf_16 = wide("\0");
        self.add(joined(utf_16.as_bytes(), |byte| format!("{byte:02x}"), ""));
        self.add(joined(utf_16.as_bytes(), |byte| format!("{byte:02X}"), ""));
        for shift in 0..3 {
            self.add(inside_base64(utf_16.as_bytes(), shift));
        }
        self.add(wide("\\x00"));
        self.add(wide("\0\0\0"));
        self.add(utf_16);
    }

    /// Adds the decoded bytes of a signature in several forms: base64 with the standard alphabet (whole and
    /// in lines), hexadecimal and decimal digits, and bytes as Python and Java show them.
    fn decoded(&mut self, bytes: &[u8]) {
        self.add(STANDARD.encode(bytes));
        let standard = Zeroizing::new(STANDARD_NO_PAD.encode(bytes));
        for columns in COLUMNS {
            self.lines(&standard, columns, 0);
        }
        self.add(standard);
        for separator in ["", ":", " ", "-"] {
            self.add(joined(bytes, |byte| format!("{byte:02x}"), separator));
            self.add(joined(bytes, |byte| format!("{byte:02X}"), separator));
        }
        for separator in [", ", ",", " "] {
            self.add(joined(bytes, |byte| byte.to_string(), separator));
        }
        self.add(joined(bytes, |byte| byte.cast_signed().to_string(), ", "));
        self.add(python(bytes));
    }
}

fn joined(bytes: &[u8], byte: impl Fn(u8) -> String, separator: &str) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::new());
    for (at, value) in bytes.iter().enumerate() {
        if at > 0 {
            text.push_str(separator);
        }
        text.push_str(&byte(*value));
    }
    text
}

/// The base64 of `bytes` after `shift` other bytes, without the characters that depend on the text around
/// `bytes`.
fn inside_base64(bytes: &[u8], shift: usize) -> String {
    let text = Zeroizing::new(STANDARD_NO_PAD.encode([&[0; 3][..shift], bytes].concat()));
    let known = 8 * (shift + bytes.len()) / 6;
    text[(8 * shift).div_ceil(6)..known].to_owned()
}

/// The bytes as `repr` of Python shows them, without its quotes.
fn python(bytes: &[u8]) -> Zeroizing<String> {
    let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') {
        b'"'
    } else {
        b'\''
    };
    let mut text = Zeroizing::new(String::new());
    for &byte in bytes {
        let _ = match byte {
            b'\t' => write!(text, "\\t"),
            b'\n' => write!(text, "\\n"),
            b'\r' => write!(text, "\\r"),
            b'\\' => write!(text, "\\\\"),
            byte if byte == quote => write!(text, "\\{}", char::from(byte)),
            b' '..=b'~' => write!(text, "{}", char::from(byte)),
            byte => write!(text, "\\x{byte:02x}"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// A JWT, its signature, and the decoded signature: 256 bytes, as in RS256 with a key of 2048 bits.
    fn jwt() -> (String, String, Vec<u8>) {
        let decoded = (0..256u32).map(|at| (at * 167 + 13) as u8).collect::<Vec<_>>();
        let signature = URL_SAFE_NO_PAD.encode(&decoded);
        let claims = URL_SAFE_NO_PAD
            .encode(r#"{"iss":"https://kubernetes.default.svc","sub":"system:serviceaccount:ci:scanner"}"#);
        (
            format!("eyJhbGciOiJSUzI1NiJ9.{claims}.{signature}"),
            signature,
            decoded,
        )
    }

    /// Each string costs the runner a search in each line of the log.
    #[test]
    fn their_number_and_size_are_small_and_none_hides_innocent_text() {
        let (token, ..) = jwt();
        let masks = of(&token);
        let length = masks.iter().map(|mask| mask.len()).sum::<usize>();
        assert!(
            masks.len() < 250 && length < 200_000,
            "{} of {length} bytes",
            masks.len()
        );
        for mask in &masks {
            assert!(mask.len() >= LEAST && !mask.contains(['\r', '\n']), "{}", **mask);
            let kinds = mask.bytes().collect::<HashSet<_>>();
            assert!(kinds.len() >= 2, "{}", **mask);
        }
        let other =
            "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL2t1YmVybmV0ZXMuZGVmYXVsdC5zdmMifQ.c2lnbmF0dXJlLW9m";
        for innocent in [other, "0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0"] {
            assert!(masks.iter().all(|mask| !innocent.contains(&**mask)));
        }
    }

    /// Texts that openssl and programs in Python, Go, Java and other languages print.
    #[test]
    fn texts_of_one_string_are_masks() {
        let (token, signature, decoded) = jwt();
        let masks = of(&token);
        let list = |text: Vec<String>, between: &str| text.join(between);
        let characters = || signature.bytes();
        let hex = characters().map(|byte| format!("{byte:02x}")).collect::<String>();
        let wide = signature
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect::<Vec<_>>();
        for (what, text) in [
            ("the token", token.clone()),
            ("the signature", signature.clone()),
            ("hex", hex.clone()),
            ("hex, upper", hex.to_uppercase()),
            ("Python's list", format!("{:?}", signature.as_bytes())),
            (
                "JSON's list",
                serde_json::to_string(signature.as_bytes()).expect("JSON"),
            ),
            (
                "Go's %v",
                format!("[{}]", list(characters().map(|b| b.to_string()).collect(), " ")),
            ),
            ("XML", list(characters().map(|b| format!("&#{b};")).collect(), "")),
            (
                "JSON's escapes",
                list(characters().map(|b| format!("\\u{b:04x}")).collect(), ""),
            ),
            (
                "Rust's escapes",
                list(characters().map(|b| format!("\\u{{{b:x}}}")).collect(), ""),
            ),
            (
                "octal",
                list(characters().map(|b| format!("\\{b:03o}")).collect(), ""),
            ),
            ("UTF-16", String::from_utf8(wide.clone()).expect("text")),
            ("UTF-16 in base64", STANDARD.encode(&wide)),
            ("the standard alphabet", STANDARD.encode(&decoded)),
            ("base64", STANDARD.encode(format!("ci:{token}"))),
            (
                "base64 of the signature",
                STANDARD.encode(format!("ab{signature}c")),
            ),
            (
                "Java",
                format!(
                    "{:?}",
                    decoded.iter().map(|b| b.cast_signed()).collect::<Vec<_>>()
                ),
            ),
            (
                "openssl",
                list(decoded.iter().map(|b| format!("{b:02X}")).collect(), ":"),
            ),
        ] {
            assert!(masks.iter().any(|mask| text.contains(&**mask)), "{what}: {text}");
        }
        let all = decoded.iter().map(|byte| match byte {
            b'\\' => "\\\\".to_owned(),
            b'\t' => "\\t".into(),
            b'\n' => "\\n".into(),
            b'\r' => "\\r".into(),
            b'\'' => "\\'".into(),
            b' '..=b'~' => char::from(*byte).into(),
            byte => format!("\\x{byte:02x}"),
        });
        // The bytes hold both quotes.
        assert_eq!(*python(&decoded), all.collect::<String>());
    }

    #[test]
    fn a_secret_without_parts_is_masked_as_a_whole() {
        let masks = of("opaque-token-of-a-minter\n");
        assert!(masks.iter().all(|mask| mask.len() >= LEAST));
        assert!(
            masks
                .iter()
                .any(|mask| **mask
                    == "6f:70:61:71:75:65:2d:74:6f:6b:65:6e:2d:6f:66:2d:61:2d:6d:69:6e:74:65:72")
        );
        assert!(of("short").is_empty());
        // A key in PEM: the runner masks each line of it.
        let pem = format!("-----BEGIN KEY-----\n{}\n-----END KEY-----\n", "YWJj".repeat(16));
        assert!(of(&pem).iter().any(|mask| mask.contains("YWJjYWJj")));
    }
}
