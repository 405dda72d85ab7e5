//! The meaning of a 401.

use super::id_token;
use crate::{claims::Claims, cluster::Cluster, text::in_words};

impl Cluster {
    /// The next step for a minter whose credential the API server refused with 401.
    pub(crate) fn unauthorized(&self) -> String {
        self.bearer().and_then(id_token::explain).unwrap_or_else(|| {
            self.unauthorized_for("the minter", "give the job a new one", "give the job a valid one")
        })
    }

    /// The next step after a 401, for a command that an administrator or a sweeper runs. It never mentions a
    /// minter or a job, even if the credential is an ID token.
    pub(crate) fn unauthorized_to_administer(&self) -> String {
        let step = "log in to the cluster again, or name another kubeconfig with `--kubeconfig`. Then run the \
                    command again";
        self.unauthorized_for("this command", step, step)
    }

    /// The next step after a 401. If the bearer token has expired, it is `renew`, with the time since the
    /// expiry. Otherwise it is `replace`.
    fn unauthorized_for(&self, whose: &str, renew: &str, replace: &str) -> String {
        let expired = self
            .bearer()
            .and_then(|bearer| Claims::decode(bearer).ok())
            .and_then(|claims| {
                let ago = claims
                    .expires_in(jiff::Timestamp::now())?
                    .checked_neg()
                    .filter(|ago| *ago > 0)?;
                Some(in_words(ago.unsigned_abs()))
            });
        match expired {
            Some(ago) => format!("the token of {whose} expired {ago} ago: {renew}"),
            None => format!(
                "the credential of {whose} (the kubeconfig's token or client certificate, the answer of its \
                 exec plugin, or the bearer token) is wrong, expired or revoked, or belongs to another cluster: \
                 {replace}"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use rstest::rstest;
    use serde_json::json;

    use crate::{
        cluster::{Identity, scripted},
        token::Token,
    };

    fn bearer(claims: &serde_json::Value) -> Identity {
        let part = |json: &serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let token = format!("{}.{}.c2ln", part(&json!({"alg": "RS256"})), part(claims));
        Token::parse(&token, "token").expect("a token").into()
    }

    #[rstest]
    #[case::nothing_known(Identity::default(), "is wrong, expired or revoked")]
    #[case::expired(bearer(&json!({"iss": "https://k", "kubernetes.io": {}, "exp": 1})), "the token of the minter expired ")]
    #[case::not_expired(bearer(&json!({"iss": "https://k", "kubernetes.io": {}, "exp": i64::MAX})), "is wrong, expired or revoked")]
    #[case::of_a_ci_platform(bearer(&json!({"iss": "https://ci", "sub": "s", "exp": 1})), "It has expired")]
    fn a_401_is_explained_from_the_token(#[case] identity: Identity, #[case] expected: &str) {
        let (cluster, _) = scripted::cluster(&identity, []);
        let explained = cluster.unauthorized();
        assert!(explained.contains(expected), "{explained}");
    }

    #[rstest]
    #[case::nothing_known(Identity::default())]
    #[case::expired(bearer(&json!({"iss": "https://k", "kubernetes.io": {}, "exp": 1})))]
    #[case::of_an_oidc_login(bearer(&json!({"iss": "https://dex", "sub": "jane", "exp": 1})))]
    fn an_administrator_reads_nothing_about_a_minter(#[case] identity: Identity) {
        let (cluster, _) = scripted::cluster(&identity, []);
        let explained = cluster.unauthorized_to_administer();
        assert!(explained.contains("of this command"), "{explained}");
        assert!(explained.contains("log in to the cluster again"), "{explained}");
        assert!(
            !explained.contains("minter") && !explained.contains("job"),
            "{explained}"
        );
    }
}
