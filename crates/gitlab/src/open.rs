//! `jobpass-gitlab open`: writes a token that another job handed over into files of this job.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
};

use clap::{ArgMatches, Command};
use jobpass_core::{
    Error, Kind,
    claims::Claims,
    inputs::{flags, options::Opt},
    json, names,
    process::files,
    record::{filter::FilterJournal, receipt::Receipt, token_files::Files},
    text::{self, harmless},
    token::Token,
};

use crate::{dotenv, job::Job, log, proxy_exec, sealed};

pub(crate) fn command() -> Command {
    Command::new("open")
        .about("Get the token that another job handed over, and write it into files as it was minted")
        .args([
            flags::flag(Opt::TokenFile).help(
                "Write the token to this file, with mode 0600. `true`: jobpass chooses a name in the job's \
                 temporary folder. A relative path begins in that folder",
            ),
            flags::flag(Opt::KubeconfigFile).help(
                "Write a kubeconfig that holds the token to this file, with mode 0600. `true` and relative \
                 paths work as for `token-file`",
            ),
        ])
        .args([dotenv::variable_flag(), sealed::identity_flag()])
        .after_help(
            "The end of this job does not revoke the token. A shell that runs the commands of \
             `jobpass-gitlab mask --shell` removes the files when it ends. Without such a shell, remove \
             them in after_script.\nExample:\n  jobpass-gitlab open --kubeconfig-file true",
        )
}

pub(crate) fn run(matches: &ArgMatches, job: &Job) -> Result<(), Error> {
    let inputs = job.with_file_names(flags::inputs(matches)?);
    let name = dotenv::variable(matches)?;
    let Some(token) = dotenv::handed_over(name, matches, &job.environment) else {
        return Err(Error::input(
            "variable",
            format!("is `{name}`, which no earlier job handed over"),
            "if this job has `needs` or `dependencies`, add the job that mints to each of them. If it has \
             neither, put this job into a later stage than the job that mints. Also remove any project \
             variable of that name, even an empty one: it takes precedence",
        ));
    };
    let token = token?;
    let connection = dotenv::api_server(&job.environment)?;
    let wanted = inputs
        .get(Opt::KubeconfigFile)
        .is_some_and(|wanted| wanted != "false");
    let inputs = match &connection {
        None if wanted => {
            log::warning(&no_server());
            inputs.without(Opt::KubeconfigFile)
        }
        _ => inputs,
    };
    let files = Files::plan(&inputs, job.folder()?, "")?;
    if files.is_empty() {
        return Err(Error::input(
            Opt::TokenFile,
            "is missing: jobpass would have no file for the token",
            "give a path, or `true` for a name in the job's temporary folder",
        ));
    }
    let filter = FilterJournal::of(&job.environment)?;
    record(job, &files)?;
    filter.map_or(Ok(()), |filter| filter.announce(&token))?;
    proxy_exec::mask(&token)?;
    let remark = match &connection {
        Some(connection) if files.kubeconfig_file.is_some() => {
            files.write(&token, connection, &user(&token)?)?
        }
        _ => {
            files.write_token(&token)?;
            None
        }
    };
    if let Some(remark) = remark {
        log::warning(&Error::new(Kind::Deliver, remark));
    }
    let written = [&files.token_file, &files.kubeconfig_file].into_iter().flatten();
    let written = written.map(|path| text::path(path)).collect::<Vec<_>>();
    log::say(&format!(
        "jobpass: wrote the token from {name} to {}. A default runner does not mask the token in this form",
        written.join(" and ")
    ));
    Ok(())
}

/// Removes the files that `open` wrote in this job.
pub(crate) fn close(job: &Job) {
    for path in job.files("opened") {
        let opened = files::read(&path).ok();
        let opened = opened.and_then(|text| serde_json::from_str::<Files>(&text).ok());
        let Some(Err(error)) = opened.map(|files| files.remove()) else {
            let _ = fs::remove_file(path);
            continue;
        };
        log::warning(&error);
    }
}

/// Records the files before this job writes them, so that the end of this job can remove them.
fn record(job: &Job, files: &Files) -> Result<(), Error> {
    let path = job.file(&format!("{}.opened", names::random_name()?));
    let text = json::text(files)?;
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| {
            let why = harmless(&error.to_string());
            Error::new(
                Kind::Deliver,
                format!("cannot write to the job's temporary folder: {why}"),
            )
            .help("check the folder, its permissions and free space")
        })
}

/// A receipt with the ServiceAccount in the token's claims. It names the user in the kubeconfig.
fn user(token: &Token) -> Result<Receipt, Error> {
    let claims = Claims::decode(token).map_err(|error| {
        error.help(
            "read the log of the job that handed the token over: no jobpass hands such a token over, so \
             another program wrote the report. Without `kubeconfig-file`, jobpass writes the token to \
             `token-file` and does not read its claims",
        )
    })?;
    let subject = claims.sub.unwrap_or_default();
    let mut parts = subject.rsplit(':');
    let (account, namespace) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    Ok(Receipt::new(&harmless(account), &harmless(namespace), ""))
}

fn no_server() -> Error {
    let what = "cannot write a kubeconfig: the job that mints did not hand over the address of the API \
        server";
    Error::new(Kind::Deliver, what).help(
        "read the log of that job: its report may have had no room for the address, or another version of \
         jobpass wrote the report. jobpass still writes the token to `token-file`",
    )
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use rstest::rstest;

    use super::*;
    use crate::job::tests::{job, matches};

    fn token(subject: &str) -> String {
        let claims = serde_json::json!({ "sub": subject });
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()))
    }

    fn open(
        variables: &[(&str, &str)],
        arguments: &[&str],
    ) -> (Result<(), Error>, Vec<String>, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("a folder");
        let job = job(folder.path(), variables);
        let opened = run(&matches(command(), arguments), &job);
        let files = fs::read_dir(job.folder().expect("a folder")).expect("a folder");
        let names = files.map(|file| file.expect("a file").file_name().to_string_lossy().into_owned());
        let mut names = names
            .filter(|name| !name.ends_with(".opened"))
            .collect::<Vec<_>>();
        names.sort();
        close(&job);
        (opened, names, folder)
    }

    const SERVER: (&str, &str) = ("JOBPASS_API_SERVER", "https://k8s.example.com");

    /// The job that mints may run an earlier version of jobpass, or have no room in its report. Such a job
    /// hands over no server, and the token's file alone is still useful.
    #[rstest]
    #[case::both(&[SERVER], &["--token-file", "t", "--kubeconfig-file", "k"], Ok("k t"))]
    #[case::the_token(&[], &["--token-file", "t"], Ok("t"))]
    #[case::no_server(&[], &["--token-file", "t", "--kubeconfig-file", "k"], Ok("t"))]
    #[case::nothing_to_write(&[SERVER], &["--kubeconfig-file", "false"], Err("input `token-file` is missing"))]
    #[case::nothing_that_can_be_written(&[], &["--kubeconfig-file", "k"], Err("input `token-file` is missing"))]
    #[case::a_server_without_tls(&[("JOBPASS_API_SERVER", "http://evil")], &["--token-file", "t"], Err("variable JOBPASS_API_SERVER"))]
    #[case::another_variable(&[], &["--token-file", "t", "--variable", "SCAN_TOKEN"], Err("input `variable` is `SCAN_TOKEN`, which no earlier job handed over"))]
    fn a_token_is_written_where_it_was_asked_for(
        #[case] variables: &[(&str, &str)],
        #[case] arguments: &[&str],
        #[case] expected: Result<&str, &str>,
    ) {
        let token = token("system:serviceaccount:ci:scanner");
        let variables = [variables, &[("JOBPASS_TOKEN", &*token)]].concat();
        let (opened, names, folder) = open(&variables, arguments);
        match (opened, expected) {
            (Ok(()), Ok(expected)) => assert_eq!(names.join(" "), expected),
            (Err(error), Err(why)) => assert!(error.message().starts_with(why), "{error}"),
            (opened, expected) => panic!("{opened:?} instead of {expected:?}"),
        }
        // The end of the job removes all files.
        let left = fs::read_dir(folder.path().join("project.tmp"))
            .expect("a folder")
            .count();
        assert_eq!(left, 0);
    }

    #[rstest]
    #[case("system:serviceaccount:ci:scanner", "ci", "scanner")]
    #[case("jane", "", "jane")]
    #[case("", "", "")]
    fn the_kubeconfig_names_the_user_as_the_token_does(
        #[case] subject: &str,
        #[case] namespace: &str,
        #[case] account: &str,
    ) {
        let user = user(&Token::parse(&token(subject), "token").expect("a token")).expect("a user");
        assert_eq!((&*user.namespace, &*user.service_account), (namespace, account));
    }
}
