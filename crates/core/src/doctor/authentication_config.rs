//! The comparison of a job's ID token with the file of the API server's flag `--authentication-config`.
//!
//! Whatever is wrong with an ID token, the API server answers 401 without a reason. No client can read the
//! API server's file. An administrator who has the file can give it to doctor.
//!
//! A rule in the file may be a CEL expression. This module evaluates the comparisons that `jobpass setup`
//! writes and `docs/oidc.md` shows. For any other expression, it shows the claims that the expression uses.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::{Finding, Health};
use crate::{
    claims,
    error::{Error, Kind},
    oidc::{Subject, audiences},
    process::files::read_file,
    text::{at_line, cel, harmless, quoted},
    token::Token,
};

const INPUT: &str = "authentication-config";

/// The parts of an AuthenticationConfiguration that decide about an ID token
/// (`k8s.io/apiserver/pkg/apis/apiserver/types.go`).
#[derive(Debug, Deserialize)]
pub struct AuthenticationConfig {
    kind: String,
    #[serde(default)]
    jwt: Vec<JwtAuthenticator>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct JwtAuthenticator {
    issuer: Issuer,
    #[serde(default)]
    claim_validation_rules: Vec<Rule>,
    claim_mappings: Mappings,
    #[serde(default)]
    user_validation_rules: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
struct Issuer {
    url: String,
    #[serde(default)]
    audiences: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Rule {
    claim: String,
    required_value: String,
    expression: String,
}

#[derive(Debug, Deserialize)]
struct Mappings {
    username: Username,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Username {
    claim: String,
    prefix: String,
    expression: String,
}

impl AuthenticationConfig {
    /// Reads the file.
    ///
    /// # Errors
    /// If jobpass cannot read the file, or if it is not an `AuthenticationConfiguration`.
    pub fn read(path: &Path) -> Result<Self, Error> {
        Self::parse(&read_file(INPUT, path)?)
    }

    fn parse(yaml: &str) -> Result<Self, Error> {
        let wrong = |problem: String| {
            let allowed = "give the file of the API server's flag --authentication-config. `jobpass setup \
                           --authentication-config` prints one for the jobs of a repository \
                           (`--repository-id`) or project (`--project-id`)";
            Error::input(INPUT, problem, allowed)
        };
        serde_yaml::from_str::<Value>(yaml)
            .map_err(|error| wrong(format!("is not valid YAML{}", at_line(&error))))?;
        let config = serde_yaml::from_str::<Self>(yaml).map_err(|error| {
            Error::input(
                INPUT,
                format!(
                    "is YAML, but not an AuthenticationConfiguration: a member is missing or has the wrong \
                     type{}",
                    at_line(&error)
                ),
                "give the file of the API server's flag --authentication-config. It needs `kind`, and each \
                 entry of its list `jwt` needs `issuer.url` and `claimMappings.username`. `jobpass setup \
                 --authentication-config` prints such a file",
            )
        })?;
        match &*config.kind {
            "AuthenticationConfiguration" => Ok(config),
            kind => Err(wrong(format!(
                "is of kind `{}`, not AuthenticationConfiguration",
                harmless(kind)
            ))),
        }
    }

    /// Compares the job's ID token with the file. Returns one finding each for the issuer, the audience, each
    /// claim rule, the username and each user rule. If the bearer token is not a JWT with an issuer, or the
    /// file does not have that issuer, returns only the finding for the issuer.
    pub(super) fn findings(&self, bearer: Option<&Token>) -> Vec<Finding> {
        let claims = bearer.and_then(|token| claims::part::<Value>(token, 1).ok());
        let issuer = claims.as_ref().and_then(|claims| claims["iss"].as_str());
        let (Some(claims), Some(issuer)) = (&claims, issuer) else {
            let said = "this minter sends no ID token, so there is nothing to compare with the file";
            return vec![Finding::new("issuer", Health::Unknown, said)];
        };
        let Some(authenticator) = self
            .jwt
            .iter()
            .find(|authenticator| authenticator.issuer.url == issuer)
        else {
            let known = self.jwt.iter().map(|authenticator| &*authenticator.issuer.url);
            let said = format!(
                "the token has {}; {}",
                harmless(issuer),
                wanted("the file", known)
            );
            return vec![failed("issuer", said).fix(
                "give doctor the job's ID token. If it has this issuer, add the issuer to the file, or run \
                     the job on a platform whose issuer the file has",
            )];
        };
        let mut findings = vec![
            Finding::new("issuer", Health::Ok, harmless(issuer)),
            audience(claims, &authenticator.issuer.audiences),
        ];
        findings.extend(
            authenticator
                .claim_validation_rules
                .iter()
                .map(|rule| rule.finding(claims)),
        );
        findings.push(authenticator.claim_mappings.username.finding(claims));
        let about_users = authenticator.user_validation_rules.iter();
        findings.extend(about_users.map(|rule| unknown("rule for users", &rule.expression, claims)));
        findings
    }
}

fn failed(check: &'static str, said: String) -> Finding {
    Finding::new(check, Health::Failed(Kind::Refused), said)
}

/// A clause such as `the file wants a` or `the file wants one of a, b`. Without values: `the file has none`.
fn wanted<'a>(who: &str, values: impl Iterator<Item = &'a str>) -> String {
    let values = values.map(harmless).collect::<Vec<_>>();
    match &*values {
        [] => format!("{who} has none"),
        [one] => format!("{who} wants {one}"),
        several => format!("{who} wants one of {}", several.join(", ")),
    }
}

fn audience(claims: &Value, allowed: &[String]) -> Finding {
    let found = audiences(claims);
    let shown = harmless(&found.join(", "));
    if found
        .iter()
        .any(|audience| allowed.iter().any(|allowed| allowed == audience))
    {
        return Finding::new("audience", Health::Ok, shown);
    }
    let wanted = wanted("the file", allowed.iter().map(String::as_str));
    failed("audience", format!("the token has {shown}; {wanted}")).fix(match allowed {
        [] => {
            "add the audience to `issuer.audiences` in the file: without audiences, the API server refuses \
             the file"
        }
        _ => {
            "request the ID token for an audience of the file: `oidc-audience` on GitHub, `aud` below \
             `id_tokens` on GitLab"
        }
    })
}

/// The next step for a file that compares GitHub's `sub`, or makes user names from it.
const SUBJECT: &str = "GitHub writes `sub` in two forms. The newer form has the ids of owner and \
                       repository; repositories have it if they were created, renamed or moved since 15 \
                       July 2026, or if an administrator chose it. `repository_id` does not depend on the \
                       form: `jobpass setup --authentication-config --repository-id ID` prints a file with a \
                       rule for it";

/// The next step for a repository or project that a rule does not name.
const ANOTHER_ID: &str = "run a job that matches the rule. To let this job in as well, print a new file with \
                          `jobpass setup --authentication-config`: give it the ids that the rule accepts today \
                          and the id of this job's repository (`--repository-id`) or project \
                          (`--project-id`). A file with this id alone would lock out the jobs that mint today";

/// The `sub` of a GitHub token.
fn github_subject(claims: &Value) -> Option<Subject<'_>> {
    claims["sub"].as_str().and_then(Subject::parse)
}

impl Rule {
    fn finding(&self, claims: &Value) -> Finding {
        let compared = match &*self.claim {
            "" => comparison(&self.expression),
            claim => Some((claim, vec![&*self.required_value])),
        };
        let Some((name, allowed)) = compared else {
            let finding = unknown("rule", &self.expression, claims);
            return match self.expression.contains("claims.sub") && github_subject(claims).is_some() {
                true => finding.fix(SUBJECT),
                false => finding,
            };
        };
        let value = &claims[name];
        let (name, shown) = (harmless(name), shown(value));
        if value.as_str().is_some_and(|value| allowed.contains(&value)) {
            return Finding::new("rule", Health::Ok, format!("{name} is {shown}"));
        }
        let said = format!(
            "in the token, {name} is {shown}; {}",
            wanted("the file", allowed.iter().copied())
        );
        let in_other_form = name == "sub"
            && github_subject(claims).is_some_and(|subject| {
                let mut allowed = allowed.iter().filter_map(|text| Subject::parse(text));
                allowed.any(|allowed| allowed.is_other_form_of(&subject))
            });
        failed("rule", said).fix(match (&*name, in_other_form) {
            (_, true) => SUBJECT.to_owned(),
            ("repository_id" | "project_id", false) => ANOTHER_ID.to_owned(),
            (_, false) => with_both(&name, &allowed, value),
        })
    }
}

/// The next step after a rule that refuses the token's `value` of `claim`. If possible, it contains a rule
/// that accepts `value` and the values in `allowed`. A new file for this job alone would refuse the jobs that
/// the file accepts today.
fn with_both(claim: &str, allowed: &[&str], value: &Value) -> String {
    let is_plain = claim.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let rule = match value.as_str() {
        // A rule that accepts both `true` and `false` is no rule: with `ref_protected`, it would let every
        // branch in.
        Some("true" | "false") | None => None,
        Some(value) if is_plain => {
            let values = allowed.iter().chain([&value]).map(|value| cel(value));
            let values = values.collect::<Vec<_>>().join(", ");
            let rule = quoted(&format!("claims.{claim} in [{values}]"));
            // The API server would not start with a rule that is cut off or changed.
            (harmless(&rule) == rule).then_some(rule)
        }
        Some(_) => None,
    };
    let lets_in = rule.map_or_else(String::new, |rule| {
        format!(
            ". If this one should mint as well, let this rule accept both values, for each repository or \
             project of the entry: `expression: {rule}`. Then everybody who can run a job with this value can \
             mint"
        )
    });
    format!(
        "run a job that matches the rule{lets_in}. Do not print a new file in the place of this one: it would \
         lock out the jobs that mint today"
    )
}

impl Username {
    fn finding(&self, claims: &Value) -> Finding {
        let check = "username";
        let (prefix, name) = match (&*self.claim, prefixed(&self.expression)) {
            ("", Some((prefix, name))) => (prefix, name),
            ("", None) => return unknown(check, &self.expression, claims),
            (claim, _) => (&*self.prefix, claim),
        };
        match claims[name].as_str() {
            Some(value) => {
                let user = harmless(&format!("{prefix}{value}"));
                match name == "sub" && Subject::parse(value).is_some() {
                    true => Finding::new(check, Health::Warning, user).fix(SUBJECT),
                    false => Finding::new(check, Health::Ok, user),
                }
            }
            None => failed(
                check,
                format!("is made from {}, which the token does not have", harmless(name)),
            )
            .fix(
                "map the user name to a claim that the token has. `jobpass setup --authentication-config`, \
                 with `--repository-id` or `--project-id`, prints such a file",
            ),
        }
    }
}

/// The name and the strings of `claims.NAME == STRING` or `claims.NAME in [STRING, STRING]`.
fn comparison(expression: &str) -> Option<(&str, Vec<&str>)> {
    let (name, rest) = claim(expression.trim())?;
    let rest = rest.trim_start();
    if let Some(one) = rest.strip_prefix("==") {
        return Some((name, vec![literal(one)?]));
    }
    let list = rest
        .strip_prefix("in")?
        .trim()
        .strip_prefix('[')?
        .strip_suffix(']')?;
    // This cuts a string with a comma into halves. Each half lacks a quote, so `literal` returns `None`.
    Some((name, list.split(',').map(literal).collect::<Option<_>>()?))
}

/// The prefix and the name of `STRING + claims.NAME` or `claims.NAME`.
fn prefixed(expression: &str) -> Option<(&str, &str)> {
    let (prefix, rest) = match expression.rsplit_once('+') {
        Some((prefix, rest)) => (literal(prefix)?, rest),
        None => ("", expression),
    };
    let (name, rest) = claim(rest.trim())?;
    rest.is_empty().then_some((prefix, name))
}

/// The name of the claim at the start of an expression, and the rest of the expression.
fn claim(text: &str) -> Option<(&str, &str)> {
    let rest = text.strip_prefix("claims.")?;
    let end = rest
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(rest.len());
    (end > 0).then(|| rest.split_at(end))
}

/// The content of a CEL string. `None` for any other text, and for a string with escapes.
fn literal(text: &str) -> Option<&str> {
    let text = text.trim();
    let inner = ['\'', '"']
        .into_iter()
        .find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote))?;
    (!inner.contains(['\'', '"', '\\'])).then_some(inner)
}

/// The finding for an expression that doctor cannot evaluate, with the claims that the expression uses.
fn unknown(check: &'static str, expression: &str, claims: &Value) -> Finding {
    let mut said = format!("doctor cannot evaluate this expression: {}", harmless(expression));
    let mut names = Vec::new();
    for (start, _) in expression.match_indices("claims.") {
        names.extend(
            claim(&expression[start..])
                .map(|(name, _)| name)
                .filter(|name| !names.contains(name)),
        );
    }
    for name in names {
        said += &format!("; in the token, {name} is {}", shown(&claims[name]));
    }
    Finding::new(check, Health::Unknown, said)
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "missing".into(),
        Value::String(text) => harmless(text),
        other => harmless(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::{inputs::setup::Wanted, maintenance::setup::Setup};

    const TOKEN: fn() -> Value = || {
        json!({
            "iss": "https://gitlab.example.com", "aud": "k8s", "project_id": "7", "namespace_id": "3",
            "ref_path": "refs/heads/main", "pipeline_id": "1", "sub": "s",
        })
    };

    fn found(config: &str, claims: &Value) -> Vec<(&'static str, &'static str, String)> {
        let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let token = format!("{}.{}.c2ln", part(&json!({})), part(claims));
        let token = Token::parse(&token, "x").expect("a token");
        let config = AuthenticationConfig::parse(config).expect("a file");
        let findings = config.findings(Some(&token)).into_iter();
        findings
            .map(|finding| (finding.health.word(), finding.check, finding.said))
            .collect()
    }

    /// doctor evaluates each rule that `jobpass setup` writes.
    #[rstest]
    #[case::fits("iss", json!("https://gitlab.example.com"), &[])]
    #[case::issuer("iss", json!("https://gitlab.com"), &["issuer: the token has https://gitlab.com; the file wants https://gitlab.example.com"])]
    #[case::audience("aud", json!(["a", "b"]), &["audience: the token has a, b; the file wants k8s"])]
    #[case::project("project_id", json!("99"), &["rule: in the token, project_id is 99; the file wants one of 7, 8"])]
    #[case::owner("namespace_id", json!("4"), &["rule: in the token, namespace_id is 4; the file wants 3"])]
    #[case::git_ref("ref_path", json!("refs/tags/main"), &["rule: in the token, ref_path is refs/tags/main; the file wants refs/heads/main"])]
    #[case::number("namespace_id", json!(3), &["rule: in the token, namespace_id is 3; the file wants 3"])]
    #[case::gone("project_id", Value::Null, &[
        "rule: in the token, project_id is missing; the file wants one of 7, 8",
        "username: is made from project_id, which the token does not have",
    ])]
    fn rules_of_setup(#[case] name: &str, #[case] value: Value, #[case] wrong: &[&str]) {
        let wanted = Wanted {
            service_account: "scanner".into(),
            namespace: "ci".into(),
            duration: "1h".into(),
            project_ids: vec!["7".into(), "8".into()],
            owner_id: Some("3".into()),
            issuer: Some("https://gitlab.example.com".into()),
            oidc_audience: Some("k8s".into()),
            git_ref: Some("refs/heads/main".into()),
            ..Wanted::default()
        };
        let file = Setup::parse(&wanted)
            .expect("parsed")
            .authentication()
            .expect("OIDC");
        let mut claims = TOKEN();
        claims[name] = value;
        let found = found(&file, &claims);
        assert!(found.iter().all(|(result, ..)| *result != "unknown"), "{found:?}");
        let failed = found.iter().filter(|(result, ..)| *result == "failed");
        let failed = failed.map(|(_, check, said)| format!("{check}: {said}"));
        assert_eq!(failed.collect::<Vec<_>>(), wrong);
        if wrong.is_empty() {
            let user = ("ok", "username", "ci:gitlab:gitlab.example.com:7".to_owned());
            assert_eq!(found.last(), Some(&user));
        }
    }

    /// The first expression is a plain comparison, so it has a result. The other expressions are `unknown`:
    /// neither `ok` nor `failed`.
    #[rstest]
    #[case("claims.ref_path == \"refs/heads/main\"", "ok", "ref_path is refs/heads/main")]
    #[case(
        "claims.ref_path in ['a,b', 'c']",
        "unknown",
        "doctor cannot evaluate this expression: claims.ref_path in ['a,b', 'c']; in the token, ref_path is refs/heads/main"
    )]
    #[case(
        "claims.ref_path == 'a' || claims.none == 'b'",
        "unknown",
        "doctor cannot evaluate this expression: claims.ref_path == 'a' || claims.none == 'b'; in the token, ref_path is refs/heads/main; in the token, none is missing"
    )]
    #[case(
        "claims.ref_path == 'a\\'b'",
        "unknown",
        "doctor cannot evaluate this expression: claims.ref_path == 'a\\'b'; in the token, ref_path is refs/heads/main"
    )]
    #[case(
        "claims.ref_path.startsWith('refs/')",
        "unknown",
        "doctor cannot evaluate this expression: claims.ref_path.startsWith('refs/'); in the token, ref_path is refs/heads/main"
    )]
    fn other_rules(#[case] expression: &str, #[case] result: &str, #[case] said: &str) {
        let file = json!({"kind": "AuthenticationConfiguration", "jwt": [{
            "issuer": {"url": "https://gitlab.example.com", "audiences": ["k8s"]},
            "claimValidationRules": [{"expression": expression}],
            "claimMappings": {"username": {"claim": "sub", "prefix": "oidc:"}},
        }]});
        let found = found(&file.to_string(), &TOKEN());
        assert_eq!(
            found[2],
            (
                if result == "ok" { "ok" } else { "unknown" },
                "rule",
                said.to_owned()
            )
        );
        assert_eq!(found[3], ("ok", "username", "oidc:s".to_owned()));
    }

    const CLASSIC: &str = "repo:team/app:ref:refs/heads/main";
    const WITH_IDS: &str = "repo:team@1/app@2:ref:refs/heads/main";

    /// A file with a rule about one form of GitHub's `sub` refuses the other form, and doctor says why.
    #[rstest]
    #[case::newer(json!({"claim": "sub", "requiredValue": CLASSIC}), WITH_IDS, "failed", true)]
    #[case::older(json!({"expression": format!("claims.sub == '{WITH_IDS}'")}), CLASSIC, "failed", true)]
    #[case::prefix(json!({"expression": "claims.sub.startsWith('repo:team/app:')"}), WITH_IDS, "unknown", true)]
    #[case::another_branch(json!({"claim": "sub", "requiredValue": CLASSIC}), "repo:team@1/app@2:ref:refs/heads/x", "failed", false)]
    #[case::fits(json!({"claim": "sub", "requiredValue": CLASSIC}), CLASSIC, "ok", false)]
    fn both_forms_of_a_subject(
        #[case] rule: Value,
        #[case] subject: &str,
        #[case] health: &str,
        #[case] explained: bool,
    ) {
        let rule = serde_json::from_value::<Rule>(rule).expect("a rule");
        let claims = json!({ "sub": subject });
        let finding = rule.finding(&claims);
        assert_eq!(finding.health.word(), health);
        assert_eq!(
            finding
                .fix
                .contains("`repository_id` does not depend on the form"),
            explained,
            "{}",
            finding.fix
        );
    }

    /// The next step after a failed rule does not lock out the jobs that the file accepts today. It never
    /// shows a rule that accepts every value.
    #[rstest]
    #[case::branch(
        json!({"claim": "ref_path", "requiredValue": "refs/heads/main"}), json!("refs/heads/dev"),
        Some(r#"`expression: "claims.ref_path in ['refs/heads/main', 'refs/heads/dev']"`"#)
    )]
    #[case::several(
        json!({"expression": "claims.ref_path in ['a', 'b']"}), json!("c"),
        Some(r#"`expression: "claims.ref_path in ['a', 'b', 'c']"`"#)
    )]
    #[case::project(
        json!({"claim": "project_id", "requiredValue": "7"}), json!("8"),
        Some("give it the ids that the rule accepts today and the id of this job's repository")
    )]
    #[case::protected(json!({"claim": "ref_protected", "requiredValue": "true"}), json!("false"), None)]
    #[case::missing(json!({"claim": "environment", "requiredValue": "production"}), Value::Null, None)]
    #[case::cut_off(
        json!({"expression": format!("claims.ref_path in ['{}']", "a".repeat(600))}), json!("c"), None
    )]
    #[case::not_in_cel(json!({"claim": "https://a/b", "requiredValue": "c"}), json!("d"), None)]
    fn a_failed_rule_keeps_the_others_in(
        #[case] rule: Value,
        #[case] value: Value,
        #[case] shown: Option<&str>,
    ) {
        let rule = serde_json::from_value::<Rule>(rule).expect("a rule");
        let name = match &*rule.claim {
            "" => "ref_path",
            claim => claim,
        };
        let fix = rule.finding(&json!({ name: value })).fix;
        assert!(fix.starts_with("run a job that matches the rule. "), "{fix}");
        assert!(fix.ends_with("lock out the jobs that mint today"), "{fix}");
        match shown {
            Some(shown) => assert!(fix.contains(shown), "{fix}"),
            None => assert!(!fix.contains("expression:"), "{fix}"),
        }
    }

    /// A branch may have any name.
    #[test]
    fn a_value_of_the_token_stays_one_value_of_the_rule() {
        let value = json!("x', 'refs/heads/y\"\n\\");
        let fix = with_both("ref", &["refs/heads/main"], &value);
        let rule = fix.split_once("expression: ").expect("a rule").1;
        let (rule, _) = rule.split_once('`').expect("the end of the rule");
        let expression = serde_yaml::from_str::<String>(rule).expect("YAML");
        assert!(
            expression.starts_with("claims.ref in ['refs/heads/main', "),
            "{expression}"
        );
        assert!(!expression.contains("', 'refs/heads/y"), "{expression}");
    }

    #[test]
    fn a_user_that_is_named_after_a_subject_changes() {
        let username = Username {
            claim: "sub".into(),
            ..Username::default()
        };
        let finding = username.finding(&json!({ "sub": CLASSIC }));
        assert_eq!(finding.health, Health::Warning);
        assert!(finding.fix.contains("two forms"), "{}", finding.fix);
        let finding = username.finding(&json!({ "sub": "project_path:team/scan:ref_type:branch:ref:main" }));
        assert_eq!(finding.health, Health::Ok);
    }

    #[rstest]
    #[case::another_kind("kind: Pod", "is of kind `Pod`, not AuthenticationConfiguration")]
    #[case::no_yaml("kind: a\njwt: [", "is not valid YAML (line 3)")]
    #[case::no_mapping("jobs", "is YAML, but not an AuthenticationConfiguration")]
    #[case::no_kind("jwt: []", "is YAML, but not an AuthenticationConfiguration")]
    #[case::a_token("kind: a\njwt: s3cret", "a member is missing or has the wrong type (line 2)")]
    #[case::no_username(
        "kind: AuthenticationConfiguration\njwt:\n- issuer: {url: https://a}\n  claimMappings: {uid: s3cret}",
        "a member is missing or has the wrong type (line 4)"
    )]
    fn other_files(#[case] file: &str, #[case] expected: &str) {
        let error = AuthenticationConfig::parse(file).expect_err(file);
        let said = error.message();
        assert!(said.starts_with("input `authentication-config` "), "{said}");
        assert!(said.contains(expected), "{said}");
        assert!(
            error.next_step().is_some() && !error.to_string().contains("s3cret"),
            "{error}"
        );
    }
}
