//! The options with which verbs that do not mint connect to the API server.

use std::time::Duration;

use clap::Arg;
use jobpass_core::inputs::{flags::flag, options::Opt};

/// The time limit for the requests of `inspect` and `whoami`, retries included. The same limit applies to the
/// requests with which `rotate` finds the Secret.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(30);

/// The options other than `kubeconfig` that name the API server and the credential.
pub(crate) const OF_SERVER: [Opt; 5] = [
    Opt::Context,
    Opt::Server,
    Opt::CertificateAuthority,
    Opt::BearerTokenFile,
    Opt::BearerTokenEnv,
];

/// The flags that name the API server and the credentials.
pub(crate) fn flags() -> [Arg; 6] {
    [
        flag(Opt::Kubeconfig).help(
            "The path of the kubeconfig. The environment variable may also hold the YAML itself, or base64 \
             of it.",
        ),
        flag(Opt::Context),
        flag(Opt::Server),
        flag(Opt::CertificateAuthority),
        flag(Opt::BearerTokenFile).help("The file that holds the bearer token for `server`."),
        flag(Opt::BearerTokenEnv)
            .help("The name of the environment variable that holds the bearer token for `server`."),
    ]
}
