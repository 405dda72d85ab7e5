//! The progress of an interrupted rotation, from the annotations of both Secrets.

use crate::{
    anchor::legacy::LegacySecret,
    error::Error,
    names::{self, is_dns_subdomain},
};

/// The annotation of the old Secret that holds the new Secret's name. jobpass writes it before it creates the
/// new Secret.
pub(super) const ROTATED_TO: &str = "jobpass.dev/rotated-to";
/// The annotation of the new Secret that holds `NAME/UID` of the old Secret.
pub(super) const ROTATED_FROM: &str = "jobpass.dev/rotated-from";

/// The Secret of the token that the rotation replaces.
pub(super) struct OldSecret {
    pub(super) name: String,
    pub(super) secret: LegacySecret,
}

/// A rotation that was interrupted after it created the new Secret.
#[derive(Clone)]
pub(super) enum EarlierRotation {
    /// The file or Secret holds the new token already. The value is the name of the new Secret.
    Written(String),
    /// The file or Secret still holds the old token. Another copy may already hold the new one.
    Created { name: String, uid: String },
}

/// Finds the Secret to replace, and an earlier rotation of that Secret. `found` is the Secret of the token
/// that jobpass read. `read` reads any other Secret of the same namespace.
pub(super) async fn find(
    found: OldSecret,
    read: impl AsyncFn(&str) -> Result<Option<LegacySecret>, Error>,
) -> Result<(OldSecret, Option<EarlierRotation>), Error> {
    let annotations = &found.secret.metadata.annotations;
    // The first case: jobpass read the new token, and the old Secret still exists.
    if let Some((name, uid)) = annotations
        .get(ROTATED_FROM)
        .and_then(|from| from.split_once('/'))
        && is_dns_subdomain(name)
        && let Some(secret) = read(name).await?
        && secret.metadata.uid == uid
        && secret.metadata.annotations.get(ROTATED_TO) == Some(&found.name)
    {
        let old = OldSecret {
            name: name.to_owned(),
            secret,
        };
        return Ok((old, Some(EarlierRotation::Written(found.name))));
    }
    // The second case: jobpass read the old token, and the new Secret exists.
    if let Some(name) = annotations.get(ROTATED_TO).filter(|name| is_dns_subdomain(name))
        && let Some(secret) = read(name).await?
        && secret.metadata.annotations.get(ROTATED_FROM) == Some(&from(&found))
    {
        let earlier = EarlierRotation::Created {
            name: name.clone(),
            uid: secret.metadata.uid,
        };
        return Ok((found, Some(earlier)));
    }
    Ok((found, None))
}

/// The value of [`ROTATED_FROM`] in the new Secret that replaces `old`.
pub(super) fn from(old: &OldSecret) -> String {
    format!("{}/{}", old.name, old.secret.metadata.uid)
}

/// A name for the new Secret: at most 200 characters of the old name, then 16 random characters (80 bits).
/// These replace the random characters of an earlier rotation, so that the name does not grow.
pub(super) fn new_name(old: &OldSecret) -> Result<String, Error> {
    const RANDOM: usize = 16;
    let name = &*old.name;
    let earlier = old.secret.metadata.annotations.contains_key(ROTATED_FROM);
    let base = name.len().checked_sub(RANDOM + 1).filter(|_| earlier);
    let base = base.and_then(|at| name.get(..at)).unwrap_or(name);
    let base = base.get(..200).unwrap_or(base).trim_end_matches(['-', '.']);
    let random = names::random_name()?;
    let random = &random[random.len() - RANDOM..];
    Ok(format!("{base}-{random}"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    /// Builds a Secret from `NAME ANNOTATION=VALUE ...`. Its uid is `uid-NAME`. The annotation `to` is
    /// [`ROTATED_TO`], and `from` is [`ROTATED_FROM`].
    fn parse(text: &str) -> OldSecret {
        let mut words = text.split(' ');
        let name = words.next().unwrap_or_default();
        let annotations = words
            .filter_map(|word| word.split_once('='))
            .map(|(key, value)| (format!("jobpass.dev/rotated-{key}"), json!(value)))
            .collect::<serde_json::Map<_, _>>();
        let secret = json!({ "metadata": {
            "uid": format!("uid-{name}"), "resourceVersion": "1", "creationTimestamp": "2026-11-24T10:00:00Z",
            "annotations": annotations,
        } });
        OldSecret {
            name: name.to_owned(),
            secret: serde_json::from_value(secret).expect("a Secret"),
        }
    }

    /// Each case has the Secret of the token that jobpass read, and the other Secrets of the namespace. It
    /// expects the Secret to delete, and the progress of the earlier rotation.
    #[rstest]
    #[case::never_rotated("a", &[], "a")]
    #[case::recorded_only("a to=b", &[], "a")]
    #[case::created("a to=b", &["b from=a/uid-a"], "a, created b")]
    #[case::written("b from=a/uid-a", &["a to=b"], "a, written b")]
    #[case::finished("b from=a/uid-a", &[], "b")]
    #[case::again("b from=a/uid-a to=c", &["c from=b/uid-b"], "b, created c")]
    #[case::again_before_the_first_ended("b from=a/uid-a to=c", &["a to=b", "c from=b/uid-b"], "a, written b")]
    #[case::of_another_rotation("a to=b", &["b from=z/uid-z"], "a")]
    #[case::an_unrelated_secret("a to=b", &["b"], "a")]
    #[case::made_anew_under_the_old_name("b from=a/uid-before", &["a to=b"], "b")]
    #[case::the_old_one_names_another("b from=a/uid-a", &["a to=c"], "b")]
    #[case::copied_annotations("x from=a/uid-a", &["a to=b"], "x")]
    #[case::no_name("a to=../b", &["../b from=a/uid-a"], "a")]
    #[case::no_uid("b from=a", &["a to=b"], "b")]
    fn an_earlier_rotation_is_continued(
        #[case] found: &str,
        #[case] others: &[&str],
        #[case] expected: &str,
    ) {
        let read = async |name: &str| {
            let other = others
                .iter()
                .map(|other| parse(other))
                .find(|other| other.name == name);
            Ok(other.map(|other| other.secret))
        };
        let (old, earlier) = futures_util::FutureExt::now_or_never(find(parse(found), read))
            .expect("nothing to wait for")
            .expect("read");
        let earlier = match earlier {
            None => String::new(),
            Some(EarlierRotation::Written(name)) => format!(", written {name}"),
            Some(EarlierRotation::Created { name, uid }) => {
                assert_eq!(uid, format!("uid-{name}"));
                format!(", created {name}")
            }
        };
        assert_eq!(format!("{}{earlier}", old.name), expected);
    }

    #[rstest]
    #[case::first("scanner", "scanner")]
    #[case::second("scanner-abcdefghijklmnop from=a/uid-a", "scanner")]
    #[case::named_by_hand("scanner-abcdefghijklmnop", "scanner-abcdefghijklmnop")]
    #[case::short("a from=b/uid-b", "a")]
    fn a_new_name_keeps_the_old_one(#[case] old: &str, #[case] base: &str) {
        let name = new_name(&parse(old)).expect("a name");
        let random = name.strip_prefix(base).expect("the old name").strip_prefix('-');
        assert_eq!(random.map(str::len), Some(16), "{name}");
        assert!(is_dns_subdomain(&name), "{name}");
    }

    #[test]
    fn a_new_name_is_never_too_long() {
        for long in ["a".repeat(253), format!("{}.{}", "a".repeat(199), "b".repeat(53))] {
            let name = new_name(&parse(&long)).expect("a name");
            assert!(is_dns_subdomain(&name), "{name}");
        }
    }
}
