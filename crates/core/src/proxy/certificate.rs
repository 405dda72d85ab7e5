//! The certificate of the proxy. Its keys exist in the memory of this process alone.

use std::{fmt::Display, sync::Arc};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};

use crate::error::Error;

/// The names that clients may use for the proxy.
const NAMES: [&str; 2] = ["127.0.0.1", "localhost"];
/// The time for which the certificate is valid before and after its creation. No job takes that long.
const VALID: SignedDuration = SignedDuration::from_hours(365 * 24);

/// A certificate with its own authority.
pub(super) struct Certificate {
    /// PEM of the certificate authority. Nobody keeps its key, so it signs no second certificate.
    pub(super) authority: String,
    pub(super) tls: ServerConfig,
}

impl Certificate {
    /// Creates a certificate for [`NAMES`], with new keys.
    ///
    /// # Errors
    /// If the operating system returns no random bytes.
    pub(super) fn new() -> Result<Self, Error> {
        let now = Timestamp::now();
        let mut params = params("jobpass proxy authority", Vec::new(), now)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, key()?).map_err(|error| failed(&error))?;

        let names = NAMES.map(str::to_owned).to_vec();
        let mut params = self::params("jobpass proxy", names, now)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        // Python 3.13 refuses a certificate without this extension.
        params.use_authority_key_identifier_extension = true;
        let key = key()?;
        let certificate = params.signed_by(&key, &issuer).map_err(|error| failed(&error))?;

        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(|error| failed(&error))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(&error))?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .map_err(|error| failed(&error))?;
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self {
            authority: issuer.pem(),
            tls,
        })
    }
}

fn params(name: &str, names: Vec<String>, now: Timestamp) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::new(names).map_err(|error| failed(&error))?;
    params.distinguished_name.push(DnType::CommonName, name);
    let day = |time: Timestamp| {
        let date = time.to_zoned(TimeZone::UTC).date();
        date_time_ymd(
            date.year().into(),
            date.month().unsigned_abs(),
            date.day().unsigned_abs(),
        )
    };
    (params.not_before, params.not_after) = (day(now - VALID), day(now + VALID));
    Ok(params)
}

fn key() -> Result<KeyPair, Error> {
    KeyPair::generate().map_err(|error| failed(&error))
}

fn failed(error: &dyn Display) -> Error {
    Error::defect(format!("cannot make the certificate of the proxy: {error}"))
}
