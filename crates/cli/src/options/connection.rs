//! The options that say who asks which API server, for verbs that mint nothing.

use std::time::Duration;

use clap::Arg;
use jobpass_core::inputs::flags;

/// All questions of one verb, retries included.
pub(crate) const ASK: Duration = Duration::from_secs(30);

pub(crate) fn flags() -> impl Iterator<Item = Arg> {
    flags::flags().filter_map(|flag| match flag.get_id().as_str() {
        "kubeconfig" => {
            Some(flag.help(
                "The kubeconfig to use: a path; in the variable, also the YAML itself, or base64 of it",
            ))
        }
        "bearer-token-file" => Some(flag.help("File that holds the bearer token for `server`")),
        "bearer-token-env" => {
            Some(flag.help("Name of the environment variable that holds the bearer token for `server`"))
        }
        "context" | "server" | "certificate-authority" | "oidc-audience" => Some(flag),
        _ => None,
    })
}
