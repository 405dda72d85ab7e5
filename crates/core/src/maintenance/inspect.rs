//! Verifies a token against a cluster: whether the API server accepts it, and whether one of the cluster's
//! keys signed it.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use serde::{Deserialize, Serialize};

use crate::{
    claims::{self, Claims, warnings::LEEWAY},
    cluster::{Budget, Call, Cluster, probe::is_accepted},
    error::{Error, Kind},
    text::harmless,
    token::Token,
};

/// The result of a verification.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Verified {
    /// The API server that jobpass asked.
    pub server: String,
    /// Whether the API server accepts the token.
    pub accepted: bool,
    /// Whether the token is for another audience. If so, the API server refuses even a valid token, unless
    /// its flag `--api-audiences` names that audience.
    pub for_others: bool,
    /// Whether one of the cluster's keys signed the token.
    pub signature: Signature,
    /// The meaning of `accepted` and `signature` together, as a sentence.
    pub meaning: String,
}

/// The result of checking a token's signature with the keys that the cluster publishes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "result", content = "why", rename_all = "kebab-case")]
pub enum Signature {
    /// A published key made the signature.
    Good,
    /// The cluster publishes no key with the id that the token names.
    UnknownKey,
    /// The cluster publishes the key, but the key did not make this signature. Also if the token is not a
    /// complete JWT.
    Bad,
    /// jobpass did not check the signature, for this reason.
    NotChecked(String),
}

/// Verifies `token`. Sends a request with the token itself to test it. Reads the cluster's keys with the
/// credential of `cluster`. If that fails and the API server accepted the token, reads the keys with the
/// token.
///
/// # Errors
/// If there is no usable answer. A refused or forged token is a result, not an error.
pub async fn verify(
    cluster: &Cluster,
    token: &Token,
    claims: &Claims,
    budget: &Budget,
) -> Result<Verified, Error> {
    let holder = cluster.with_token(token)?;
    // `now` is by the API server's clock, which decides whether the token is valid.
    let (accepted, now) = is_accepted(&holder, budget).await?;
    let mut keys = keys(cluster, budget).await?;
    if keys.is_err() && accepted {
        keys = self::keys(&holder, budget).await?;
    }
    let signature = match keys {
        Ok(keys) => check(token, &keys),
        Err(why) => Signature::NotChecked(why),
    };
    Ok(Verified {
        server: harmless(cluster.server()),
        accepted,
        for_others: claims.is_for_others(),
        meaning: meaning(claims, accepted, &signature, now),
        signature,
    })
}

impl Verified {
    /// The kind of the failure. `None` if the token passed. The token fails if no key of the cluster signed
    /// it, or if the API server refuses it although it is for the API server. A token for another audience
    /// also fails if jobpass could not check its signature.
    pub fn failure(&self) -> Option<Kind> {
        match (&self.signature, self.accepted) {
            (Signature::Bad | Signature::UnknownKey, _) => Some(Kind::Claims),
            (Signature::NotChecked(_), false) if self.for_others => Some(Kind::Unreachable),
            (_, false) if !self.for_others => Some(Kind::Refused),
            _ => None,
        }
    }
}

impl Signature {
    /// The result as text that follows the word "signature".
    pub fn sentence(&self) -> String {
        match self {
            Self::Good => "good: a key that the cluster publishes made it".into(),
            Self::UnknownKey => {
                "by a key that the cluster does not publish: the token belongs to another cluster, or the \
                 cluster rotated its keys"
                    .into()
            }
            Self::Bad => "wrong: the token is incomplete, altered or forged".into(),
            Self::NotChecked(why) => format!("not checked: {why}"),
        }
    }
}

/// The reason for a 401, if the token's claims show one at the time `now`.
pub(crate) fn why_refused(claims: &Claims, now: jiff::Timestamp) -> Option<&'static str> {
    let now = now.as_second();
    if claims.exp.is_some_and(|exp| exp <= now) {
        return Some("it has expired");
    }
    if claims.nbf.is_some_and(|from| from > now + LEEWAY) {
        return Some("it is not valid yet");
    }
    claims
        .is_for_others()
        .then_some("it is for another audience than the API server")
}

/// Puts into a sentence whether the API server accepts the token, and what the signature shows.
fn meaning(claims: &Claims, accepted: bool, signature: &Signature, now: jiff::Timestamp) -> String {
    if accepted {
        return match signature {
            Signature::Bad | Signature::UnknownKey => {
                "the API server accepts the token, but publishes no key that signed it: it publishes its \
                 keys elsewhere, or rotated them just now"
            }
            _ if claims.exp.is_some_and(|exp| exp <= now.as_second()) => {
                "the token has expired, and the API server still accepts it for up to a minute"
            }
            _ => "the token works: it is neither expired nor revoked",
        }
        .into();
    }
    let why = match (signature, why_refused(claims, now)) {
        (Signature::Bad, _) => "it is incomplete, altered, or forged",
        (Signature::UnknownKey, _) => "it belongs to another cluster, or the cluster rotated its keys",
        (_, Some(why)) => why,
        (Signature::Good, None) => "it is revoked: its bound object or its ServiceAccount is gone",
        (Signature::NotChecked(_), None) => {
            "it is revoked (its bound object or its ServiceAccount is gone), altered, or belongs to another \
             cluster"
        }
    };
    // A token for another audience may be revoked as well. Only a TokenReview for that audience would show
    // it.
    let unknown = if claims.is_for_others() {
        "; nothing shows whether it is revoked as well"
    } else {
        ""
    };
    format!("the API server refuses the token: {why}{unknown}")
}

/// A JSON Web Key Set (RFC 7517), with the members that a signature check needs.
#[derive(Deserialize)]
pub(crate) struct Keys {
    #[serde(default)]
    keys: Vec<Key>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Key {
    kid: Option<String>,
    kty: String,
    crv: String,
    n: String,
    e: String,
    x: String,
    y: String,
}

/// Reads the cluster's public keys. The inner error says why the API server did not return them.
async fn keys(cluster: &Cluster, budget: &Budget) -> Result<Result<Keys, String>, Error> {
    let call = Call::keys("read the cluster's public keys")?;
    let answer = cluster.send(&call, budget).await?;
    Ok(match answer.status {
        200 => Ok(answer.parse(&call)?),
        401 => Err(
            "the API server refused the credential with which jobpass asked for the cluster's keys (401)"
                .into(),
        ),
        403 => Err(
            "this identity may not read the cluster's keys: bind it to ClusterRole \
             `system:service-account-issuer-discovery`"
                .into(),
        ),
        status => Err(format!(
            "the API server answered {status} to the request for the cluster's keys"
        )),
    })
}

/// Whether one of `keys` signed the token.
fn check(token: &Token, keys: &Keys) -> Signature {
    #[derive(Deserialize)]
    struct Header {
        alg: String,
        kid: Option<String>,
    }
    let text = token.expose();
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok();
    let signed = text.rsplit_once('.');
    let signed = signed.and_then(|(signed, signature)| Some((signed.as_bytes(), decode(signature)?)));
    let (Ok(header), Some((signed, signature))) = (claims::part::<Header>(token, 0), signed) else {
        return Signature::Bad;
    };
    // Kubernetes signs with RS256, ES256, ES384 or ES512 (`pkg/serviceaccount/jwt.go`). ring has no P-521.
    if header.alg == "ES512" {
        return Signature::NotChecked("jobpass does not support ES512".into());
    }
    let named = |key: &&Key| header.kid.is_none() || key.kid == header.kid;
    let mut named = keys.keys.iter().filter(named).peekable();
    if named.peek().is_none() {
        return Signature::UnknownKey;
    }
    match named.any(|key| key.signed(&header.alg, signed, &signature)) {
        true => Signature::Good,
        false => Signature::Bad,
    }
}

impl Key {
    /// Whether this key made the signature. The key's own type limits the algorithms: the token alone must
    /// not choose one.
    fn signed(&self, algorithm: &str, message: &[u8], signature: &[u8]) -> bool {
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
        let curve = match (&*self.kty, &*self.crv, algorithm) {
            ("RSA", _, "RS256") => {
                let (n, e) = (decode(&self.n), decode(&self.e));
                let key = RsaPublicKeyComponents { n, e };
                return key
                    .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
                    .is_ok();
            }
            ("EC", "P-256", "ES256") => &ECDSA_P256_SHA256_FIXED,
            ("EC", "P-384", "ES384") => &ECDSA_P384_SHA384_FIXED,
            _ => return false,
        };
        let point = [vec![4], decode(&self.x), decode(&self.y)].concat();
        UnparsedPublicKey::new(curve, point)
            .verify(message, signature)
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use ring::{
        rand::SystemRandom,
        signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
    };
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    /// Returns a token with this header, and the key set that contains its key under the id `a`.
    fn signed(header: &serde_json::Value) -> (String, Keys) {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).expect("a key");
        let part = |json: String| URL_SAFE_NO_PAD.encode(json);
        let message = format!("{}.{}", part(header.to_string()), part("{}".into()));
        let signature = pair.sign(&random, message.as_bytes()).expect("signed");
        let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        let keys = json!({"keys": [{"kid": "a", "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "x": x, "y": y}]});
        (
            format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)),
            serde_json::from_value(keys).expect("keys"),
        )
    }

    #[rstest]
    #[case(json!({"alg": "ES256", "kid": "a"}), Signature::Good)]
    #[case(json!({"alg": "ES256"}), Signature::Good)]
    #[case(json!({"alg": "ES256", "kid": "b"}), Signature::UnknownKey)]
    #[case(json!({"alg": "none", "kid": "a"}), Signature::Bad)]
    #[case(json!({"alg": "HS256", "kid": "a"}), Signature::Bad)]
    #[case(json!({"alg": "RS256", "kid": "a"}), Signature::Bad)]
    #[case(json!({"kid": "a"}), Signature::Bad)]
    fn the_key_of_that_id_decides(#[case] header: serde_json::Value, #[case] expected: Signature) {
        let (token, keys) = signed(&header);
        let token = Token::parse(&token, "token").expect("a token");
        assert_eq!(check(&token, &keys), expected);
    }

    #[test]
    fn a_token_with_one_altered_byte_is_bad() {
        let (token, keys) = signed(&json!({"alg": "ES256", "kid": "a"}));
        let message = token.find('.').expect("a dot") + 1;
        for at in [message, token.len() - 40] {
            let mut altered = token.clone().into_bytes();
            altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(altered).expect("text");
            let altered = Token::parse(&altered, "token").expect("a token");
            assert_eq!(check(&altered, &keys), Signature::Bad);
        }
    }
}
