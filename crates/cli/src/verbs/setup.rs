//! `jobpass setup`.

use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};
use jobpass_core::{
    Error, Kind,
    cluster::{Budget, Cluster},
    inputs::{flags, options::Inputs, setup::Wanted},
    maintenance::setup::{Outcome, Setup, SetupObject},
    minter::Minter,
    process::{environment::Environment, interrupt::Interrupt},
};

use serde_json::json;

use crate::terminal::{output, screen::Screen};

/// All objects together.
const CLUSTER: Duration = Duration::from_secs(90);

pub(crate) fn command() -> Command {
    let flag = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let switch = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    Command::new("setup")
        .about("Print what a cluster needs so that jobs may mint, with reasons; or apply it, or compare it with the cluster")
        .args(flags::flags().filter_map(|flag| match flag.get_id().as_str() {
            "service-account" => Some(flag.help("Name of the ServiceAccount that the jobs' tokens speak for. Required, unless `rules` is given")),
            "rules" => Some(flag.help(
                "Let jobs bring `rules`: what they may give, at most, to ServiceAccounts that are made for them. A YAML list of RBAC \
                 rules, or permissions as in `require`",
            )),
            "namespace" => Some(flag.help(
                "Namespace of the ServiceAccounts and the anchors; it should hold no other Secrets. Required",
            )),
            "duration" => Some(flag.help(
                "The longest lifetime that a job may ask for; longer ones are refused [default: 1h]",
            )),
            "audiences" => Some(flag.help(
                "The audiences that a job's token may have, separated by commas or line breaks; any, if it is not given",
            )),
            _ => None,
        }))
        .next_help_heading("Who mints")
        .args([
            flag("minter", "MINTER", "Who may ask for tokens: `user:NAME`, `group:NAME`, `serviceaccount:NAME` (which is made) or \
                 `serviceaccount:NAMESPACE/NAME`; can be given several times")
                .action(ArgAction::Append),
            flag("repository-id", "ID", "GitHub: the jobs of the repository with this id, with their ID tokens; can be given several \
                 times. `gh api repos/OWNER/REPO --jq .id`")
                .action(ArgAction::Append),
            flag("project-id", "ID", "GitLab: the jobs of the project with this id, with their ID tokens; can be given several times")
                .action(ArgAction::Append),
        ])
        .args(flags::flags().filter(|flag| flag.get_id() == "oidc-audience").map(|flag| {
            flag.help("The audience of the ID tokens: any text that names this cluster and no other")
        }))
        .args([
            flag("owner-id", "ID", "Only while the owner (GitHub) or namespace (GitLab) of the repository or project has this id"),
            flag("issuer", "URL", "GitHub Enterprise Server: `https://HOST/_services/token`. A GitLab of your own: `https://HOST`"),
            flag("ref", "REF", "Only jobs of this ref, as in `refs/heads/main`; `protected`: of all refs that the platform protects"),
            flag("environment", "NAME", "Only jobs in this environment of the platform"),
        ])
        .next_help_heading("What else")
        .args([
            flag("sweeper-image", "IMAGE", "Add a CronJob that deletes the anchors of runners that died, with this image of jobpass"),
            switch("example-rights", "Add an example of what jobs may do: look at Pods"),
        ])
        .next_help_heading("What to do with it")
        .args([
            switch("authentication-config", "Print, instead, the file for the API server's flag --authentication-config"),
            switch("apply", "Apply it, as the administrator that `kubeconfig` names, and say what changed; minters are bound when the \
                    policies that hold them are in effect"),
            switch("replace", "With --apply, also take away what somebody has: minters that are not named here, and what jobs may \
                    be given beyond this").requires("apply"),
            switch("diff", "Change nothing; compare it with the cluster. Exit code 5: something differs or is missing"),
        ])
        .arg(output::flag().help(
            "YAML for people, and with --apply and --diff a line for each object; or JSON: one List, or a line of JSON for each object",
        ))
        .group(clap::ArgGroup::new("action").args(["authentication-config", "apply", "diff"]))
        .next_help_heading("The cluster, for --apply and --diff")
        .args(flags::flags().filter_map(|flag| match flag.get_id().as_str() {
            "kubeconfig" => Some(flag.help("The administrator's kubeconfig: a path, or in the variable the YAML or base64 of it")),
            "context" | "server" | "certificate-authority" | "bearer-token-file" | "bearer-token-env" => Some(flag),
            _ => None,
        }))
        .after_help(
            "Examples:\n  jobpass setup --service-account scanner --namespace ci --minter serviceaccount:jobpass-minter \
             --apply\n  jobpass setup --service-account scanner --namespace ci --repository-id 123456789 --ref refs/heads/main \
             \\\n    --oidc-audience https://kubernetes.example.com --diff",
        )
}

pub(crate) async fn run(
    matches: &ArgMatches,
    environment: &Environment,
    mut interrupt: Interrupt,
) -> Result<(), Error> {
    let inputs = flags::inputs(matches)?;
    let setup = Setup::parse(&wanted(matches, &inputs))?;
    if matches.get_flag("authentication-config") {
        let configuration = setup.authentication().ok_or_else(|| {
            Error::input(
                "authentication-config",
                "is given without `repository-id` or `project-id`",
                "only jobs that come with ID tokens need it",
            )
        })?;
        return output::result(configuration.trim_end());
    }
    let (apply, diff) = (matches.get_flag("apply"), matches.get_flag("diff"));
    setup.notes().iter().for_each(|note| output::warning(note));
    let json = output::is_json(matches);
    let objects = setup.objects()?;
    if !apply && !diff {
        let items = objects.iter().map(SetupObject::manifest).collect::<Vec<_>>();
        return match json {
            true => output::result(&json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()),
            false => output::result(setup.manifests().trim_end()),
        };
    }
    let work = async {
        let minter = Minter::resolve(&of_administrator(&inputs)?, environment).await?;
        let cluster = Cluster::connect(&minter)?;
        let budget = Budget::new(CLUSTER);
        let screen = Screen::of_stdout(environment);
        let say = |object: &SetupObject, outcome: &Outcome| {
            let (word, fields) = in_words(outcome, apply);
            let line = match json {
                true => record(object, word, fields),
                false => screen.laid_out(&line(object, word, fields)),
            };
            output::result(&line)
        };
        if apply {
            let unseen = setup
                .apply(&cluster, &budget, matches.get_flag("replace"), say)
                .await?;
            unseen.iter().for_each(|unseen| output::warning(unseen));
            return Ok(());
        }
        let mut differing = 0;
        for object in &objects {
            let outcome = object.compare(&cluster, &budget).await?;
            differing += usize::from(outcome != Outcome::Same);
            say(object, &outcome)?;
        }
        match differing {
            0 => Ok(()),
            n => Err(Error::new(
                Kind::Claims,
                format!(
                    "the cluster is not set up so: {n} of {} objects differ or are missing",
                    objects.len()
                ),
            )
            .help("the same command with `--apply` in place of `--diff` makes it so")),
        }
    };
    tokio::select! {
        interrupted = interrupt.wait() => Err(interrupted),
        done = work => done,
    }
}

fn wanted(matches: &ArgMatches, inputs: &Inputs) -> Wanted {
    let one = |name: &str| matches.get_one::<String>(name).cloned();
    let several = |name: &str| matches.get_many(name).into_iter().flatten().cloned().collect();
    let of_table = |name: &str| inputs.get(name).unwrap_or_default().to_owned();
    Wanted {
        service_account: of_table("service-account"),
        rules: of_table("rules"),
        namespace: of_table("namespace"),
        duration: of_table("duration"),
        audiences: of_table("audiences"),
        minters: several("minter"),
        repository_ids: several("repository-id"),
        project_ids: several("project-id"),
        owner_id: one("owner-id"),
        issuer: one("issuer"),
        oidc_audience: inputs.get("oidc-audience").map(str::to_owned),
        git_ref: one("ref"),
        environment: one("environment"),
        sweeper_image: one("sweeper-image"),
        example_rights: matches.get_flag("example-rights"),
    }
}

/// Who applies is no job, and has no ID token.
fn of_administrator(inputs: &Inputs) -> Result<Inputs, Error> {
    Inputs::read(|option| {
        (option.name != "oidc-audience").then(|| inputs.get(option.name).map(str::to_owned))?
    })
}

/// What was found, or done, and the fields that it is about.
fn in_words(outcome: &Outcome, applied: bool) -> (&'static str, &[String]) {
    match (outcome, applied) {
        (Outcome::Same, true) => ("unchanged", &[]),
        (Outcome::Same, false) => ("same", &[]),
        (Outcome::Missing, true) => ("created", &[]),
        (Outcome::Missing, false) => ("missing", &[]),
        (Outcome::Differs(fields), true) => ("changed", fields),
        (Outcome::Differs(fields), false) => ("differs", fields),
    }
}

fn line(object: &SetupObject, word: &str, fields: &[String]) -> String {
    let about = if fields.is_empty() { "" } else { ": " };
    format!("{word:<9}  {}{about}{}", object.title(), fields.join(", "))
}

fn record(object: &SetupObject, word: &str, fields: &[String]) -> String {
    let manifest = object.manifest();
    let metadata = &manifest["metadata"];
    json!({
        "kind": manifest["kind"], "namespace": metadata["namespace"], "name": metadata["name"], "result": word, "fields": fields,
    })
    .to_string()
}
