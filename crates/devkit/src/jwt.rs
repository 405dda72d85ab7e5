//! JWTs: the tokens of the cluster and of the issuers, and their signatures.

use std::convert::Infallible;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::rsa::KeyPair;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaPublicKeyComponents};
use rsa::pkcs8::{DecodePrivateKey as _, EncodePrivateKey, EncodePublicKey};
use rsa::rand_core::{TryCryptoRng, TryRng};
use rsa::traits::PublicKeyParts;
use serde_json::{Value, json};

/// The first JWT in a text.
pub(crate) fn find(text: &str) -> Option<&str> {
    let of_jwt = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    // The header begins with `{"` and a letter, and so its base64 begins with `eyJ`.
    text.split(|c| !of_jwt(c))
        .filter_map(|word| word.find("eyJ").map(|start| &word[start..]))
        .find(|word| word.split('.').count() == 3)
}

/// The key with which a cluster, or an issuer of ID tokens, signs its tokens.
///
/// Generating a key takes a noticeable part of a second, so all dev clusters of a process share one key.
/// Their tokens still differ, because a token contains the uid of its ServiceAccount.
pub struct SigningKey {
    pair: KeyPair,
    modulus: Vec<u8>,
    exponent: Vec<u8>,
    id: String,
}

impl SigningKey {
    /// The key of all dev clusters of this process.
    pub fn shared() -> &'static SigningKey {
        static KEY: OnceLock<SigningKey> = OnceLock::new();
        KEY.get_or_init(SigningKey::generate)
    }

    pub(crate) fn generate() -> SigningKey {
        let key = rsa::PrivateKey::new(&mut RingRng, 2048)
            .expect("2048 bits are allowed and the RNG does not fail");
        Self::of(&key)
    }

    /// Reads the key of a real cluster. `pem` is the content of the file that kube-apiserver's flag
    /// `--service-account-signing-key-file` names.
    ///
    /// # Panics
    ///
    /// If the PEM is not an RSA key in PKCS #8.
    pub fn from_pem(pem: &str) -> SigningKey {
        Self::of(&rsa::PrivateKey::from_pkcs8_pem(pem).expect("an RSA key"))
    }

    fn of(key: &rsa::PrivateKey) -> SigningKey {
        let der = key
            .to_pkcs8_der()
            .expect("a key that was just made can be encoded");
        let public = key.to_public_key();
        let spki = public
            .to_public_key_der()
            .expect("a key that was just made can be encoded");
        SigningKey {
            pair: KeyPair::from_pkcs8(der.as_bytes()).expect("ring accepts 2048-bit keys"),
            modulus: public.n_bytes().into_vec(),
            exponent: public.e_bytes().into_vec(),
            // `keyIDFromPublicKey` in pkg/serviceaccount/jwt.go.
            id: URL_SAFE_NO_PAD.encode(ring::digest::digest(&ring::digest::SHA256, spki.as_bytes())),
        }
    }

    /// Signs a token with these claims.
    pub fn sign(&self, claims: &Value) -> String {
        let header = json!({"alg": "RS256", "kid": self.id});
        let mut token = [&header, claims]
            .map(|part| URL_SAFE_NO_PAD.encode(part.to_string()))
            .join(".");
        let mut signature = vec![0; self.pair.public().modulus_len()];
        self.pair
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                token.as_bytes(),
                &mut signature,
            )
            .expect("the buffer is as long as the modulus");
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(signature));
        token
    }

    pub(crate) fn verifies(&self, token: &str) -> bool {
        let Some((signed, signature)) = token.rsplit_once('.') else {
            return false;
        };
        let Ok(signature) = URL_SAFE_NO_PAD.decode(signature) else {
            return false;
        };
        RsaPublicKeyComponents {
            n: &self.modulus,
            e: &self.exponent,
        }
        .verify(&RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &signature)
        .is_ok()
    }

    pub(crate) fn jwks(&self) -> Value {
        json!({"keys": [{
            "use": "sig",
            "kty": "RSA",
            "kid": self.id,
            "alg": "RS256",
            "n": URL_SAFE_NO_PAD.encode(&self.modulus),
            "e": URL_SAFE_NO_PAD.encode(&self.exponent),
        }]})
    }
}

/// A JWT without a signature.
pub(crate) fn unsigned(claims: &Value) -> String {
    let header = json!({"alg": "none", "typ": "JWT"});
    let parts = [&header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    format!("{}.", parts.join("."))
}

/// The claims of a JWT, read without a check of the signature.
pub(crate) fn claims(token: &str) -> Option<Value> {
    let mut parts = token.split('.');
    let (_header, claims, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    claims.is_object().then_some(claims)
}

struct RingRng;

impl TryRng for RingRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_ne_bytes(crate::random::bytes()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_ne_bytes(crate::random::bytes()))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        SystemRandom::new()
            .fill(bytes)
            .expect("the operating system has random numbers");
        Ok(())
    }
}

impl TryCryptoRng for RingRng {}
