//! The minter as the ServiceAccount of the Pod that the job runs in.

use std::path::Path;

use super::{Auth, Authority, Connection, Minter, Proxy, explicit::with_bearer, read_file};
use crate::{environment::Environment, error::Error, token::Token};

/// Where the kubelet puts it (`staging/src/k8s.io/client-go/rest/config.go`).
const FOLDER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// `None` outside of a Pod.
pub(super) fn minter(environment: &Environment) -> Result<Option<Minter>, Error> {
    let (Some(host), Some(port)) = (
        environment.get("KUBERNETES_SERVICE_HOST"),
        environment.get("KUBERNETES_SERVICE_PORT"),
    ) else {
        return Ok(None);
    };
    let folder = Path::new(FOLDER);
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
