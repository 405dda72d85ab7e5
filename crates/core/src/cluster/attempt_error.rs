//! The reason why an attempt at a call got no usable answer, in words that lead a person to the cause.

use crate::text::harmless;

/// The reason why an attempt got no usable answer.
pub(crate) struct AttemptError {
    pub(crate) why: String,
    pub(crate) help: &'static str,
    /// Whether another attempt may help.
    pub(crate) transient: bool,
    /// Whether the request may have reached the server.
    pub(crate) sent: bool,
}

impl AttemptError {
    /// Finds the cause that a person can act on, in a chain of wrapped errors.
    pub(crate) fn of(error: &(dyn std::error::Error + 'static), sent: bool) -> Self {
        let mut cause = Some(error);
        let mut deepest = String::new();
        while let Some(current) = cause {
            if let Some(tls) = current.downcast_ref::<rustls::Error>() {
                return AttemptError { sent, ..of_tls(tls) };
            }
            let io = current.downcast_ref::<std::io::Error>();
            deepest = harmless(&current.to_string());
            // `source` of an io::Error skips the error that it wraps.
            cause = match io.and_then(std::io::Error::get_ref) {
                Some(inner) => Some(inner),
                None => current.source(),
            };
        }
        // hyper-util has no public types for these errors.
        let proxy_refuses = [
            "proxy authorization required",
            "credentials not accepted",
            "not support user/pass",
        ];
        if proxy_refuses.iter().any(|text| deepest.contains(text)) {
            return AttemptError {
                why: "the proxy asks for a user and a password, or refuses the given ones".into(),
                help: "check `USER:PASSWORD@` before the proxy's host. Percent-encode characters such as \
                    `@` in the password",
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
            help: "check the server's address, and that this machine can reach it (network, firewall, \
                   HTTPS_PROXY and NO_PROXY)",
            transient: true,
            sent,
        }
    }
}

fn of_tls(error: &rustls::Error) -> AttemptError {
    use rustls::CertificateError as E;
    let (why, help) = match error {
        rustls::Error::InvalidCertificate(E::UnknownIssuer | E::BadSignature) => (
            "the server's certificate does not come from a trusted certificate authority".into(),
            "give the certificate authority of this cluster as `certificate-authority` (for `job-server`, \
             `job-certificate-authority`), or as `certificate-authority-data` in the kubeconfig. Without it, \
             jobpass trusts the authorities of this system. If the message names a proxy with `https://`, \
             the same authorities must have signed the certificate of this proxy",
        ),
        rustls::Error::InvalidCertificate(E::NotValidForName | E::NotValidForNameContext { .. }) => (
            "the server's certificate is for another name".into(),
            "connect to a host name or address that stands in the certificate, or name one as the \
             kubeconfig's `tls-server-name`. If the message names a proxy with `https://`, check the name in \
             the certificate of this proxy as well",
        ),
        rustls::Error::InvalidCertificate(E::Expired | E::ExpiredContext { .. }) => (
            "the server's certificate has expired".into(),
            "renew the API server's certificate, or correct this machine's clock. If the message names a \
             proxy with `https://`, check the certificate of this proxy as well",
        ),
        rustls::Error::InvalidCertificate(E::NotValidYet | E::NotValidYetContext { .. }) => (
            "the server's certificate is not valid yet".into(),
            "check this machine's clock",
        ),
        // jobpass would reject the same certificate at the next attempt.
        rustls::Error::InvalidCertificate(error) => (
            format!(
                "the server's certificate cannot be used: {}",
                harmless(&error.to_string())
            ),
            "check that the address has the API server's port. Then look at the certificate: \
             `openssl s_client -connect HOST:PORT`. If the message names a proxy with `https://`, look at \
             the certificate of this proxy as well",
        ),
        // A load balancer that restarts may send an alert or cut the connection.
        other => {
            return AttemptError {
                why: format!("TLS failed: {}", harmless(&other.to_string())),
                help: match other {
                    // The other side does not speak TLS.
                    rustls::Error::InvalidMessage(_) => {
                        "check that the address has the API server's port. If the message names a proxy with \
                         `https://`, check that this proxy itself speaks TLS"
                    }
                    _ => {
                        "check that the address has the API server's port. If the message names an alert, \
                         look at the log of the server, or of the load balancer or proxy in front of it"
                    }
                },
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

#[cfg(test)]
mod tests {
    use std::{fmt, io};

    use rstest::rstest;
    use rustls::{AlertDescription, CertificateError as E, Error as Tls, InvalidMessage};

    use super::*;

    /// An error that wraps another one, like the errors of hyper.
    #[derive(Debug)]
    struct Outer<C>(&'static str, C);

    impl<C> fmt::Display for Outer<C> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl<C: std::error::Error + 'static> std::error::Error for Outer<C> {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.1)
        }
    }

    /// The attempt's error for a TLS error. tokio-rustls wraps the TLS error in an io::Error, and the HTTP
    /// client wraps that error in its own.
    fn of(tls: Tls) -> AttemptError {
        AttemptError::of(&Outer("client error (Connect)", io::Error::other(tls)), false)
    }

    /// A wrong certificate stays wrong, so jobpass does not try again. It tries again after other TLS errors,
    /// which a load balancer may cause.
    #[rstest]
    #[case::another_authority(
        Tls::InvalidCertificate(E::UnknownIssuer),
        "not come from a trusted certificate authority",
        "certificate-authority",
        false
    )]
    #[case::another_key(
        Tls::InvalidCertificate(E::BadSignature),
        "not come from a trusted certificate authority",
        "certificate-authority",
        false
    )]
    #[case::another_name(
        Tls::InvalidCertificate(E::NotValidForName),
        "for another name",
        "tls-server-name",
        false
    )]
    #[case::expired(Tls::InvalidCertificate(E::Expired), "has expired", "clock", false)]
    #[case::too_early(Tls::InvalidCertificate(E::NotValidYet), "not valid yet", "clock", false)]
    #[case::no_certificate(
        Tls::InvalidCertificate(E::BadEncoding),
        "cannot be used",
        "openssl s_client",
        false
    )]
    #[case::an_alert(
        Tls::AlertReceived(AlertDescription::InternalError),
        "TLS failed",
        "look at the log of the server",
        true
    )]
    #[case::no_tls(
        Tls::InvalidMessage(InvalidMessage::InvalidContentType),
        "TLS failed",
        "check that this proxy itself speaks TLS",
        true
    )]
    fn a_tls_error_leads_to_its_cause(
        #[case] tls: Tls,
        #[case] why: &str,
        #[case] help: &str,
        #[case] transient: bool,
    ) {
        let error = of(tls);
        assert!(
            error.why.contains(why) && error.help.contains(help),
            "{}; {}",
            error.why,
            error.help
        );
        assert_eq!(error.transient, transient);
    }

    #[rstest]
    #[case::refused(
        "Connection refused (os error 111)",
        "Connection refused (os error 111)",
        true
    )]
    #[case::with_control_characters("\u{1b}[2Jgone\n::error::x", "[2Jgone", true)]
    #[case::http_proxy(
        "proxy authorization required",
        "the proxy asks for a user and a password",
        false
    )]
    #[case::socks_proxy("credentials not accepted", "the proxy asks for a user and a password", false)]
    fn the_deepest_cause_is_shown(#[case] cause: &'static str, #[case] why: &str, #[case] transient: bool) {
        let inner = Outer("tcp connect error", io::Error::other(cause));
        let error = AttemptError::of(&Outer("client error (Connect)", inner), false);
        assert!(error.why.contains(why), "{}", error.why);
        assert!(!error.why.contains(char::is_control), "{:?}", error.why);
        assert_eq!(error.transient, transient);
    }

    /// If the server received the request, it may have created an object.
    #[rstest]
    fn whether_the_request_was_sent_is_kept(#[values(true, false)] sent: bool) {
        let tls = io::Error::other(Tls::InvalidCertificate(E::Expired));
        for error in [
            tls,
            io::Error::other("reset"),
            io::Error::other("credentials not accepted"),
        ] {
            assert_eq!(AttemptError::of(&error, sent).sent, sent);
        }
    }
}
