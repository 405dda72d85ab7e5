//! The certificate authorities of a server, and the check of its certificate. jobpass trusts a certificate if
//! kubectl trusts it (Go, `crypto/x509`).
//!
//! webpki builds and checks the chains. This module differs where Go differs from webpki:
//!
//! - If the server's certificate is itself one of the given certificates, it needs no chain.
//! - jobpass does not accept a given certificate as an issuer if it may not sign others, or is not valid now.
//! - The certificate of a server may itself be an authority.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::{
    CertificateError, DigitallySignedStruct, Error as TlsError, OtherError, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};
use webpki::{
    EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter, KeyUsage, RequiredEkuNotFoundContext,
    VerifiedPath, anchor_from_trusted_cert,
};
use x509_parser::{
    certificate::X509Certificate,
    oid_registry::{OID_PKCS1_SHA1WITHRSA, OID_SHA1_WITH_RSA},
    prelude::FromDer as _,
    x509::X509Version,
};

use super::pem;
use crate::{
    error::{Error, Kind},
    text::harmless,
};

/// The greatest length of the PEM, in bytes. The job's state holds the PEM. A runner passes the state on in
/// one variable, which Linux limits to 128 KiB.
const LONGEST: usize = 64 << 10;
/// The greatest number of certificates between a given authority and a server's certificate that is itself an
/// authority. webpki limits the other chains.
const LONGEST_CHAIN: u32 = 4;

/// The certificates that jobpass trusts when it checks a server's certificate; at least one.
pub(crate) struct Authority {
    certificates: Vec<CertificateDer<'static>>,
}

impl Authority {
    /// Parses the PEM in `text`, the value of `input`.
    ///
    /// # Errors
    /// If the text has no certificate, or more than 64 KiB of certificates.
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
                "give PEM text with at least one valid certificate, which begins with `-----BEGIN \
                 CERTIFICATE-----`",
            ));
        }
        let authority = Self { certificates };
        match authority.pem().len() > LONGEST {
            true => Err(Error::input(
                input,
                "holds more than 64 KiB of certificates",
                "give the certificate authority of this cluster alone, not a bundle of many",
            )),
            false => Ok(authority),
        }
    }

    /// The certificates as PEM, without the text around them.
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
    /// Trusts only the certificates of a PEM text.
    pub(super) fn of(pem: &str, provider: Arc<CryptoProvider>) -> Self {
        Self {
            given: pem::certificates(pem).collect(),
            provider,
        }
    }

    /// Trusts the certificates of this system, and those of a PEM text. `server` is the URL of the server.
    ///
    /// # Errors
    /// If neither the system nor the PEM text has a certificate.
    pub(super) fn of_system(
        server: &str,
        and: Option<&str>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, Error> {
        let mut given = rustls_native_certs::load_native_certs().certs;
        given.extend(and.into_iter().flat_map(pem::certificates));
        match given.is_empty() {
            true => Err(Error::new(
                Kind::Input,
                format!(
                    "cannot connect to `{}`: this system has no certificate authorities",
                    harmless(server)
                ),
            )
            .help(
                "install the package `ca-certificates`, or give the `certificate-authority` of the server. \
                 For `job-server`, give `job-certificate-authority`",
            )),
            false => Ok(Self { given, provider }),
        }
    }

    /// Checks that a chain leads from the leaf to a given authority.
    fn check_chain(
        &self,
        leaf: &CertificateDer,
        intermediates: &[CertificateDer],
        now: UnixTime,
    ) -> Result<(), TlsError> {
        let mut longest = Vec::new();
        let mut anchors = Vec::new();
        for certificate in &self.given {
            let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
                continue;
            };
            // webpki cannot check a signature by a certificate that it cannot read.
            if may_sign(&parsed)
                && is_valid_at(&parsed, now)
                && let Ok(anchor) = anchor_from_trusted_cert(certificate)
            {
                longest.push((anchor.subject_public_key_info.to_vec(), below(&parsed)));
                anchors.push(anchor);
            }
        }
        let check_path = |path: &VerifiedPath<'_>| {
            let signs = |der: CertificateDer| {
                X509Certificate::from_der(&der).is_ok_and(|(_, parsed)| may_sign(&parsed))
            };
            if !path
                .intermediate_certificates()
                .all(|certificate| signs(certificate.der()))
            {
                return Err(webpki::Error::EndEntityUsedAsCa);
            }
            let key = &*path.anchor().subject_public_key_info;
            let length = u32::try_from(path.intermediate_certificates().count()).unwrap_or(u32::MAX);
            let mut same = longest.iter().filter(|(other, _)| other == key);
            match same.any(|(_, longest)| length <= *longest) {
                true => Ok(()),
                false => Err(webpki::Error::PathLenConstraintViolated),
            }
        };
        let leaf =
            EndEntityCert::try_from(leaf).map_err(|_| TlsError::from(CertificateError::BadEncoding))?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        let path = leaf.verify_for_usage(
            algorithms,
            &anchors,
            intermediates,
            now,
            ForServers,
            None,
            Some(&check_path),
        );
        match path {
            Ok(_) => Ok(()),
            Err(webpki::Error::UnknownIssuer | webpki::Error::InvalidSignatureForPublicKey) => {
                Err(CertificateError::UnknownIssuer.into())
            }
            Err(error) => Err(CertificateError::Other(OtherError(Arc::new(error))).into()),
        }
    }

    /// Whether a given certificate signed `certificate`, directly or through intermediates. `above` is the
    /// number of certificates between the issuer of `certificate` and the server's certificate. webpki does
    /// not accept an authority as a server's certificate, so this function checks the chain of such a
    /// certificate.
    fn is_signed(
        &self,
        certificate: &X509Certificate,
        intermediates: &[CertificateDer],
        above: u32,
        now: UnixTime,
    ) -> bool {
        let signs = |issuer: &X509Certificate| {
            issuer.subject().as_raw() == certificate.issuer().as_raw()
                && may_sign(issuer)
                && is_valid_at(issuer, now)
                && above <= below(issuer)
                // This check cannot evaluate name constraints, so it accepts only issuers without them.
                && matches!(issuer.name_constraints(), Ok(None))
                && knows_what_is_critical(issuer)
                && !is_signed_with_sha1(certificate)
                && certificate.verify_signature(Some(issuer.public_key())).is_ok()
        };
        let parsed = |der: &CertificateDer, then: &dyn Fn(&X509Certificate) -> bool| {
            X509Certificate::from_der(der).is_ok_and(|(_, issuer)| then(&issuer))
        };
        let is_given = self.given.iter().any(|der| parsed(der, &signs));
        let through = |issuer: &X509Certificate| {
            issuer.is_ca() && signs(issuer) && self.is_signed(issuer, intermediates, above + 1, now)
        };
        is_given || above < LONGEST_CHAIN && intermediates.iter().any(|der| parsed(der, &through))
    }

    /// Checks the server's certificate apart from its chain: the time, the purpose, the critical extensions
    /// and the name.
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
        if !knows_what_is_critical(leaf) {
            return Err(CertificateError::UnhandledCriticalExtension.into());
        }
        // Go treats an IPv4 address in the form of IPv6 as the IPv4 address.
        let canonical = match name {
            ServerName::IpAddress(address) => {
                Some(ServerName::from(std::net::IpAddr::from(*address).to_canonical()))
            }
            _ => None,
        };
        let name = canonical.as_ref().unwrap_or(name);
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
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let (_, leaf) = X509Certificate::from_der(end_entity)
            .map_err(|_| TlsError::from(CertificateError::BadEncoding))?;
        let is_given = self.given.iter().any(|given| given == end_entity);
        let is_authority = || leaf.is_ca() && self.is_signed(&leaf, intermediates, 0, now);
        if !(is_given || is_authority()) {
            self.check_chain(end_entity, intermediates, now)?;
        }
        self.check_leaf(end_entity, &leaf, server_name, now)
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

/// [`is_for_servers`], in the form that webpki calls.
struct ForServers;

impl ExtendedKeyUsageValidator for ForServers {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        let mut is_restricted = false;
        for purpose in purposes {
            match *purpose?.to_decoded_oid() {
                // serverAuth; anyExtendedKeyUsage
                [1, 3, 6, 1, 5, 5, 7, 3, 1] | [2, 5, 29, 37, 0] => return Ok(()),
                _ => is_restricted = true,
            }
        }
        match is_restricted {
            true => Err(webpki::Error::RequiredEkuNotFoundContext(
                RequiredEkuNotFoundContext {
                    required: KeyUsage::server_auth(),
                    present: Vec::new(),
                },
            )),
            false => Ok(()),
        }
    }
}

/// The path length of an authority: the greatest number of certificates that may stand between it and a
/// server's certificate.
fn below(authority: &X509Certificate) -> u32 {
    let constraints = authority.basic_constraints().ok().flatten();
    constraints
        .and_then(|constraints| constraints.value.path_len_constraint)
        .unwrap_or(u32::MAX)
}

fn knows_what_is_critical(certificate: &X509Certificate) -> bool {
    let critical = certificate
        .extensions()
        .iter()
        .filter(|extension| extension.critical);
    critical
        .into_iter()
        .all(|extension| !extension.parsed_extension().unsupported())
}

/// Whether a certificate may sign others (Go's `CheckSignatureFrom`) and is for servers.
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

/// Whether the signature of a certificate uses SHA-1. An attacker can make two certificates that share one
/// such signature. Go and webpki refuse SHA-1, and x509-parser does not.
fn is_signed_with_sha1(certificate: &X509Certificate) -> bool {
    let algorithm = &certificate.signature_algorithm.algorithm;
    [OID_PKCS1_SHA1WITHRSA, OID_SHA1_WITH_RSA].contains(algorithm)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// An authority, and two certificates that it signed: the first with SHA-256, the second with SHA-1. Both
    /// are authorities themselves, for a server named `k8s`.
    const SIGNED: &str = include_str!("authority/signed_with_sha256_and_sha1.pem");

    #[test]
    fn a_signature_with_sha1_counts_for_nothing() {
        let certificates = pem::certificates(SIGNED).collect::<Vec<_>>();
        let [authority, sha256, sha1] = &*certificates else {
            panic!("{} certificates", certificates.len());
        };
        let verifier = Verifier {
            given: vec![authority.clone()],
            provider: Arc::new(rustls::crypto::ring::default_provider()),
        };
        let verify = |certificate| {
            let name = ServerName::try_from("k8s").expect("a name");
            verifier.verify_server_cert(certificate, &[], &name, &[], UnixTime::now())
        };
        assert!(verify(sha256).is_ok(), "{:?}", verify(sha256));
        assert!(verify(sha1).is_err());
    }
}
