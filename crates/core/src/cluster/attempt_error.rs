//! Why a call got no answer, in words that lead to a cause.

use crate::text::harmless;

/// Why there is no answer.
pub(super) struct AttemptError {
    pub(super) why: String,
    pub(super) help: &'static str,
    /// Trying again may help.
    pub(super) transient: bool,
    /// The request may have reached the server.
    pub(super) sent: bool,
}

impl AttemptError {
    /// Finds the cause that a person can do something about in a chain of wrapped errors.
    pub(super) fn of(error: &(dyn std::error::Error + 'static), sent: bool) -> Self {
        let mut cause = Some(error);
        let mut deepest = String::new();
        while let Some(current) = cause {
            if let Some(tls) = current.downcast_ref::<rustls::Error>() {
                return AttemptError { sent, ..of_tls(tls) };
            }
            let io = current.downcast_ref::<std::io::Error>();
            deepest = harmless(&current.to_string());
            // An io::Error skips what it wraps in `source`.
            cause = match io.and_then(std::io::Error::get_ref) {
                Some(inner) => Some(inner),
                None => current.source(),
            };
        }
        // hyper-util has no public types for these.
        let proxy_refuses = [
            "proxy authorization required",
            "credentials not accepted",
            "not support user/pass",
        ];
        if proxy_refuses.iter().any(|text| deepest.contains(text)) {
            return AttemptError {
                why: "the proxy refuses user and password, or wants some".into(),
                help: "check `USER:PASSWORD@` before the proxy's host; characters such as `@` are percent-encoded there",
                transient: false,
                sent,
            };
        }
        AttemptError {
            why: if deepest.is_empty() {
                "the connection failed".into()
            } else {
                deepest
            },
            help: "check the server's address, and that this runner can reach it (network, firewall, HTTPS_PROXY and \
                   NO_PROXY)",
            transient: true,
            sent,
        }
    }
}

fn of_tls(error: &rustls::Error) -> AttemptError {
    use rustls::CertificateError as E;
    let (why, help) = match error {
        rustls::Error::InvalidCertificate(E::UnknownIssuer | E::BadSignature) => (
            "the server's certificate is not from the certificate authority that was given".into(),
            "check `certificate-authority` (or the kubeconfig's `certificate-authority-data`): it must be the CA of \
             this cluster",
        ),
        rustls::Error::InvalidCertificate(E::NotValidForName | E::NotValidForNameContext { .. }) => (
            "the server's certificate is for another name".into(),
            "use a host name or address that the certificate carries, or the kubeconfig's `tls-server-name`",
        ),
        rustls::Error::InvalidCertificate(E::Expired | E::ExpiredContext { .. }) => (
            "the server's certificate has expired".into(),
            "renew the API server's certificate; check this machine's clock",
        ),
        rustls::Error::InvalidCertificate(E::NotValidYet | E::NotValidYetContext { .. }) => (
            "the server's certificate is not valid yet".into(),
            "check this machine's clock",
        ),
        // It is the same the next time.
        rustls::Error::InvalidCertificate(error) => (
            format!(
                "the server's certificate cannot be used: {}",
                harmless(&error.to_string())
            ),
            "check that this is the API server's port, and its certificate with `openssl s_client -connect HOST:PORT`",
        ),
        // An alert or a connection cut short may be a load balancer's bad moment.
        other => {
            return AttemptError {
                why: format!("TLS failed: {}", harmless(&other.to_string())),
                help: "check that this is the API server's port",
                transient: true,
                sent: false,
            };
        }
    };
    AttemptError {
        why,
        help,
        transient: false,
        sent: false,
    }
}
