//! The options with which verbs that mint nothing connect to the API server.

use std::time::Duration;

use clap::Arg;
use jobpass_core::inputs::flags;

/// The time limit for all requests of one verb, retries included.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(30);

/// The flags that name the API server and the credentials.
pub(crate) fn flags() -> impl Iterator<Item = Arg> {
    flags::flags().filter_map(|flag| match flag.get_id().as_str() {
        "kubeconfig" => Some(flag.help(
            "Path of the kubeconfig; the environment variable may also hold the YAML itself, or base64 of \
             it.",
        )),
        "bearer-token-file" => Some(flag.help("File that holds the bearer token for `server`.")),
        "bearer-token-env" => {
            Some(flag.help("Name of the environment variable that holds the bearer token for `server`."))
        }
        "context" | "server" | "certificate-authority" | "oidc-audience" => Some(flag),
        _ => None,
    })
}
