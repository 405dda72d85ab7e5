//! What `list` and `sweep` have in common: which anchors, and who asks for them.

use clap::{Arg, ArgAction, ArgMatches, parser::ValueSource};
use jobpass_core::{
    Error, anchors::Scope, environment::Environment, flags, interrupt::Interrupt, minter::Minter, spec,
};

/// The options of the table that say who asks where, and which namespace.
const OPTIONS: [&str; 8] = [
    "namespace",
    "kubeconfig",
    "context",
    "server",
    "certificate-authority",
    "bearer-token-file",
    "bearer-token-env",
    "oidc-audience",
];

pub(crate) fn flags() -> impl Iterator<Item = Arg> {
    let own = flags::flags().filter(|flag| OPTIONS.contains(&flag.get_id().as_str()));
    let own = own.map(|flag| match flag.get_id().as_str() {
        "namespace" => flag.help(
            "The namespace of the anchors. Without it, the namespace of the kubeconfig's context or of the in-cluster account, \
             else `default`",
        ),
        "kubeconfig" => flag.help("The kubeconfig to use: a path, or in the variable the YAML itself, or base64 of it"),
        "bearer-token-file" => flag.help("File that holds the bearer token for `server`"),
        "bearer-token-env" => flag.help("Name of the environment variable that holds the bearer token for `server`"),
        _ => flag,
    });
    let all = Arg::new("all-namespaces")
        .long("all-namespaces")
        .action(ArgAction::SetTrue);
    std::iter::once(all.help("The anchors of all namespaces")).chain(own)
}

/// Who asks, and about which anchors.
pub(crate) async fn resolve(
    matches: &ArgMatches,
    environment: &Environment,
    interrupt: &mut Interrupt,
) -> Result<(Minter, Scope), Error> {
    let inputs = flags::inputs(matches)?;
    let all = matches.get_flag("all-namespaces");
    if all && matches.value_source("namespace") == Some(ValueSource::CommandLine) {
        return Err(Error::input(
            "namespace",
            "and `--all-namespaces` are both given",
            "give one of them",
        ));
    }
    spec::namespace(&inputs, None)?;
    let minter = tokio::select! {
        interrupted = interrupt.wait() => return Err(interrupted),
        minter = Minter::resolve(&inputs, environment) => minter?,
    };
    let scope = match all {
        true => Scope::Cluster,
        false => Scope::Namespace(spec::namespace(&inputs, minter.namespace.as_deref())?),
    };
    Ok((minter, scope))
}
