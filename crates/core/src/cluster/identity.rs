//! The credentials of a client: a bearer token, a client certificate, impersonation.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::{crypto::CryptoProvider, sign::CertifiedKey};
use secrecy::{ExposeSecret as _, SecretString};

use super::pem;
use crate::{
    error::{Error, Kind},
    text::harmless,
    token::Token,
};

/// The characters that jobpass escapes in the headers for extra fields, like client-go
/// (`transport.headerKeyEscape`).
const NOT_IN_HEADER_NAME: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'*')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// The credentials of a client. Each part may be absent. A client without any part is anonymous.
#[derive(Clone, Default)]
pub struct Identity {
    /// A bearer token.
    pub bearer: Option<Token>,
    /// Whether the token comes from a file that jobpass reads again when it needs the token again.
    pub bearer_is_in_file: bool,
    /// A client certificate.
    pub certificate: Option<ClientCertificate>,
    /// The user that the client impersonates.
    pub impersonate: Option<String>,
    /// The uid of that user.
    pub impersonate_uid: Option<String>,
    /// The groups of that user.
    pub impersonate_groups: Vec<String>,
    /// Extra fields of that user. Some authorizers decide by them.
    pub impersonate_extra: BTreeMap<String, Vec<String>>,
}

/// A client certificate and its own key, both in PEM.
#[derive(Clone)]
pub struct ClientCertificate {
    /// The certificate, and the intermediate certificates that signed it.
    pub certificate: String,
    key: SecretString,
}

impl ClientCertificate {
    pub(crate) fn parse(input: &str, certificate: String, key: SecretString) -> Result<Self, Error> {
        let pair = Self { certificate, key };
        match pair.certified(&rustls::crypto::ring::default_provider()) {
            Ok(_) => Ok(pair),
            Err(why) => Err(Error::input(
                input,
                format!("has a client certificate that jobpass cannot use: {why}"),
                "give the certificate and the key that belongs to it, both in PEM. The key must have no \
                 passphrase",
            )),
        }
    }

    /// Converts the pair for rustls. The error says why rustls cannot use the pair.
    pub(super) fn certified(&self, provider: &CryptoProvider) -> Result<CertifiedKey, String> {
        let chain: Vec<_> = pem::certificates(&self.certificate).collect();
        if chain.is_empty() {
            return Err("it holds no certificate".into());
        }
        let key = pem::private_key(self.key.expose_secret()).ok_or("it has no readable private key")?;
        CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => "the key belongs to another certificate".into(),
            error => harmless(&error.to_string()),
        })
    }
}

impl From<Token> for Identity {
    fn from(bearer: Token) -> Self {
        Self {
            bearer: Some(bearer),
            ..Self::default()
        }
    }
}

impl Identity {
    /// The headers that state the identity in each request.
    pub(super) fn headers(&self) -> Result<HeaderMap, Error> {
        let mut headers = HeaderMap::new();
        if let Some(bearer) = &self.bearer {
            let bearer = HeaderValue::try_from(format!("Bearer {}", bearer.expose()));
            let mut bearer = bearer.map_err(|_| Error::defect("no header can carry the bearer token"))?;
            bearer.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, bearer);
        }
        if let Some(user) = &self.impersonate {
            headers.insert("impersonate-user", header_of(user)?);
        }
        if let Some(uid) = &self.impersonate_uid {
            headers.insert("impersonate-uid", header_of(uid)?);
        }
        for group in &self.impersonate_groups {
            headers.append("impersonate-group", header_of(group)?);
        }
        for (key, texts) in &self.impersonate_extra {
            let key = utf8_percent_encode(key, NOT_IN_HEADER_NAME);
            let name = format!("impersonate-extra-{key}").to_ascii_lowercase();
            let name = HeaderName::try_from(name).map_err(|_| {
                Error::new(
                    Kind::Input,
                    "the user to impersonate has an extra field whose key is too long for a header",
                )
                .help("correct `as-user-extra` in the kubeconfig")
            })?;
            for text in texts {
                headers.append(name.clone(), header_of(text)?);
            }
        }
        Ok(headers)
    }
}

/// Builds the value of a header for one fact about a user to impersonate: the user's name or uid, a group, or
/// an extra field.
pub(super) fn header_of(name: &str) -> Result<HeaderValue, Error> {
    HeaderValue::try_from(name).map_err(|_| {
        Error::new(
            Kind::Input,
            "a line break or another control character is in the name, the uid, a group or an extra field of \
             the user to impersonate",
        )
        .help(
            "correct `as`, `as-uid`, `as-groups` or `as-user-extra` in the kubeconfig, or the minter's name in \
             `--minter`",
        )
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn pair(name: &str) -> (String, String) {
        let made = rcgen::generate_simple_self_signed([name.into()]).expect("a certificate");
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    /// The problem that jobpass finds in this certificate and key. `None` stands for the valid certificate or
    /// key.
    fn problem(certificate: Option<String>, key: Option<String>) -> Option<String> {
        let (own_certificate, own_key) = pair("a");
        let certificate = certificate.unwrap_or(own_certificate);
        let pair = ClientCertificate::parse("kubeconfig", certificate, key.unwrap_or(own_key).into());
        pair.err().map(|error| error.message().to_owned())
    }

    #[rstest]
    #[case::another_key(None, Some(pair("b").1), "the key belongs to another certificate")]
    #[case::no_certificate(Some(String::new()), None, "it holds no certificate")]
    #[case::a_key_for_a_certificate(Some(pair("b").1), None, "it holds no certificate")]
    #[case::no_key(None, Some("s3cret".into()), "it has no readable private key")]
    #[case::a_certificate_for_a_key(None, Some(pair("b").0), "it has no readable private key")]
    fn a_certificate_comes_with_its_own_key(
        #[case] certificate: Option<String>,
        #[case] key: Option<String>,
        #[case] why: &str,
    ) {
        let problem = problem(certificate, key).expect("refused");
        assert!(
            problem.ends_with(&format!("jobpass cannot use: {why}")),
            "{problem}"
        );
        assert_eq!(self::problem(None, None), None);
    }

    fn headers(identity: &Identity) -> Vec<(String, String)> {
        let headers = identity.headers().expect("headers");
        let all = headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().expect("text").to_owned()));
        all.collect()
    }

    #[test]
    fn a_user_without_credentials_is_anonymous() {
        assert!(headers(&Identity::default()).is_empty());
    }

    #[test]
    fn a_bearer_token_is_never_printed() {
        let token = Token::parse("t0ken", "token").expect("a token");
        let headers = Identity::from(token).headers().expect("headers");
        assert_eq!(headers[header::AUTHORIZATION], "Bearer t0ken");
        assert!(!format!("{headers:?}").contains("t0ken"));
    }

    /// client-go sends each group and each value in its own header, and escapes the key of an extra field.
    #[test]
    fn an_impersonated_user_is_sent_in_full() {
        let identity = Identity {
            impersonate: Some("jane".into()),
            impersonate_uid: Some("u-1".into()),
            impersonate_groups: vec!["a".into(), "b".into()],
            impersonate_extra: BTreeMap::from([("Example.com/Team%".into(), vec!["x".into(), "y".into()])]),
            ..Identity::default()
        };
        let extra = "impersonate-extra-example.com%2fteam%25";
        let expected = [
            ("impersonate-user", "jane"),
            ("impersonate-uid", "u-1"),
            ("impersonate-group", "a"),
            ("impersonate-group", "b"),
            (extra, "x"),
            (extra, "y"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(headers(&identity), expected);
    }

    #[rstest]
    #[case::user(Identity { impersonate: Some("a\r\nx: y".into()), ..Identity::default() })]
    #[case::group(Identity { impersonate_groups: vec!["a\nb".into()], ..Identity::default() })]
    #[case::extra(Identity { impersonate_extra: BTreeMap::from([("k".into(), vec!["\0".into()])]), ..Identity::default() })]
    fn no_name_adds_a_header(#[case] identity: Identity) {
        let error = identity.headers().expect_err("refused");
        let problem = "a line break or another control character is in the name, the uid, a group or an \
                       extra field of the user to impersonate";
        assert_eq!((error.kind(), error.message()), (Kind::Input, problem));
        let help = error.next_step().expect("a next step");
        assert!(
            help.contains("`as-groups`") && !help.contains("certificate"),
            "{help}"
        );
    }
}
