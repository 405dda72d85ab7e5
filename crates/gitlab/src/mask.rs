//! `jobpass-gitlab mask`: removes the job's secrets from the text that the job prints.

mod pipe;

use std::{fs::File, io, os::fd::AsFd, path::Path};

use clap::{Arg, ArgAction, ArgMatches, Command};
use jobpass_core::{
    Error, Kind,
    inputs::{
        flags,
        options::{Inputs, Opt},
    },
    minter::Minter,
    names,
    process::files::create_private_folder,
    record::{filter::FilterJournal, journal::Reader, state::State, token_files::Files},
    text::{self, harmless},
};
use jobpass_mask::Masker;
use secrecy::{ExposeSecret as _, SecretString};

use crate::{
    dotenv,
    guard::Script,
    job::{Job, value},
    named_pipe, sealed,
};

/// The extension of the folder with the filter's journal. The folder is beside the filter's pipe.
pub(crate) const FILTER: &str = "filter";

pub(crate) fn command() -> Command {
    let hidden = |name: &'static str| Arg::new(name).long(name).hide(true);
    Command::new("mask")
        .about("Copy standard input to standard output, without the tokens of this job and the minter's credential")
        .arg(
            Arg::new("shell")
                .long("shell")
                .action(ArgAction::SetTrue)
                .help("Print shell commands for the rest of the job. They send the shell's output through \
                    this filter. They also make the shell wait, before it exits, until the guard has \
                    revoked the token"),
        )
        .arg(
            Arg::new("mask-log")
                .long("mask-log")
                .env("JOBPASS_MASK_LOG")
                .hide_env_values(true)
                .value_name("BOOL")
                .help("`false`: jobpass does not mask the log. The commands of `--shell` then only make the \
                    shell wait for the guard. [default: true]"),
        )
        .args([
            flags::flag(Opt::Kubeconfig),
            flags::flag(Opt::BearerTokenFile),
            flags::flag(Opt::BearerTokenEnv),
            flags::flag(Opt::TokenFile).help(
                "The file that holds the token, if another job minted it. A relative path begins in the \
                 job's temporary folder",
            ),
        ])
        .args([dotenv::variable_flag(), sealed::identity_flag(), hidden("pipe"),
            hidden("end"),
            hidden("mark"),])
        .after_help(
            "In before_script, after `mint` or `open`, in bash and POSIX sh:\n  \
             - jobpass_mask=\"$(jobpass-gitlab mask --shell)\"\n  \
             - eval \"$jobpass_mask\"\n\
             For one command:\n  ./run_scan.sh 2>&1 | jobpass-gitlab mask",
        )
}

/// Runs the filter, or prints the commands of `--shell`. A signal ends this program, as it ends any other
/// filter.
pub(crate) fn run(matches: &ArgMatches, job: &Job) -> Result<(), Error> {
    let wanted = match value(matches, "mask-log") {
        None | Some("true") => true,
        Some("false") => false,
        Some(other) => {
            let problem = format!("is `{}`", text::wrong(other));
            return Err(Error::input("mask-log", problem, "use `true` or `false`"));
        }
    };
    let in_shell = matches.get_flag("shell");
    if in_shell && !wanted {
        return crate::log::print(&shell(job, false)?);
    }
    let cannot = |error: io::Error| {
        let why = harmless(&error.to_string());
        Error::new(Kind::Deliver, format!("cannot mask the log: {why}"))
            .help("check that the job's temporary folder exists, and that the runner still reads the log")
    };
    if let (Some(pipe), Some(mark)) = (value(matches, "end"), value(matches, "mark")) {
        return pipe::end(Path::new(pipe), mark).map_err(cannot);
    }
    let inputs = job.with_file_names(flags::inputs_at_end(matches)?);
    let secrets = secrets(matches, job, &inputs);
    let secrets = secrets.inspect_err(|_| {
        if let Some(pipe) = value(matches, "pipe") {
            pipe::refuse(Path::new(pipe));
        }
    })?;
    let sources = sources(job)?;
    if in_shell {
        return crate::log::print(&shell(job, true)?);
    }
    let masker = Masker::new(secrets.iter().map(SecretString::expose_secret)).with_sources(sources);
    // The filter uses the descriptor directly, so that masked text waits in no other buffer.
    let output = io::stdout().as_fd().try_clone_to_owned().map(File::from);
    let copied = output.and_then(
        |mut output| match (value(matches, "pipe"), value(matches, "mark")) {
            (Some(pipe), Some(mark)) => pipe::mask(masker, Path::new(pipe), mark, &mut output),
            _ => jobpass_mask::copy(masker, &mut io::stdin().lock(), &mut output),
        },
    );
    copied.map_err(cannot)
}

/// The secrets to mask: the tokens that this job minted or got from other jobs, and the minter's credentials.
fn secrets(matches: &ArgMatches, job: &Job, inputs: &Inputs) -> Result<Vec<SecretString>, Error> {
    let minted = job.recorded().into_iter().filter(|recorded| recorded.is_ours);
    let minted = minted.filter_map(|recorded| State::read(&recorded.path).ok()?.files.token());
    let handed_over = dotenv::handed_over(dotenv::variable(matches)?, matches, &job.environment);
    // Without the identity, the variable of a sealed token shows no part of the token.
    let handed_over = handed_over.and_then(Result::ok);
    let token_file = inputs
        .get(Opt::TokenFile)
        .map(|path| job.folder().map(|folder| folder.join(path)));
    let files = Files {
        token_file: token_file.transpose()?,
        ..Files::default()
    };
    let tokens = minted.chain(handed_over).chain(files.token());
    let mut secrets: Vec<_> = tokens.map(SecretString::from).collect();
    if secrets.is_empty() {
        let what = "this job has neither minted nor opened a token, and input `token-file` names none: there \
                    is nothing to mask";
        return Err(Error::new(Kind::Input, what).help(
            "run `jobpass-gitlab mint` or `jobpass-gitlab open` first. If another program wrote the token, \
             name its file in `token-file`",
        ));
    }
    secrets.extend(Minter::credentials(inputs, &job.environment));
    Ok(secrets)
}

/// The journals from which the filter learns later tokens: one for each renewed token of this job, and the
/// journal of log filters that the environment names.
fn sources(job: &Job) -> Result<Vec<Reader>, Error> {
    let minted = job.recorded().into_iter().filter(|recorded| recorded.is_ours);
    let minted = minted.filter_map(|recorded| State::read(&recorded.path).ok());
    let renewed = minted.map(|state| Reader::of_renewals(&state));
    let mut sources = renewed
        .filter_map(Result::transpose)
        .collect::<Result<Vec<_>, _>>()?;
    let filter = FilterJournal::of(&job.environment)?;
    sources.extend(filter.map(|filter| filter.reader()));
    Ok(sources)
}

/// The commands for the shell to evaluate. They hold no secret.
fn shell(job: &Job, with_filter: bool) -> Result<String, Error> {
    let cannot = |what: &str, error: io::Error| {
        let what = format!("cannot {what}: {}", harmless(&error.to_string()));
        Error::new(Kind::Deliver, what).help(
            "check the permissions and the free space of the job's temporary folder, and whether its \
                   file system has named pipes. With `mask-log: false`, the job runs without a masked log",
        )
    };
    let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
    let program = std::env::current_exe().map_err(|error| {
        let what = format!(
            "cannot find the path of this program: {}",
            harmless(&error.to_string())
        );
        Error::new(Kind::Deliver, what).help("check that the job can read `/proc/self/exe`")
    })?;
    let program = quoted(&program.to_string_lossy());
    let mark = names::random_name()?;
    job.folder()?;
    let pipe = job.file(&format!("{mark}.log"));
    // The commands hold the current values, because the script may change the variables.
    let names = ["CI_JOB_ID", "CI_PROJECT_DIR", "RUNNER_TEMP_PROJECT_DIR"];
    let variables = names.iter().filter_map(|name| {
        let value = job.environment.get(name)?;
        Some(format!("{name}={} ", quoted(value)))
    });
    let variables = variables.collect::<String>();
    let mut text = format!(
        "jobpass_program={program}\njobpass_pipe={}\njobpass_mark={mark}\njobpass_guards={}\n",
        quoted(&pipe.to_string_lossy()),
        quoted(&format!("{variables}{program} guard --end")),
    );
    let script = Script::find();
    if !script.calls {
        // Another script has called this program. If that script evaluates these commands, its end is not the
        // end of the job. If the script only prints the commands, the job's own shell may evaluate them.
        text += &format!("[ \"$$\" = {} ] || jobpass_guards=:\n", script.id);
    }
    if with_filter {
        // A filter inside another filter uses the journal of the outer filter.
        if FilterJournal::of(&job.environment)?.is_none() {
            let folder = pipe.with_extension(FILTER);
            create_private_folder(&folder)
                .map_err(|error| cannot("create a folder in the job's temporary folder", error))?;
            let (name, journal) = (FilterJournal::VARIABLE, FilterJournal::create(&folder)?);
            let path = quoted(&journal.path().to_string_lossy());
            text += &format!("{name}={path}\nexport {name}\n");
        }
        named_pipe::make(&pipe)
            .map_err(|error| cannot("create a named pipe in the job's temporary folder", error))?;
        text += include_str!("mask/filter.sh");
    }
    Ok(text + include_str!("mask/end.sh"))
}

#[cfg(test)]
mod tests {
    use std::process;

    use rstest::rstest;

    use super::*;
    use crate::job::tests::{job, matches};

    #[rstest]
    #[case::no_token(&[], "this job has neither minted nor opened a token")]
    #[case::another_word(&["--mask-log", "no"], "input `mask-log` is `no`")]
    fn a_filter_that_would_mask_nothing_does_not_begin(#[case] arguments: &[&str], #[case] why: &str) {
        let folder = tempfile::tempdir().expect("a folder");
        let error = run(&matches(command(), arguments), &job(folder.path(), &[])).expect_err("refused");
        assert!(error.message().starts_with(why), "{error}");
    }

    #[test]
    fn the_token_of_a_file_is_masked_beside_the_minter_s() {
        let folder = tempfile::tempdir().expect("a folder");
        let job = job(
            folder.path(),
            &[("MINTER", "of-minter"), ("JOBPASS_TOKEN", "a.handed.over")],
        );
        std::fs::write(job.folder().expect("a folder").join("t"), "of-file").expect("written");
        let matches = matches(command(), &["--token-file", "t", "--bearer-token-env", "MINTER"]);
        let inputs = flags::inputs_at_end(&matches).expect("inputs");
        let secrets = secrets(&matches, &job, &inputs).expect("secrets");
        let secrets = secrets
            .iter()
            .map(|secret| secret.expose_secret())
            .collect::<Vec<_>>();
        assert_eq!(secrets, ["a.handed.over", "of-file", "of-minter"]);
    }

    /// The shell must read each variable of a job as plain text, whatever characters it has.
    #[test]
    fn a_hostile_path_is_a_text_to_the_shell() {
        let folder = tempfile::tempdir().expect("a folder");
        let hostile = folder.path().join("a'; echo spoiled; '$(echo spoiled)");
        let job = job(
            folder.path(),
            &[("RUNNER_TEMP_PROJECT_DIR", hostile.to_str().expect("text"))],
        );
        let commands = shell(&job, false).expect("commands");
        let assignments = commands.lines().take_while(|line| line.starts_with("jobpass_"));
        let script = assignments.collect::<Vec<_>>().join("\n") + "\nprintf '%s\\n' \"$jobpass_pipe\"";
        let shown = process::Command::new("sh")
            .args(["-c", &script])
            .output()
            .expect("a shell");
        let shown = String::from_utf8_lossy(&shown.stdout);
        assert!(
            shown.starts_with(hostile.to_str().expect("text")) && shown.lines().count() == 1,
            "{shown}"
        );
        // Without a filter, no process writes into a pipe.
        assert!(!Path::new(shown.trim()).exists());
        assert!(!commands.contains("exec > \"$jobpass_pipe\""), "{commands}");
    }

    #[test]
    fn a_filter_comes_with_its_pipe() {
        let folder = tempfile::tempdir().expect("a folder");
        let job = job(folder.path(), &[]);
        let commands = shell(&job, true).expect("commands");
        assert!(commands.contains("exec > \"$jobpass_pipe\""), "{commands}");
        assert_eq!(job.files("log").len(), 1);
    }
}
