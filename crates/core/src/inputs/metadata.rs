//! The user's labels and annotations for the objects that jobpass creates. In many clusters, policies demand
//! certain labels.

use std::collections::BTreeMap;

use crate::{
    error::Error,
    inputs::options::{Inputs, Opt},
    names::{self, is_dns_subdomain},
    rbac::is_yaml_list,
    text,
};

/// The values of the inputs `anchor-labels` and `anchor-annotations`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metadata {
    /// The labels. The API server accepts them. No key has the domain `jobpass.dev`, a domain below it,
    /// `kubernetes.io` or `k8s.io`, and no key is `app.kubernetes.io/managed-by`.
    pub labels: BTreeMap<String, String>,
    /// The annotations. Their keys follow the rules for labels, but the domain of a key may have capital
    /// letters. A value may be any string.
    pub annotations: BTreeMap<String, String>,
}

impl Metadata {
    /// Parses the inputs.
    ///
    /// # Errors
    /// If a line is not `KEY=VALUE`, if the API server would refuse its key or value, if its key is one of
    /// those that [`Metadata::labels`] excludes, or if two lines have the same key. Also if a YAML list has
    /// an entry that is not a string.
    pub fn parse(inputs: &Inputs) -> Result<Self, Error> {
        let parse = |option: Opt, rules| pairs(option, inputs.get(option).unwrap_or_default(), &rules);
        Ok(Self {
            labels: parse(
                Opt::AnchorLabels,
                Rules {
                    is_key,
                    is_value: names::is_label_value,
                },
            )?,
            annotations: parse(
                Opt::AnchorAnnotations,
                Rules {
                    is_key: |key| is_key(&key.to_ascii_lowercase()),
                    is_value: |_| true,
                },
            )?,
        })
    }
}

/// Kubernetes' rules for labels or for annotations
/// (`staging/src/k8s.io/apimachinery/pkg/api/validation/objectmeta.go`, `ValidateAnnotations`).
struct Rules {
    is_key: fn(&str) -> bool,
    is_value: fn(&str) -> bool,
}

/// The next step after a text that is not a pair.
const PAIR: &str = "write each pair on a line of its own, as `KEY=VALUE`, for example `team=payments`";

/// Parses one pair a line, or a YAML list. Ignores empty lines and lines that begin with `#`.
fn pairs(option: Opt, text: &str, rules: &Rules) -> Result<BTreeMap<String, String>, Error> {
    let lines = match is_yaml_list(text) {
        true => serde_yaml::from_str::<Vec<String>>(text).map_err(|_| {
            Error::input(
                option,
                "is not a YAML list of strings",
                "write each entry of the list as `KEY=VALUE`, for example `- team=payments`",
            )
        })?,
        false => text.lines().map(str::to_owned).collect(),
    };
    let lines = lines.iter().map(|line| line.trim());
    let mut pairs = BTreeMap::new();
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let has = |problem: &str, step: &str| {
            Error::input(option, format!("has `{}`: {problem}", text::wrong(line)), step)
        };
        let (key, value) = line.split_once('=').ok_or_else(|| has("it has no `=`", PAIR))?;
        let (key, value) = (key.trim_end(), value.trim_start());
        if !(rules.is_key)(key) {
            return Err(has(
                "its key is not valid",
                "use at most 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends. A \
                 domain and a `/` may stand before them: `team`, `example.com/team`",
            ));
        }
        if let Some(whose) = owner(key) {
            return Err(has(
                &format!("its key belongs to {whose}"),
                "choose another key, for example with a domain of your own: `example.com/team`",
            ));
        }
        if !(rules.is_value)(value) {
            return Err(has(
                "its value is not valid for a label",
                "use at most 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends. Or \
                 give the pair in `anchor-annotations`: an annotation's value may be any text",
            ));
        }
        if pairs.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(has(
                "its key is given twice",
                "remove one of the two pairs with this key",
            ));
        }
    }
    Ok(pairs)
}

/// Whether Kubernetes accepts this key of a label
/// (`staging/src/k8s.io/apimachinery/pkg/util/validation/validation.go`, `IsQualifiedName`).
fn is_key(key: &str) -> bool {
    let (domain, name) = match key.split_once('/') {
        Some((domain, name)) => (Some(domain), name),
        None => (None, key),
    };
    !name.is_empty() && names::is_label_value(name) && domain.is_none_or(is_dns_subdomain)
}

/// The program that relies on this key, if there is one. Only that program may write the key. Capital letters
/// make no difference, so that nobody takes such a key for the program's own.
fn owner(key: &str) -> Option<&'static str> {
    let key = key.to_ascii_lowercase();
    let (domain, _) = key.split_once('/')?;
    match domain {
        _ if key == names::MANAGED_BY => Some("jobpass"),
        "jobpass.dev" => Some("jobpass"),
        // Kubernetes reserves both domains for its own components. Below `kubernetes.io/`, it keeps the
        // ServiceAccount of a Secret, the last use of its token, and whether the token is invalid.
        "kubernetes.io" | "k8s.io" => Some("Kubernetes"),
        _ if domain.ends_with(".jobpass.dev") => Some("jobpass"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn parse(option: Opt, text: &str) -> Result<Metadata, Error> {
        Metadata::parse(&Inputs::from([(option, text)]))
    }

    #[rstest]
    #[case::lines("team=payments\n\n# who pays\nexample.com/cost-center = 4711\nempty=")]
    #[case::list("- team=payments\n- example.com/cost-center=4711\n- empty=")]
    #[case::as_gitlab_writes_it(r#"["team=payments","example.com/cost-center=4711","empty="]"#)]
    fn the_same_labels(#[case] text: &str) {
        let expected = [
            ("team", "payments"),
            ("example.com/cost-center", "4711"),
            ("empty", ""),
        ];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let parsed = parse(Opt::AnchorLabels, text).expect(text);
        assert_eq!(parsed.labels, BTreeMap::from(expected));
        assert!(parsed.annotations.is_empty());
    }

    #[test]
    fn the_value_of_an_annotation_is_any_text() {
        let text = "example.com/contact=Jane Doe <jane@example.com>, room=3";
        let parsed = parse(Opt::AnchorAnnotations, text).expect(text);
        assert_eq!(
            parsed.annotations["example.com/contact"],
            "Jane Doe <jane@example.com>, room=3"
        );
    }

    #[rstest]
    #[case::no_value("team", "it has no `=`")]
    #[case::yaml("team: payments", "it has no `=`")]
    #[case::no_key("=payments", "its key is not valid")]
    #[case::spaces("my team=payments", "its key is not valid")]
    #[case::no_name("example.com/=x", "its key is not valid")]
    #[case::two_slashes("example.com/a/b=x", "its key is not valid")]
    #[case::capital_domain("Example.com/a=x", "its key is not valid")]
    #[case::long_key(
        "a234567890123456789012345678901234567890123456789012345678901234=x",
        "its key is not valid"
    )]
    #[case::value("team=pay ments", "its value is not valid for a label")]
    #[case::mail("contact=jane@example.com", "an annotation's value may be any text")]
    #[case::long_value(
        "a=a234567890123456789012345678901234567890123456789012345678901234",
        "at most 63"
    )]
    #[case::ours("jobpass.dev/job=x", "its key belongs to jobpass")]
    #[case::ours_too("app.kubernetes.io/managed-by=helm", "its key belongs to jobpass")]
    #[case::below_ours("x.jobpass.dev/job=x", "its key belongs to jobpass")]
    #[case::of_kubernetes("kubernetes.io/service-account.name=admin", "its key belongs to Kubernetes")]
    #[case::of_kubernetes_too("k8s.io/app=x", "its key belongs to Kubernetes")]
    #[case::twice("team=a\nteam=b", "its key is given twice")]
    #[case::no_list("- {team: payments}", "is not a YAML list of strings")]
    fn what_no_label_can_be(#[case] text: &str, #[case] why: &str) {
        let error = parse(Opt::AnchorLabels, text).expect_err(text).to_string();
        assert!(
            error.starts_with("input `anchor-labels` ") && error.contains(why),
            "{error}"
        );
        let (_, step) = error.split_once("\n\n").expect("a next step");
        let expected = match why {
            "it has no `=`" => "for example `team=payments`",
            "is not a YAML list of strings" => "for example `- team=payments`",
            "its key is given twice" => "remove one of the two pairs",
            _ if why.starts_with("its key belongs") => "choose another key",
            _ => "use at most 63 letters",
        };
        assert!(step.contains(expected), "{error}");
    }

    /// Kubernetes converts the key of an annotation to lowercase before it checks the key.
    #[test]
    fn the_domain_of_an_annotation_may_have_capital_letters() {
        let parsed = parse(Opt::AnchorAnnotations, "Example.com/Contact=jane").expect("annotations");
        assert_eq!(parsed.annotations["Example.com/Contact"], "jane");
        assert!(parse(Opt::AnchorAnnotations, "Jobpass.dev/lifetime=99h").is_err());
        assert!(parse(Opt::AnchorAnnotations, "Exa_mple.com/contact=jane").is_err());
    }

    #[rstest]
    #[case("jobpass.dev/lifetime=99h")]
    #[case("kubernetes.io/service-account.expiration=1")]
    fn an_annotation_that_somebody_goes_by_is_refused(#[case] text: &str) {
        let error = parse(Opt::AnchorAnnotations, text).expect_err(text).to_string();
        assert!(error.contains("its key belongs to"), "{error}");
    }

    #[test]
    fn other_keys_of_kubernetes_are_for_anybody() {
        assert!(parse(Opt::AnchorLabels, "app.kubernetes.io/part-of=ci").is_ok());
    }
}
