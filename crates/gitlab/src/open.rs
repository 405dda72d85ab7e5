//! `jobpass-gitlab open`: in a job that gets the token from another one.

use clap::{ArgMatches, Command};
use jobpass_core::{Error, inputs::flags, record::token_files::Files};

use crate::{dotenv, job::Job, log, proxy_exec, sealed};

pub(crate) fn command() -> Command {
    Command::new("open")
        .about("Write the token that another job handed over to a file, as it was minted")
        .args(flags::flags().filter(|flag| flag.get_id() == "token-file").map(|flag| {
            flag.help(
                "Write the token to this file (mode 0600). `true` chooses a name in the job's temporary folder; a relative \
                 path is taken from there",
            )
        }))
        .args([dotenv::variable_flag(), sealed::identity_flag()])
        .after_help(
            "Nothing revokes the token when this job ends, and nothing removes the file: remove it in after_script.\n\
             Example:\n  jobpass-gitlab open --token-file true",
        )
}

pub(crate) fn run(matches: &ArgMatches, job: &Job) -> Result<(), Error> {
    let inputs = job.with_file_names(&flags::inputs(matches)?)?;
    let name = dotenv::variable(matches)?;
    let Some(token) = dotenv::handed_over(name, matches, &job.environment) else {
        return Err(Error::input(
            "variable",
            format!("is `{name}`, which no earlier job handed over"),
            "name the job that mints under `needs` or `dependencies`; a variable of the project with that name, even an \
             empty one, would win over it",
        ));
    };
    let token = token?;
    let files = Files::plan(&inputs, job.folder()?, "")?;
    let Some(path) = &files.token_file else {
        return Err(Error::input(
            "token-file",
            "is missing: the token has nowhere to go",
            "give a path, or `true` for a name in the job's temporary folder",
        ));
    };
    proxy_exec::mask(&token)?;
    files.write_token(&token)?;
    log::say(&format!(
        "jobpass: wrote the token in {name} to {}, as it was minted: runners do not mask it so",
        path.display()
    ));
    Ok(())
}
