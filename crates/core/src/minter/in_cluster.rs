//! The minter of the job's own Pod: the Pod's ServiceAccount.

use std::path::Path;

use super::{Auth, Minter};
use crate::{
    cluster::{Authority, Connection, Proxy},
    error::Error,
    process::{environment::Environment, files::read_file},
    token::Token,
};

/// The folder in which the kubelet puts the credential (`staging/src/k8s.io/client-go/rest/config.go`).
const FOLDER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

const INPUT: &str = "in-cluster account";

/// The minter of the Pod. `None` outside of a Pod, and in a Pod without a ServiceAccount's token.
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
    let authority = Authority::parse(INPUT, &read_file(INPUT, &folder.join("ca.crt"))?)?;
    let mut connection = Connection::new(INPUT, &format!("https://{host}:{port}"), Some(authority))?;
    connection.proxy = Proxy::from_environment(&connection.server, environment);
    let identity = bearer_in(folder)?.into();
    let namespace = read_file(INPUT, &folder.join("namespace"))
        .ok()
        .map(|ns| ns.trim().to_owned());
    Ok(Some(Minter {
        connection,
        identity,
        auth: Auth::InCluster,
        namespace,
    }))
}

/// The token as it is now. The kubelet renews it.
pub(super) fn bearer() -> Result<Token, Error> {
    bearer_in(Path::new(FOLDER))
}

fn bearer_in(folder: &Path) -> Result<Token, Error> {
    Token::from_file(INPUT, &folder.join("token"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_of_a_pod() {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = rcgen::generate_simple_self_signed(["kubernetes".into()]).expect("a certificate");
        let authority = authority.cert.pem().replace('\r', "");
        for (file, content) in [
            ("token", "pod-token\n"),
            ("ca.crt", &*authority),
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
            Some(&*authority)
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
