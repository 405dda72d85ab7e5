//! `jobpass learn`: prints the least RBAC rules that jobs needed, from their records or from an audit log.

use std::{
    io::{BufReader, stdin},
    path::Path,
};

use clap::{Arg, ArgAction, ArgMatches, Command};
use jobpass_core::{
    Error, Kind,
    cluster::Cluster,
    inputs::{
        flags::{self, flag},
        options::Opt,
    },
    maintenance::learn::{InUse, Needs, Report, Runs},
    minter::Minter,
    process::{environment::Environment, interrupt::Interrupt},
    text,
};

use crate::{options::connection, terminal::output};

/// The verb, its options and its help.
pub(crate) fn command() -> Command {
    // These flags read no variables. In a job, JOBPASS_KUBECONFIG may hold the minter's kubeconfig, and the
    // minter's rules are not those of the job.
    let cluster = connection::flags().map(|flag| flag.env(None::<&str>).conflicts_with("diff"));
    Command::new("learn")
        .about("Print the least rules that jobs needed, from their records or from an audit log")
        .arg(
            Arg::new("file")
                .value_name("FILE")
                .num_args(1..)
                .required(true)
                .help(
                    "The files that the input `record` wrote, or audit logs of kube-apiserver (JSON lines); \
                     `-` reads standard input. The rules are for the requests of all files.",
                ),
        )
        .arg(
            Arg::new("credential-id")
                .long("credential-id")
                .value_name("ID")
                .action(ArgAction::Append)
                .help(
                    "For audit logs: the job, by the `credential-id` of its receipt. Can be given several \
                     times.",
                ),
        )
        .arg(flag(Opt::Namespace).env(None::<&str>).help(
            "The namespace of the ServiceAccount. [default: the namespace of the ServiceAccounts that made \
             the requests, if they are all in one namespace]",
        ))
        .arg(output::flag().help("Print YAML, or one line of JSON."))
        .next_help_heading("Rules in use")
        .arg(Arg::new("diff").long("diff").value_name("FILE").help(
            "Also compare with the rules in this file: rules as in the input `role-rules`, or manifests of Roles \
             and ClusterRoles. Exit code 5: they allow something that no run did.",
        ))
        .args(cluster)
        .mut_arg(Opt::Kubeconfig.name(), |flag| {
            flag.help(
                "Also compare with the rules that the API server lists to the user of this kubeconfig: give \
                 the kubeconfig of the job.",
            )
        })
        .after_help(
            "Exit codes: 0 done; 5 with `--diff`, the rules allow something that no run did; 2 wrong \
             input; 3 or 4 with `--kubeconfig`, the API server does not list all rules.\n\n\
             Examples:\n  \
             jobpass learn record-1 record-2\n  \
             jobpass learn record --diff role.yaml\n  \
             jobpass learn audit.log \\\n    --credential-id b7f2a2a4-4d0e-4e7e-8b1c-5d5f0f3b7f10",
        )
}

/// Runs the verb.
pub(crate) async fn run(
    matches: &ArgMatches,
    environment: &Environment,
    mut interrupt: Interrupt,
) -> Result<(), Error> {
    let inputs = flags::inputs(matches)?;
    let several = |name: &str| matches.get_many::<String>(name).into_iter().flatten();
    let ids = several("credential-id").cloned().collect::<Vec<_>>();
    let mut runs = Runs::default();
    for file in several("file") {
        match &**file {
            "-" => runs.read_from("standard input", BufReader::new(stdin()), &ids)?,
            file => runs.read(Path::new(file), &ids)?,
        }
    }
    if runs.is_cut() {
        output::warning(
            "a record is incomplete, because it reached 16 MiB or a request was too long for a line: the \
             rules do not cover the requests after that",
        );
    }
    if let number @ 1.. = runs.too_long() {
        let events = match number {
            1 => "1 event".to_owned(),
            number => format!("{number} events"),
        };
        output::warning(&format!(
            "jobpass skipped {events} of an audit log: the length is more than 16 MiB. The rules may lack a \
             permission. For this job, let the audit policy record at level `Metadata`, which leaves out the \
             answers"
        ));
    }
    let needs = Needs::of(&runs);
    let own = inputs.get(Opt::Namespace).or(needs.own_namespace());
    let diff = matches.get_one::<String>("diff");
    let has_cluster = connection::flags()
        .iter()
        .any(|flag| matches.contains_id(flag.get_id().as_str()));
    let in_use = match diff {
        Some(path) => Some(InUse::read(Path::new(path), own)?),
        None if has_cluster => {
            let asked = async {
                let minter = Minter::resolve(&inputs, environment).await?;
                InUse::ask(
                    &Cluster::connect(&minter)?,
                    &needs,
                    own.or(minter.namespace.as_deref()),
                )
                .await
            };
            Some(tokio::select! {
                interrupted = interrupt.wait() => return Err(interrupted),
                asked = asked => asked?,
            })
        }
        None => None,
    };
    let difference = in_use.map(|in_use| in_use.compare(&needs, own));
    let report = Report::of(&needs, own, difference);
    match output::is_json(matches) {
        true => output::result(&report.json().to_string()),
        false => output::result(&report.yaml()),
    }?;
    match (diff, report.unused()) {
        (Some(path), unused @ 1..) => {
            let rights = if unused == 1 {
                "a right".into()
            } else {
                format!("{unused} rights")
            };
            let path = text::path(Path::new(path));
            let what = format!("the rules in `{path}` grant {rights} that no run used");
            Err(Error::new(Kind::Claims, what).help(
                "remove the rights that are listed as unused, or add the records of the runs that need them",
            ))
        }
        _ => Ok(()),
    }
}
