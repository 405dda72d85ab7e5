//! The certificate authorities of a server, and its certificate: trusted if kubectl trusts it (Go, `crypto/x509`).
//!
//! Chains are built and checked by webpki. Where Go decides otherwise, the difference is made here:
//! a certificate that is given itself is trusted without a chain; one that is given, but may not sign others, signs none; one that
//! has expired signs none; and a server's certificate may be that of an authority.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::{
    CertificateError, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _, x509::X509Version};

use super::pem;
use crate::error::{Error, Kind};

/// The state of a job holds it, and a runner hands that on in one variable: Linux takes 128 KiB there.
const LONGEST: usize = 64 << 10;

/// Certificates that a server's certificate is checked against; at least one.
pub(crate) struct Authority {
    certificates: Vec<CertificateDer<'static>>,
}

impl Authority {
    /// # Errors
    /// If the text holds no certificate, or too many.
    pub(crate) fn parse(input: &str, text: &str) -> Result<Self, Error> {
        let mut certificates = Vec::new();
        for certificate in pem::certificates(text) {
            if X509Certificate::from_der(&certificate).is_ok() && !certificates.contains(&certificate) {
                certificates.push(certificate);
            }
        }
        if certificates.is_empty() {
            return Err(Error::input(
                input,
                "holds no certificate",
                "a certificate authority is PEM: `-----BEGIN CERTIFICATE-----` and so on",
            ));
        }
        let authority = Self { certificates };
        match authority.pem().len() > LONGEST {
            true => Err(Error::input(
                input,
                "holds more than 64 KiB of certificates",
                "give the CA of this cluster alone, not a bundle of all CAs",
            )),
            false => Ok(authority),
        }
    }

    /// Without the text around the certificates.
    pub(crate) fn pem(&self) -> String {
        let block = |certificate: &CertificateDer| {
            let base64 = STANDARD.encode(certificate);
            let lines = base64
                .as_bytes()
                .chunks(64)
                .map(|line| String::from_utf8_lossy(line) + "\n");
            format!(
                "-----BEGIN CERTIFICATE-----\n{}-----END CERTIFICATE-----\n",
                lines.collect::<String>()
            )
        };
        self.certificates.iter().map(block).collect()
    }
}

/// Checks the certificate of a server.
#[derive(Debug)]
pub(super) struct Verifier {
    given: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    /// Trusts the certificates of a PEM text alone.
    pub(super) fn of(pem: &str, provider: Arc<CryptoProvider>) -> Self {
        Self {
            given: pem::certificates(pem).collect(),
            provider,
        }
    }

    /// Trusts the certificates of this system, and those of a PEM text.
    ///
    /// # Errors
    /// If there are none.
    pub(super) fn of_system(and: Option<&str>, provider: Arc<CryptoProvider>) -> Result<Self, Error> {
        let mut given = rustls_native_certs::load_native_certs().certs;
        given.extend(and.into_iter().flat_map(pem::certificates));
        match given.is_empty() {
            true => Err(Error::new(
                Kind::Input,
                "cannot set up a connection: this system has no certificate authorities",
            )
            .help(
                "install the package `ca-certificates`, or give the `certificate-authority` of this cluster",
            )),
            false => Ok(Self { given, provider }),
        }
    }

    fn roots(&self, now: UnixTime) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        let may_sign = self.given.iter().filter(|certificate| {
            X509Certificate::from_der(certificate)
                .is_ok_and(|(_, parsed)| may_sign(&parsed) && is_valid_at(&parsed, now))
        });
        for certificate in may_sign {
            // One that webpki cannot read signs nothing that it could check.
            let _ = roots.add(certificate.clone());
        }
        roots
    }

    /// Whether the leaf, which is an authority itself, is signed by a given one. webpki takes no such leaf at all.
    fn is_signed_by_given(&self, leaf: &X509Certificate, now: UnixTime) -> bool {
        let signs = |certificate: &CertificateDer| {
            let Ok((_, issuer)) = X509Certificate::from_der(certificate) else {
                return false;
            };
            issuer.subject().as_raw() == leaf.issuer().as_raw()
                && may_sign(&issuer)
                && is_valid_at(&issuer, now)
                && !matches!(issuer.name_constraints(), Ok(Some(_)) | Err(_))
                && leaf.verify_signature(Some(issuer.public_key())).is_ok()
        };
        self.given.iter().any(signs)
    }

    /// Everything but the chain.
    fn check_leaf(
        &self,
        certificate: &CertificateDer,
        leaf: &X509Certificate,
        name: &ServerName,
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        if !is_valid_at(leaf, now) {
            let not_yet = seconds(now) < leaf.validity().not_before.timestamp();
            return Err(match not_yet {
                true => CertificateError::NotValidYet,
                false => CertificateError::Expired,
            }
            .into());
        }
        if !is_for_servers(leaf) {
            return Err(CertificateError::InvalidPurpose.into());
        }
        let known = |extension: &x509_parser::extensions::X509Extension| {
            !extension.critical || !extension.parsed_extension().unsupported()
        };
        if !leaf.extensions().iter().all(known) {
            return Err(CertificateError::UnhandledCriticalExtension.into());
        }
        verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
        Ok(ServerCertVerified::assertion())
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let (_, leaf) = X509Certificate::from_der(end_entity)
            .map_err(|_| TlsError::from(CertificateError::BadEncoding))?;
        if self.given.iter().any(|given| given == end_entity) {
            return self.check_leaf(end_entity, &leaf, server_name, now);
        }
        if leaf.is_ca() && self.is_signed_by_given(&leaf, now) {
            return self.check_leaf(end_entity, &leaf, server_name, now);
        }
        let roots = self.roots(now);
        if roots.is_empty() {
            return Err(CertificateError::UnknownIssuer.into());
        }
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider))
                .build()
                .map_err(|error| TlsError::General(error.to_string()))?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Go's `CheckSignatureFrom`, and the use that the chain is for.
fn may_sign(certificate: &X509Certificate) -> bool {
    let is_authority = match certificate.basic_constraints() {
        Ok(Some(constraints)) => constraints.value.ca,
        Ok(None) => certificate.version() != X509Version::V3,
        Err(_) => false,
    };
    let may_sign = match certificate.key_usage() {
        Ok(usage) => usage.is_none_or(|usage| usage.value.key_cert_sign()),
        Err(_) => false,
    };
    is_authority && may_sign && is_for_servers(certificate)
}

fn is_for_servers(certificate: &X509Certificate) -> bool {
    match certificate.extended_key_usage() {
        Ok(Some(usage)) => usage.value.any || usage.value.server_auth,
        Ok(None) => true,
        Err(_) => false,
    }
}

fn is_valid_at(certificate: &X509Certificate, now: UnixTime) -> bool {
    let validity = certificate.validity();
    (validity.not_before.timestamp()..=validity.not_after.timestamp()).contains(&seconds(now))
}

fn seconds(time: UnixTime) -> i64 {
    time.as_secs().try_into().unwrap_or(i64::MAX)
}
