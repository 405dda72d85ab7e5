//! The options that select the anchors of `list` and `sweep`.

use clap::{Arg, ArgAction, ArgMatches};
use jobpass_core::{
    Error,
    cluster::Scope,
    inputs::{
        flags,
        options::{Inputs, Opt},
        spec,
    },
    minter::Minter,
    process::{environment::Environment, interrupt::Interrupt},
};

use crate::options::connection;

/// The flags that select anchors, and those that connect to the API server.
pub(crate) fn flags() -> impl Iterator<Item = Arg> {
    let namespace = flags::flag(Opt::Namespace).help(
        "The namespace of the anchors. [default: the namespace of the kubeconfig's context or of the \
         in-cluster ServiceAccount, else `default`]",
    );
    let all = Arg::new("all-namespaces")
        .long("all-namespaces")
        .short('A')
        .action(ArgAction::SetTrue);
    [all.help("Select the anchors of all namespaces."), namespace]
        .into_iter()
        .chain(connection::flags())
}

/// Finds the credential for the requests, and the scope of the anchors.
///
/// # Errors
/// If an option is wrong, if there is no credential, or if a signal arrives.
pub(crate) async fn resolve(
    matches: &ArgMatches,
    environment: &Environment,
    interrupt: &mut Interrupt,
) -> Result<(Minter, Scope), Error> {
    let inputs = flags::inputs(matches)?;
    // Wrong options fail before a credential plugin runs.
    scope(matches, &inputs, None)?;
    let minter = tokio::select! {
        interrupted = interrupt.wait() => return Err(interrupted),
        minter = Minter::resolve(&inputs, environment) => minter?,
    };
    let scope = scope(matches, &inputs, minter.namespace.as_deref())?;
    Ok((minter, scope))
}

/// The scope that the flags select. `own` is the namespace of the minter.
fn scope(matches: &ArgMatches, inputs: &Inputs, own: Option<&str>) -> Result<Scope, Error> {
    let all = matches.get_flag("all-namespaces");
    if all && flags::is_flag(matches, Opt::Namespace) {
        return Err(Error::input(
            Opt::Namespace,
            "and `--all-namespaces` are both given",
            "give one of them",
        ));
    }
    let namespace = spec::namespace(inputs, own.filter(|_| !all))?;
    Ok(match all {
        true => Scope::Cluster,
        false => Scope::Namespace(namespace),
    })
}

#[cfg(test)]
mod tests {
    use clap::Command;

    use super::*;

    fn selected(arguments: &[&str], own: Option<&str>) -> Result<String, Error> {
        let matches = Command::new("list")
            .no_binary_name(true)
            // The environment of the tests must have no effect.
            .args(flags().map(|flag| flag.env(None)))
            .try_get_matches_from(arguments)
            .expect("arguments");
        scope(&matches, &flags::inputs(&matches)?, own).map(|scope| scope.in_words())
    }

    #[test]
    fn a_flag_wins_over_the_namespace_of_the_minter() {
        let selected = |arguments: &[&str], own| selected(arguments, own).expect("a scope");
        assert_eq!(selected(&["--namespace", "ci"], Some("team")), "namespace `ci`");
        assert_eq!(selected(&[], Some("team")), "namespace `team`");
        assert_eq!(selected(&[], None), "namespace `default`");
        assert_eq!(selected(&["--all-namespaces"], Some("team")), "the cluster");
    }

    #[test]
    fn a_namespace_and_all_of_them_are_a_contradiction() {
        assert!(selected(&["--all-namespaces", "--namespace", "ci"], None).is_err());
    }

    #[test]
    fn a_wrong_namespace_is_refused_before_it_is_part_of_a_path() {
        assert!(selected(&["--namespace", "../ci"], None).is_err());
    }
}
