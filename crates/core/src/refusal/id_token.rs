//! The reasons why an API server may have refused an ID token. The API server answers only `Unauthorized`, so
//! jobpass reads the token's claims.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::{
    claims,
    oidc::{Oidc, audiences},
    text::{harmless, in_words},
    token::Token,
};

/// The claims of each platform about the repository of a job: its name, and its id, which stays the same when
/// the repository is renamed.
const OWNERS: [(&str, &str); 2] = [("repository", "repository_id"), ("project_path", "project_id")];
/// The claims, apart from [`OWNERS`], that a rule of the API server may check.
const DETAILS: [&str; 11] = [
    "repository_owner",
    "repository_owner_id",
    "namespace_path",
    "namespace_id",
    "ref",
    "ref_path",
    "ref_protected",
    "environment",
    "workflow_ref",
    "job_workflow_ref",
    "sub",
];
/// The prefix of GitHub's claims about the custom properties of a repository.
const PROPERTY: &str = "repo_property_";
/// The greatest number of custom properties that an error shows.
const MOST_PROPERTIES: usize = 10;

/// The claims of an ID token, and the likely reason for the refusal. Also a configuration with which an API
/// server accepts the token, if GitHub or GitLab issued it, and if it is signed and valid at this time.
/// `None` for tokens that Kubernetes issued, and for tokens that are not JWTs with an issuer. The result is
/// not secret: it contains neither the token nor its signature.
pub(super) fn explain(token: &Token) -> Option<String> {
    let claims: Value = claims::part(token, 1).ok()?;
    let issuer = claims["iss"].as_str()?;
    // A bound token has this claim, and a legacy token has this issuer: Kubernetes issued both.
    if claims.get("kubernetes.io").is_some() || issuer == "kubernetes/serviceaccount" {
        return None;
    }
    let text = |name: &str| {
        claims[name]
            .as_str()
            .filter(|text| !text.is_empty())
            .map(harmless)
    };
    let owner = OWNERS.into_iter().find(|(_, id)| text(id).is_some());

    let mut lines = vec![
        ("issuer", harmless(issuer)),
        ("audience", harmless(&audiences(&claims).join(", "))),
    ];
    if let Some((name, id)) = owner {
        lines.extend([
            (name, text(name).unwrap_or_default()),
            (id, text(id).unwrap_or_default()),
        ]);
    }
    lines.extend(DETAILS.iter().filter_map(|name| Some((*name, text(name)?))));
    let names = claims.as_object().into_iter().flat_map(|claims| claims.keys());
    let properties = names
        .filter(|name| name.starts_with(PROPERTY))
        .take(MOST_PROPERTIES);
    let properties = properties
        .filter_map(|name| Some((harmless(name), text(name)?)))
        .collect::<Vec<_>>();
    lines.extend(properties.iter().map(|(name, value)| (&**name, value.clone())));
    let (lifetime, problem) = lifetime(&claims);
    lines.push(("lifetime", lifetime));
    let said = lines
        .iter()
        .map(|(name, value)| format!("  {name:<19}  {value}\n"))
        .collect::<String>();

    let unsigned = claims::part::<Value>(token, 0).is_ok_and(|header| header["alg"] == "none");
    let advice = match problem {
        _ if unsigned => {
            "It is not signed (alg: none): no CI platform issues such a token, and no API server accepts it."
                .into()
        }
        Some(problem) => problem.to_owned(),
        None => {
            let fetch = match owner {
                Some(("repository", _)) => how_to_fetch(&audiences(&claims)),
                Some(_) | None => String::new(),
            };
            let proposal = Oidc::of(&claims).map_or_else(String::new, |oidc| {
                format!(
                    "\n\nIf this job should not mint, the refusal is right: leave the file as it is. If the \
                     job should mint, the configuration below would accept its token. Do not replace an \
                     entry for the same issuer by this configuration: other jobs could then no longer mint. \
                     An issuer can be in the file only once, so change the rules of the entry that is \
                     there:\n\n{}",
                    oidc.in_short()
                )
            });
            format!(
                "The file of the API server's flag --authentication-config decides. The issuer, one of the \
                 audiences and every rule must match the token, and the API server must reach the issuer's \
                 /.well-known/openid-configuration. If you have that file, `jobpass doctor \
                 --authentication-config FILE` in this job shows what does not match.{fetch}{proposal}"
            )
        }
    };
    Some(format!(
        "The API server does not say why. These are the claims that rules check most often, as the ID token \
         has them:\n\n{said}\n{advice}"
    ))
}

/// The commands with which a step of a GitHub job gets an ID token. The action gets its ID token without
/// these commands.
fn how_to_fetch(audiences: &[&str]) -> String {
    let audience = audiences.first().copied().unwrap_or_default();
    let audience = utf8_percent_encode(audience, NON_ALPHANUMERIC);
    format!(
        " A step of this job can give doctor the ID token with `--bearer-token-env KUBE_TOKEN`, after these \
         lines:\n\n  KUBE_TOKEN=\"$(curl -fsS -H \"Authorization: bearer \
         $ACTIONS_ID_TOKEN_REQUEST_TOKEN\" \\\n    \
         \"$ACTIONS_ID_TOKEN_REQUEST_URL&audience={audience}\" | jq -r .value)\"\n  echo \
         \"::add-mask::$KUBE_TOKEN\"\n  export KUBE_TOKEN"
    )
}

/// The lifetime of the token, and the problem with it, if there is one.
fn lifetime(claims: &Value) -> (String, Option<&'static str>) {
    let now = jiff::Timestamp::now().as_second();
    let words = |seconds: i64| in_words(seconds.unsigned_abs());
    match (claims["nbf"].as_i64(), claims["exp"].as_i64()) {
        (Some(from), _) if from > now => (
            format!("begins in {}", words(from - now)),
            Some("It is not valid yet: check the clocks of this machine and of the CI platform."),
        ),
        (_, Some(expires)) if expires <= now => (
            format!("expired {} ago", words(now - expires)),
            Some("It has expired: give the job a fresh one, and check this machine's clock."),
        ),
        (_, Some(expires)) => (format!("expires in {}", words(expires - now)), None),
        (_, None) => (
            "not said".into(),
            Some("It has no expiry: no API server accepts such a token."),
        ),
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use serde_json::json;

    use super::*;

    fn explained(header: &Value, claims: &Value) -> Option<String> {
        let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let token = format!("{}.{}.c2lnbmF0dXJl", part(header), part(claims));
        explain(&Token::parse(&token, "token").expect("a token"))
    }

    #[test]
    fn what_a_person_sees() {
        let claims = json!({
            "iss": "https://token.actions.githubusercontent.com", "aud": "k8s", "sub": "repo:team/app:ref:refs/heads/main",
            "repository": "team/app", "repository_id": "2", "repository_owner": "team", "repository_owner_id": "1",
            "ref": "refs/heads/main", "environment": "", "exp": i64::MAX, "repo_property_env": "prod",
            "workflow_ref": "team/app/.github/workflows/scan.yml@refs/heads/main",
        });
        let text = explained(&json!({"alg": "RS256"}), &claims).expect("explained");
        let (before, after) = text.split_once("expires in ").expect("a lifetime");
        let after = after.split_once('\n').expect("more lines").1;
        insta::assert_snapshot!(format!("{before}expires in ...\n{after}"), @r#"
        The API server does not say why. These are the claims that rules check most often, as the ID token has them:

          issuer               https://token.actions.githubusercontent.com
          audience             k8s
          repository           team/app
          repository_id        2
          repository_owner     team
          repository_owner_id  1
          ref                  refs/heads/main
          workflow_ref         team/app/.github/workflows/scan.yml@refs/heads/main
          sub                  repo:team/app:ref:refs/heads/main
          repo_property_env    prod
          lifetime             expires in ...

        The file of the API server's flag --authentication-config decides. The issuer, one of the audiences and every rule must match the token, and the API server must reach the issuer's /.well-known/openid-configuration. If you have that file, `jobpass doctor --authentication-config FILE` in this job shows what does not match. A step of this job can give doctor the ID token with `--bearer-token-env KUBE_TOKEN`, after these lines:

          KUBE_TOKEN="$(curl -fsS -H "Authorization: bearer $ACTIONS_ID_TOKEN_REQUEST_TOKEN" \
            "$ACTIONS_ID_TOKEN_REQUEST_URL&audience=k8s" | jq -r .value)"
          echo "::add-mask::$KUBE_TOKEN"
          export KUBE_TOKEN

        If this job should not mint, the refusal is right: leave the file as it is. If the job should mint, the configuration below would accept its token. Do not replace an entry for the same issuer by this configuration: other jobs could then no longer mint. An issuer can be in the file only once, so change the rules of the entry that is there:

        apiVersion: apiserver.config.k8s.io/v1
        kind: AuthenticationConfiguration
        jwt:
        - issuer:
            url: "https://token.actions.githubusercontent.com"
            audiences: ["k8s"]
          claimValidationRules:
          - claim: repository_id
            requiredValue: "2"
          - claim: ref
            requiredValue: "refs/heads/main"
          claimMappings:
            username:
              expression: "'ci:github:' + claims.repository_id"
            extra:
            - key: jobpass.dev/run-id
              valueExpression: claims.run_id
            - key: jobpass.dev/check-run-id
              valueExpression: "has(claims.check_run_id) ? string(claims.check_run_id) : ''"
        "#);
    }

    #[test]
    fn what_is_wrong_with_it_is_said() {
        let rs256 = json!({"alg": "RS256"});
        let claims = json!({"iss": "https://i", "aud": ["a", "b"], "sub": "s", "exp": i64::MAX});
        let text = explained(&json!({"alg": "none"}), &claims).expect("explained");
        assert!(
            text.contains("It is not signed") && text.contains("audience             a, b"),
            "{text}"
        );
        let text = explained(&rs256, &json!({"iss": "https://i", "exp": 1})).expect("explained");
        assert!(
            text.contains("It has expired") && !text.contains("kind:"),
            "{text}"
        );
        let text = explained(
            &rs256,
            &json!({"iss": "https://i", "nbf": i64::MAX, "exp": i64::MAX}),
        )
        .expect("explained");
        assert!(text.contains("It is not valid yet"), "{text}");
        let hostile =
            json!({"iss": "https://i\n- x: \"", "repository_id": "\"}\n##[error]", "exp": i64::MAX});
        let text = explained(&rs256, &hostile).expect("explained");
        assert!(
            text.contains("repository_id        \"} # #[error]")
                && !text.contains("##[")
                && !text.contains("kind:"),
            "{text}"
        );
    }

    #[test]
    fn the_configuration_accepts_no_more_than_this_jobs_ref_and_environment() {
        let claims = json!({
            "iss": "https://gitlab.com", "aud": "k8s", "project_path": "team/app", "project_id": "7", "exp": i64::MAX,
            "ref": "dev", "ref_path": "refs/heads/dev", "environment": "production",
        });
        let text = explained(&json!({"alg": "RS256"}), &claims).expect("explained");
        // The list shows each claim that the configuration has a rule about.
        assert!(text.contains("  ref_path             refs/heads/dev\n"), "{text}");
        for (claim, value) in [
            ("project_id", "7"),
            ("ref_path", "refs/heads/dev"),
            ("environment", "production"),
        ] {
            let rule = format!("  - claim: {claim}\n    requiredValue: \"{value}\"\n");
            assert!(text.contains(&rule), "{claim}: {text}");
        }
    }

    #[test]
    fn tokens_of_kubernetes_are_others() {
        assert_eq!(
            explained(&json!({}), &json!({"iss": "https://k", "kubernetes.io": {}})),
            None
        );
        assert_eq!(
            explained(&json!({}), &json!({"iss": "kubernetes/serviceaccount"})),
            None
        );
    }
}
