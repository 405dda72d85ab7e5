//! A kubeconfig that holds a token.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kube::config::{AuthInfo, Cluster, Context, Kubeconfig, NamedAuthInfo, NamedCluster, NamedContext};

use crate::{
    cluster::{Connection, Proxy},
    error::Error,
    token::Token,
};

/// The name of the cluster and of the context.
pub(crate) const NAME: &str = "jobpass";

/// The kubeconfig of `account` in `namespace`. It needs no other file, except `token_file` for a token that
/// jobpass renews.
pub(crate) fn yaml(
    connection: &Connection,
    namespace: &str,
    account: &str,
    token: &Token,
    token_file: Option<String>,
) -> Result<String, Error> {
    let user = AuthInfo {
        token: Some(token.expose().into()),
        token_file,
        ..AuthInfo::default()
    };
    let certificate_authority = connection.certificate_authority.as_ref();
    let cluster = Cluster {
        server: Some(connection.server.clone()),
        certificate_authority_data: certificate_authority.map(|pem| STANDARD.encode(pem)),
        tls_server_name: connection.tls_server_name.clone(),
        proxy_url: connection
            .proxy
            .as_ref()
            .and_then(Proxy::for_kubeconfig)
            .map(str::to_owned),
        ..Cluster::default()
    };
    let context = Context {
        cluster: NAME.into(),
        user: Some(account.into()),
        namespace: Some(namespace.into()),
        ..Context::default()
    };
    let config = Kubeconfig {
        api_version: Some("v1".into()),
        kind: Some("Config".into()),
        current_context: Some(NAME.into()),
        clusters: vec![NamedCluster {
            name: NAME.into(),
            cluster: Some(cluster),
            ..NamedCluster::default()
        }],
        auth_infos: vec![NamedAuthInfo {
            name: account.into(),
            auth_info: Some(user),
            ..NamedAuthInfo::default()
        }],
        contexts: vec![NamedContext {
            name: NAME.into(),
            context: Some(context),
            ..NamedContext::default()
        }],
        ..Kubeconfig::default()
    };
    // The error does not show the cause, because the cause's message may contain the token.
    serde_yaml::to_string(&config).map_err(|_| Error::defect("cannot write the kubeconfig as YAML"))
}
