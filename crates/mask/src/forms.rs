//! The common forms of a secret, as whole texts.

use std::{fmt, ops::Range};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use zeroize::Zeroizing;

use crate::{LEAST, PIECE};

/// The lengths of the lines of base64: 76 for `base64` and Python (RFC 2045, section 6.8), and 64 for OpenSSL
/// (RFC 1421, section 4.3.2.4).
const COLUMNS: [usize; 2] = [76, 64];

/// The registered claims (RFC 7519, section 4.1) that differ between most tokens of one issuer. The secret
/// part of a JWT begins with the value of the first of them. Many issuers write claims in alphabetical order.
/// Then only the audiences come before these claims.
const OWN_CLAIMS: [&str; 5] = ["\"exp\":", "\"iat\":", "\"jti\":", "\"nbf\":", "\"sub\":"];

/// Texts in the claims of kube-apiserver's tokens that other text also has: the usual issuer, and names of
/// claims (`pkg/serviceaccount/claims.go`).
const COMMON: [&str; 4] = [
    "https://kubernetes.default.svc",
    "kubernetes.io",
    "namespace",
    "serviceaccount",
];

/// One form in which a log can show a secret. `Debug` redacts it. Its memory is wiped when it is dropped.
#[derive(Clone)]
pub struct Form {
    /// The encoding of the secret in this form.
    pub encoding: Encoding,
    pub(crate) text: Zeroizing<String>,
    /// The number of bytes at the beginning that are not secret: they are a JWT's header and first claims.
    pub(crate) public: usize,
}

/// The encoding of a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Encoding {
    /// The secret as it is.
    Raw,
    /// The middle segment of a JWT alone.
    Claims,
    /// The last segment of a JWT alone.
    Signature,
    /// Base64 in either alphabet, with or without padding, and with or without the line break of `echo`. The
    /// secret may be a part of a longer text. The form leaves out the characters that also depend on the text
    /// around the secret.
    Base64,
    /// One line of the base64 that `base64` or `openssl base64` prints, if `echo` or `printf` gives them the
    /// secret.
    Base64Line,
    /// Percent-encoding (RFC 3986).
    Percent,
    /// A part of a JSON string.
    Json,
    /// Text or an attribute of XML or HTML.
    Xml,
    /// Quoted for a shell or by a shell (`set -x`, `printf %q`).
    Shell,
    /// Hexadecimal, in lower or upper case.
    Hex,
}

/// Returns the common forms of a secret, each text once. A [`Masker`](crate::Masker) finds these and others.
/// A CI platform can mask each form, and a test can check that a log contains none of them. Ignores spaces
/// and line breaks around the secret.
///
/// The list includes quoted forms only if they differ from the secret. A JWT's header alone is not a form,
/// because every token of its issuer has the same header. The other segments are forms if they have at least
/// [`PIECE`] secret bytes. A secret of fewer than [`LEAST`] bytes has no forms.
pub fn forms(secret: &str) -> Vec<Form> {
    let secret = secret.trim();
    if secret.len() < LEAST {
        return Vec::new();
    }
    let mut forms = Forms(Vec::new());
    let jwt =
        jwt(secret).map(|(header, claims, signature)| (header, claims, signature, first_claims(claims)));
    let public = jwt.map_or(0, |(header, _, _, first)| header.len() + 1 + first);
    forms.add(Encoding::Raw, secret, public, LEAST);
    if let Some((_, claims, signature, first)) = jwt {
        forms.add(Encoding::Claims, claims, first, PIECE);
        forms.add(Encoding::Signature, signature, 0, PIECE);
    }
    for shift in 0..3 {
        forms.base64(secret, public, shift);
    }
    // No program quotes these characters.
    let is_plain = secret
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    for (encoding, quote) in if is_plain { &[] } else { QUOTES } {
        let quoted = |text: &str| Zeroizing::new(text.chars().map(quote).collect::<String>());
        forms.add(*encoding, &quoted(secret), quoted(&secret[..public]).len(), LEAST);
    }
    forms.hex(secret, public);
    forms.0
}

struct Forms(Vec<Form>);

impl Forms {
    /// Adds a form, unless the list has it already, or the form has fewer than `least` secret bytes.
    fn add(&mut self, encoding: Encoding, text: &str, public: usize, least: usize) {
        if text.len() >= public + least && self.0.iter().all(|form| form.text.as_str() != text) {
            self.0.push(Form {
                encoding,
                text: Zeroizing::new(text.to_owned()),
                public,
            });
        }
    }

    /// Adds the base64 of the secret after `shift` unknown bytes.
    fn base64(&mut self, secret: &str, public: usize, shift: usize) {
        // A character holds 6 bits. The first characters also hold bits of the text before the secret, so
        // they are unknown. A later character is known if all of its bits come from the secret's first
        // `bytes` bytes.
        let unknown = (8 * shift).div_ceil(6);
        let known = |bytes: usize| (8 * (shift + bytes) / 6).saturating_sub(unknown);
        let public = known(public);
        for end in ["", "\n"] {
            let bytes = Zeroizing::new([&[0; 3][..shift], secret.as_bytes(), end.as_bytes()].concat());
            let standard = Zeroizing::new(STANDARD.encode(&*bytes));
            let url = Zeroizing::new(standard.replace('+', "-").replace('/', "_"));
            for text in [&standard[unknown..], &url[unknown..]] {
                for text in [text, text.trim_end_matches('='), &text[..known(secret.len())]] {
                    self.add(Encoding::Base64, text, public, LEAST);
                }
            }
            for columns in COLUMNS.into_iter().filter(|_| shift == 0) {
                let mut before = 0;
                while before < standard.len() {
                    let line = &standard[before..standard.len().min(before + columns)];
                    self.add(Encoding::Base64Line, line, public.saturating_sub(before), PIECE);
                    before += columns;
                }
            }
        }
    }

    fn hex(&mut self, secret: &str, public: usize) {
        let byte = |byte: &u8| format!("{byte:02x}");
        let hex = Zeroizing::new(secret.as_bytes().iter().map(byte).collect::<String>());
        self.add(Encoding::Hex, &hex, 2 * public, LEAST);
        self.add(
            Encoding::Hex,
            &Zeroizing::new(hex.to_ascii_uppercase()),
            2 * public,
            LEAST,
        );
    }
}

/// The function that quotes a character.
type Quote = fn(char) -> String;

/// The functions that quote. Programs quote differently, so each encoding has several functions.
const QUOTES: &[(Encoding, Quote)] = &[
    (Encoding::Percent, |c| percent(c, false)),
    (Encoding::Percent, |c| percent(c, true)),
    (Encoding::Json, |c| either(json(c), c)),
    // Go.
    (Encoding::Json, |c| either(json(c).or_else(|| json_html(c)), c)),
    // PHP.
    (Encoding::Json, |c| {
        either(json(c).or_else(|| (c == '/').then(|| "\\/".into())), c)
    }),
    (Encoding::Xml, |c| xml(c, None)),
    (Encoding::Xml, |c| xml(c, Some(("&quot;", "'")))),
    (Encoding::Xml, |c| xml(c, Some(("&quot;", "&apos;")))),
    (Encoding::Xml, |c| xml(c, Some(("&quot;", "&#39;")))),
    // Python, then Go.
    (Encoding::Xml, |c| xml(c, Some(("&quot;", "&#x27;")))),
    (Encoding::Xml, |c| xml(c, Some(("&#34;", "&#39;")))),
    (Encoding::Shell, |c| shell(c, "'\\''")),
    // Python's shlex.quote.
    (Encoding::Shell, |c| shell(c, "'\"'\"'")),
    // Inside double quotes.
    (Encoding::Shell, |c| escaped("\"$\\`".contains(c), c)),
    // The `printf %q` of bash.
    (Encoding::Shell, |c| {
        escaped(
            c.is_ascii() && !c.is_ascii_alphanumeric() && !"%+,-./:=@_".contains(c),
            c,
        )
    }),
];

fn either(quoted: Option<String>, c: char) -> String {
    quoted.unwrap_or_else(|| c.into())
}

fn escaped(special: bool, c: char) -> String {
    if special { format!("\\{c}") } else { c.into() }
}

fn percent(c: char, lower: bool) -> String {
    if c.is_ascii_alphanumeric() || "-._~".contains(c) {
        return c.into();
    }
    let byte = |byte: &u8| {
        if lower {
            format!("%{byte:02x}")
        } else {
            format!("%{byte:02X}")
        }
    };
    c.encode_utf8(&mut [0; 4]).as_bytes().iter().map(byte).collect()
}

fn json(c: char) -> Option<String> {
    match c {
        '"' | '\\' => Some(format!("\\{c}")),
        '\n' => Some("\\n".into()),
        '\r' => Some("\\r".into()),
        '\t' => Some("\\t".into()),
        _ => None,
    }
}

fn json_html(c: char) -> Option<String> {
    matches!(c, '<' | '>' | '&').then(|| format!("\\u{:04x}", u32::from(c)))
}

/// Quotes a character for XML. `quotes` are the replacements for a double and a single quote. `None` leaves
/// both as they are.
fn xml(c: char, quotes: Option<(&str, &str)>) -> String {
    match (c, quotes) {
        ('&', _) => "&amp;".into(),
        ('<', _) => "&lt;".into(),
        ('>', _) => "&gt;".into(),
        ('"', Some((double, _))) => double.into(),
        ('\'', Some((_, single))) => single.into(),
        _ => c.into(),
    }
}

/// Quotes a character for a shell, inside single quotes. `quote` replaces a single quote.
fn shell(c: char, quote: &str) -> String {
    if c == '\'' { quote.into() } else { c.into() }
}

/// The number of bytes at the beginning of a secret that are not secret: a JWT's header and first claims.
pub(crate) fn public_length(secret: &str) -> usize {
    jwt(secret).map_or(0, |(header, claims, _)| header.len() + 1 + first_claims(claims))
}

/// The parts of a secret that other text seldom has: all but a JWT's header, its first claims and the texts
/// in [`COMMON`].
pub(crate) fn rare_parts(secret: &str) -> Vec<Range<usize>> {
    let mut start = public_length(secret);
    let mut parts = Vec::new();
    if let Some((header, claims, _)) = jwt(secret)
        && let Ok(json) = URL_SAFE_NO_PAD.decode(claims).map(Zeroizing::new)
    {
        let mut common: Vec<_> = COMMON
            .iter()
            .flat_map(|text| memchr::memmem::find_iter(&json, text).map(|at| at..at + text.len()))
            .collect();
        common.sort_by_key(|text| text.start);
        for text in common {
            let end = header.len() + 1 + 4 * text.start / 3;
            parts.extend((start < end).then_some(start..end));
            start = start.max(header.len() + 1 + (4 * text.end).div_ceil(3));
        }
    }
    parts.push(start.min(secret.len())..secret.len());
    parts
}

/// The part of a secret that no other secret has: the signature of a JWT, or all of a secret that is not a
/// JWT.
pub(crate) fn sole_part(secret: &str) -> Range<usize> {
    let signature = jwt(secret).map_or(secret.len(), |(_, _, signature)| signature.len());
    secret.len() - signature..secret.len()
}

/// The expiry of a JWT, in seconds since 1970.
pub(crate) fn expiry(secret: &str) -> Option<u64> {
    let (_, claims, _) = jwt(secret)?;
    let json = Zeroizing::new(URL_SAFE_NO_PAD.decode(claims).ok()?);
    let json = std::str::from_utf8(&json).ok()?;
    let (_, rest) = json.split_once("\"exp\":")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The header, the claims and the signature of a JWT. `eyJ` is base64url of `{"`, the start of a JSON header.
pub(crate) fn jwt(secret: &str) -> Option<(&str, &str, &str)> {
    let (header, rest) = secret.split_once('.')?;
    let (claims, signature) = rest.split_once('.')?;
    let is_base64url = |part: &str| {
        part.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    let is_jwt = header.starts_with("eyJ") && [header, claims, signature].into_iter().all(is_base64url);
    // A JWT with a short signature is secret as a whole.
    (is_jwt && signature.len() >= PIECE).then_some((header, claims, signature))
}

/// The number of characters at the beginning of the claims that other tokens of the same issuer can share.
fn first_claims(claims: &str) -> usize {
    let Ok(json) = URL_SAFE_NO_PAD.decode(claims).map(Zeroizing::new) else {
        return 0;
    };
    let own = OWN_CLAIMS
        .iter()
        .filter_map(|claim| Some(memchr::memmem::find(&json, claim.as_bytes())? + claim.len()));
    own.min().map_or(0, |bytes| 8 * bytes / 6)
}

impl Form {
    /// The form itself. Every call is a place where the secret can leak.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The secret part of the form, without a JWT's header and first claims, which other tokens of the JWT's
    /// issuer also have.
    pub fn secret_part(&self) -> &str {
        self.text.get(self.public..).unwrap_or_default()
    }
}

impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Form({:?}, <redacted>)", self.encoding)
    }
}
