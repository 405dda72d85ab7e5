//! The ServiceAccount that a token belongs to.

use crate::{claims::Claims, names::is_dns_label, token::Token};

/// A ServiceAccount, by namespace and name.
#[derive(Debug, Clone, PartialEq)]
pub struct Account {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Account {
    /// The ServiceAccount in the claim `sub` of a token. `None` if jobpass cannot read the claims, or if `sub`
    /// is not the name of a ServiceAccount. A name may have any length.
    pub(crate) fn of(token: &Token) -> Option<Self> {
        let subject = Claims::decode(token).ok()?.sub?;
        let (namespace, name) = subject.strip_prefix("system:serviceaccount:")?.split_once(':')?;
        let plain = is_dns_label(namespace) && name.split('.').all(is_dns_label);
        plain.then(|| Self {
            namespace: namespace.into(),
            name: name.into(),
        })
    }
}

/// Formats the account as `NAMESPACE/NAME`.
impl std::fmt::Display for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("system:serviceaccount:ci:scanner", Some("ci/scanner"))]
    #[case("system:serviceaccount:ci:scanner.v2", Some("ci/scanner.v2"))]
    #[case("system:serviceaccount:ci", None)]
    #[case("system:serviceaccount:ci:..", None)]
    #[case("system:serviceaccount:ci:a/b", None)]
    #[case("repo:team/app:ref:refs/heads/main", None)]
    fn the_account_of_a_token(#[case] subject: &str, #[case] account: Option<&str>) {
        let claims = URL_SAFE_NO_PAD.encode(serde_json::json!({ "sub": subject }).to_string());
        let token = Token::parse(&format!("e30.{claims}.c2ln"), "token").expect("a token");
        let found = Account::of(&token).map(|account| account.to_string());
        assert_eq!(found.as_deref(), account);
    }
}
