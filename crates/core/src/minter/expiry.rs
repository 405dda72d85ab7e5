//! The expiry of the minter's own credential.

use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use x509_parser::parse_x509_certificate;

use super::{Auth, Minter};
use crate::claims::Claims;

impl Minter {
    /// The time at which the credential expires. `None` if jobpass does not know the time, or if it can get
    /// a new credential from an exec plugin, the CI platform, the kubelet, the file of `bearer-token-file`
    /// or the kubeconfig's `tokenFile`.
    pub(crate) fn expires(&self) -> Option<Timestamp> {
        match &self.auth {
            Auth::Kubeconfig { exec: None, .. } | Auth::BearerTokenEnv { .. } => {}
            Auth::Kubeconfig { exec: Some(_), .. }
            | Auth::BearerTokenFile { .. }
            | Auth::IdToken { .. }
            | Auth::InCluster => return None,
        }
        let bearer = self.identity.bearer.as_ref();
        let bearer = bearer
            .filter(|_| !self.identity.bearer_is_in_file)
            .and_then(|bearer| Claims::decode(bearer).ok());
        let certificate = self.identity.certificate.as_ref();
        let ends = [
            bearer.and_then(|claims| claims.exp),
            certificate.and_then(|certificate| not_after(&certificate.certificate)),
        ];
        let first = ends.into_iter().flatten().min()?;
        Timestamp::from_second(first).ok()
    }
}

/// The expiry of the first certificate in `pem`, in seconds since 1970. The first certificate is the client's
/// own.
fn not_after(pem: &str) -> Option<i64> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    let (_, certificate) = parse_x509_certificate(&der).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use rstest::rstest;

    use super::*;
    use crate::{
        cluster::{ClientCertificate, Connection, Identity},
        token::Token,
    };

    fn jwt(claims: &str) -> Token {
        let part = |json: &str| URL_SAFE_NO_PAD.encode(json);
        let jwt = format!("{}.{}.c2ln", part(r#"{"alg":"RS256"}"#), part(claims));
        Token::parse(&jwt, "token").expect("a token")
    }

    fn minter(auth: Auth, identity: Identity) -> Minter {
        Minter {
            connection: Connection::new("server", "https://a", None).expect("a server"),
            identity,
            auth,
            namespace: None,
        }
    }

    fn kubeconfig(exec: Option<&str>) -> Auth {
        Auth::Kubeconfig {
            paths: Vec::new(),
            context: "a".into(),
            exec: exec.map(Into::into),
        }
    }

    #[rstest]
    #[case::in_a_kubeconfig(kubeconfig(None), r#"{"exp":1000}"#, Some(1000))]
    #[case::in_a_variable(Auth::BearerTokenEnv { name: "A".into() }, r#"{"exp":1000}"#, Some(1000))]
    #[case::without_an_end(kubeconfig(None), "{}", None)]
    #[case::of_a_plugin_that_runs_again(kubeconfig(Some("/bin/aws")), r#"{"exp":1000}"#, None)]
    #[case::in_a_file_that_is_renewed(Auth::BearerTokenFile { path: "/t".into() }, r#"{"exp":1000}"#, None)]
    #[case::in_a_pod(Auth::InCluster, r#"{"exp":1000}"#, None)]
    fn the_end_of_a_bearer_token(#[case] auth: Auth, #[case] claims: &str, #[case] end: Option<i64>) {
        let expires = minter(auth, jwt(claims).into()).expires();
        assert_eq!(expires.map(Timestamp::as_second), end);
    }

    /// A program may write a new token into the `tokenFile` of the kubeconfig.
    #[test]
    fn a_token_file_of_a_kubeconfig_has_no_end() {
        let identity = Identity {
            bearer_is_in_file: true,
            ..jwt(r#"{"exp":1000}"#).into()
        };
        assert_eq!(minter(kubeconfig(None), identity).expires(), None);
    }

    #[test]
    fn the_end_of_a_client_certificate() {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
        params.not_after = rcgen::date_time_ymd(2031, 1, 2);
        let certificate = params.self_signed(&key).expect("a certificate");
        let pair = ClientCertificate::parse("kubeconfig", certificate.pem(), key.serialize_pem().into());
        let identity = Identity {
            certificate: Some(pair.expect("a pair")),
            ..Identity::default()
        };
        let expires = minter(kubeconfig(None), identity).expires().expect("an end");
        assert_eq!(expires.to_string(), "2031-01-02T00:00:00Z");
    }
}
