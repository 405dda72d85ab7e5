//! What `list` and `sweep` have in common: which anchors, and who asks for them.

use clap::{Arg, ArgAction, ArgMatches, parser::ValueSource};
use jobpass_core::{
    Error,
    cluster::Scope,
    inputs::{flags, spec},
    minter::Minter,
    process::{environment::Environment, interrupt::Interrupt},
};

use crate::options::connection;

pub(crate) fn flags() -> impl Iterator<Item = Arg> {
    let namespace = flags::flags().filter(|flag| flag.get_id() == "namespace").map(|flag| {
        flag.help(
            "The namespace of the anchors. Without it, the namespace of the kubeconfig's context or of the in-cluster account, \
             else `default`",
        )
    });
    let all = Arg::new("all-namespaces")
        .long("all-namespaces")
        .action(ArgAction::SetTrue);
    std::iter::once(all.help("The anchors of all namespaces"))
        .chain(namespace)
        .chain(connection::flags())
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
