//! The minter as the ServiceAccount of the Pod that the job runs in.

use std::path::Path;

use super::{Auth, Authority, Connection, Minter, Proxy, explicit::with_bearer, read_file};
use crate::{environment::Environment, error::Error, token::Token};

/// Where the kubelet puts it (`staging/src/k8s.io/client-go/rest/config.go`).
const FOLDER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// `None` outside of a Pod.
pub(super) fn minter(environment: &Environment) -> Result<Option<Minter>, Error> {
    at(Path::new(FOLDER), environment)
}

fn at(folder: &Path, environment: &Environment) -> Result<Option<Minter>, Error> {
    let (Some(host), Some(port)) = (
        environment.get("KUBERNETES_SERVICE_HOST"),
        environment.get("KUBERNETES_SERVICE_PORT"),
    ) else {
        return Ok(None);
    };
    if !folder.join("token").exists() {
        return Ok(None);
    }
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    let input = "in-cluster account";
    let authority = Authority::parse(input, read_file(input, &folder.join("ca.crt"))?)?;
    let mut connection = Connection::new(input, &format!("https://{host}:{port}"), Some(authority))?;
    connection.proxy = Proxy::from_environment(&connection.server, environment)?;
    let bearer = Token::parse(&read_file(input, &folder.join("token"))?, input)?;
    let namespace = read_file(input, &folder.join("namespace"))
        .ok()
        .map(|ns| ns.trim().to_owned());
    Ok(Some(Minter {
        namespace,
        ..with_bearer(connection, bearer, &Auth::InCluster)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

    #[test]
    fn the_account_of_a_pod() {
        let folder = tempfile::tempdir().expect("a folder");
        for (file, content) in [
            ("token", "pod-token\n"),
            ("ca.crt", CERTIFICATE),
            ("namespace", "ci"),
        ] {
            std::fs::write(folder.path().join(file), content).expect("written");
        }
        let pod = |host| {
            Environment::from([
                ("KUBERNETES_SERVICE_HOST", host),
                ("KUBERNETES_SERVICE_PORT", "443"),
            ])
        };
        let minter = at(folder.path(), &pod("fd00::1"))
            .expect("usable")
            .expect("a minter");
        assert_eq!(minter.connection.server, "https://[fd00::1]:443");
        assert_eq!(
            minter.connection.certificate_authority.as_deref(),
            Some(CERTIFICATE)
        );
        assert_eq!(minter.identity.bearer.expect("a bearer").expose(), "pod-token");
        assert_eq!(
            (minter.namespace.as_deref(), minter.auth),
            (Some("ci"), Auth::InCluster)
        );

        assert!(
            at(folder.path(), &Environment::default())
                .expect("usable")
                .is_none()
        );
        std::fs::remove_file(folder.path().join("token")).expect("removed");
        assert!(at(folder.path(), &pod("10.0.0.1")).expect("usable").is_none());
    }
}
