//! The certificate authority of a server.

use std::net::IpAddr;
use std::sync::Arc;

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;

/// A host name that only the tests' proxies can resolve. Every server's certificate names it. The tests need
/// it because clients use no proxy for a loopback address.
pub const AWAY: &str = "away.example";

pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, both PEM.
pub(crate) struct ClientCertificate {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Result<Self> {
        let mut params = CertificateParams::default();
        // The name of each anchor begins with `jobpass-`, so this name must not. Otherwise, the base64 of the
        // certificate and a token would have some text in common, and a test would report a leak.
        params.distinguished_name = name("devkit CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        Ok(Authority {
            issuer: CertifiedIssuer::self_signed(params, KeyPair::generate()?)?,
        })
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Creates a client certificate for the administrator. No other user has one.
    pub(crate) fn client(&self) -> Result<ClientCertificate> {
        let mut params = CertificateParams::default();
        params.distinguished_name = name("kubernetes-admin");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(ClientCertificate {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }

    /// The TLS configuration of a server for HTTP/1.1. The server has a new certificate, and accepts clients
    /// without a certificate or with one of this authority.
    pub(crate) fn server_config(&self, ip: IpAddr) -> Result<ServerConfig> {
        let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), AWAY.to_owned()];
        if ip.is_unspecified() {
            names.extend(["kubernetes".to_owned(), "kubernetes.default.svc".to_owned()]);
        } else if ip.to_string() != "127.0.0.1" {
            names.push(ip.to_string());
        }
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = name("kube-apiserver");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;

        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone())?;
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()?;
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(clients)
            .with_single_cert(vec![certificate.der().clone()], key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}
