//! `AuthenticationConfiguration`, the file that kube-apiserver takes with `--authentication-config`
//! (`k8s.io/apiserver/pkg/apis/apiserver/validation/validation.go`).

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use super::ISSUER;
use super::oidc::{Authenticator, Mapping, Rule};
use crate::cel::Expression;
use crate::issuer::Issuer;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AuthenticationConfiguration {
    api_version: String,
    kind: String,
    #[serde(default)]
    jwt: Vec<JwtAuthenticator>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct JwtAuthenticator {
    issuer: TrustedIssuer,
    #[serde(default)]
    claim_validation_rules: Vec<ClaimValidationRule>,
    claim_mappings: ClaimMappings,
    #[serde(default)]
    user_validation_rules: Vec<UserValidationRule>,
}

/// Its keys come from an [`Issuer`]: no `discoveryURL` is asked, with whatever certificate authority.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TrustedIssuer {
    url: String,
    #[serde(rename = "discoveryURL")]
    _discovery_url: Option<String>,
    #[serde(rename = "certificateAuthority")]
    _certificate_authority: Option<String>,
    #[serde(default)]
    audiences: Vec<String>,
    #[serde(default)]
    audience_match_policy: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct ClaimValidationRule {
    claim: String,
    required_value: String,
    expression: String,
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ClaimMappings {
    username: ClaimOrExpression,
    #[serde(default)]
    groups: ClaimOrExpression,
    #[serde(default)]
    uid: ClaimOrExpression,
    #[serde(default)]
    extra: Vec<ExtraMapping>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct ClaimOrExpression {
    claim: String,
    prefix: Option<String>,
    expression: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ExtraMapping {
    key: String,
    value_expression: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UserValidationRule {
    expression: String,
    #[serde(default)]
    message: String,
}

/// Reads a configuration. Each of its issuers must be among `issuers`, as nothing is fetched over the network.
///
/// # Errors
/// The first thing that kube-apiserver would not start with.
pub(crate) fn parse(yaml: &str, issuers: &[&Issuer]) -> Result<Vec<Authenticator>> {
    let configuration: AuthenticationConfiguration =
        serde_yaml::from_str(yaml).context("strict decoding error")?;
    let AuthenticationConfiguration {
        api_version,
        kind,
        jwt,
    } = configuration;
    ensure!(
        kind == "AuthenticationConfiguration"
            && ["v1", "v1beta1"]
                .map(|version| format!("apiserver.config.k8s.io/{version}"))
                .contains(&api_version),
        "no kind \"{kind}\" is registered for version \"{api_version}\""
    );
    ensure!(
        jwt.len() <= 64,
        "jwt: Too many: {}: must have at most 64 items",
        jwt.len()
    );
    let mut seen = BTreeSet::new();
    let mut authenticators = Vec::new();
    for (index, entry) in jwt.into_iter().enumerate() {
        let path = format!("jwt[{index}]");
        ensure!(
            seen.insert(entry.issuer.url.clone()),
            "{path}.issuer.url: Duplicate value: {:?}",
            entry.issuer.url
        );
        authenticators.push(entry.compile(&path, issuers)?);
    }
    Ok(authenticators)
}

impl JwtAuthenticator {
    fn compile(self, path: &str, issuers: &[&Issuer]) -> Result<Authenticator> {
        self.issuer.check(&format!("{path}.issuer"))?;
        let url = self.issuer.url;
        let Some(issuer) = issuers.iter().find(|issuer| issuer.url() == url) else {
            bail!("{path}.issuer.url: the dev cluster fetches no keys, and it was given none of {url:?}");
        };
        let mut required = Vec::new();
        let rules = format!("{path}.claimValidationRules");
        let claim_rules = claim_rules(self.claim_validation_rules, &rules, &mut required)?;
        let mappings = format!("{path}.claimMappings");
        let ClaimMappings {
            username,
            groups,
            uid,
            extra,
        } = self.claim_mappings;
        let Some(username) = username.compile(&format!("{mappings}.username"), true)? else {
            bail!("{mappings}.username: Required value: claim or expression is required");
        };
        Ok(Authenticator {
            key: issuer.key(),
            issuer: url,
            audiences: self.issuer.audiences,
            username,
            groups: groups.compile(&format!("{mappings}.groups"), true)?,
            uid: uid.compile(&format!("{mappings}.uid"), false)?,
            extra: self::extra(extra, &format!("{mappings}.extra"))?,
            required,
            claim_rules,
            user_rules: user_rules(self.user_validation_rules, &format!("{path}.userValidationRules"))?,
        })
    }
}

impl TrustedIssuer {
    fn check(&self, path: &str) -> Result<()> {
        let Self {
            url,
            audiences,
            audience_match_policy: policy,
            ..
        } = self;
        ensure!(!url.is_empty(), "{path}.url: Required value");
        let refuse = |why: &str| bail!("{path}.url: Invalid value: {url:?}: {why}");
        if url == ISSUER {
            return refuse(&format!(
                "URL must not overlap with disallowed issuers: [{ISSUER}]"
            ));
        }
        if !url.starts_with("https://") {
            return refuse("URL scheme must be https");
        }
        for (sign, what) in [
            ('@', "a username or password"),
            ('?', "a query"),
            ('#', "a fragment"),
        ] {
            if url.contains(sign) {
                return refuse(&format!("URL must not contain {what}"));
            }
        }
        ensure!(
            !audiences.is_empty(),
            "{path}.audiences: Required value: at least one {path}.audiences is required"
        );
        for (index, audience) in audiences.iter().enumerate() {
            ensure!(!audience.is_empty(), "{path}.audiences[{index}]: Required value");
            ensure!(
                !audiences[..index].contains(audience),
                "{path}.audiences[{index}]: Duplicate value: {audience:?}"
            );
        }
        match (audiences.len(), policy.as_str()) {
            (_, "MatchAny") | (1, "") => Ok(()),
            (1, _) => bail!(
                "{path}.audienceMatchPolicy: Invalid value: {policy:?}: audienceMatchPolicy must be empty or MatchAny \
                 for single audience"
            ),
            _ => bail!(
                "{path}.audienceMatchPolicy: Invalid value: {policy:?}: audienceMatchPolicy must be MatchAny for \
                 multiple audiences"
            ),
        }
    }
}

impl ClaimOrExpression {
    /// `prefixed`: what a claim gives has to have a prefix, be it an empty one. A uid has none.
    fn compile(self, path: &str, prefixed: bool) -> Result<Option<Mapping>> {
        let Self {
            claim,
            prefix,
            expression,
        } = self;
        ensure!(
            claim.is_empty() || expression.is_empty(),
            "{path}: Invalid value: \"\": claim and expression can't both be set"
        );
        if !expression.is_empty() {
            ensure!(
                prefix.is_none(),
                "{path}: Invalid value: {prefix:?}: prefix can't be set when expression is set"
            );
            let compiled = compile(&expression, "claims", &format!("{path}.expression"))?;
            return Ok(Some(Mapping::Expression(compiled)));
        }
        if claim.is_empty() {
            ensure!(
                prefix.is_none(),
                "{path}: Invalid value: {prefix:?}: non-empty claim is required when prefix is set"
            );
            return Ok(None);
        }
        ensure!(
            prefix.is_some() || !prefixed,
            "{path}.prefix: Required value: prefix is required when claim is set. It can be set to an empty string to \
             disable prefixing"
        );
        Ok(Some(Mapping::Claim {
            name: claim,
            prefix: prefix.unwrap_or_default(),
        }))
    }
}

/// Adds the values that claims must have to `required`, and gives the expressions that must be true of them.
fn claim_rules(
    rules: Vec<ClaimValidationRule>,
    path: &str,
    required: &mut Vec<(String, String)>,
) -> Result<Vec<Rule>> {
    let mut expressions = Vec::new();
    for (index, rule) in rules.into_iter().enumerate() {
        let path = format!("{path}[{index}]");
        let ClaimValidationRule {
            claim,
            required_value,
            expression,
            message,
        } = rule;
        match (claim.as_str(), expression.as_str()) {
            ("", "") => bail!("{path}: Required value: claim or expression is required"),
            ("", text) => {
                ensure!(
                    required_value.is_empty(),
                    "{path}.requiredValue: Invalid value: {required_value:?}: may not be specified when expression is set"
                );
                let expression = compile(text, "claims", &format!("{path}.expression"))?;
                expressions.push(Rule { expression, message });
            }
            (claim, "") => {
                ensure!(
                    message.is_empty(),
                    "{path}.message: Invalid value: {message:?}: may not be specified when claim is set"
                );
                required.push((claim.to_owned(), required_value));
            }
            (claim, _) => bail!("{path}: Invalid value: {claim:?}: claim and expression can't both be set"),
        }
    }
    Ok(expressions)
}

fn user_rules(rules: Vec<UserValidationRule>, path: &str) -> Result<Vec<Rule>> {
    let rules = rules.into_iter().enumerate();
    rules
        .map(|(index, UserValidationRule { expression, message })| {
            let expression = compile(&expression, "user", &format!("{path}[{index}].expression"))?;
            Ok(Rule { expression, message })
        })
        .collect()
}

fn extra(mappings: Vec<ExtraMapping>, path: &str) -> Result<Vec<(String, Expression)>> {
    let mut compiled: Vec<(String, Expression)> = Vec::new();
    for (
        index,
        ExtraMapping {
            key,
            value_expression,
        },
    ) in mappings.into_iter().enumerate()
    {
        let path = format!("{path}[{index}]");
        let refuse = |why: &str| bail!("{path}.key: Invalid value: {key:?}: {why}");
        let Some((domain, _)) = key
            .split_once('/')
            .filter(|(domain, rest)| !domain.is_empty() && !rest.is_empty())
        else {
            return refuse("must be a domain-prefixed path (such as \"acme.io/foo\")");
        };
        if key != key.to_lowercase() {
            return refuse("must be lowercase");
        }
        let reserved = ["k8s.io", "kubernetes.io"];
        if reserved
            .iter()
            .any(|own| domain == *own || domain.ends_with(&format!(".{own}")))
        {
            return refuse("k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use");
        }
        ensure!(
            compiled.iter().all(|(known, _)| *known != key),
            "{path}.key: Duplicate value: {key:?}"
        );
        let expression = compile(&value_expression, "claims", &format!("{path}.valueExpression"))?;
        compiled.push((key, expression));
    }
    Ok(compiled)
}

fn compile(text: &str, variable: &str, path: &str) -> Result<Expression> {
    ensure!(!text.is_empty(), "{path}: Required value");
    Expression::compile(text, &[variable])
        .map_err(|why| anyhow::anyhow!("{path}: Invalid value: {text:?}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GITHUB: &str = r#"
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer:
    url: https://token.actions.githubusercontent.com
    audiences: [kubernetes]
  claimValidationRules:
  - claim: repository_owner_id
    requiredValue: "1"
  claimMappings:
    username:
      expression: "'ci:github:' + claims.repository_id"
  userValidationRules:
  - expression: "!user.username.startsWith('system:')"
"#;

    #[test]
    fn what_kube_apiserver_would_start_with() {
        let issuer = Issuer::github();
        assert_eq!(parse(GITHUB, &[&issuer]).expect("configured").len(), 1);
        assert!(parse(&GITHUB.replace("io/v1", "io/v1beta1"), &[&issuer]).is_ok());
        assert!(
            parse(
                "{apiVersion: apiserver.config.k8s.io/v1, kind: AuthenticationConfiguration}",
                &[]
            )
            .is_ok()
        );
    }

    #[test]
    fn what_it_would_not_start_with() {
        for (from, to, why) in [
            (
                "kind: Auth",
                "kind: Auth0",
                "no kind \"Auth0enticationConfiguration\" is registered",
            ),
            (
                "    audiences: [kubernetes]",
                "",
                "at least one jwt[0].issuer.audiences is required",
            ),
            (
                "[kubernetes]",
                "[a, b]",
                "must be MatchAny for multiple audiences",
            ),
            ("https://token", "http://token", "URL scheme must be https"),
            (
                "https://token.actions.githubusercontent.com",
                ISSUER,
                "must not overlap with disallowed issuers",
            ),
            ("https://token", "https://another", "it was given none of"),
            (
                "claims.repository_id",
                "claim.repository_id",
                "jwt[0].claimMappings.username.expression: Invalid value",
            ),
            (
                "expression: \"'ci:github:' + claims.repository_id\"",
                "claim: sub",
                "username.prefix: Required value",
            ),
            (
                "requiredValue",
                "message",
                "claimValidationRules[0].message: Invalid value: \"1\": may not be specified",
            ),
            (
                "user.username",
                "claims.sub",
                "userValidationRules[0].expression: Invalid value",
            ),
            ("    username:", "    user:", "strict decoding error"),
            (
                "  userValidationRules",
                "    extra: [{key: kubernetes.io/x, valueExpression: claims.sub}]\n  userValidationRules",
                "reserved for Kubernetes use",
            ),
        ] {
            let wrong = GITHUB.replace(from, to);
            let error = parse(&wrong, &[&Issuer::github()]).map(|_| ()).expect_err(why);
            assert!(format!("{error:#}").contains(why), "{error:#}");
        }
    }
}
