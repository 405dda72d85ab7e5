//! What a client shows the API server of itself.

use http::{HeaderMap, HeaderValue, header};
use secrecy::SecretString;

use super::dial;
use crate::{error::Error, token::Token};

/// What the minter shows the API server. Any part may be absent; all absent is anonymous.
#[derive(Clone, Default)]
pub struct Identity {
    pub(crate) bearer: Option<Token>,
    pub(crate) certificate: Option<ClientCertificate>,
    pub(crate) impersonate: Option<String>,
    pub(crate) impersonate_groups: Vec<String>,
}

/// A client certificate with its key, both PEM.
#[derive(Clone)]
pub(crate) struct ClientCertificate {
    pub(crate) certificate: String,
    pub(crate) key: SecretString,
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
    /// What each of its requests says of it.
    pub(super) fn headers(&self) -> Result<HeaderMap, Error> {
        let value = |text: &str| HeaderValue::try_from(text).map_err(|error| dial::unusable(&error));
        let mut headers = HeaderMap::new();
        if let Some(bearer) = &self.bearer {
            let mut bearer = value(&format!("Bearer {}", bearer.expose()))?;
            bearer.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, bearer);
        }
        if let Some(user) = &self.impersonate {
            headers.insert("impersonate-user", value(user)?);
        }
        for group in &self.impersonate_groups {
            headers.append("impersonate-group", value(group)?);
        }
        Ok(headers)
    }

    /// What each of its connections says of it.
    pub(super) fn client_certificate(&self) -> kube::config::AuthInfo {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        use secrecy::ExposeSecret as _;
        let certificate = self.certificate.as_ref();
        kube::config::AuthInfo {
            client_certificate_data: certificate.map(|pair| STANDARD.encode(&pair.certificate)),
            client_key_data: certificate.map(|pair| STANDARD.encode(pair.key.expose_secret()).into()),
            ..Default::default()
        }
    }
}
