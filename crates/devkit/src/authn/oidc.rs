//! ID tokens of issuers that the cluster was told to trust
//! (`k8s.io/apiserver/plugin/pkg/authenticator/token/oidc/oidc.go`).

use serde_json::{Value, json};

use super::{LEEWAY_SECONDS, User};
use crate::cel::Expression;
use crate::jwt::{self, SigningKey};
use crate::rbac::quoted;

/// One entry of an `AuthenticationConfiguration`, with the key that its issuer signs with.
pub(crate) struct Authenticator {
    pub(super) issuer: String,
    pub(super) audiences: Vec<String>,
    pub(super) key: &'static SigningKey,
    pub(super) username: Mapping,
    pub(super) groups: Option<Mapping>,
    pub(super) uid: Option<Mapping>,
    pub(super) extra: Vec<(String, Expression)>,
    pub(super) required: Vec<(String, String)>,
    pub(super) claim_rules: Vec<Rule>,
    pub(super) user_rules: Vec<Rule>,
}

/// Where a part of the user comes from.
pub(super) enum Mapping {
    Claim { name: String, prefix: String },
    Expression(Expression),
}

/// What has to be true.
pub(super) struct Rule {
    pub(super) expression: Expression,
    pub(super) message: String,
}

type Result<T> = std::result::Result<T, String>;

impl Authenticator {
    pub(super) fn is_for(&self, claims: &Value) -> bool {
        claims["iss"] == *self.issuer
    }

    /// # Errors
    /// What the API server tells those who may ask it about tokens. The bearer hears nothing but `Unauthorized`.
    pub(super) fn user(&self, token: &str, claims: &Value, now: i64) -> Result<User> {
        self.verify(token, claims, now)
            .map_err(|why| format!("oidc: verify token: {why}"))?;
        self.map(claims).map_err(|why| format!("oidc: {why}"))
    }

    fn verify(&self, token: &str, claims: &Value, now: i64) -> Result<()> {
        let time = |name: &str| claims[name].as_f64().map(|time| time as i64);
        // A token without an expiry expired in the year 1.
        if time("exp").is_none_or(|expires| expires < now) {
            return Err(format!(
                "oidc: token is expired (Token Expiry: {})",
                claims["exp"]
            ));
        }
        if let Some(from) = time("nbf").filter(|from| now + LEEWAY_SECONDS < *from) {
            return Err(format!(
                "oidc: current time {now} before the nbf (not before) time: {from}"
            ));
        }
        match jwt::algorithm(token).as_deref() {
            Some("RS256") if self.key.verifies(token) => {}
            Some("RS256") => {
                return Err("failed to verify signature: failed to verify id token signature".to_owned());
            }
            other => {
                let got = other.unwrap_or_default();
                return Err(format!(
                    "oidc: id token signed with unsupported algorithm, expected [\"RS256\"] got {got:?}"
                ));
            }
        }
        let audiences = super::audiences(claims);
        if audiences.iter().any(|audience| self.audiences.contains(audience)) {
            return Ok(());
        }
        Err(format!(
            "oidc: expected audience in {} got {}",
            quoted(&self.audiences),
            quoted(&audiences)
        ))
    }

    fn map(&self, claims: &Value) -> Result<User> {
        let username = match &self.username {
            Mapping::Claim { name, prefix } => {
                let username =
                    text(claims, name).map_err(|why| format!("parse username claims {name:?}: {why}"))?;
                if name == "email"
                    && claims
                        .get("email_verified")
                        .is_some_and(|verified| verified != true)
                {
                    return Err("email not verified".to_owned());
                }
                format!("{prefix}{username}")
            }
            Mapping::Expression(expression) => {
                let username = expression.evaluate(&[("claims", claims)]);
                match username.map_err(|why| format!("error evaluating username claim expression: {why}"))? {
                    Value::String(username) if username.is_empty() => {
                        return Err("empty username via CEL expression is not allowed".to_owned());
                    }
                    Value::String(username) => username,
                    _ => {
                        return Err(
                            "error evaluating username claim expression: username claim expression must \
                                    return a string"
                                .to_owned(),
                        );
                    }
                }
            }
        };
        let groups = match &self.groups {
            Some(Mapping::Claim { name, prefix }) => {
                let groups = texts(claims.get(name).unwrap_or(&Value::Null))
                    .map_err(|why| format!("parse groups claim {name:?}: {why}"))?;
                groups
                    .into_iter()
                    .map(|group| format!("{prefix}{group}"))
                    .collect()
            }
            Some(Mapping::Expression(expression)) => expression
                .evaluate(&[("claims", claims)])
                .and_then(|groups| texts(&groups))
                .map_err(|why| format!("error evaluating group claim expression: {why}"))?,
            None => Vec::new(),
        };
        let uid = match &self.uid {
            Some(Mapping::Claim { name, .. }) => {
                text(claims, name).map_err(|why| format!("parse uid claim {name:?}: {why}"))?
            }
            Some(Mapping::Expression(expression)) => expression
                .evaluate(&[("claims", claims)])
                .and_then(|uid| {
                    let uid = uid.as_str().map(str::to_owned);
                    uid.ok_or_else(|| "uid claim expression must return a string".to_owned())
                })
                .map_err(|why| format!("error evaluating uid claim expression: {why}"))?,
            None => String::new(),
        };
        let mut user = User {
            name: username,
            uid,
            groups,
            ..User::default()
        };
        if let Some(id) = claims["jti"].as_str() {
            let key = "authentication.kubernetes.io/credential-id";
            user.extra.insert(key.to_owned(), vec![format!("JTI={id}")]);
        }
        for (key, expression) in &self.extra {
            let values = expression
                .evaluate(&[("claims", claims)])
                .and_then(|values| texts(&values))
                .map_err(|why| {
                    format!(
                        "error evaluating extra claim expression: {}: {why}",
                        expression.text()
                    )
                })?;
            if !values.is_empty() {
                user.extra.insert(key.clone(), values);
            }
        }
        self.check_rules(claims, &user)?;
        user.groups.push("system:authenticated".to_owned());
        Ok(user)
    }

    fn check_rules(&self, claims: &Value, user: &User) -> Result<()> {
        for (name, wanted) in &self.required {
            if claims.get(name).is_none() {
                return Err(format!("required claim {name} not present in ID token"));
            }
            let found = text(claims, name).map_err(|why| format!("parse claim {name}: {why}"))?;
            if found != *wanted {
                return Err(format!(
                    "required claim {name} value does not match. Got = {found}, want = {wanted}"
                ));
            }
        }
        check(&self.claim_rules, ("claims", claims))
            .map_err(|why| format!("error evaluating claim validation expression: {why}"))?;
        let user = json!({
            "username": user.name,
            "uid": user.uid,
            "groups": user.groups,
            "extra": user.extra,
        });
        check(&self.user_rules, ("user", &user))
            .map_err(|why| format!("error evaluating user info validation rule: {why}"))
    }
}

fn check(rules: &[Rule], variable: (&str, &Value)) -> Result<()> {
    for Rule { expression, message } in rules {
        match expression.evaluate(&[variable])? {
            Value::Bool(true) => {}
            Value::Bool(false) => {
                let expression = expression.text();
                return Err(format!("validation expression '{expression}' failed: {message}"));
            }
            _ => return Err("validation expression must return a boolean".to_owned()),
        }
    }
    Ok(())
}

fn text(claims: &Value, name: &str) -> Result<String> {
    let claim = claims.get(name).ok_or("claim not present")?;
    let text = claim.as_str().map(str::to_owned);
    text.ok_or_else(|| format!("json: cannot unmarshal {claim} into Go value of type string"))
}

/// `convertCELValueToStringList`: nothing of it is empty.
fn texts(value: &Value) -> Result<Vec<String>> {
    let all = match value {
        Value::Null => Vec::new(),
        Value::Array(items) => items.iter().map(Value::as_str).collect(),
        one => vec![one.as_str()],
    };
    let all: Option<Vec<&str>> = all.into_iter().collect();
    let all = all.ok_or("expression must return a string or a list of strings")?;
    Ok(all
        .into_iter()
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
        .collect())
}
