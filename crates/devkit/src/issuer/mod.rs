//! CI platforms as issuers of ID tokens: tokens with the claims of the real platforms, and invalid tokens.
//!
//! ```
//! use jobpass_devkit::issuer::Issuer;
//!
//! let github = Issuer::github();
//! let token = github.id_token("https://kubernetes.example.com");
//! let of_another_repository = github.claim("repository_id", "99").id_token("https://kubernetes.example.com");
//! # assert_ne!(token, of_another_repository);
//! ```

mod claims;
mod endpoint;

use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

pub use self::endpoint::{TokenEndpoint, Trouble};
use crate::jwt::{self, SigningKey};
use crate::random;

static GITHUB: LazyLock<SigningKey> = LazyLock::new(SigningKey::generate);
static GITLAB: LazyLock<SigningKey> = LazyLock::new(SigningKey::generate);

/// A CI platform, and its claims about one job.
#[derive(Clone)]
pub struct Issuer {
    url: String,
    key: &'static SigningKey,
    claims: Map<String, Value>,
    /// The lifetime of a token, in seconds.
    lifetime: i64,
    /// The number of seconds by which `nbf` is before `iat`.
    leeway: i64,
    signature: Signature,
}

#[derive(Clone, Copy)]
enum Signature {
    Good,
    /// The issuer does not sign the token (`alg: none`).
    None,
    /// A key that does not belong to the issuer signs the token.
    Foreign,
}

impl Issuer {
    /// github.com, for a push to `main` of `team/app`. The id of the repository is 2, and that of `team` is
    /// 1.
    pub fn github() -> Self {
        // GitHub writes this form for repositories that were created, renamed or moved since 15 July 2026, and
        // for those that opted in.
        let subject = "repo:team@1/app@2:ref:refs/heads/main";
        Self {
            lifetime: 300,
            leeway: 600,
            ..Self::new(
                "https://token.actions.githubusercontent.com",
                &GITHUB,
                claims::github("https://github.com", subject),
            )
        }
    }

    /// A GitHub Enterprise Server, for the same job as [`Issuer::github`].
    pub fn github_enterprise(host: &str) -> Self {
        let subject = "repo:team/app:ref:refs/heads/main";
        Self {
            url: format!("https://{host}/_services/token"),
            claims: claims::github(&format!("https://{host}"), subject),
            ..Self::github()
        }
    }

    /// A GitLab instance, for a push to the protected branch `main` of `team/scan`. The id of the project is
    /// 7.
    pub fn gitlab(host: &str) -> Self {
        Self::new(&format!("https://{host}"), &GITLAB, claims::gitlab(host))
    }

    fn new(url: &str, key: &'static SigningKey, claims: Map<String, Value>) -> Self {
        Self {
            url: url.to_owned(),
            key,
            claims,
            lifetime: 3600,
            leeway: 5,
            signature: Signature::Good,
        }
    }

    /// The claim `iss`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Sets a claim of all tokens of this issuer. The value also replaces claims that the issuer sets,
    /// such as `aud` and `exp`.
    #[must_use]
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// Removes a claim from all tokens of this issuer.
    #[must_use]
    pub fn without(self, name: &str) -> Self {
        self.claim(name, Value::Null)
    }

    /// Issues tokens that expired a minute ago.
    #[must_use]
    pub fn expired(self) -> Self {
        self.claim("exp", now() - 60)
    }

    /// Issues tokens that become valid in an hour.
    #[must_use]
    pub fn not_yet_valid(self) -> Self {
        self.claim("nbf", now() + 3600).claim("exp", now() + 7200)
    }

    /// Issues tokens without a signature (`alg: none`).
    #[must_use]
    pub fn unsigned(mut self) -> Self {
        self.signature = Signature::None;
        self
    }

    /// Signs the tokens with a key that the issuer does not publish.
    #[must_use]
    pub fn signed_by_another(mut self) -> Self {
        self.signature = Signature::Foreign;
        self
    }

    /// Issues a new ID token.
    pub fn id_token(&self, audience: &str) -> String {
        let now = now();
        let mut claims = json!({
            "iss": self.url,
            "aud": audience,
            "jti": random::uid(),
            "iat": now,
            "nbf": now - self.leeway,
            "exp": now + self.lifetime,
        });
        let all = claims.as_object_mut().expect("an object");
        all.extend(self.claims.clone());
        all.retain(|_, value| !value.is_null());
        match self.signature {
            Signature::Good => self.key.sign(&claims),
            Signature::None => jwt::unsigned(&claims),
            Signature::Foreign => SigningKey::shared().sign(&claims),
        }
    }

    /// The issuer's public keys, as a JWK set.
    pub fn jwks(&self) -> Value {
        self.key.jwks()
    }

    /// The document at `/.well-known/openid-configuration`, with the keys at `jwks`.
    pub fn discovery(&self, jwks: &str) -> Value {
        json!({
            "issuer": self.url, "jwks_uri": jwks, "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["RS256"],
        })
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("this machine's clock is set").as_secs() as i64
}
