//! How the API server is reached.

use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde::{Deserialize, Serialize};

use super::Proxy;
use crate::error::Error;

/// How the API server is reached. Holds no secret once serialised.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Connection {
    /// `https://HOST[:PORT][/PATH]`.
    pub server: String,
    /// PEM of the certificate authority; without it, the system's roots count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_authority: Option<String>,
    /// The name that the server's certificate must carry, if not the host's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_server_name: Option<String>,
    /// The HTTP proxy in between.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Proxy>,
}

/// The PEM of a certificate authority that holds at least one certificate.
pub(crate) struct Authority {
    pem: String,
}

impl Authority {
    pub(crate) fn parse(input: &str, pem: String) -> Result<Self, Error> {
        // It becomes part of the state, which a runner hands on in one variable: Linux takes 128 KiB there.
        if pem.len() > 64 << 10 {
            let problem = "holds more than 64 KiB of certificates";
            return Err(Error::input(
                input,
                problem,
                "give the CA of this cluster alone, not a bundle of all CAs",
            ));
        }
        certificates(input, &pem).map(|_| Self { pem })
    }
}

impl Connection {
    pub(crate) fn new(input: &str, server: &str, authority: Option<Authority>) -> Result<Self, Error> {
        let uri = server.parse::<http::Uri>().ok().filter(|uri| {
            uri.scheme_str() == Some("https")
                && uri.host().is_some()
                && uri.query().is_none()
                && !server.contains('@')
        });
        if uri.is_none() {
            return Err(Error::input(
                input,
                "names no server that a credential may be sent to",
                "use an https URL such as `https://10.0.0.1:6443`, without user, password or query",
            ));
        }
        let certificate_authority = authority.map(|authority| authority.pem);
        let server = server.trim_end_matches('/').to_owned();
        Ok(Self {
            server,
            certificate_authority,
            tls_server_name: None,
            proxy: None,
        })
    }
}

/// The certificates in a PEM text, DER.
pub(crate) fn certificates(input: &str, pem: &str) -> Result<Vec<Vec<u8>>, Error> {
    let certificates = CertificateDer::pem_slice_iter(pem.as_bytes())
        .map(|certificate| certificate.map(|der| der.to_vec()))
        .collect::<Result<Vec<_>, _>>()
        .unwrap_or_default();
    if certificates.is_empty() {
        return Err(Error::input(
            input,
            "holds no certificate",
            "a certificate authority is PEM: `-----BEGIN CERTIFICATE-----` and so on",
        ));
    }
    Ok(certificates)
}
