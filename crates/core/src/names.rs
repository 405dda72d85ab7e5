//! The names and identifiers that Kubernetes, CI platforms and jobpass accept.

use crate::{
    error::{Error, Kind},
    text::{self, harmless},
};

/// Checks that a value is an RFC 1123 subdomain (dots allowed) or label (no dots) of at most `longest` bytes,
/// as the names of objects and namespaces must be.
pub(crate) fn dns_name(input: &str, value: &str, longest: usize, dots: bool) -> Result<String, Error> {
    let valid = if dots {
        is_dns_subdomain(value)
    } else {
        is_dns_label(value)
    };
    if valid && value.len() <= longest {
        return Ok(value.to_owned());
    }
    let dots = if dots {
        ", `-` and `.`. Give the name alone, without its namespace"
    } else {
        " and `-`"
    };
    Err(Error::input(
        input,
        format!("is `{}`, which jobpass cannot use as a name", text::wrong(value)),
        format!(
            "use at most {longest} characters, with a letter or digit at both ends: only lowercase letters, \
             digits{dots}"
        ),
    ))
}

/// Whether this is an RFC 1123 subdomain. Kubernetes requires that form of the names of most objects, and a
/// name in that form is safe in a URL.
pub(crate) fn is_dns_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_dns_label)
}

/// Whether this has the characters of an RFC 1123 label: lowercase letters, digits and hyphens, with a letter
/// or digit at both ends. Does not check the length.
pub(crate) fn is_dns_label(label: &str) -> bool {
    label
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && label.starts_with(|c: char| c.is_ascii_alphanumeric())
        && label.ends_with(|c: char| c.is_ascii_alphanumeric())
}

const PREFIX: &str = "jobpass-";

/// A regular expression for the names that [`random_name`] returns.
pub(crate) const NAMES: &str = "^jobpass-[a-z2-7]{20}$";

/// Returns a unique name: `jobpass-`, and 100 random bits in lowercase letters and digits.
///
/// # Errors
/// If the operating system returns no random bytes.
pub fn random_name() -> Result<String, Error> {
    let mut bytes = [0; 20];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes)
        .map_err(|_| no_random_bytes())?;
    let alphabet = b"abcdefghijklmnopqrstuvwxyz234567";
    let random = bytes.map(|byte| char::from(alphabet[usize::from(byte % 32)]));
    Ok(format!("{PREFIX}{}", String::from_iter(random)))
}

/// The error if the operating system returns no random bytes.
pub(crate) fn no_random_bytes() -> Error {
    Error::new(Kind::Internal, "the operating system returned no random bytes")
        .help("check that programs in this job may read /dev/urandom, and call getrandom(2)")
}

/// Whether the name looks like those of [`random_name`]: the prefix, then 20 ASCII letters or digits, in
/// lower or upper case.
pub(crate) fn is_ours(name: &str) -> bool {
    name.strip_prefix(PREFIX)
        .is_some_and(|random| random.len() == 20 && random.bytes().all(|b| b.is_ascii_alphanumeric()))
}

/// Whether the text can be a uid or a credential id (`jti`). jobpass shows both, and records them.
pub(crate) fn is_identifier(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// Whether Kubernetes accepts this as the value of a label
/// (`staging/src/k8s.io/apimachinery/pkg/util/validation/validation.go`, `IsValidLabelValue`).
pub(crate) fn is_label_value(value: &str) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric();
    let bytes = value.as_bytes();
    value.len() <= 63
        && bytes.iter().all(|b| plain(b) || b"-_.".contains(b))
        && bytes.first().is_none_or(plain)
        && bytes.last().is_none_or(plain)
}

/// The greatest length of an image, of a URL, and of a value for [`text_of`], in bytes.
pub(crate) const LONGEST_TEXT: usize = 256;

/// Checks an id of a CI platform. Returns it as a string, because the claims of ID tokens hold it as a
/// string.
pub(crate) fn number(input: &str, text: &str) -> Result<String, Error> {
    let text = text.trim();
    if (1..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0') {
        return Ok(text.to_owned());
    }
    Err(Error::input(
        input,
        format!("is `{}`, which is not an id", text::wrong(text)),
        "give the number: after a renaming, somebody else can take the old name. For GitHub, `gh api \
         repos/OWNER/REPO --jq '.id, .owner.id'` prints the numbers. In GitLab, the menu of the \
         project's or group's page copies the number",
    ))
}

/// Checks that a value has 1 to [`LONGEST_TEXT`] bytes, and that [`harmless`] leaves it as it is: it has no
/// invisible characters, no superfluous spaces, no JWT, and no command to a CI runner.
pub(crate) fn text_of(input: &str, text: &str) -> Result<String, Error> {
    if !text.is_empty() && text.len() <= LONGEST_TEXT && harmless(text) == text {
        return Ok(text.to_owned());
    }
    Err(Error::input(
        input,
        format!(
            "is `{}`, which is empty or too long, has invisible characters or superfluous spaces, or looks \
             like a secret or a command to a CI runner",
            text::wrong(text)
        ),
        format!(
            "use 1 to {LONGEST_TEXT} visible characters, without spaces at the ends or two in a row, without \
             `##[`, and without `::` at the beginning"
        ),
    ))
}

/// The key of a label that has the value `jobpass`. The objects that jobpass creates for jobs have this
/// label, and so do the objects that `jobpass setup --apply` creates.
pub(crate) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_and_are_valid() {
        let names = (0..100)
            .map(|_| random_name().expect("a name"))
            .collect::<std::collections::BTreeSet<_>>();
        assert_eq!(names.len(), 100);
        assert!(
            names.iter().all(|name| name.len() == 28 && is_label_value(name)),
            "{names:?}"
        );
    }
}
