//! `jobpass setup`: the objects that let jobs mint in a cluster.

use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint};
use jobpass_core::{
    Error, Kind,
    cluster::{Budget, Cluster},
    inputs::{
        flags::{self, flag as option},
        options::{Inputs, Opt},
        setup::Wanted,
    },
    maintenance::setup::{Consent, Fate, Outcome, Removal, Setup, SetupObject, Written},
    minter::Minter,
    process::{environment::Environment, interrupt::Interrupt},
    text,
};

use serde_json::json;

use crate::{
    options::state_file::working_directory,
    terminal::{output, screen::Screen},
};

/// The time limit for all requests of the verb together, retries included.
const TIME_LIMIT: Duration = Duration::from_secs(90);

/// The verb, its options and its help.
pub(crate) fn command() -> Command {
    let flag = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let switch = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    Command::new("setup")
        .about("Print, apply, compare or delete the objects that let jobs mint")
        .args([
            option(Opt::ServiceAccount)
                .help(
                    "The ServiceAccount for which jobs get tokens. Required, unless `role-rules` is given.",
                ),
            option(Opt::RoleRules).help(
                "Let jobs use the input `role-rules`. A job may then ask for these rules and no others: a YAML \
                 list of RBAC rules, or permissions as in `require`. jobpass creates a ServiceAccount with \
                 them for the job.",
            ),
            option(Opt::Namespace).help(
                "The namespace of the ServiceAccounts and the anchors. Keep no other Secrets in it. \
                 Required.",
            ),
            option(Opt::Duration).help("The longest lifetime that a job may ask for. [default: 1h]"),
            option(Opt::Audiences).help(
                "The audiences that a job's token may have, separated by commas or line breaks. [default: \
                 any]",
            ),
        ])
        .next_help_heading("Minters")
        .args([
            flag(
                "minter",
                "MINTER",
                "The minter, which may request tokens: `user:NAME`, `group:NAME`, \
                 `serviceaccount:NAMESPACE/NAME`, or `serviceaccount:NAME`, which setup creates. Can be \
                 given several times.",
            )
            .action(ArgAction::Append),
            flag(
                "repository-id",
                "ID",
                "GitHub: the jobs of the repository with this id are minters, by their ID tokens. Find the \
                 id with `gh api repos/OWNER/REPO --jq .id`. Can be given several times.",
            )
            .action(ArgAction::Append),
            flag(
                "project-id",
                "ID",
                "GitLab: the jobs of the project with this id are minters, by their ID tokens. Can be given \
                 several times.",
            )
            .action(ArgAction::Append),
        ])
        .arg(
            option(Opt::OidcAudience)
                .help("The audience of the ID tokens: a text that names this cluster and no other."),
        )
        .args([
            flag(
                "owner-id",
                "ID",
                "The id of an owner (GitHub) or namespace (GitLab): only jobs of its repositories or \
                 projects.",
            ),
            flag(
                "issuer",
                "URL",
                "For GitHub Enterprise Server: `https://HOST/_services/token`. For a self-managed GitLab: \
                 `https://HOST`.",
            ),
            flag(
                "ref",
                "REF",
                "Only jobs of this ref, as in `refs/heads/main`. With `protected`: only jobs of refs that \
                 the platform protects.",
            ),
            flag(
                "environment",
                "NAME",
                "Only jobs in this environment of the platform.",
            ),
            flag(
                "workflow-ref",
                "REF",
                "GitHub: only jobs of runs of this workflow, as in \
                 `OWNER/REPO/.github/workflows/FILE.yml@refs/heads/main`. Can be given several times.",
            )
            .action(ArgAction::Append),
            flag(
                "job-workflow-ref",
                "REF",
                "GitHub: only jobs that this reusable workflow defines, written in the same way. Can be given \
                 several times.",
            )
            .action(ArgAction::Append),
            flag(
                "property",
                "NAME=VALUE",
                "GitHub: only jobs of a repository with this custom property, which the organization adds \
                 to ID tokens. Can be given several times.",
            )
            .action(ArgAction::Append),
        ])
        .next_help_heading("Additions")
        .args([
            flag(
                "sweeper-image",
                "IMAGE",
                "Add a CronJob that runs `jobpass sweep` with this image. The CronJob deletes the anchors \
                 of jobs whose runners died.",
            ),
            switch(
                "example-rights",
                "Add an example of permissions for jobs: to read Pods.",
            ),
            flag(
                "minter-kubeconfig",
                "FILE",
                "With --apply, also write a kubeconfig for the minter `serviceaccount:NAME`, with mode 0600, \
                 and print the next commands. The kubeconfig holds a new token of that account.",
            )
            .value_hint(ValueHint::FilePath)
            .requires("apply"),
            flag(
                "minter-lifetime",
                "TIME",
                "The lifetime of that token, as in `720h`. The API server may issue a shorter one.",
            )
            .default_value("720h"),
        ])
        .next_help_heading("Actions")
        .args([
            switch(
                "authentication-config",
                "Print the file for the API server's flag --authentication-config, instead of the objects.",
            ),
            switch(
                "apply",
                "Apply the objects as the administrator that `kubeconfig` names, and print the changes. \
                 jobpass binds the minters only when the policies that restrict them are in effect.",
            ),
            switch(
                "replace",
                "With --apply, also remove minters that this command does not name, and permissions of jobs \
                 that it does not list.",
            )
            .requires("apply"),
            switch(
                "diff",
                "Change nothing, and compare the objects with the cluster. Exit code 5: an object differs or \
                 is missing.",
            ),
            switch(
                "delete",
                "Delete the objects that `setup` made for the same options. The minters lose their permissions \
                 before jobpass deletes the policies. An object stays if somebody else may have made it or \
                 needs it. jobpass deletes nothing while a job's token may still work, or if the set-up serves a \
                 minter that the command does not name.",
            ),
            switch(
                "revoke",
                "With --delete, also revoke the tokens that jobs have.",
            )
            .requires("delete"),
            switch(
                "dry-run",
                "With --delete, delete nothing, and print the objects that jobpass would delete. Exit code \
                 5: jobpass would refuse the deletion, for example because a job's token may still work.",
            )
            .requires("delete"),
        ])
        .arg(output::flag().help(
            "`text`: print YAML, or with --apply, --diff and --delete a line for each object. `json`: print a List, \
             or with --apply, --diff and --delete a line of JSON for each object.",
        ))
        .group(clap::ArgGroup::new("action").args(["authentication-config", "apply", "diff", "delete"]))
        .next_help_heading("Cluster, for --apply, --diff and --delete")
        .args([
            option(Opt::Kubeconfig)
                .help(
                    "The path of the administrator's kubeconfig. The variable may also hold the YAML \
                     itself, or base64 of it.",
                ),
            option(Opt::Context),
            option(Opt::Server),
            option(Opt::CertificateAuthority),
            option(Opt::BearerTokenFile)
                .help("The file that holds the administrator's bearer token for `server`."),
            option(Opt::BearerTokenEnv).help(
                "The name of the environment variable that holds the administrator's bearer token for \
                 `server`.",
            ),
        ])
        .after_help(
            "Examples:\n  \
             jobpass setup --service-account scanner --namespace ci \\\n    --minter \
             serviceaccount:jobpass-minter \\\n    --apply --minter-kubeconfig minter.yaml\n  \
             jobpass setup --service-account scanner --namespace ci \\\n    --repository-id 123456789 --ref \
             refs/heads/main \\\n    --oidc-audience https://kubernetes.example.com --diff\n  \
             jobpass setup --service-account scanner --namespace ci \\\n    --minter \
             serviceaccount:jobpass-minter --delete --dry-run",
        )
}

/// Runs the verb.
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
                "add the id of the repository (`repository-id`) or project (`project-id`) whose jobs may \
                 mint: the file lets in these jobs",
            )
        })?;
        return output::result(configuration.trim_end());
    }
    let kubeconfig = matches.get_one::<String>("minter-kubeconfig").map(|path| {
        let lifetime = matches.get_one::<String>("minter-lifetime");
        setup.minter_kubeconfig(
            working_directory().join(path),
            lifetime.map_or("", String::as_str),
        )
    });
    let kubeconfig = kubeconfig.transpose()?;
    let json = output::is_json(matches);
    if matches.get_flag("delete") {
        let deleted = delete(&setup, matches, &inputs, environment);
        return tokio::select! {
            interrupted = interrupt.wait() => Err(interrupted),
            deleted = deleted => deleted,
        };
    }
    let (apply, diff) = (matches.get_flag("apply"), matches.get_flag("diff"));
    setup.notes().iter().for_each(|note| output::warning(note));
    let objects = setup.objects()?;
    if !apply && !diff {
        let warning = setup.without_sweeper(None).await;
        warning.iter().for_each(|warning| output::warning(warning));
        let items = objects.iter().map(SetupObject::manifest).collect::<Vec<_>>();
        return match json {
            true => output::result(&json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()),
            false => output::result(setup.manifests().trim_end()),
        };
    }
    let work = async {
        let minter = Minter::resolve(&inputs, environment).await?;
        let cluster = Cluster::connect(&minter)?;
        let budget = Budget::new(TIME_LIMIT);
        let warning = setup.without_sweeper(Some((&cluster, &budget))).await;
        let escape = setup.escape_of_jobs(&cluster, &budget).await?;
        warning
            .iter()
            .chain(&escape)
            .for_each(|warning| output::warning(warning));
        let screen = Screen::of_stdout(environment);
        let print = |object: &SetupObject, outcome: &Outcome| {
            let (word, fields) = in_words(outcome, apply);
            let line = match json {
                true => json_of(object, word, fields),
                false => screen.laid_out(&line(object, word, fields)),
            };
            output::result(&line)
        };
        if apply {
            let warning = setup
                .apply(&cluster, &budget, matches.get_flag("replace"), print)
                .await?;
            warning.iter().for_each(|warning| output::warning(warning));
            let Some(kubeconfig) = kubeconfig else {
                return Ok(());
            };
            let written = kubeconfig.write(&cluster, &minter.connection, &budget).await?;
            written
                .warnings
                .iter()
                .for_each(|warning| output::warning(warning));
            return output::result(&match json {
                true => written_json(&written),
                false => screen.laid_out(&written_in_words(&written, &inputs)),
            });
        }
        let mut differing = 0;
        for object in &objects {
            let outcome = object.compare(&cluster, &budget).await?;
            differing += usize::from(outcome != Outcome::Same);
            print(object, &outcome)?;
        }
        match differing {
            0 => Ok(()),
            n => Err(Error::new(
                Kind::Claims,
                format!(
                    "the cluster differs from this setup: {n} of {} objects differ or are missing",
                    objects.len()
                ),
            )
            .help("run the same command with `--apply` instead of `--diff` to change the cluster")),
        }
    };
    tokio::select! {
        interrupted = interrupt.wait() => Err(interrupted),
        done = work => done,
    }
}

/// Deletes the set-up.
async fn delete(
    setup: &Setup,
    matches: &ArgMatches,
    inputs: &Inputs,
    environment: &Environment,
) -> Result<(), Error> {
    let consent = match (matches.get_flag("dry-run"), matches.get_flag("revoke")) {
        (true, revoke) => Consent::DryRun { revoke },
        (false, true) => Consent::Revoke,
        (false, false) => Consent::NoTokens,
    };
    let minter = Minter::resolve(inputs, environment).await?;
    let cluster = Cluster::connect(&minter)?;
    let (json, screen) = (output::is_json(matches), Screen::of_stdout(environment));
    let mut nothing_to_delete = true;
    let print = |removal: Removal| {
        nothing_to_delete &= removal.fate != Fate::Deleted;
        let (word, why) = match &removal.fate {
            Fate::Deleted if consent.is_dry_run() => ("would-delete", None),
            Fate::Deleted => ("deleted", None),
            Fate::Missing => ("missing", None),
            Fate::Kept(why) => ("kept", Some(why)),
        };
        let Removal {
            kind,
            namespace,
            name,
            ..
        } = &removal;
        output::result(&match json {
            true => json!({
                "kind": kind, "namespace": namespace, "name": name, "result": word, "why": why,
            })
            .to_string(),
            false => {
                let namespace = namespace
                    .as_ref()
                    .map_or_else(String::new, |namespace| format!("{namespace}/"));
                let why = why.map_or_else(String::new, |why| format!(": {why}"));
                screen.laid_out(&format!("{word:<12}  {kind} {namespace}{name}{why}"))
            }
        })
    };
    setup
        .delete(&cluster, &Budget::new(TIME_LIMIT), consent, print)
        .await?;
    if nothing_to_delete {
        output::warning(&nothing_was_there(inputs));
    }
    if setup.authentication().is_some() {
        output::warning(
            "the API server still trusts the issuer of the ID tokens: remove the entry of this issuer from \
             the API server's AuthenticationConfiguration, unless other jobs still need it",
        );
    }
    Ok(())
}

/// The warning for a deletion that found no object to delete. It helps a person who mistyped a name: the
/// cluster then looks as if the set-up were gone.
fn nothing_was_there(inputs: &Inputs) -> String {
    let given = [Opt::ServiceAccount, Opt::RoleRules, Opt::Namespace].into_iter();
    let given = given.filter(|option| inputs.get(*option).is_some());
    let options = given.map(|option| format!("`--{option}`")).collect::<Vec<_>>();
    format!(
        "nothing of this set-up was there to delete. If you expected something, check {}",
        options.join(" and ")
    )
}

/// The options of the set-up, from the flags.
fn wanted(matches: &ArgMatches, inputs: &Inputs) -> Wanted {
    let one = |name: &str| matches.get_one::<String>(name).cloned();
    let several = |name: &str| matches.get_many(name).into_iter().flatten().cloned().collect();
    let of_table = |option| inputs.get(option).unwrap_or_default().to_owned();
    Wanted {
        service_account: of_table(Opt::ServiceAccount),
        rules: of_table(Opt::RoleRules),
        namespace: of_table(Opt::Namespace),
        duration: of_table(Opt::Duration),
        audiences: of_table(Opt::Audiences),
        minters: several("minter"),
        repository_ids: several("repository-id"),
        workflow_refs: several("workflow-ref"),
        job_workflow_refs: several("job-workflow-ref"),
        properties: several("property"),
        project_ids: several("project-id"),
        owner_id: one("owner-id"),
        issuer: one("issuer"),
        // `inputs` lacks this option, because no other verb of the command line has it.
        oidc_audience: flags::given(matches, Opt::OidcAudience)
            .filter(|audience| !audience.trim().is_empty()),
        git_ref: one("ref"),
        environment: one("environment"),
        sweeper_image: one("sweeper-image"),
        example_rights: matches.get_flag("example-rights"),
    }
}

/// The word for an outcome, and the differing fields. `applied` is `true` if the word must say what `--apply`
/// did to the object.
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

/// The line of text for an object.
fn line(object: &SetupObject, word: &str, fields: &[String]) -> String {
    let about = if fields.is_empty() { "" } else { ": " };
    format!("{word:<9}  {}{about}{}", object.title(), fields.join(", "))
}

/// The line of JSON for an object.
fn json_of(object: &SetupObject, word: &str, fields: &[String]) -> String {
    let manifest = object.manifest();
    let metadata = &manifest["metadata"];
    json!({
        "kind": manifest["kind"], "namespace": metadata["namespace"], "name": metadata["name"], "result": word, "fields": fields,
    })
    .to_string()
}

/// Describes the minter's kubeconfig, and lists the next commands. People can paste the commands, because
/// [`Screen::laid_out`] breaks no line in a paragraph of several lines.
fn written_in_words(written: &Written, inputs: &Inputs) -> String {
    let Written {
        path,
        namespace,
        account,
        expires,
        lifetime,
        ..
    } = written;
    let shown = text::path(path);
    let file = quoted(&shown);
    let given = |option: Opt| {
        let value = inputs.get(option)?;
        Some(format!(" --{option} {}", quoted(value)))
    };
    let account_or_rules = given(Opt::ServiceAccount).or_else(|| given(Opt::RoleRules));
    format!(
        "written    kubeconfig {shown}\n\n\
         The token of {namespace}/{account} in it lives for {}, until {}. Check the kubeconfig, store it in \
         GitHub or GitLab, and remove the file:\n\n  \
         jobpass doctor{} --namespace {namespace} --kubeconfig {file}\n  \
         gh secret set JOBPASS_KUBECONFIG --env ENVIRONMENT < {file}\n  \
         glab variable set JOBPASS_KUBECONFIG --type file --protected < {file}",
        text::in_words(*lifetime),
        text::time(*expires),
        account_or_rules.unwrap_or_default(),
    )
}

/// The line of JSON for the kubeconfig of the minter.
fn written_json(written: &Written) -> String {
    json!({
        "kind": "Kubeconfig", "namespace": written.namespace, "name": written.account, "result": "written",
        "fields": [], "path": text::path(&written.path), "expires": written.expires,
    })
    .to_string()
}

/// Quotes a word for a POSIX shell, if it needs quotes.
fn quoted(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:@".contains(&b);
    match !word.is_empty() && word.bytes().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn setup(arguments: &[&str]) -> Setup {
        // The environment of the tests must have no effect.
        let command = command().no_binary_name(true).mut_args(|flag| flag.env(None));
        let matches = command.try_get_matches_from(arguments).expect("arguments");
        let inputs = flags::inputs(&matches).expect("inputs");
        Setup::parse(&wanted(&matches, &inputs)).expect("a setup")
    }

    #[test]
    fn each_flag_reaches_the_manifests() {
        let setup = setup(&[
            "--service-account=scanner",
            "--namespace=ci",
            "--duration=20m",
            "--audiences=vault",
            "--minter=user:jane",
            "--minter=group:ci",
            "--repository-id=123",
            "--owner-id=456",
            "--issuer=https://git.example/_services/token",
            "--oidc-audience=https://kubernetes.example",
            "--ref=refs/heads/main",
            "--environment=production",
            "--sweeper-image=registry.example/jobpass:1",
            "--example-rights",
        ]);
        let all = setup.manifests() + setup.authentication().as_deref().unwrap_or_default();
        for text in [
            "scanner",
            "name: \"ci\"",
            "1200",
            "vault",
            "jane",
            "123",
            "456",
            "https://git.example/_services/token",
            "https://kubernetes.example",
            "refs/heads/main",
            "production",
            "registry.example/jobpass:1",
            "pods",
        ] {
            assert!(all.contains(text), "{text}\n{all}");
        }
    }

    #[test]
    fn a_deletion_of_nothing_names_the_options_to_check() {
        let inputs = Inputs::from([(Opt::ServiceAccount, "scanner1"), (Opt::Namespace, "ci")]);
        let warning = nothing_was_there(&inputs);
        assert!(
            warning.ends_with("check `--service-account` and `--namespace`"),
            "{warning}"
        );
    }

    #[rstest]
    #[case(Outcome::Same, "same", "unchanged")]
    #[case(Outcome::Missing, "missing", "created")]
    #[case(Outcome::Differs(vec!["rules[0]".into(), "metadata.labels".into()]), "differs", "changed")]
    fn a_line_says_what_differs_or_what_was_done(
        #[case] outcome: Outcome,
        #[case] found: &str,
        #[case] done: &str,
    ) {
        let objects = setup(&[
            "--service-account=scanner",
            "--namespace=ci",
            "--minter=user:jane",
        ])
        .objects()
        .expect("objects");
        let object = &objects[0];
        for (applied, expected) in [(false, found), (true, done)] {
            let (word, fields) = in_words(&outcome, applied);
            assert_eq!(word, expected);
            let differs = matches!(outcome, Outcome::Differs(_));
            let text = line(object, word, fields);
            assert!(text.starts_with(&format!("{word:<9}  Namespace ci")), "{text}");
            assert_eq!(text.ends_with(": rules[0], metadata.labels"), differs, "{text}");
            let json =
                serde_json::from_str::<serde_json::Value>(&json_of(object, word, fields)).expect("JSON");
            assert_eq!(
                (&json["kind"], &json["name"], &json["result"]),
                (&"Namespace".into(), &"ci".into(), &word.into())
            );
            assert_eq!(json["fields"].as_array().map(Vec::len), Some(fields.len()));
        }
    }
}
